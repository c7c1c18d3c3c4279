/*
 * virtio-mem: telling the rest of QEMU what is plugged
 *
 * The device is the RamDiscardManager of its memory: VFIO maps, migration
 * sends and dumps contain plugged memory only.  Listeners watch a section of
 * the region and are told of changes inside it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "exec/memory.h"
#include "hw/virtio/virtio-mem.h"

static uint64_t section_end(const MemoryRegionSection *section)
{
    return section->offset_within_region + int128_get64(section->size);
}

/* The part [offset, offset + size) of @section, which must hold it. */
static MemoryRegionSection section_part(const MemoryRegionSection *section,
                                        uint64_t offset, uint64_t size)
{
    MemoryRegionSection part = *section;

    part.offset_within_address_space += offset - section->offset_within_region;
    part.offset_within_region = offset;
    part.size = int128_make64(size);
    return part;
}

/* As section_part(), of what @section holds; false when that is nothing. */
static bool section_cut(const MemoryRegionSection *section, uint64_t offset,
                        uint64_t size, MemoryRegionSection *part)
{
    uint64_t start = MAX(offset, section->offset_within_region);
    uint64_t end = MIN(offset + size, section_end(section));

    if (start >= end) {
        return false;
    }
    *part = section_part(section, start, end - start);
    return true;
}

/* A function with a value for an extent of a section; not 0 ends the walk. */
typedef int ExtentFn(MemoryRegionSection *part, void *opaque);

static int for_each_extent(const VirtIOMEM *vmem,
                           const MemoryRegionSection *section, bool plugged,
                           ExtentFn *fn, void *opaque)
{
    uint64_t offset = section->offset_within_region;
    uint64_t end = section_end(section);
    uint64_t size;

    while ((size = virtio_mem_blocks_next(&vmem->blocks, &offset, end,
                                          plugged))) {
        MemoryRegionSection part = section_part(section, offset, size);
        int ret = fn(&part, opaque);

        if (ret) {
            return ret;
        }
        offset += size;
    }
    return 0;
}

static int populate_extent(MemoryRegionSection *part, void *opaque)
{
    RamDiscardListener *rdl = opaque;

    return rdl->notify_populate(rdl, part);
}

static int discard_extent(MemoryRegionSection *part, void *opaque)
{
    RamDiscardListener *rdl = opaque;

    rdl->notify_discard(rdl, part);
    return 0;
}

static void listener_discard_all(const VirtIOMEM *vmem, RamDiscardListener *rdl)
{
    if (rdl->double_discard_supported) {
        rdl->notify_discard(rdl, rdl->section);
    } else {
        for_each_extent(vmem, rdl->section, true, discard_extent, rdl);
    }
}

int virtio_mem_notify_populate(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    RamDiscardListener *rdl, *asked;
    MemoryRegionSection part;
    int ret = 0;

    QLIST_FOREACH(rdl, &vmem->discard_listeners, next) {
        if (section_cut(rdl->section, offset, size, &part)) {
            ret = rdl->notify_populate(rdl, &part);
            if (ret) {
                break;
            }
        }
    }
    if (!ret) {
        return 0;
    }

    QLIST_FOREACH(asked, &vmem->discard_listeners, next) {
        if (asked == rdl) {
            break;
        }
        if (section_cut(asked->section, offset, size, &part)) {
            asked->notify_discard(asked, &part);
        }
    }
    return ret;
}

/* The listener knows less than is plugged then, and may be told so again. */
static void report_unmapped(const MemoryRegionSection *part, int ret)
{
    if (ret) {
        error_report("virtio-mem: a user of the memory at 0x%" HWADDR_PRIx
                     " cannot map what is plugged: %s",
                     part->offset_within_address_space, strerror(-ret));
    }
}

static int replace_extent(MemoryRegionSection *part, void *opaque)
{
    RamDiscardListener *rdl = opaque;

    rdl->notify_discard(rdl, part);
    report_unmapped(part, rdl->notify_populate(rdl, part));
    return 0;
}

/* Calls @fn for each listener's part of what is plugged in a range. */
static void for_each_listener(VirtIOMEM *vmem, uint64_t offset, uint64_t size,
                              ExtentFn *fn)
{
    RamDiscardListener *rdl;
    MemoryRegionSection part;

    QLIST_FOREACH(rdl, &vmem->discard_listeners, next) {
        if (section_cut(rdl->section, offset, size, &part)) {
            for_each_extent(vmem, &part, true, fn, rdl);
        }
    }
}

void virtio_mem_notify_replaced(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    for_each_listener(vmem, offset, size, replace_extent);
}

int virtio_mem_notify_populate_all(VirtIOMEM *vmem)
{
    RamDiscardListener *rdl;
    int ret;

    QLIST_FOREACH(rdl, &vmem->discard_listeners, next) {
        ret = for_each_extent(vmem, rdl->section, true, populate_extent, rdl);
        if (ret) {
            return ret;
        }
    }
    return 0;
}

void virtio_mem_notify_discard(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    for_each_listener(vmem, offset, size, discard_extent);
}

void virtio_mem_notify_discard_all(VirtIOMEM *vmem)
{
    RamDiscardListener *rdl;

    QLIST_FOREACH(rdl, &vmem->discard_listeners, next) {
        listener_discard_all(vmem, rdl);
    }
}

static uint64_t virtio_mem_rdm_get_min_granularity(const RamDiscardManager *rdm,
                                                   const MemoryRegion *mr)
{
    return VIRTIO_MEM(rdm)->block_size;
}

static bool virtio_mem_rdm_is_populated(const RamDiscardManager *rdm,
                                        const MemoryRegionSection *section)
{
    const VirtIOMEM *vmem = VIRTIO_MEM(rdm);

    return virtio_mem_blocks_test(&vmem->blocks, section->offset_within_region,
                                  int128_get64(section->size), true);
}

typedef struct Replay {
    ReplayRamPopulate populate;
    ReplayRamDiscard discard;
    void *opaque;
} Replay;

static int replay_extent(MemoryRegionSection *part, void *opaque)
{
    const Replay *replay = opaque;

    if (replay->populate) {
        return replay->populate(part, replay->opaque);
    }
    replay->discard(part, replay->opaque);
    return 0;
}

static int virtio_mem_rdm_replay_populated(const RamDiscardManager *rdm,
                                           MemoryRegionSection *section,
                                           ReplayRamPopulate fn, void *opaque)
{
    Replay replay = { .populate = fn, .opaque = opaque };

    return for_each_extent(VIRTIO_MEM(rdm), section, true, replay_extent,
                           &replay);
}

static void virtio_mem_rdm_replay_discarded(const RamDiscardManager *rdm,
                                            MemoryRegionSection *section,
                                            ReplayRamDiscard fn, void *opaque)
{
    Replay replay = { .discard = fn, .opaque = opaque };

    for_each_extent(VIRTIO_MEM(rdm), section, false, replay_extent, &replay);
}

static void virtio_mem_rdm_register_listener(RamDiscardManager *rdm,
                                             RamDiscardListener *rdl,
                                             MemoryRegionSection *section)
{
    VirtIOMEM *vmem = VIRTIO_MEM(rdm);
    int ret;

    rdl->section = memory_region_section_new_copy(section);
    QLIST_INSERT_HEAD(&vmem->discard_listeners, rdl, next);
    ret = for_each_extent(vmem, rdl->section, true, populate_extent, rdl);
    report_unmapped(rdl->section, ret);
}

static void virtio_mem_rdm_unregister_listener(RamDiscardManager *rdm,
                                               RamDiscardListener *rdl)
{
    listener_discard_all(VIRTIO_MEM(rdm), rdl);
    QLIST_REMOVE(rdl, next);
    memory_region_section_free_copy(rdl->section);
    rdl->section = NULL;
}

void virtio_mem_discard_class_init(ObjectClass *klass)
{
    RamDiscardManagerClass *rdmc = RAM_DISCARD_MANAGER_CLASS(klass);

    rdmc->register_listener = virtio_mem_rdm_register_listener;
    rdmc->unregister_listener = virtio_mem_rdm_unregister_listener;
    rdmc->get_min_granularity = virtio_mem_rdm_get_min_granularity;
    rdmc->replay_discarded = virtio_mem_rdm_replay_discarded;
    rdmc->replay_populated = virtio_mem_rdm_replay_populated;
    rdmc->is_populated = virtio_mem_rdm_is_populated;
}
