// SPDX-License-Identifier: GPL-2.0-only
/*
 * What memory hotplug tells of the device's memory: it goes on- or offline, by
 * the thread's doing or anybody else's.  Offlining that gets nowhere is ended.
 */

#include <linux/bitmap.h>
#include <linux/instruction_pointer.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/memory.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/sched/signal.h>
#include <linux/timer.h>

#include "compat.h"
#include "virtio_mem.h"

/*
 * Offlining would wait for a pinned page for ever.  It is looked at this often,
 * and ended when it got no further meanwhile.
 */
#define VIRTIO_MEM_OFFLINE_PERIOD	HZ

/*
 * Lets offlining pass pages that no one uses, or takes that back.  They don't
 * count as memory, so that nobody must count them off.
 */
static void virtio_mem_release_unplugged(struct virtio_mem *vm,
					 const struct memory_notify *mn,
					 bool release)
{
	unsigned long pfn = mn->start_pfn;
	long nr = virtio_mem_pass_unplugged(vm, pfn, pfn + mn->nr_pages,
					    release);

	if (VIRTIO_MEM_PAGES_BEGIN_RESERVED)
		adjust_managed_page_count(pfn_to_page(pfn), release ? nr : -nr);
}

/* The memory map of what went offline is gone, and who took pages of it. */
static void virtio_mem_forget_taken(struct virtio_mem *vm,
				    const struct memory_notify *mn)
{
	u64 offset = PFN_PHYS(mn->start_pfn) - vm->addr;
	unsigned long first = div64_u64(offset, vm->block_size);
	unsigned long end = div64_u64(offset + PFN_PHYS(mn->nr_pages),
				      vm->block_size);

	/* A block larger than a memory block is never taken. */
	bitmap_clear(vm->taken, first, end - first);
}

/*
 * All pages leave their list before the first is moved and freed.  One that
 * can't be moved goes back, so what counts is to be further than ever before.
 */
static bool virtio_mem_offline_advances(struct virtio_mem_offlining *off)
{
	struct virtio_mem_use now = virtio_mem_sample_use(off->pfn,
							  off->nr_pages);

	if (now.pages >= off->use.pages && now.listed >= off->use.listed)
		return false;
	if (now.pages < off->use.pages)
		off->use = now;
	off->use.listed = min(off->use.listed, now.listed);
	return true;
}

void virtio_mem_offline_look(struct timer_list *timer)
{
	struct virtio_mem_offlining *off =
		container_of(timer, struct virtio_mem_offlining, timer);
	struct virtio_mem *vm = container_of(off, struct virtio_mem, offlining);

	if (!virtio_mem_offline_advances(off))
		send_sig(SIGALRM, vm->thread, 1);
	mod_timer(timer, jiffies + VIRTIO_MEM_OFFLINE_PERIOD);
}

/* The pages can be looked at from GOING_OFFLINE to OFFLINE or CANCEL. */
static void virtio_mem_watch_offlining(struct virtio_mem *vm,
				       const struct memory_notify *mn)
{
	struct virtio_mem_offlining *off = &vm->offlining;

	if (current != vm->thread)
		return;
	/* To move pages may take long, in which nobody waits for RCU. */
	rcu_unexpedite_gp();
	off->pfn = mn->start_pfn;
	off->nr_pages = mn->nr_pages;
	off->use = (struct virtio_mem_use) { ULONG_MAX, ULONG_MAX };
	mod_timer(&off->timer, jiffies + VIRTIO_MEM_OFFLINE_PERIOD);
}

static void virtio_mem_unwatch_offlining(struct virtio_mem *vm)
{
	if (current != vm->thread)
		return;
	timer_delete_sync(&vm->offlining.timer);
	flush_signals(current);
	rcu_expedite_gp();
}

/*
 * The lock is held from one call of the notifier to another.  Meanwhile the
 * chain of notifiers is locked and unlocked, by this task alone: the hotplug
 * code is in no other.  To the lock validator it looks as if two locks were
 * taken in either order, so it is told otherwise.
 */
static void virtio_mem_hold_pages(struct virtio_mem *vm)
{
	vm->pages_held = true;
	mutex_release(&vm->pages.dep_map, _THIS_IP_);
}

static void virtio_mem_drop_pages(struct virtio_mem *vm)
{
	mutex_acquire(&vm->pages.dep_map, 0, 0, _THIS_IP_);
	vm->pages_held = false;
	mutex_unlock(&vm->pages);
	/* Memory that came online by hand may be what a shrink waits for. */
	if (current != vm->thread)
		virtio_mem_wake(vm);
}

int virtio_mem_notify(struct notifier_block *nb, unsigned long action,
		      void *arg)
{
	struct virtio_mem *vm = container_of(nb, struct virtio_mem, notifier);
	const struct memory_notify *mn = arg;
	struct virtio_mem_chunk *chunk;

	if (!virtio_mem_owns(vm, PFN_PHYS(mn->start_pfn)))
		return NOTIFY_DONE;
	chunk = &vm->chunks[virtio_mem_chunk_of(vm, PFN_PHYS(mn->start_pfn))];

	switch (action) {
	case MEM_GOING_ONLINE:
	case MEM_GOING_OFFLINE:
		mutex_lock(&vm->pages);
		if (action == MEM_GOING_ONLINE &&
		    READ_ONCE(vm->presence) != VIRTIO_MEM_PRESENT) {
			mutex_unlock(&vm->pages);
			return notifier_from_errno(-ENODEV);
		}
		if (action == MEM_GOING_OFFLINE) {
			virtio_mem_release_unplugged(vm, mn, true);
			virtio_mem_watch_offlining(vm, mn);
		}
		virtio_mem_hold_pages(vm);
		return NOTIFY_OK;
	case MEM_ONLINE:
		chunk->online++;
		break;
	case MEM_OFFLINE:
		chunk->online--;
		virtio_mem_unwatch_offlining(vm);
		virtio_mem_forget_taken(vm, mn);
		break;
	case MEM_CANCEL_ONLINE:
	case MEM_CANCEL_OFFLINE:
		if (action == MEM_CANCEL_ONLINE && current == vm->thread)
			vm->online_failed = true;
		/* Another notifier may have refused before it was our turn. */
		if (!vm->pages_held)
			return NOTIFY_DONE;
		if (action == MEM_CANCEL_OFFLINE) {
			virtio_mem_unwatch_offlining(vm);
			virtio_mem_release_unplugged(vm, mn, false);
		}
		break;
	default:
		return NOTIFY_DONE;
	}
	virtio_mem_drop_pages(vm);
	return NOTIFY_OK;
}
