// SPDX-License-Identifier: GPL-2.0-only
/*
 * Growing: fills the gaps of chunks that are added, then plugs runs of absent
 * ones, and adds them.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/minmax.h>

#include "virtio_mem.h"

/* Plugs up to @nr blocks in the gaps of chunks that are added already. */
static int virtio_mem_grow_added(struct virtio_mem *vm, unsigned long nr)
{
	unsigned long chunk;
	int rc = 0;

	for (chunk = 0; chunk < vm->nr_chunks && nr && !rc; chunk++) {
		unsigned long block = virtio_mem_chunk_block(vm, chunk);
		unsigned long end = block + virtio_mem_chunk_usable(vm, chunk);

		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ADDED)
			continue;
		while (nr && !rc && !virtio_mem_changed(vm)) {
			unsigned long next;

			block = find_next_zero_bit(vm->plugged, end, block);
			if (block >= end)
				break;
			next = find_next_bit(vm->plugged, end, block);
			next = min(next, block + nr);
			rc = virtio_mem_plug_added(vm, chunk, block,
						   next - block);
			if (!rc)
				nr -= next - block;
		}
	}
	return rc;
}

/*
 * Plugs a run of chunks that Linux doesn't know, up to @nr blocks.  Returns 1
 * when there was one, 0 when there is none, or an error.
 */
static int virtio_mem_plug_absent(struct virtio_mem *vm, unsigned long nr)
{
	unsigned long chunk = 0, first, run = 0;
	int rc;

	while (chunk < vm->nr_chunks &&
	       vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ABSENT)
		chunk++;
	first = chunk;
	nr = min(nr, rounddown(max(virtio_mem_run_blocks(vm), vm->unit_blocks),
			       vm->unit_blocks));
	for (; run < nr && chunk < vm->nr_chunks; chunk++) {
		unsigned long usable = virtio_mem_chunk_usable(vm, chunk);

		usable = rounddown(usable, vm->unit_blocks);
		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ABSENT ||
		    !usable)
			break;
		run += min(usable, nr - run);
		if (usable < vm->chunk_blocks) {
			chunk++;
			break;
		}
	}
	if (!run)
		return 0;

	rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_PLUG,
				       virtio_mem_chunk_block(vm, first), run);
	if (rc)
		return rc;
	virtio_mem_set_plugged(vm, virtio_mem_chunk_block(vm, first), run,
			       true);
	for (; first < chunk; first++)
		virtio_mem_chunk_move(vm, first, VIRTIO_MEM_CHUNK_DETACHED);
	return 1;
}

/* Adds chunks that are plugged; what can't be added is unplugged again. */
static int virtio_mem_add_detached(struct virtio_mem *vm)
{
	unsigned long chunk;
	int rc = 0;

	for (chunk = 0; chunk < vm->nr_chunks && !rc; chunk++) {
		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_DETACHED)
			continue;
		if (virtio_mem_changed(vm))
			return 0;
		rc = virtio_mem_add_chunk(vm, chunk);
	}
	if (rc)
		virtio_mem_unplug_detached(vm);
	return rc;
}

int virtio_mem_grow(struct virtio_mem *vm)
{
	unsigned long target = virtio_mem_target(vm);
	int rc;

	rc = virtio_mem_add_detached(vm);
	if (!rc && vm->nr_plugged < target)
		rc = virtio_mem_grow_added(vm, target - vm->nr_plugged);
	while (!rc && vm->nr_plugged < target && !virtio_mem_changed(vm)) {
		rc = virtio_mem_plug_absent(vm, target - vm->nr_plugged);
		if (rc > 0)
			rc = virtio_mem_add_detached(vm);
		else if (!rc)
			rc = -ENOSPC;
	}
	return rc;
}
