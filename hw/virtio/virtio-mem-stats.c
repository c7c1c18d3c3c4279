/*
 * virtio-mem: what users can know of a device
 *
 * Counts what it does, takes the time of the last resize, and tells all of
 * it.  What is counted costs nothing that a request would feel.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "hw/virtio/virtio-mem.h"
#include "qapi/util.h"

/* Counting */

static VirtioMEMRequestType request_type(uint16_t request)
{
    switch (request) {
    case VIRTIO_MEM_REQ_PLUG:
        return VIRTIO_MEM_REQUEST_TYPE_PLUG;
    case VIRTIO_MEM_REQ_UNPLUG:
        return VIRTIO_MEM_REQUEST_TYPE_UNPLUG;
    case VIRTIO_MEM_REQ_UNPLUG_ALL:
        return VIRTIO_MEM_REQUEST_TYPE_UNPLUG_ALL;
    case VIRTIO_MEM_REQ_STATE:
        return VIRTIO_MEM_REQUEST_TYPE_STATE;
    case VIRTIO_MEM_REQ_X_REPORT:
        return VIRTIO_MEM_REQUEST_TYPE_X_REPORT;
    default:
        return VIRTIO_MEM_REQUEST_TYPE_UNKNOWN;
    }
}

void virtio_mem_count_answer(VirtIOMEM *vmem, uint16_t request, uint16_t answer)
{
    assert(answer < VIRTIO_MEM_NR_ANSWERS);
    vmem->stats.answers[request_type(request)][answer]++;
}

void virtio_mem_count_discard(VirtIOMEM *vmem, uint64_t size, bool done)
{
    if (done) {
        stat64_add(&vmem->stats.discards, 1);
        stat64_add(&vmem->stats.discarded, size);
    } else {
        stat64_add(&vmem->stats.discard_failures, 1);
    }
}

/* The last resize */

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

static void look_whether_done(VirtIOMEM *vmem)
{
    VirtIOMEMLastResize *resize = &vmem->resize;

    if (!resize->is_done && virtio_mem_get_plugged_size(vmem) == resize->to) {
        resize->is_done = true;
        resize->end_ms = now_ms();
    }
}

void virtio_mem_resize_begins(VirtIOMEM *vmem)
{
    vmem->resize = (VirtIOMEMLastResize) {
        .from = virtio_mem_get_plugged_size(vmem),
        .to = vmem->requested_size,
        .begin_ms = now_ms(),
    };
    look_whether_done(vmem);
}

void virtio_mem_resize_goes_on(VirtIOMEM *vmem, uint64_t plugged,
                               uint64_t unplugged)
{
    vmem->stats.plugged += plugged;
    vmem->stats.unplugged += unplugged;
    look_whether_done(vmem);
}

/* Telling */

static VirtioMEMResize *resize_info(const VirtIOMEM *vmem)
{
    const VirtIOMEMLastResize *resize = &vmem->resize;
    int64_t end_ms = resize->is_done ? resize->end_ms : now_ms();
    VirtioMEMResize *info = g_new0(VirtioMEMResize, 1);

    info->from = resize->from;
    info->to = resize->to;
    info->done = resize->is_done;
    info->ms = end_ms - resize->begin_ms;
    return info;
}

static VirtioMEMRequestsList *requests_info(const VirtIOMEM *vmem)
{
    VirtioMEMRequestsList *list = NULL, **tail = &list;

    for (int type = 0; type < VIRTIO_MEM_REQUEST_TYPE__MAX; type++) {
        const uint64_t *answers = vmem->stats.answers[type];
        VirtioMEMRequests *info = g_new0(VirtioMEMRequests, 1);

        info->type = type;
        info->ack = answers[VIRTIO_MEM_RESP_ACK];
        info->nack = answers[VIRTIO_MEM_RESP_NACK];
        info->busy = answers[VIRTIO_MEM_RESP_BUSY];
        info->error = answers[VIRTIO_MEM_RESP_ERROR];
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

static VirtioMEMFeatureList *features_info(VirtIOMEM *vmem)
{
    static const unsigned int bits[] = {
        [VIRTIO_MEM_FEATURE_ACPI_PXM] = VIRTIO_MEM_F_ACPI_PXM,
        [VIRTIO_MEM_FEATURE_UNPLUGGED_INACCESSIBLE] =
            VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE,
        [VIRTIO_MEM_FEATURE_PERSISTENT_SUSPEND] =
            VIRTIO_MEM_F_PERSISTENT_SUSPEND,
        [VIRTIO_MEM_FEATURE_X_REPORT] = VIRTIO_MEM_F_X_REPORT,
    };
    VirtioMEMFeatureList *list = NULL, **tail = &list;

    for (int feature = 0; feature < VIRTIO_MEM_FEATURE__MAX; feature++) {
        if (virtio_vdev_has_feature(VIRTIO_DEVICE(vmem), bits[feature])) {
            QAPI_LIST_APPEND(tail, feature);
        }
    }
    return list;
}

static void fill_counts(const VirtIOMEM *vmem, VirtioMEMStatus *status)
{
    const VirtIOMEMStats *stats = &vmem->stats;

    status->requests = requests_info(vmem);
    status->total_plugged = stats->plugged;
    status->total_unplugged = stats->unplugged;
    status->discards = stat64_get(&stats->discards);
    status->discarded = stat64_get(&stats->discarded);
    status->discard_failures = stat64_get(&stats->discard_failures);
    status->prealloc_failures = stat64_get(&stats->prealloc_failures);
}

void virtio_mem_fill_status(VirtIOMEM *vmem, VirtioMEMStatus *status)
{
    Object *proxy = OBJECT(virtio_mem_proxy(vmem));

    virtio_mem_fill_device_info(vmem, qapi_VirtioMEMStatus_base(status));
    status->qom_path = object_get_canonical_path(proxy);
    status->usable_size = vmem->usable_region_size;
    status->driver = VIRTIO_DEVICE(vmem)->status & VIRTIO_CONFIG_S_DRIVER_OK;
    status->features = features_info(vmem);
    status->resize = resize_info(vmem);
    status->report = virtio_mem_report_info(vmem);
    fill_counts(vmem, status);
}
