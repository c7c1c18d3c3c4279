/*
 * virtio-mem: which blocks are plugged
 *
 * A bitmap with a count, and a walk over its extents that takes and returns
 * bytes, so that no caller ever mixes up bytes and block numbers.  Knows
 * nothing of the protocol or of memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "hw/virtio/virtio-mem.h"

/* A block size is a power of two, and a division takes as long as the rest. */
static uint64_t block_of(const VirtIOMEMBlocks *blocks, uint64_t offset)
{
    return offset >> ctz64(blocks->block_size);
}

/* The number of the first block that starts at or behind @end. */
static uint64_t block_behind(const VirtIOMEMBlocks *blocks, uint64_t end)
{
    return MIN(block_of(blocks, end + blocks->block_size - 1),
               blocks->nb_blocks);
}

static uint64_t find_next(const VirtIOMEMBlocks *blocks, uint64_t behind,
                          uint64_t block, bool plugged)
{
    return plugged ? find_next_bit(blocks->plugged, behind, block)
                   : find_next_zero_bit(blocks->plugged, behind, block);
}

void virtio_mem_blocks_init(VirtIOMEMBlocks *blocks, uint64_t region_size,
                            uint64_t block_size)
{
    blocks->block_size = block_size;
    blocks->nb_blocks = region_size / block_size;
    blocks->nb_plugged = 0;
    blocks->plugged = bitmap_new(blocks->nb_blocks);
}

void virtio_mem_blocks_load(VirtIOMEMBlocks *blocks,
                            const unsigned long *plugged)
{
    bitmap_copy(blocks->plugged, plugged, blocks->nb_blocks);
    blocks->nb_plugged = bitmap_count_one(plugged, blocks->nb_blocks);
}

void virtio_mem_blocks_clear(VirtIOMEMBlocks *blocks)
{
    bitmap_zero(blocks->plugged, blocks->nb_blocks);
    blocks->nb_plugged = 0;
}

void virtio_mem_blocks_destroy(VirtIOMEMBlocks *blocks)
{
    g_free(blocks->plugged);
    *blocks = (VirtIOMEMBlocks) { };
}

void virtio_mem_blocks_set(VirtIOMEMBlocks *blocks, uint64_t offset,
                           uint64_t size, bool plugged)
{
    uint64_t first = block_of(blocks, offset);
    uint64_t nb = block_of(blocks, size);

    assert(first + nb <= blocks->nb_blocks);
    assert(virtio_mem_blocks_test(blocks, offset, size, !plugged));
    if (plugged) {
        bitmap_set(blocks->plugged, first, nb);
        blocks->nb_plugged += nb;
    } else {
        bitmap_clear(blocks->plugged, first, nb);
        blocks->nb_plugged -= nb;
    }
}

bool virtio_mem_blocks_is_plugged(const VirtIOMEMBlocks *blocks,
                                  uint64_t offset)
{
    return test_bit(block_of(blocks, offset), blocks->plugged);
}

bool virtio_mem_blocks_test(const VirtIOMEMBlocks *blocks, uint64_t offset,
                            uint64_t size, bool plugged)
{
    uint64_t behind = block_behind(blocks, offset + size);

    return find_next(blocks, behind, block_of(blocks, offset), !plugged)
           >= behind;
}

uint64_t virtio_mem_blocks_next(const VirtIOMEMBlocks *blocks,
                                uint64_t *offset, uint64_t end, bool plugged)
{
    uint64_t behind = block_behind(blocks, end);
    uint64_t first, last;

    if (*offset >= end) {
        return 0;
    }
    first = find_next(blocks, behind, block_of(blocks, *offset), plugged);
    if (first >= behind) {
        return 0;
    }
    last = find_next(blocks, behind, first, !plugged);

    *offset = MAX(*offset, first * blocks->block_size);
    return MIN(end, last * blocks->block_size) - *offset;
}
