// SPDX-License-Identifier: GPL-2.0-only
/*
 * Growing: fills the gaps of chunks that are added, then plugs runs of absent
 * ones, and adds them.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/minmax.h>

#include "virtio_mem.h"

/*
 * The chunk that is plugged last.  Each time that a memory block goes on- or
 * offline Linux looks at its zone from the start to the first hole, if there is
 * one (set_zone_contiguous()): a hole near the start makes large devices fast.
 */
#define VIRTIO_MEM_GAP			1UL

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
		while (nr && !rc && !virtio_mem_must_leave(vm)) {
			unsigned long next;

			block = find_next_zero_bit(vm->plugged, end, block);
			if (block >= end)
				break;
			next = find_next_bit(vm->plugged, end, block);
			next = min(next, block + nr);
			rc = virtio_mem_plug_added(vm, block, next - block);
			if (!rc)
				nr -= next - block;
		}
	}
	return rc;
}

/* Blocks of a chunk that can be plugged, if it is absent and may be of use. */
static unsigned long virtio_mem_pluggable(const struct virtio_mem *vm,
					  unsigned long chunk)
{
	if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ABSENT ||
	    vm->chunks[chunk].tried == vm->round)
		return 0;
	return rounddown(virtio_mem_chunk_usable(vm, chunk), vm->unit_blocks);
}

/* The next chunk to plug, or vm->nr_chunks. */
static unsigned long virtio_mem_next_absent(const struct virtio_mem *vm)
{
	unsigned long chunk, gap = vm->nr_chunks;

	for (chunk = 0; chunk < vm->nr_chunks; chunk++) {
		if (!virtio_mem_pluggable(vm, chunk))
			continue;
		if (chunk != VIRTIO_MEM_GAP)
			return chunk;
		gap = chunk;
	}
	return gap;
}

/* How many of up to @nr blocks from the start of a chunk are pluggable. */
static unsigned long virtio_mem_absent_run(const struct virtio_mem *vm,
					   unsigned long chunk,
					   unsigned long nr)
{
	unsigned long run = 0, part;

	do {
		part = virtio_mem_pluggable(vm, chunk);
		run += part;
		chunk++;
	} while (run < nr && part == vm->chunk_blocks &&
		 chunk < vm->nr_chunks && chunk != VIRTIO_MEM_GAP);
	return min(run, nr);
}

/*
 * Plugs a run of chunks that Linux doesn't know, up to @nr blocks.  Returns 1
 * when there was one, 0 when there is none, or an error.
 */
static int virtio_mem_plug_absent(struct virtio_mem *vm, unsigned long nr)
{
	unsigned long chunk = virtio_mem_next_absent(vm), block, run;
	int rc;

	if (chunk == vm->nr_chunks)
		return 0;
	block = virtio_mem_chunk_block(vm, chunk);
	run = virtio_mem_absent_run(vm, chunk,
				    min(nr, virtio_mem_run_blocks(vm)));
	rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_PLUG, block, run);
	if (rc)
		return rc;
	virtio_mem_set_plugged(vm, block, run, true);
	for (; run; run -= min(run, vm->chunk_blocks))
		virtio_mem_chunk_move(vm, chunk++, VIRTIO_MEM_CHUNK_DETACHED);
	return 1;
}

/*
 * Adds chunks that are plugged; what can't be added is unplugged again.  Where
 * something else is in the place of one, others may do: *@refused says so.
 */
static int virtio_mem_add_detached(struct virtio_mem *vm, int *refused)
{
	unsigned long chunk;
	int rc = 0, unplugged;

	for (chunk = 0; chunk < vm->nr_chunks && !rc; chunk++) {
		struct virtio_mem_chunk *c = &vm->chunks[chunk];

		if (c->state != VIRTIO_MEM_CHUNK_DETACHED ||
		    c->tried == vm->round)
			continue;
		if (virtio_mem_must_leave(vm))
			return 0;
		c->tried = vm->round;
		rc = virtio_mem_add_chunk(vm, chunk);
		if (rc == -EEXIST) {
			*refused = rc;
			rc = 0;
		}
	}
	if (!rc && !*refused)
		return 0;
	unplugged = virtio_mem_unplug_detached(vm);
	return rc ?: unplugged;
}

int virtio_mem_grow(struct virtio_mem *vm)
{
	unsigned long target = virtio_mem_target(vm);
	int rc, refused = 0;

	vm->round++;
	rc = virtio_mem_add_detached(vm, &refused);
	if (!rc && vm->nr_plugged < target)
		rc = virtio_mem_grow_added(vm, target - vm->nr_plugged);
	while (!rc && vm->nr_plugged < target && !virtio_mem_must_leave(vm)) {
		rc = virtio_mem_plug_absent(vm, target - vm->nr_plugged);
		if (rc > 0)
			rc = virtio_mem_add_detached(vm, &refused);
		else if (!rc)
			rc = refused ?: -ENOSPC;
	}
	if (!rc && vm->nr_plugged < target)
		rc = -EINTR;		/* left half-way, for another target */
	return rc;
}
