/*
 * virtio-mem: which parts of the region the guest can reach
 *
 * With dynamic-memslots=on the guest's address space holds the slots that have
 * something plugged, and nothing in place of the others: KVM and vhost then
 * keep no metadata for the rest of a large region, and nobody reaches it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "hw/virtio/virtio-mem.h"

#define MIN_SLOT_SIZE (1 * GiB)

unsigned int virtio_mem_nb_memslots(const VirtIOMEM *vmem)
{
    return vmem->dynamic_memslots ? vmem->memslots.nb_slots : 1;
}

MemoryRegion *virtio_mem_memory_region(VirtIOMEM *vmem)
{
    MemoryRegion *container = &vmem->memslots.container;

    if (!vmem->dynamic_memslots) {
        return &vmem->memdev->mr;
    }
    if (!memory_region_size(container)) {
        memory_region_init(container, OBJECT(vmem), TYPE_VIRTIO_MEM,
                           virtio_mem_region_size(vmem));
        container->align = memory_region_get_alignment(&vmem->memdev->mr);
    }
    return container;
}

static void memslot_init(VirtIOMEM *vmem, unsigned int slot)
{
    VirtIOMEMMemslots *memslots = &vmem->memslots;
    uint64_t offset = slot * memslots->slot_size;
    uint64_t size = MIN(memslots->slot_size,
                        virtio_mem_region_size(vmem) - offset);
    g_autofree char *name = g_strdup_printf("memslot-%u", slot);

    memory_region_init_alias(&memslots->slots[slot], OBJECT(vmem), name,
                             &vmem->memdev->mr, offset, size);
    /* Else two neighbours would be one slot of KVM, and change as one. */
    memory_region_set_unmergeable(&memslots->slots[slot], true);
}

void virtio_mem_memslots_decide(VirtIOMEM *vmem, unsigned int limit)
{
    VirtIOMEMMemslots *memslots = &vmem->memslots;
    uint64_t region_size = virtio_mem_region_size(vmem);
    uint64_t least = MAX(MIN_SLOT_SIZE, virtio_mem_get_block_size(vmem));

    if (!vmem->dynamic_memslots) {
        return;
    }
    assert(!memslots->nb_slots && limit);
    memslots->slot_size = MAX(least, pow2ceil(DIV_ROUND_UP(region_size,
                                                           limit)));
    memslots->nb_slots = DIV_ROUND_UP(region_size, memslots->slot_size);
    memslots->slots = g_new0(MemoryRegion, memslots->nb_slots);
    for (unsigned int slot = 0; slot < memslots->nb_slots; slot++) {
        memslot_init(vmem, slot);
    }
}

static void memslot_set_visible(VirtIOMEM *vmem, unsigned int slot,
                                bool visible)
{
    VirtIOMEMMemslots *memslots = &vmem->memslots;
    MemoryRegion *mr = &memslots->slots[slot];

    if (memory_region_is_mapped(mr) == visible) {
        return;
    }
    if (visible) {
        memory_region_add_subregion(&memslots->container,
                                    slot * memslots->slot_size, mr);
    } else {
        memory_region_del_subregion(&memslots->container, mr);
    }
}

/* Whether anything in a slot is plugged, [offset, offset + size) left out. */
static bool memslot_in_use(const VirtIOMEM *vmem, unsigned int slot,
                           uint64_t offset, uint64_t size)
{
    uint64_t start = slot * vmem->memslots.slot_size;
    uint64_t end = MIN(start + vmem->memslots.slot_size,
                       virtio_mem_region_size(vmem));
    uint64_t behind = MAX(start, offset + size);

    return virtio_mem_blocks_next(&vmem->blocks, &start, MIN(end, offset),
                                  true) ||
           virtio_mem_blocks_next(&vmem->blocks, &behind, end, true);
}

typedef bool IsVisibleFn(const VirtIOMEM *vmem, unsigned int slot,
                         uint64_t offset, uint64_t size);

/* Settles for each slot that [offset, offset + size) touches if it is seen. */
static void memslots_set(VirtIOMEM *vmem, uint64_t offset, uint64_t size,
                         IsVisibleFn *is_visible)
{
    unsigned int slot, behind;

    if (!vmem->dynamic_memslots) {
        return;
    }
    slot = offset / vmem->memslots.slot_size;
    behind = DIV_ROUND_UP(offset + size, vmem->memslots.slot_size);
    memory_region_transaction_begin();
    for (; slot < behind; slot++) {
        memslot_set_visible(vmem, slot, is_visible(vmem, slot, offset, size));
    }
    memory_region_transaction_commit();
}

static bool always(const VirtIOMEM *vmem, unsigned int slot, uint64_t offset,
                   uint64_t size)
{
    return true;
}

static bool with_something_plugged(const VirtIOMEM *vmem, unsigned int slot,
                                   uint64_t offset, uint64_t size)
{
    return memslot_in_use(vmem, slot, 0, 0);
}

void virtio_mem_memslots_show(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    memslots_set(vmem, offset, size, always);
}

void virtio_mem_memslots_hide(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    memslots_set(vmem, offset, size, memslot_in_use);
}

void virtio_mem_memslots_update(VirtIOMEM *vmem)
{
    memslots_set(vmem, 0, virtio_mem_region_size(vmem), with_something_plugged);
}

/* For the end of the object: nothing maps the slots any more. */
void virtio_mem_memslots_destroy(VirtIOMEM *vmem)
{
    g_free(vmem->memslots.slots);
}
