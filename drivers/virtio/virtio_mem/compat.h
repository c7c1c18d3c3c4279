/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What kernels from 6.1 on do differently or name otherwise: the only place
 * that asks for the version of one.
 */

#ifndef _VIRTIO_MEM_COMPAT_H
#define _VIRTIO_MEM_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/version.h>

/* Exported to modules, but declared in kernel/rcu/rcu.h only */
#ifdef CONFIG_TINY_RCU
static inline void rcu_expedite_gp(void) { }
static inline void rcu_unexpedite_gp(void) { }
#else
void rcu_expedite_gp(void);
void rcu_unexpedite_gp(void);
#endif

/* Before there was that argument, there was a migratetype. */
#ifndef ACR_FLAGS_NONE
#define ACR_FLAGS_NONE MIGRATE_MOVABLE
#endif

/* Whether whoever owns a page that is on no LRU list can move it. */
static inline bool virtio_mem_has_mover(struct page *page)
{
#ifdef PAGE_MAPPING_MOVABLE
	return READ_ONCE(page->mapping);
#else
	return READ_ONCE(page->mapping) || page_has_movable_ops(page);
#endif
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define MAX_PAGE_ORDER (MAX_ORDER - 1)
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define MAX_PAGE_ORDER MAX_ORDER
#endif

/* References that a folio on an LRU list has, if nobody holds it */
static inline int virtio_mem_expected_refs(struct folio *folio)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
	/* What counts those of large folios is not exported. */
	if (folio_test_large(folio))
		return INT_MAX - 1;
	return page_mapcount(&folio->page) +
	       (folio_test_anon(folio) ? folio_test_swapcache(folio) :
					 !!folio->mapping) +
	       folio_has_private(folio);
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
	/* Some have folio_expected_ref_count(), by the stable series. */
	int nr = folio_nr_pages(folio);

	return folio_mapcount(folio) + folio_test_swapcache(folio) * nr +
	       (folio_test_anon(folio) ? 0 : !!folio->mapping * nr +
					     folio_test_private(folio));
#else
	return folio_expected_ref_count(folio);
#endif
}

/*
 * Takes a clean, locked folio that is not mapped out of the page cache, as after
 * a memory error: few file systems can't.
 */
static inline void virtio_mem_remove_clean(struct address_space *mapping,
					   struct folio *folio)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
	if (mapping->a_ops->error_remove_page)
		mapping->a_ops->error_remove_page(mapping, &folio->page);
#else
	if (mapping->a_ops->error_remove_folio)
		mapping->a_ops->error_remove_folio(mapping, folio);
#endif
}

/*
 * Since 6.11 pages of memory that comes online begin as PageOffline, and those
 * that still are don't count when it goes offline.  Before, they begin as
 * PageReserved, and all count.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
#define VIRTIO_MEM_PAGES_BEGIN_RESERVED true
#else
#define VIRTIO_MEM_PAGES_BEGIN_RESERVED false
#endif

#endif
