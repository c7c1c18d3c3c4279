/*
 * virtio-mem: HMP commands
 *
 * What the QMP commands tell, for people, in 80 columns.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-machine.h"
#include "qobject/qdict.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "hw/virtio/virtio-mem-hmp.h"
#include "hw/virtio/virtio-mem.h"

/* The map of a region: characters of a line, and lines at most */
#define MAP_COLUMNS 64
#define MAP_LINES 4

static void print_sizes(Monitor *mon, const VirtioMEMStatus *status)
{
    g_autofree char *size = virtio_mem_size_str(status->size);
    g_autofree char *requested = virtio_mem_size_str(status->requested_size);
    g_autofree char *most = virtio_mem_size_str(status->max_size);
    g_autofree char *block = virtio_mem_size_str(status->block_size);

    monitor_printf(mon, "%s: %s of %s requested, at most %s\n",
                   status->id ?: status->qom_path, size, requested, most);
    monitor_printf(mon, "  memory: %s, 0x%" PRIx64 " to 0x%" PRIx64
                   ", node %" PRId64 ", blocks of %s\n", status->memdev,
                   status->memaddr, status->memaddr + status->max_size - 1,
                   status->node, block);
}

static void print_resize(Monitor *mon, const VirtioMEMStatus *status)
{
    const VirtioMEMResize *resize = status->resize;
    g_autofree char *from = virtio_mem_size_str(resize->from);
    g_autofree char *to = virtio_mem_size_str(resize->to);
    g_autofree char *size = virtio_mem_size_str(status->size);

    monitor_printf(mon, "  resize: %s to %s, ", from, to);
    if (resize->done) {
        monitor_printf(mon, "done in %.3f s\n", resize->ms / 1000.0);
    } else {
        monitor_printf(mon, "still going after %.0f s, at %s\n",
                       resize->ms / 1000.0, size);
    }
}

static void print_driver(Monitor *mon, const VirtioMEMStatus *status)
{
    const VirtioMEMFeatureList *feature;

    monitor_printf(mon, "  driver: %s", status->driver ? "there" : "none");
    for (feature = status->features; feature; feature = feature->next) {
        monitor_printf(mon, ", %s", VirtioMEMFeature_str(feature->value));
    }
    monitor_printf(mon, "\n");
}

static void print_stuck(Monitor *mon, const char *text, uint64_t size)
{
    g_autofree char *size_text = virtio_mem_size_str(size);

    if (size) {
        monitor_printf(mon, "    %s %s\n", size_text, text);
    }
}

static void print_report(Monitor *mon, const VirtioMEMReport *report)
{
    g_autofree char *to = virtio_mem_size_str(report->requested_size);

    monitor_printf(mon, "  its report, %.0f s ago: %s, resize to %s, attempt %"
                   PRIu32, report->age_ms / 1000.0,
                   VirtioMEMResult_str(report->result), to, report->attempts);
    if (report->retry_ms) {
        monitor_printf(mon, ", next in %.1f s", report->retry_ms / 1000.0);
    }
    monitor_printf(mon, "\n");
    print_stuck(mon, "hold pages of the guest's kernel", report->kernel);
    print_stuck(mon, "hold pinned pages", report->pinned);
    print_stuck(mon, "are in use, with too little free memory to move it",
                report->no_memory);
    print_stuck(mon, "can't go offline, as something refuses",
                report->refused);
    print_stuck(mon, "are in use", report->other);
    print_stuck(mon, "are plugged, but not online in the guest",
                report->not_online);
}

/* In info memory-devices, too */
void virtio_mem_print_protection(Monitor *mon,
                                 const VirtioMEMProtectionInfo *info)
{
    monitor_printf(mon, "  protection: %s, %s",
                   MemoryDeviceProtection_str(info->mode),
                   MemoryDeviceViolationAction_str(info->action));
    if (info->now != info->mode) {
        monitor_printf(mon, "; now %s", MemoryDeviceProtection_str(info->now));
    }
    monitor_printf(mon, "\n  protected: %" PRIu64 " guarded in %" PRIu64
                   " extents, %" PRIu64 " audited\n", info->guarded,
                   info->extents, info->audited);
    monitor_printf(mon, "  violations: %" PRIu64 " writes, %" PRIu64
                   " reads, %" PRIu64 " pages found", info->writes,
                   info->reads, info->found);
    if (info->has_last_address) {
        monitor_printf(mon, ", the last at 0x%" PRIx64, info->last_address);
    }
    monitor_printf(mon, "\n");
}

static bool is_zero(const VirtioMEMRequests *row)
{
    return !row->ack && !row->nack && !row->busy && !row->error;
}

static void print_counts(Monitor *mon, const VirtioMEMStatus *status)
{
    g_autofree char *plugged = virtio_mem_size_str(status->total_plugged);
    g_autofree char *unplugged = virtio_mem_size_str(status->total_unplugged);
    g_autofree char *discarded = virtio_mem_size_str(status->discarded);
    const VirtioMEMRequestsList *list;

    monitor_printf(mon, "  in all: %s plugged, %s unplugged\n", plugged,
                   unplugged);
    monitor_printf(mon, "  discards: %" PRIu64 " of %s, %" PRIu64 " failed\n",
                   status->discards, discarded, status->discard_failures);
    if (status->prealloc_failures) {
        monitor_printf(mon, "  too little memory of the host: %" PRIu64
                       " times\n", status->prealloc_failures);
    }
    monitor_printf(mon, "  requests         ack       nack       busy"
                   "      error\n");
    for (list = status->requests; list; list = list->next) {
        const VirtioMEMRequests *row = list->value;

        if (!is_zero(row)) {
            monitor_printf(mon, "    %-10s%8" PRIu64 " %10" PRIu64 " %10"
                           PRIu64 " %10" PRIu64 "\n",
                           VirtioMEMRequestType_str(row->type), row->ack,
                           row->nack, row->busy, row->error);
        }
    }
}

static void print_map(Monitor *mon, const VirtioMEMMap *map)
{
    static const char characters[] = {
        [VIRTIO_MEM_PIECE_UNUSABLE] = '-',
        [VIRTIO_MEM_PIECE_UNPLUGGED] = '.',
        [VIRTIO_MEM_PIECE_MIXED] = '+',
        [VIRTIO_MEM_PIECE_PLUGGED] = '#',
    };
    g_autofree char *size = virtio_mem_size_str(map->piece_size);
    const VirtioMEMPieceList *piece;
    unsigned int column = 0;

    monitor_printf(mon, "  map: # is %s plugged, + partly, . unplugged, "
                   "- not usable now", size);
    for (piece = map->pieces; piece; piece = piece->next) {
        monitor_printf(mon, "%s%c", column++ % MAP_COLUMNS ? "" : "\n    ",
                       characters[piece->value]);
    }
    monitor_printf(mon, "\n");
}

void hmp_info_virtio_mem(Monitor *mon, const QDict *qdict)
{
    const char *id = qdict_get_try_str(qdict, "id");
    g_autoptr(VirtioMEMStatusList) list = NULL;
    Error *err = NULL;

    list = qmp_query_virtio_mem(id, true, MAP_COLUMNS * MAP_LINES, &err);
    if (hmp_handle_error(mon, err)) {
        return;
    }
    for (VirtioMEMStatusList *item = list; item; item = item->next) {
        const VirtioMEMStatus *status = item->value;

        print_sizes(mon, status);
        print_resize(mon, status);
        print_driver(mon, status);
        if (status->report) {
            print_report(mon, status->report);
        }
        if (status->protection) {
            virtio_mem_print_protection(mon, status->protection);
        }
        print_counts(mon, status);
        print_map(mon, status->map);
    }
}

void hmp_memory_device_resize(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_memory_device_resize(qdict_get_str(qdict, "id"),
                             qdict_get_int(qdict, "size"), &err);
    hmp_handle_error(mon, err);
}

/* Of the only argument, or the first */
void virtio_mem_id_completion(ReadLineState *rs, int nb_args, const char *str)
{
    g_autoptr(VirtioMEMStatusList) list = NULL;

    if (nb_args != 2) {
        return;
    }
    list = qmp_query_virtio_mem(NULL, false, 0, &error_abort);
    readline_set_completion_index(rs, strlen(str));
    for (VirtioMEMStatusList *item = list; item; item = item->next) {
        if (item->value->id) {
            readline_add_completion_of(rs, str, item->value->id);
        }
    }
}
