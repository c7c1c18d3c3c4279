// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page cache.  To take memory offline moves all that is in use.  Pages of
 * files that can be read again, and that nobody used twice, are dropped before.
 */

#include <linux/fs.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "compat.h"
#include "virtio_mem.h"

/*
 * Called with a reference to the folio; a guess, unless it is locked, too.  What
 * was used twice is active, or the working set where Linux has generations.  The
 * cache has a reference for each page, and private data one.
 */
static bool virtio_mem_is_disposable(struct folio *folio)
{
	return folio_test_lru(folio) && !folio_test_anon(folio) &&
	       !folio_test_swapbacked(folio) && !folio_test_active(folio) &&
	       !folio_test_workingset(folio) &&
	       !folio_test_unevictable(folio) && !folio_test_dirty(folio) &&
	       !folio_test_writeback(folio) && !folio_mapped(folio) &&
	       folio_ref_count(folio) <= folio_nr_pages(folio) +
					 folio_has_private(folio) + 1;
}

/*
 * The lock keeps others from mapping it, from changing it, and its file.  What
 * the file system keeps with it may be needed, even if the folio is clean.
 */
static void virtio_mem_drop_folio(struct folio *folio)
{
	if (!folio_trylock(folio))
		return;
	if (folio->mapping && virtio_mem_is_disposable(folio) &&
	    (!folio_has_private(folio) || filemap_release_folio(folio, 0)))
		virtio_mem_remove_clean(folio->mapping, folio);
	folio_unlock(folio);
}

/*
 * Called with vm->pages held.  Finds the first folio from *@pfn on that may be
 * dropped, with a reference to it, or NULL.  *@pfn is where to look on.
 */
static struct folio *virtio_mem_next_disposable(unsigned long *pfn,
						unsigned long end)
{
	while (*pfn < end) {
		struct page *page = pfn_to_online_page(*pfn);
		struct folio *folio = page ? page_folio(page) : NULL;

		*pfn += page ? virtio_mem_free_pages(page) : 1;
		if (!page || PageOffline(page) || !folio_try_get(folio))
			continue;
		if (folio == page_folio(page)) {
			*pfn = folio_pfn(folio) + folio_nr_pages(folio);
			if (virtio_mem_is_disposable(folio))
				return folio;
		}
		folio_put(folio);
	}
	return NULL;
}

/* Drops what can be of a chunk that is online. */
void virtio_mem_drop_cache(struct virtio_mem *vm, unsigned long chunk)
{
	unsigned long pfn = PHYS_PFN(virtio_mem_chunk_addr(vm, chunk));
	unsigned long end = pfn + PHYS_PFN(vm->chunk_size);
	ktime_t since = ktime_get();

	while (pfn < end && virtio_mem_lock_pages(vm)) {
		struct folio *folio = virtio_mem_next_disposable(&pfn, end);

		mutex_unlock(&vm->pages);
		if (!folio)
			break;
		virtio_mem_drop_folio(folio);
		folio_put(folio);
		cond_resched();
	}
	virtio_mem_count_work(vm, VIRTIO_MEM_WORK_DROP, since, pfn >= end);
}
