// SPDX-License-Identifier: GPL-2.0-only
/*
 * Chunks: what Linux gets and loses at once.  A chunk is absent, detached or
 * added; each function moves one, or a run of its blocks, a step, and counts it.
 * Which of them to move is up to grow.c and shrink.c.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/virtio.h>

#include "virtio_mem.h"

static const bool virtio_mem_moves[VIRTIO_MEM_NR_CHUNK_STATES]
				  [VIRTIO_MEM_NR_CHUNK_STATES] = {
	[VIRTIO_MEM_CHUNK_ABSENT] = {
		[VIRTIO_MEM_CHUNK_DETACHED] = true,	/* plugged */
	},
	[VIRTIO_MEM_CHUNK_DETACHED] = {
		[VIRTIO_MEM_CHUNK_ABSENT] = true,	/* unplugged */
		[VIRTIO_MEM_CHUNK_ADDED] = true,	/* added */
	},
	[VIRTIO_MEM_CHUNK_ADDED] = {
		[VIRTIO_MEM_CHUNK_DETACHED] = true,	/* removed */
	},
};

void virtio_mem_chunk_move(struct virtio_mem *vm, unsigned long chunk,
			   enum virtio_mem_chunk_state state)
{
	struct virtio_mem_chunk *c = &vm->chunks[chunk];

	if (WARN_ON_ONCE(!virtio_mem_moves[c->state][state]))
		return;
	c->state = state;
}

/* Whether Linux knows memory of the device. */
bool virtio_mem_in_use(const struct virtio_mem *vm)
{
	unsigned long chunk;

	for (chunk = 0; chunk < vm->nr_chunks; chunk++)
		if (vm->chunks[chunk].state == VIRTIO_MEM_CHUNK_ADDED)
			return true;
	return false;
}

void virtio_mem_set_plugged(struct virtio_mem *vm, unsigned long block,
			    unsigned long nr, bool plugged)
{
	unsigned long chunk, end, part;

	if (plugged) {
		bitmap_set(vm->plugged, block, nr);
		vm->nr_plugged += nr;
	} else {
		bitmap_clear(vm->plugged, block, nr);
		vm->nr_plugged -= nr;
	}
	for (; nr; nr -= part, block += part) {
		chunk = virtio_mem_chunk_of_block(vm, block);
		end = virtio_mem_chunk_block(vm, chunk + 1);
		part = min(nr, end - block);
		if (plugged)
			vm->chunks[chunk].plugged += part;
		else
			vm->chunks[chunk].plugged -= part;
	}
}

/* Gives plugged blocks of a chunk that is added to Linux. */
static void virtio_mem_give(struct virtio_mem *vm, unsigned long block,
			    unsigned long nr)
{
	ktime_t since = ktime_get();
	unsigned long i;

	if (!virtio_mem_lock_pages(vm)) {
		virtio_mem_doubt(vm, block, nr);
		return;
	}
	virtio_mem_set_plugged(vm, block, nr, true);
	/* A block is no larger than a memory block, or it is a whole chunk. */
	for (i = block; i < block + nr; i++)
		if (pfn_to_online_page(virtio_mem_block_pfn(vm, i)))
			virtio_mem_fake_online(vm, i);
	mutex_unlock(&vm->pages);
	virtio_mem_count_work(vm, VIRTIO_MEM_WORK_GIVE, since, true);
}

int virtio_mem_plug_added(struct virtio_mem *vm, unsigned long block,
			  unsigned long nr)
{
	int rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_PLUG, block, nr);

	if (!rc)
		virtio_mem_give(vm, block, nr);
	return rc;
}

/*
 * Takes plugged blocks of a chunk that is added from Linux, whether it is
 * online or not: all of them, which then count as unplugged, or none.
 */
bool virtio_mem_take(struct virtio_mem *vm, unsigned long chunk,
		     unsigned long block, unsigned long nr)
{
	ktime_t since = ktime_get();
	bool taken = true;

	if (!virtio_mem_lock_pages(vm))
		return false;
	if (vm->chunks[chunk].online)
		taken = READ_ONCE(virtio_mem_unplug_online) &&
			!virtio_mem_fake_offline(vm, block, nr);
	if (taken)
		virtio_mem_set_plugged(vm, block, nr, false);
	mutex_unlock(&vm->pages);
	virtio_mem_count_work(vm, VIRTIO_MEM_WORK_TAKE, since, taken);
	return taken;
}

/*
 * Uses blocks that count as unplugged, but that the device has plugged and
 * keeps.  Those outside of all chunks are of no use.
 */
void virtio_mem_adopt(struct virtio_mem *vm, unsigned long block,
		      unsigned long nr)
{
	unsigned long end = min(block + nr,
				virtio_mem_chunk_block(vm, vm->nr_chunks));
	unsigned long chunk, part;

	for (block = max(block, vm->first_block); block < end; block += part) {
		chunk = virtio_mem_chunk_of_block(vm, block);
		part = min(end, virtio_mem_chunk_block(vm, chunk + 1)) - block;
		if (vm->chunks[chunk].state == VIRTIO_MEM_CHUNK_ADDED) {
			virtio_mem_give(vm, block, part);
			continue;
		}
		virtio_mem_set_plugged(vm, block, part, true);
		if (vm->chunks[chunk].state == VIRTIO_MEM_CHUNK_ABSENT)
			virtio_mem_chunk_move(vm, chunk,
					      VIRTIO_MEM_CHUNK_DETACHED);
	}
}

/*
 * Unplugs blocks that were taken, and empties the run.  Linux gets them back if
 * that is refused.
 */
int virtio_mem_unplug_taken(struct virtio_mem *vm, struct virtio_mem_run *run)
{
	int rc = 0;

	if (run->nr) {
		rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_UNPLUG,
					       run->block, run->nr);
		if (virtio_mem_refused(rc))
			virtio_mem_give(vm, run->block, run->nr);
	}
	run->nr = 0;
	return rc;
}

static int virtio_mem_try_add(struct virtio_mem *vm, unsigned long chunk)
{
	ktime_t since = ktime_get();
	int rc;

	if (!virtio_mem_begin_hotplug(vm))
		return -EINTR;
	vm->online_failed = false;
	rc = add_memory_driver_managed(vm->mgid,
				       virtio_mem_chunk_addr(vm, chunk),
				       vm->chunk_size,
				       "System RAM (virtio_mem)",
				       MHP_MERGE_RESOURCE | MHP_NID_IS_MGID);
	if (!rc) {
		__module_get(THIS_MODULE);
		virtio_mem_chunk_move(vm, chunk, VIRTIO_MEM_CHUNK_ADDED);
	} else if (!vm->add_told && virtio_mem_may_tell(vm)) {
		vm->add_told = true;
		pr_warn("cannot add memory at 0x%llx: %d\n",
			virtio_mem_chunk_addr(vm, chunk), rc);
	}
	virtio_mem_count_work(vm, VIRTIO_MEM_WORK_ADD, since, !rc);
	virtio_mem_end_hotplug(vm);
	return rc;
}

/*
 * Takes @nr chunks offline and removes them, or none.  Free pages are not
 * touched, used ones are moved.  Returns 0 or a negative error.
 */
int virtio_mem_remove_chunks(struct virtio_mem *vm, unsigned long chunk,
			     unsigned long nr)
{
	ktime_t since = ktime_get();
	unsigned long i;
	int rc;

	if (!virtio_mem_begin_hotplug(vm))
		return -EINTR;
	rc = offline_and_remove_memory(virtio_mem_chunk_addr(vm, chunk),
				       nr * vm->chunk_size);
	for (i = chunk; !rc && i < chunk + nr; i++) {
		virtio_mem_chunk_move(vm, i, VIRTIO_MEM_CHUNK_DETACHED);
		module_put(THIS_MODULE);
	}
	virtio_mem_count_work(vm, VIRTIO_MEM_WORK_REMOVE, since, !rc);
	virtio_mem_end_hotplug(vm);
	return rc;
}

/*
 * Memory that should come online by itself and could not is taken back: unlike
 * the kernel, the driver tries again.  Returns 0 or a negative error.
 */
int virtio_mem_add_chunk(struct virtio_mem *vm, unsigned long chunk)
{
	int rc = virtio_mem_try_add(vm, chunk);

	if (!rc && vm->online_failed && !virtio_mem_remove_chunks(vm, chunk, 1))
		rc = -ECANCELED;
	return rc;
}

/* Sends a run of adjacent blocks with one UNPLUG request, and empties it. */
static int virtio_mem_run_unplug(struct virtio_mem *vm,
				 struct virtio_mem_run *run)
{
	int rc = 0;

	if (run->nr) {
		rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_UNPLUG,
					       run->block, run->nr);
		if (!virtio_mem_refused(rc))
			virtio_mem_set_plugged(vm, run->block, run->nr, false);
	}
	run->nr = 0;
	return rc;
}

/* Adds a block below the run; what doesn't fit goes to the device first. */
static int virtio_mem_run_prepend(struct virtio_mem *vm,
				  struct virtio_mem_run *run,
				  unsigned long block)
{
	int rc = 0;

	if (run->nr && (block + 1 != run->block ||
			run->nr >= virtio_mem_run_blocks(vm)))
		rc = virtio_mem_run_unplug(vm, run);
	run->block = block;
	run->nr++;
	return rc;
}

/*
 * Unplugs what Linux doesn't know, or no longer: chunks that were removed, or
 * that could not be added.  Downwards, as they were removed.
 */
int virtio_mem_unplug_detached(struct virtio_mem *vm)
{
	struct virtio_mem_run run = { };
	unsigned long chunk, block, i;
	/* Of what the device lost it has nothing to unplug. */
	int rc = vm->lost.nr ? virtio_mem_take_stock(vm) : 0;

	for (chunk = vm->nr_chunks; chunk-- && !rc;) {
		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_DETACHED)
			continue;
		block = virtio_mem_chunk_block(vm, chunk);
		for (i = vm->chunk_blocks; i-- && !rc;)
			if (test_bit(block + i, vm->plugged))
				rc = virtio_mem_run_prepend(vm, &run,
							    block + i);
	}
	if (!rc)
		rc = virtio_mem_run_unplug(vm, &run);

	for (chunk = 0; chunk < vm->nr_chunks; chunk++)
		if (vm->chunks[chunk].state == VIRTIO_MEM_CHUNK_DETACHED &&
		    !vm->chunks[chunk].plugged)
			virtio_mem_chunk_move(vm, chunk,
					      VIRTIO_MEM_CHUNK_ABSENT);
	return rc;
}
