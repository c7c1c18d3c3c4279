/*
 * virtio-mem: what the driver tells of a resize
 *
 * With x-driver-reports a driver may tell after each attempt how far it came,
 * and why not further.  Nothing depends on it: it is shown to users, who are
 * told that it is the guest's word.  docs/wire-format.md has the protocol.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/log.h"
#include "qemu/timer.h"
#include "qapi/qapi-events-machine.h"
#include "hw/virtio/virtio-mem.h"
#include "migration/vmstate.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(VIRTIO_MEM_RESULT__MAX != VIRTIO_MEM_X_NR_RESULTS);

static void to_host_order(struct virtio_mem_x_report *report)
{
    le16_to_cpus(&report->result);
    le32_to_cpus(&report->attempts);
    le32_to_cpus(&report->retry_ms);
    le64_to_cpus(&report->requested_size);
    for (int i = 0; i < VIRTIO_MEM_X_NR_CAUSES; i++) {
        le64_to_cpus(&report->stuck_size[i]);
    }
    le64_to_cpus(&report->offline_size);
}

/* No part of a device is larger than its region. */
static bool is_possible(const VirtIOMEM *vmem,
                        const struct virtio_mem_x_report *report)
{
    uint64_t most = virtio_mem_region_size(vmem);
    bool possible = report->result < VIRTIO_MEM_X_NR_RESULTS &&
                    report->requested_size <= most &&
                    report->offline_size <= most;

    for (int i = 0; i < VIRTIO_MEM_X_NR_CAUSES; i++) {
        possible = possible && report->stuck_size[i] <= most;
    }
    return possible;
}

/* Whether it says more than that one more attempt ended as the one before. */
static bool is_news(const VirtIOMEMReport *old,
                    const struct virtio_mem_x_report *report)
{
    return !old->is_there || old->data.result != report->result ||
           old->data.requested_size != report->requested_size ||
           old->data.offline_size != report->offline_size ||
           memcmp(old->data.stuck_size, report->stuck_size,
                  sizeof(report->stuck_size));
}

static void tell(const VirtIOMEM *vmem)
{
    g_autoptr(VirtioMEMReport) info = virtio_mem_report_info(vmem);
    DeviceState *proxy = virtio_mem_proxy(vmem);
    g_autofree char *path = object_get_canonical_path(OBJECT(proxy));

    qapi_event_send_virtio_mem_report(proxy->id, path, info);
}

uint16_t virtio_mem_take_report(VirtIOMEM *vmem,
                                const struct virtio_mem_x_report *told)
{
    struct virtio_mem_x_report report = *told;
    bool news;

    to_host_order(&report);
    trace_virtio_mem_report(report.result, report.requested_size,
                            report.attempts);
    if (!is_possible(vmem, &report)) {
        qemu_log_mask(LOG_GUEST_ERROR, "virtio-mem '%s': the driver reports "
                      "what can't be: result %u, or a size beyond 0x%" PRIx64
                      "\n", virtio_mem_name(vmem), report.result,
                      virtio_mem_region_size(vmem));
        return VIRTIO_MEM_RESP_ERROR;
    }
    news = is_news(&vmem->report, &report);
    vmem->report = (VirtIOMEMReport) {
        .is_there = true,
        .told_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME),
        .data = report,
    };
    if (news) {
        tell(vmem);
    }
    return VIRTIO_MEM_RESP_ACK;
}

/* The driver goes on where it was, and does not tell it again. */

static bool report_needed(void *opaque)
{
    return VIRTIO_MEM(opaque)->report.is_there;
}

static int report_post_load(void *opaque, int version_id)
{
    VirtIOMEM *vmem = opaque;

    if (!vmem->driver_reports || !is_possible(vmem, &vmem->report.data)) {
        error_report("virtio-mem '%s': the stream has a driver's report that "
                     "can't be", virtio_mem_name(vmem));
        return -EINVAL;
    }
    vmem->report.is_there = true;
    vmem->report.told_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    return 0;
}

const VMStateDescription vmstate_virtio_mem_report = {
    .name = "virtio-mem-device/report",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = report_needed,
    .post_load = report_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT16(report.data.result, VirtIOMEM),
        VMSTATE_UINT32(report.data.attempts, VirtIOMEM),
        VMSTATE_UINT32(report.data.retry_ms, VirtIOMEM),
        VMSTATE_UINT64(report.data.requested_size, VirtIOMEM),
        VMSTATE_UINT64_ARRAY(report.data.stuck_size, VirtIOMEM,
                             VIRTIO_MEM_X_NR_CAUSES),
        VMSTATE_UINT64(report.data.offline_size, VirtIOMEM),
        VMSTATE_END_OF_LIST()
    },
};

VirtioMEMReport *virtio_mem_report_info(const VirtIOMEM *vmem)
{
    const struct virtio_mem_x_report *report = &vmem->report.data;
    int64_t now_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    VirtioMEMReport *info;

    if (!vmem->report.is_there) {
        return NULL;
    }
    info = g_new0(VirtioMEMReport, 1);
    info->result = report->result;
    info->requested_size = report->requested_size;
    info->attempts = report->attempts;
    info->retry_ms = report->retry_ms;
    info->kernel = report->stuck_size[VIRTIO_MEM_X_KERNEL];
    info->pinned = report->stuck_size[VIRTIO_MEM_X_PINNED];
    info->no_memory = report->stuck_size[VIRTIO_MEM_X_NO_SPACE];
    info->refused = report->stuck_size[VIRTIO_MEM_X_OFFLINE_REFUSED];
    info->other = report->stuck_size[VIRTIO_MEM_X_OTHER];
    info->not_online = report->offline_size;
    info->age_ms = now_ms - vmem->report.told_ms;
    return info;
}
