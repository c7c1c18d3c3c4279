// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shrinking: whole chunks first, which touches nothing that is free; then
 * blocks of those that can't go as a whole, page by page.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/sched.h>

#include "virtio_mem.h"

static bool virtio_mem_may_remove(struct virtio_mem *vm, unsigned long chunk)
{
	if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ADDED)
		return false;
	return READ_ONCE(virtio_mem_unplug_online) ||
	       !READ_ONCE(vm->chunks[chunk].online) ||
	       !vm->chunks[chunk].plugged;
}

static bool virtio_mem_try_remove(struct virtio_mem *vm, unsigned long chunk,
				  unsigned long plugged)
{
	if (READ_ONCE(vm->chunks[chunk].online) &&
	    !(virtio_mem_can_spare(plugged * vm->block_size) &&
	      virtio_mem_fits_elsewhere(vm, chunk)))
		return false;
	return !virtio_mem_remove_chunk(vm, chunk);
}

/*
 * Removes whole chunks, from the top, as long as the target allows.  Unplugs
 * them in long runs, but early when it gets slow: the host waits for them.
 */
static int virtio_mem_shrink_chunks(struct virtio_mem *vm, unsigned long target)
{
	unsigned long chunk, removed = 0, excess = vm->nr_plugged - target;
	int rc = 0;

	for (chunk = vm->nr_chunks; chunk-- && !rc;) {
		unsigned long plugged;
		bool gone;

		if (virtio_mem_changed(vm))
			break;
		if (!virtio_mem_may_remove(vm, chunk))
			continue;
		plugged = vm->chunks[chunk].plugged;
		if (plugged > excess)
			continue;
		gone = virtio_mem_try_remove(vm, chunk, plugged);
		if (gone) {
			excess -= plugged;
			removed += plugged;
		}
		if (removed && (!gone || removed >= virtio_mem_run_blocks(vm))) {
			rc = virtio_mem_unplug_detached(vm);
			removed = 0;
		}
	}
	return rc ?: virtio_mem_unplug_detached(vm);
}

/* Takes blocks of one chunk, from the top; each run is unplugged at once. */
static int virtio_mem_shrink_chunk(struct virtio_mem *vm, unsigned long chunk,
				   unsigned long excess)
{
	unsigned long first = virtio_mem_chunk_block(vm, chunk);
	unsigned long block = first + vm->chunk_blocks;
	struct virtio_mem_run run = { };
	int rc = 0;

	while (block-- > first && excess && !virtio_mem_changed(vm)) {
		if (test_bit(block, vm->plugged) &&
		    virtio_mem_can_spare(vm->block_size) &&
		    virtio_mem_take(vm, chunk, block, 1)) {
			excess--;
			run.block = block;
			run.nr++;
			continue;
		}
		if (run.nr)
			rc = virtio_mem_unplug_taken(vm, chunk, run.block,
						     run.nr);
		if (rc)
			return rc;
		run.nr = 0;
	}
	if (run.nr)
		rc = virtio_mem_unplug_taken(vm, chunk, run.block, run.nr);
	return rc;
}

/*
 * Takes what is left block by block.  Chunks that have the least plugged go
 * first: they are the ones that can be removed soonest.
 */
static int virtio_mem_shrink_blocks(struct virtio_mem *vm, unsigned long target)
{
	unsigned long nr, chunk;
	int rc = 0;

	for (nr = 1; nr <= vm->chunk_blocks; nr++, cond_resched()) {
		for (chunk = vm->nr_chunks; chunk-- && !rc;) {
			if (vm->nr_plugged <= target || virtio_mem_changed(vm))
				return 0;
			if (!virtio_mem_may_remove(vm, chunk) ||
			    vm->chunks[chunk].plugged != nr)
				continue;
			rc = virtio_mem_shrink_chunk(vm, chunk,
						     vm->nr_plugged - target);
		}
	}
	return rc;
}

int virtio_mem_shrink(struct virtio_mem *vm)
{
	unsigned long target = virtio_mem_target(vm);
	int rc;

	rc = virtio_mem_unplug_detached(vm);
	if (!rc && vm->nr_plugged > target)
		rc = virtio_mem_shrink_chunks(vm, target);
	if (!rc && vm->nr_plugged > target &&
	    vm->unit_blocks < vm->chunk_blocks) {
		rc = virtio_mem_shrink_blocks(vm, target);
		/* Chunks that lost their last block are still added. */
		if (!rc)
			rc = virtio_mem_shrink_chunks(vm, vm->nr_plugged);
	}
	if (!rc && vm->nr_plugged > target)
		rc = virtio_mem_can_spare(vm->block_size) ? -EBUSY : -ENOMEM;
	return rc;
}
