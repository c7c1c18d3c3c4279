/*
 * virtio-mem: a device that resizes the memory of a running machine
 *
 * The state of one device, and what its transports (virtio-mem-pci) and its
 * own parts call.  virtio-mem.c speaks the protocol, virtio-mem-blocks.c
 * keeps which blocks are plugged, virtio-mem-discard.c tells others in QEMU
 * (VFIO, migration, dumps) about it, virtio-mem-migration.c sends and takes
 * the device's state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VIRTIO_MEM_H
#define HW_VIRTIO_MEM_H

#include "hw/virtio/virtio.h"
#include "qapi/qapi-types-common.h"
#include "qapi/qapi-types-machine.h"
#include "qemu/notify.h"
#include "qom/object.h"
#include "system/hostmem.h"

#define TYPE_VIRTIO_MEM "virtio-mem"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOMEM, VIRTIO_MEM)

/* Property names; interfaces and saved configurations depend on them. */
#define VIRTIO_MEM_MEMDEV_PROP "memdev"
#define VIRTIO_MEM_NODE_PROP "node"
#define VIRTIO_MEM_SIZE_PROP "size"
#define VIRTIO_MEM_REQUESTED_SIZE_PROP "requested-size"
#define VIRTIO_MEM_BLOCK_SIZE_PROP "block-size"
#define VIRTIO_MEM_ADDR_PROP "memaddr"
#define VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP "unplugged-inaccessible"
#define VIRTIO_MEM_EARLY_MIGRATION_PROP "x-early-migration"

/* The smallest block that makes sense to discard and to track. */
#define VIRTIO_MEM_MIN_BLOCK_SIZE (1 * MiB)

/**
 * VirtIOMEMBlocks:
 * Which blocks of a region are plugged.  Offsets and sizes are bytes from the
 * start of the region, and multiples of @block_size where plugged or unplugged.
 */
typedef struct VirtIOMEMBlocks {
    unsigned long *plugged;     /* one bit per block */
    uint64_t nb_blocks;         /* in the region */
    uint64_t nb_plugged;        /* blocks; always the number of bits set */
    uint64_t block_size;        /* bytes, a power of two */
} VirtIOMEMBlocks;

/* What travels in a migration stream, while it is being saved or loaded. */
typedef struct VirtIOMEMStream {
    uint64_t addr;
    uint64_t region_size;
    uint64_t block_size;
    uint64_t usable_region_size;
    uint64_t requested_size;
    uint64_t size;              /* bytes plugged */
    uint32_t node;
    int32_t nb_blocks;          /* bits of plugged */
    unsigned long *plugged;
} VirtIOMEMStream;

/* All state is protected by the BQL. */
struct VirtIOMEM {
    VirtIODevice parent_obj;

    VirtQueue *vq;

    /* Configuration, fixed once realized */
    HostMemoryBackend *memdev;
    uint32_t node;                      /* of the guest */
    uint64_t addr;                      /* guest physical; 0: not chosen yet */
    uint64_t block_size;                /* bytes; 0: choose */
    OnOffAuto unplugged_inaccessible;   /* AUTO only before realize */
    bool early_migration;               /* plugged blocks go ahead of RAM */

    /* Sizes in bytes, multiples of block_size */
    uint64_t requested_size;
    uint64_t usable_region_size;
    VirtIOMEMBlocks blocks;

    QLIST_HEAD(, RamDiscardListener) discard_listeners;
    NotifierList size_change_notifiers;
    QLIST_ENTRY(VirtIOMEM) next;        /* among all realized devices */
    VirtIOMEMStream stream;
};

/* virtio-mem.c: called by the other parts */

/* What messages call the device: its ID, or else its type. */
const char *virtio_mem_name(const VirtIOMEM *vmem);

/**
 * virtio_mem_replace_blocks:
 * Makes exactly the blocks of @plugged, a bitmap of all blocks, the plugged
 * ones; memory of those that were plugged and are not any more is discarded.
 * Listeners forget all; virtio_mem_notify_populate_all() tells them anew.
 */
void virtio_mem_replace_blocks(VirtIOMEM *vmem, const unsigned long *plugged);

/* virtio-mem.c: called by the transports */

/**
 * virtio_mem_check_config:
 * Checks all that the user configured, before the device is realized.
 * Returns false with an error that names property, value and rule.
 */
bool virtio_mem_check_config(VirtIOMEM *vmem, Error **errp);

/**
 * virtio_mem_check_unplug:
 * Returns false with an error while the device itself can't be unplugged:
 * unplugged-inaccessible is off, memory is plugged, or memory is requested.
 */
bool virtio_mem_check_unplug(const VirtIOMEM *vmem, Error **errp);

/* Bytes; what the device uses when the user didn't choose: never 0. */
uint64_t virtio_mem_get_block_size(const VirtIOMEM *vmem);

/* Bytes that are plugged. */
uint64_t virtio_mem_get_plugged_size(const VirtIOMEM *vmem);

/* Fills all but the ID. */
void virtio_mem_fill_device_info(const VirtIOMEM *vmem,
                                 VirtioMEMDeviceInfo *info);

/* Notifiers get a pointer to the new plugged size (uint64_t, bytes). */
void virtio_mem_add_size_change_notifier(VirtIOMEM *vmem, Notifier *notifier);

/* virtio-mem-blocks.c */

void virtio_mem_blocks_init(VirtIOMEMBlocks *blocks, uint64_t region_size,
                            uint64_t block_size);
void virtio_mem_blocks_destroy(VirtIOMEMBlocks *blocks);

/* Takes a bitmap of all blocks over. */
void virtio_mem_blocks_load(VirtIOMEMBlocks *blocks,
                            const unsigned long *plugged);
void virtio_mem_blocks_set(VirtIOMEMBlocks *blocks, uint64_t offset,
                           uint64_t size, bool plugged);

/* Whether all blocks that [offset, offset + size) touches are (un)plugged. */
bool virtio_mem_blocks_test(const VirtIOMEMBlocks *blocks, uint64_t offset,
                            uint64_t size, bool plugged);

/**
 * virtio_mem_blocks_next:
 * Finds the first extent of (un)plugged memory in [*offset, end).
 *
 * Returns its size in bytes, cut off at @end, with *offset at its start; 0
 * when there is none.  To go on, add the size to *offset.
 */
uint64_t virtio_mem_blocks_next(const VirtIOMEMBlocks *blocks,
                                uint64_t *offset, uint64_t end, bool plugged);

/* virtio-mem-discard.c */

/* Sets the methods of TYPE_RAM_DISCARD_MANAGER. */
void virtio_mem_discard_class_init(ObjectClass *klass);

/**
 * virtio_mem_notify_populate:
 * Asks all listeners to get ready for memory at [offset, offset + size) of the
 * region.  When one objects, those asked before are told to forget it.
 * Returns 0 or the negative error of the one that objected.
 */
int virtio_mem_notify_populate(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* As above, of everything that is plugged, without a way back. */
int virtio_mem_notify_populate_all(VirtIOMEM *vmem);

/* Tells all listeners that [offset, offset + size) was discarded. */
void virtio_mem_notify_discard(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Tells all listeners that everything plugged was discarded. */
void virtio_mem_notify_discard_all(VirtIOMEM *vmem);

/* virtio-mem-migration.c */

extern const VMStateDescription vmstate_virtio_mem;
extern const VMStateDescription vmstate_virtio_mem_device;

/* Whether blocks must stay as they are, as a migration reads or writes them. */
bool virtio_mem_is_migrating(void);

void virtio_mem_migration_register(VirtIOMEM *vmem);
void virtio_mem_migration_unregister(VirtIOMEM *vmem);

/* Forgets what an unfinished load left. */
void virtio_mem_stream_free(VirtIOMEM *vmem);

#endif
