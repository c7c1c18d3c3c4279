// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stands in the way: pages that memory can't be taken back for.  What was
 * found is remembered, to tell the user, and so as not to try in vain.
 */

#include <linux/delay.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/page-flags.h>

#include "compat.h"
#include "virtio_mem.h"

/* After so long what somebody holds for a moment is not held any more. */
#define VIRTIO_MEM_MOMENT_US		1000

const char *virtio_mem_kind_name(enum virtio_mem_kind kind)
{
	static const char * const names[] = {
		[VIRTIO_MEM_PAGE_FREE] = "free",
		[VIRTIO_MEM_PAGE_UNPLUGGED] = "unplugged",
		[VIRTIO_MEM_PAGE_MOVABLE] = "movable",
		[VIRTIO_MEM_PAGE_PINNED] = "pinned",
		[VIRTIO_MEM_PAGE_POISONED] = "poisoned",
		[VIRTIO_MEM_PAGE_RESERVED] = "reserved",
		[VIRTIO_MEM_PAGE_TABLE] = "page-table",
		[VIRTIO_MEM_PAGE_SLAB] = "slab",
		[VIRTIO_MEM_PAGE_KERNEL] = "kernel",
	};

	return names[kind];
}

/* Of a page that Linux can move, if nobody holds it. */
static enum virtio_mem_kind virtio_mem_movable_kind(struct page *page)
{
	enum virtio_mem_kind kind = VIRTIO_MEM_PAGE_MOVABLE;
	struct folio *folio = page_folio(page);

	if (!folio_try_get(folio))
		return VIRTIO_MEM_PAGE_FREE;
	/* Now it stays what it is, and one reference is ours. */
	if (folio == page_folio(page) && folio_test_lru(folio) &&
	    folio_ref_count(folio) > virtio_mem_expected_refs(folio) + 1)
		kind = VIRTIO_MEM_PAGE_PINNED;
	folio_put(folio);
	return kind;
}

/*
 * Called with vm->pages held, so that the page does not go.  It may change at
 * any time: the kind is what it was a moment ago.
 */
static enum virtio_mem_kind virtio_mem_page_kind(struct page *page)
{
	struct page *head = compound_head(page);

	if (PageOffline(page))
		return VIRTIO_MEM_PAGE_UNPLUGGED;
	if (PageHWPoison(page))
		return VIRTIO_MEM_PAGE_POISONED;
	if (PageReserved(page))
		return VIRTIO_MEM_PAGE_RESERVED;
	if (PageBuddy(page) || !page_ref_count(head))
		return VIRTIO_MEM_PAGE_FREE;
	if (PageTable(page))
		return VIRTIO_MEM_PAGE_TABLE;
	if (PageSlab(head))
		return VIRTIO_MEM_PAGE_SLAB;
	if (PageLRU(head))
		return virtio_mem_movable_kind(page);
	/* Pages that are being moved are isolated from their list. */
	return virtio_mem_has_mover(head) ? VIRTIO_MEM_PAGE_MOVABLE :
					    VIRTIO_MEM_PAGE_KERNEL;
}

/*
 * Called with vm->pages held.  Returns the first page of @nr from @pfn that is
 * in the way, its kind in @kind, or 0: there is none, or no more.  All kinds
 * after @harmless are.
 */
static unsigned long virtio_mem_find_obstacle(unsigned long pfn,
					      unsigned long nr,
					      enum virtio_mem_kind harmless,
					      enum virtio_mem_kind *kind)
{
	unsigned long end = pfn + nr;

	while (pfn < end) {
		struct page *page = pfn_to_online_page(pfn);

		*kind = page ? virtio_mem_page_kind(page) :
			       VIRTIO_MEM_PAGE_UNPLUGGED;
		if (*kind > harmless)
			return pfn;
		if (pageblock_aligned(pfn))
			cond_resched();
		pfn += page ? virtio_mem_free_pages(page) : 1;
	}
	return 0;
}

/* @found is the first page in the way, or 0. */
static void virtio_mem_remember(struct virtio_mem *vm, unsigned long chunk,
				unsigned long found, enum virtio_mem_kind kind)
{
	unsigned long first = PHYS_PFN(virtio_mem_chunk_addr(vm, chunk));

	vm->chunks[chunk].obstacle = found ? found - first + 1 : 0;
	if (found)
		virtio_mem_note_obstacle(vm, found, kind);
}

/* Whether a chunk is in a zone that also has what can't be moved. */
static bool virtio_mem_is_mixed(struct virtio_mem *vm, unsigned long chunk)
{
	unsigned long pfn = PHYS_PFN(virtio_mem_chunk_addr(vm, chunk));
	struct page *page = pfn_to_online_page(pfn);

	return page && page_zonenum(page) != ZONE_MOVABLE;
}

/*
 * As virtio_mem_find_obstacle(), up to @end, but takes the lock itself.  A page
 * that is just being allocated looks like an obstacle for a moment: look twice.
 */
static unsigned long virtio_mem_find_lasting(struct virtio_mem *vm,
					     unsigned long pfn,
					     unsigned long end,
					     enum virtio_mem_kind harmless,
					     enum virtio_mem_kind *kind)
{
	unsigned int looks;

	for (looks = 2; looks && pfn; looks--) {
		if (!virtio_mem_lock_pages(vm))
			return 0;
		pfn = virtio_mem_find_obstacle(pfn, end - pfn, harmless, kind);
		mutex_unlock(&vm->pages);
		if (looks > 1 && pfn)
			fsleep(VIRTIO_MEM_MOMENT_US);
	}
	return pfn;
}

/*
 * Whether there is no point in trying to remove a chunk: what stood in its way
 * is still there, or pages of the kernel's own are.  To try takes long: Linux
 * does not give up by itself.  But pages that wait on a list of another CPU
 * seem to be pinned, or to be the kernel's, and only to try empties that: so
 * the first does not count, nor the second where there is no other way to try.
 * Returns what kind of page there is, or VIRTIO_MEM_PAGE_FREE.
 */
enum virtio_mem_kind virtio_mem_obstructed(struct virtio_mem *vm,
					   unsigned long chunk)
{
	unsigned long first = PHYS_PFN(virtio_mem_chunk_addr(vm, chunk));
	unsigned long end = first + PHYS_PFN(vm->chunk_size), found = 0;
	struct virtio_mem_chunk *c = &vm->chunks[chunk];
	enum virtio_mem_kind kind = VIRTIO_MEM_PAGE_FREE;

	if (READ_ONCE(c->online) && c->obstacle)
		found = virtio_mem_find_lasting(vm, first + c->obstacle - 1,
						first + c->obstacle,
						VIRTIO_MEM_PAGE_POISONED, &kind);
	if (READ_ONCE(c->online) && !found &&
	    (vm->unit_blocks < vm->chunk_blocks || virtio_mem_is_mixed(vm, chunk)))
		found = virtio_mem_find_lasting(vm, first, end,
						VIRTIO_MEM_PAGE_PINNED, &kind);
	virtio_mem_remember(vm, chunk, found, kind);
	return found ? kind : VIRTIO_MEM_PAGE_FREE;
}

/*
 * Finds out why @nr blocks could not be taken back.  A page that is gone by
 * now is not found any more: VIRTIO_MEM_PAGE_FREE.
 */
enum virtio_mem_kind virtio_mem_blame(struct virtio_mem *vm,
				      unsigned long block, unsigned long nr)
{
	unsigned long pfn = virtio_mem_block_pfn(vm, block);
	unsigned long nr_pages = nr * virtio_mem_block_pages(vm);
	enum virtio_mem_kind kind;
	unsigned long found;

	if (!virtio_mem_lock_pages(vm))
		return VIRTIO_MEM_PAGE_FREE;
	found = virtio_mem_find_obstacle(pfn, nr_pages,
					 VIRTIO_MEM_PAGE_POISONED, &kind);
	if (!found && nr < vm->chunk_blocks)
		found = virtio_mem_find_obstacle(pfn, nr_pages,
						 VIRTIO_MEM_PAGE_MOVABLE,
						 &kind);
	mutex_unlock(&vm->pages);
	if (!found)
		return VIRTIO_MEM_PAGE_FREE;
	virtio_mem_remember(vm, virtio_mem_chunk_of(vm, PFN_PHYS(found)), found,
			    kind);
	return kind;
}
