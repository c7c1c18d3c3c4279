// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shrinking: whole chunks first, which touches nothing that is free; then
 * blocks of those that can't go as a whole, page by page.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/virtio_mem.h>

#include "virtio_mem.h"

/* How much of a chunk may be in use: what has less goes first. */
static const unsigned int virtio_mem_used_32nds[] = { 0, 2, 8, 32 };

static bool virtio_mem_may_remove(struct virtio_mem *vm, unsigned long chunk)
{
	if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ADDED)
		return false;
	return READ_ONCE(virtio_mem_unplug_online) ||
	       !READ_ONCE(vm->chunks[chunk].online) ||
	       !vm->chunks[chunk].plugged;
}

/* Whether no more than @limit pages of a run of blocks are in use. */
static bool virtio_mem_is_within(struct virtio_mem *vm, unsigned long block,
				 unsigned long nr, unsigned long limit)
{
	unsigned long nr_pages = nr * virtio_mem_block_pages(vm);
	ktime_t since = ktime_get();
	unsigned long used;

	if (limit >= nr_pages)
		return true;
	if (!virtio_mem_lock_pages(vm))
		return false;
	used = virtio_mem_pages_in_use(virtio_mem_block_pfn(vm, block),
				       nr_pages, limit);
	mutex_unlock(&vm->pages);
	virtio_mem_count_work(vm, VIRTIO_MEM_WORK_LOOK, since, true);
	return used <= limit;
}

/* Chunks */

/*
 * Chunks that nobody uses go together, up to this size: each call of Linux
 * interrupts all CPUs.  One page in the way brings all of them back.
 */
#define VIRTIO_MEM_REMOVE_SIZE		SZ_512M

/* Blocks, except for the limit. */
struct virtio_mem_shrinking {
	unsigned long excess;		/* more than the target */
	unsigned long removed;		/* of Linux, not yet unplugged */
	unsigned long limit;		/* pages: chunks with more in use wait */
};

static unsigned long virtio_mem_plugged_in(const struct virtio_mem *vm,
					   unsigned long chunk,
					   unsigned long nr)
{
	unsigned long plugged = 0;

	while (nr--)
		plugged += vm->chunks[chunk + nr].plugged;
	return plugged;
}

/* Whether one of those who are asked may have refused: no page is the reason. */
static bool virtio_mem_was_refused(int rc)
{
	return rc != -EBUSY && rc != -EINTR && rc != -EAGAIN && rc != -ENOMEM;
}

/* Tells why @nr chunks could not be removed, if that was tried one by one. */
static void virtio_mem_not_removed(struct virtio_mem *vm, unsigned long chunk,
				   unsigned long nr, int rc)
{
	unsigned long plugged = virtio_mem_plugged_in(vm, chunk, nr);
	enum virtio_mem_kind kind =
		virtio_mem_blame(vm, virtio_mem_chunk_block(vm, chunk),
				 nr * vm->chunk_blocks);

	if (nr > 1)
		return;
	if (kind == VIRTIO_MEM_PAGE_FREE && virtio_mem_was_refused(rc))
		virtio_mem_stuck(vm, VIRTIO_MEM_X_OFFLINE_REFUSED, plugged);
	else
		virtio_mem_stuck_by(vm, kind, plugged);
}

/* Removes @nr chunks, or none. */
static bool virtio_mem_try_remove(struct virtio_mem *vm, unsigned long chunk,
				  unsigned long nr)
{
	u64 size = virtio_mem_plugged_in(vm, chunk, nr) * vm->block_size;
	unsigned long i, plugged;
	enum virtio_mem_kind kind;
	int rc;

	for (i = chunk; i < chunk + nr; i++) {
		/* Several are tried again, one by one. */
		plugged = nr == 1 ? vm->chunks[i].plugged : 0;
		if (READ_ONCE(vm->chunks[i].online) &&
		    !(virtio_mem_can_spare(size) &&
		      virtio_mem_fits_elsewhere(vm, i))) {
			virtio_mem_stuck(vm, VIRTIO_MEM_X_NO_SPACE, plugged);
			return false;
		}
		kind = virtio_mem_obstructed(vm, i);
		if (kind != VIRTIO_MEM_PAGE_FREE) {
			virtio_mem_stuck_by(vm, kind, plugged);
			return false;
		}
	}
	if (nr == 1 && READ_ONCE(vm->chunks[chunk].online))
		virtio_mem_drop_cache(vm, chunk);
	rc = virtio_mem_remove_chunks(vm, chunk, nr);
	if (rc)
		virtio_mem_not_removed(vm, chunk, nr, rc);
	return !rc;
}

/*
 * Removes @nr chunks, together or, where that fails, one by one.  Returns how
 * many blocks that were.
 */
static unsigned long virtio_mem_remove_run(struct virtio_mem *vm,
					   unsigned long chunk,
					   unsigned long nr)
{
	unsigned long removed = 0;

	if (virtio_mem_try_remove(vm, chunk, nr))
		return virtio_mem_plugged_in(vm, chunk, nr);
	if (nr == 1)
		return 0;
	while (nr-- && !virtio_mem_must_leave(vm))
		if (virtio_mem_try_remove(vm, chunk + nr, 1))
			removed += vm->chunks[chunk + nr].plugged;
	return removed;
}

static bool virtio_mem_is_candidate(struct virtio_mem *vm, unsigned long chunk,
				    unsigned long excess, unsigned long limit)
{
	const struct virtio_mem_chunk *c = &vm->chunks[chunk];

	return c->tried != vm->round && c->plugged <= excess &&
	       virtio_mem_may_remove(vm, chunk) &&
	       virtio_mem_is_within(vm, virtio_mem_chunk_block(vm, chunk),
				    vm->chunk_blocks, limit);
}

/* How many candidates end with @chunk, up to @most. */
static unsigned long virtio_mem_candidates(struct virtio_mem *vm,
					   unsigned long chunk,
					   unsigned long most,
					   const struct virtio_mem_shrinking *s)
{
	unsigned long excess = s->excess, nr = 0;

	while (nr < most && nr <= chunk &&
	       virtio_mem_is_candidate(vm, chunk - nr, excess, s->limit)) {
		excess -= vm->chunks[chunk - nr].plugged;
		nr++;
	}
	return nr;
}

/*
 * Removes chunks that end with @chunk, each tried once a round.  What is removed
 * is unplugged in long runs, but early when it gets slow: the host waits for it.
 */
static int virtio_mem_shrink_from(struct virtio_mem *vm, unsigned long chunk,
				  unsigned long most,
				  struct virtio_mem_shrinking *s)
{
	unsigned long nr = virtio_mem_candidates(vm, chunk, most, s);
	unsigned long first = chunk + 1 - nr, wanted, removed, i;

	if (!nr)
		return 0;
	for (i = first; i <= chunk; i++)
		vm->chunks[i].tried = vm->round;
	wanted = virtio_mem_plugged_in(vm, first, nr);
	removed = virtio_mem_remove_run(vm, first, nr);
	s->excess -= removed;
	s->removed += removed;
	if (!s->removed || (removed == wanted &&
			    s->removed < virtio_mem_run_blocks(vm)))
		return 0;
	s->removed = 0;
	return virtio_mem_unplug_detached(vm);
}

/*
 * Makes a hole near the start of the zone, unless there is one: all that goes
 * after it goes the faster (see VIRTIO_MEM_GAP).
 */
static int virtio_mem_shrink_gap(struct virtio_mem *vm,
				 struct virtio_mem_shrinking *s)
{
	unsigned long chunk = 0, excess = s->excess;
	int rc = 0;

	while (chunk < vm->nr_chunks &&
	       vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ADDED)
		chunk++;
	while (++chunk < vm->nr_chunks && !rc && s->excess == excess &&
	       vm->chunks[chunk].state == VIRTIO_MEM_CHUNK_ADDED &&
	       !virtio_mem_must_leave(vm))
		rc = virtio_mem_shrink_from(vm, chunk, 1, s);
	return rc;
}

/*
 * Removes whole chunks as long as the target allows: those first that have the
 * least in use, so that little has to be moved, and nothing twice.
 */
static int virtio_mem_shrink_chunks(struct virtio_mem *vm, unsigned long target)
{
	struct virtio_mem_shrinking s = { .excess = vm->nr_plugged - target };
	unsigned long together =
		max(div64_u64(VIRTIO_MEM_REMOVE_SIZE, vm->chunk_size), 1);
	unsigned long chunk;
	unsigned int i;
	int rc;

	vm->round++;
	rc = virtio_mem_shrink_gap(vm, &s);
	for (i = 0; i < ARRAY_SIZE(virtio_mem_used_32nds) && !rc; i++) {
		s.limit = PHYS_PFN(vm->chunk_size) / 32 *
			  virtio_mem_used_32nds[i];
		for (chunk = vm->nr_chunks; chunk-- && !rc;) {
			if (virtio_mem_must_leave(vm))
				goto out;
			rc = virtio_mem_shrink_from(vm, chunk,
						    s.limit ? 1 : together, &s);
		}
		/* Chunks without a plugged block had nothing in use. */
		if (!s.excess)
			break;
	}
out:
	return rc ?: virtio_mem_unplug_detached(vm);
}

/* Blocks */

/* How many plugged blocks end before @end, not below @first, up to @most. */
static unsigned long virtio_mem_plugged_before(const struct virtio_mem *vm,
					       unsigned long first,
					       unsigned long end,
					       unsigned long most)
{
	unsigned long nr = 0;

	while (nr < most && end - nr > first &&
	       test_bit(end - nr - 1, vm->plugged))
		nr++;
	return nr;
}

/*
 * Takes a run of @nr plugged blocks that ends before @end, if no more than
 * @limit pages of it are in use, or fewer of it when not all can be had.
 * Returns how many it took.
 */
static unsigned long virtio_mem_take_before(struct virtio_mem *vm,
					    unsigned long chunk,
					    unsigned long end, unsigned long nr,
					    unsigned long limit)
{
	for (; nr; nr /= 2) {
		unsigned long block = end - nr;

		if ((!READ_ONCE(vm->chunks[chunk].online) ||
		     virtio_mem_can_spare(nr * vm->block_size)) &&
		    virtio_mem_is_within(vm, block, nr, limit) &&
		    virtio_mem_take(vm, chunk, block, nr))
			break;
	}
	return nr;
}

/* Tells why a block could not be taken. */
static void virtio_mem_not_taken(struct virtio_mem *vm, unsigned long chunk,
				 unsigned long block)
{
	if (READ_ONCE(vm->chunks[chunk].online) &&
	    !virtio_mem_can_spare(vm->block_size))
		virtio_mem_stuck(vm, VIRTIO_MEM_X_NO_SPACE, 1);
	else
		virtio_mem_stuck_by(vm, virtio_mem_blame(vm, block, 1), 1);
}

/*
 * Takes up to @excess blocks of one chunk, from the top, many at once where
 * that works; each run is unplugged at once.  Blocks with more than @limit
 * pages in use are left.
 */
static int virtio_mem_shrink_partly(struct virtio_mem *vm, unsigned long chunk,
				    unsigned long excess, unsigned long limit)
{
	unsigned long first = virtio_mem_chunk_block(vm, chunk);
	unsigned long end = first + vm->chunk_blocks, nr;
	struct virtio_mem_run run = { };
	int rc = 0;

	while (end > first && excess && !rc && !virtio_mem_must_leave(vm)) {
		nr = virtio_mem_plugged_before(vm, first, end,
					       min(excess, vm->take_blocks));
		nr = virtio_mem_take_before(vm, chunk, end, nr, limit);
		if (nr) {
			end -= nr;
			excess -= nr;
			run.block = end;
			run.nr += nr;
			continue;
		}
		rc = virtio_mem_unplug_taken(vm, &run);
		end--;
		if (limit && test_bit(end, vm->plugged))
			virtio_mem_not_taken(vm, chunk, end);
	}
	return rc ?: virtio_mem_unplug_taken(vm, &run);
}

/* Free blocks first: they need not be moved. */
static int virtio_mem_shrink_both(struct virtio_mem *vm, unsigned long chunk,
				  unsigned long excess)
{
	unsigned long before = vm->nr_plugged;
	int rc = virtio_mem_shrink_partly(vm, chunk, excess, 0);

	excess -= before - vm->nr_plugged;
	return rc ?: virtio_mem_shrink_partly(vm, chunk, excess, ULONG_MAX);
}

/*
 * Takes what is left block by block.  Chunks that have the least plugged go
 * first: they are the ones that can be removed soonest.
 */
static int virtio_mem_shrink_blocks(struct virtio_mem *vm, unsigned long target)
{
	unsigned long nr, chunk;
	int rc = 0;

	/* What was found of whole chunks is looked at anew. */
	memset(vm->stuck, 0, sizeof(vm->stuck));
	for (nr = 1; nr <= vm->chunk_blocks && !rc; nr++, cond_resched()) {
		for (chunk = vm->nr_chunks; chunk-- && !rc;) {
			if (vm->nr_plugged <= target || virtio_mem_must_leave(vm))
				return 0;
			if (!virtio_mem_may_remove(vm, chunk) ||
			    vm->chunks[chunk].plugged != nr)
				continue;
			rc = virtio_mem_shrink_both(vm, chunk,
						    vm->nr_plugged - target);
		}
	}
	return rc;
}

static int virtio_mem_why_not(struct virtio_mem *vm, unsigned long excess)
{
	if (!READ_ONCE(virtio_mem_unplug_online)) {
		virtio_mem_stuck(vm, VIRTIO_MEM_X_OFFLINE_REFUSED, excess);
		return -EPERM;
	}
	return virtio_mem_can_spare(vm->block_size) ? -EBUSY : -ENOMEM;
}

int virtio_mem_shrink(struct virtio_mem *vm)
{
	unsigned long target = virtio_mem_target(vm);
	int rc;

	rc = virtio_mem_unplug_detached(vm);
	if (!rc && vm->nr_plugged > target)
		rc = virtio_mem_shrink_chunks(vm, target);
	if (!rc && vm->nr_plugged > target &&
	    vm->unit_blocks < vm->chunk_blocks)
		rc = virtio_mem_shrink_blocks(vm, target);
	if (!rc && vm->nr_plugged > target)
		rc = virtio_mem_why_not(vm, vm->nr_plugged - target);
	return rc;
}

/* Removes chunks that are added, but lost their last block. */
int virtio_mem_remove_empty(struct virtio_mem *vm)
{
	unsigned long chunk;

	for (chunk = 0; chunk < vm->nr_chunks; chunk++)
		if (vm->chunks[chunk].state == VIRTIO_MEM_CHUNK_ADDED &&
		    !vm->chunks[chunk].plugged)
			return virtio_mem_shrink_chunks(vm, vm->nr_plugged);
	return 0;
}
