// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages.  A block of an online chunk that is not plugged has its pages marked
 * PageOffline: dumps and others leave them alone, and offlining lets them pass.
 */

#include <linux/math64.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/page-flags.h>
#include <linux/page_ref.h>
#include <linux/pageblock-flags.h>
#include <linux/rculist.h>

#include "compat.h"
#include "virtio_mem.h"

/* To know how many pages are in use, this many are looked at, evenly spread. */
#define VIRTIO_MEM_SAMPLES		4096

static void virtio_mem_mark_offline(unsigned long pfn, unsigned long nr)
{
	page_offline_begin();
	for (; nr--; pfn++)
		__SetPageOffline(pfn_to_page(pfn));
	page_offline_end();
}

static void virtio_mem_clear_offline(unsigned long pfn, unsigned long nr)
{
	page_offline_begin();
	for (; nr--; pfn++)
		__ClearPageOffline(pfn_to_page(pfn));
	page_offline_end();
}

/* Keeps pages that come online from the page allocator, as PageOffline. */
static void virtio_mem_conceal(unsigned long pfn, unsigned long nr)
{
	unsigned long end = pfn + nr;

	if (!VIRTIO_MEM_PAGES_BEGIN_RESERVED)
		return;
	virtio_mem_mark_offline(pfn, nr);
	for (; pfn < end; pfn++)
		__ClearPageReserved(pfn_to_page(pfn));
}

/* Gives pages that came online to the page allocator. */
static void virtio_mem_expose(unsigned long pfn, unsigned long nr)
{
	while (nr) {
		unsigned int order = min_t(unsigned int, MAX_PAGE_ORDER,
					   min(__ffs(pfn), __fls(nr)));

		generic_online_page(pfn_to_page(pfn), order);
		pfn += 1UL << order;
		nr -= 1UL << order;
	}
}

/* Called with vm->pages held; the block is plugged, its chunk online. */
void virtio_mem_fake_online(struct virtio_mem *vm, unsigned long block)
{
	unsigned long pfn = virtio_mem_block_pfn(vm, block);
	unsigned long nr = virtio_mem_block_pages(vm);

	if (!test_bit(block, vm->taken)) {
		if (VIRTIO_MEM_PAGES_BEGIN_RESERVED)
			virtio_mem_clear_offline(pfn, nr);
		virtio_mem_expose(pfn, nr);
		return;
	}
	__clear_bit(block, vm->taken);
	virtio_mem_clear_offline(pfn, nr);
	adjust_managed_page_count(pfn_to_page(pfn), nr);
	free_contig_range(pfn, nr);
}

/*
 * Called with vm->pages held.  Lets Linux pass unplugged pages when it isolates
 * memory, by leaving them without a reference, or takes that back.  Returns how
 * many there are.
 */
unsigned long virtio_mem_pass_unplugged(struct virtio_mem *vm,
					unsigned long pfn, unsigned long end,
					bool pass)
{
	unsigned long passed = 0;

	for (; pfn < end; pfn++) {
		unsigned long block = virtio_mem_block_of(vm, pfn);

		if (test_bit(block, vm->plugged)) {
			pfn = min(end, virtio_mem_block_pfn(vm, block + 1)) - 1;
			continue;
		}
		if (pass)
			page_ref_dec(pfn_to_page(pfn));
		else
			page_ref_inc(pfn_to_page(pfn));
		passed++;
	}
	return passed;
}

/* Linux isolates whole pageblocks: there may be unplugged blocks in them, too. */
static void virtio_mem_pass_neighbours(struct virtio_mem *vm, unsigned long pfn,
				       unsigned long end, bool pass)
{
	virtio_mem_pass_unplugged(vm, pageblock_start_pfn(pfn), pfn, pass);
	virtio_mem_pass_unplugged(vm, end, pageblock_align(end), pass);
}

/*
 * Called with vm->pages held; the blocks' chunk is online.  Moves away what
 * uses the blocks.  Returns 0, -EBUSY or -ENOMEM.
 */
int virtio_mem_fake_offline(struct virtio_mem *vm, unsigned long block,
			    unsigned long nr)
{
	unsigned long pfn = virtio_mem_block_pfn(vm, block);
	unsigned long nr_pages = nr * virtio_mem_block_pages(vm);
	int rc;

	virtio_mem_pass_neighbours(vm, pfn, pfn + nr_pages, true);
	rc = alloc_contig_range(pfn, pfn + nr_pages, ACR_FLAGS_NONE,
				GFP_KERNEL | __GFP_NOWARN);
	virtio_mem_pass_neighbours(vm, pfn, pfn + nr_pages, false);
	if (rc)
		return rc;
	virtio_mem_mark_offline(pfn, nr_pages);
	adjust_managed_page_count(pfn_to_page(pfn), -(long)nr_pages);
	bitmap_set(vm->taken, block, nr);
	return 0;
}

/*
 * The memory of all devices comes online here, in pieces of up to the largest
 * order.  What is not plugged stays PageOffline, as the memory map starts.
 */
void virtio_mem_online_page(struct page *page, unsigned int order)
{
	unsigned long pfn = page_to_pfn(page);
	unsigned long end = pfn + (1UL << order), last;
	struct virtio_mem *vm;

	/* The notifier holds vm->pages: no device of these pages goes away. */
	rcu_read_lock();
	list_for_each_entry_rcu(vm, &virtio_mem_devices, list) {
		if (virtio_mem_owns(vm, PFN_PHYS(pfn)))
			break;
	}
	rcu_read_unlock();
	if (list_entry_is_head(vm, &virtio_mem_devices, list)) {
		generic_online_page(page, order);
		return;
	}

	last = virtio_mem_block_of(vm, end - 1) + 1;
	while (pfn < end) {
		unsigned long block = virtio_mem_block_of(vm, pfn), next;
		bool plugged = test_bit(block, vm->plugged);

		next = plugged ? find_next_zero_bit(vm->plugged, last, block) :
				 find_next_bit(vm->plugged, last, block);
		next = min(end, virtio_mem_block_pfn(vm, next));
		if (plugged)
			virtio_mem_expose(pfn, next - pfn);
		else
			virtio_mem_conceal(pfn, next - pfn);
		pfn = next;
	}
}

/* How many pages are free for sure if this one is, else 1. */
unsigned long virtio_mem_free_pages(struct page *page)
{
	/* It may be in use by now: the order has to make sense, that is all. */
	return !PageBuddy(page) ? 1 :
	       1UL << min_t(unsigned long, READ_ONCE(page_private(page)),
			    MAX_PAGE_ORDER);
}

/*
 * Counts pages from @pfn to @end that somebody uses, one of each @stride looked
 * at, as far as more than @limit are.  Free memory takes next to no time.
 */
static struct virtio_mem_use virtio_mem_count_use(unsigned long pfn,
						  unsigned long end,
						  unsigned long stride,
						  unsigned long limit)
{
	struct virtio_mem_use use = { };

	while (pfn < end && use.pages <= limit) {
		struct page *page = pfn_to_online_page(pfn);

		if (page && page_ref_count(compound_head(page)) &&
		    !PageOffline(page) && !PageHWPoison(page)) {
			use.pages += stride;
			if (PageLRU(compound_head(page)))
				use.listed += stride;
		}
		pfn += max(stride, page ? virtio_mem_free_pages(page) : 1);
	}
	return use;
}

/* Pages of @nr from @pfn that somebody uses, as far as more than @limit are. */
unsigned long virtio_mem_pages_in_use(unsigned long pfn, unsigned long nr,
				      unsigned long limit)
{
	return virtio_mem_count_use(pfn, pfn + nr, 1, limit).pages;
}

/* The same by samples, so that it never takes long. */
struct virtio_mem_use virtio_mem_sample_use(unsigned long pfn, unsigned long nr)
{
	return virtio_mem_count_use(pfn, pfn + nr,
				    DIV_ROUND_UP(nr, VIRTIO_MEM_SAMPLES),
				    ULONG_MAX);
}

/*
 * The notifier may hold the lock for long, when somebody takes memory offline
 * that is in use.  Returns false when the thread is to rest meanwhile.
 */
bool virtio_mem_lock_pages(struct virtio_mem *vm)
{
	bool locked;

	wait_event_idle(vm->wait, (locked = mutex_trylock(&vm->pages)) ||
			READ_ONCE(vm->leave));
	return locked;
}
