// SPDX-License-Identifier: GPL-2.0-only
/*
 * sprinkle: a module for tests that uses pages as a kernel does, at places of
 * its choice: they can't be moved.  They are free again when it is unloaded.
 */

#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>

static ulong start;
module_param(start, ulong, 0444);
MODULE_PARM_DESC(start, "Physical address of the first page to use");

static ulong stride = PAGE_SIZE;
module_param(stride, ulong, 0444);
MODULE_PARM_DESC(stride, "Bytes from one page to the next");

static ulong count = 1;
module_param(count, ulong, 0444);
MODULE_PARM_DESC(count, "Pages to use");

static LIST_HEAD(pages);

static void sprinkle_free(void)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
}

static int __init sprinkle_init(void)
{
	unsigned long i, pfn;
	int rc;

	for (i = 0; i < count; i++) {
		pfn = PHYS_PFN(start + i * stride);
		rc = pfn_to_online_page(pfn) ?
			alloc_contig_range(pfn, pfn + 1, MIGRATE_MOVABLE,
					   GFP_KERNEL) : -ENXIO;
		/* Somebody else uses it: that will do. */
		if (rc == -EBUSY)
			continue;
		if (rc) {
			pr_err("sprinkle: no page at 0x%llx: %d\n",
			       PFN_PHYS(pfn), rc);
			sprinkle_free();
			return rc;
		}
		list_add(&pfn_to_page(pfn)->lru, &pages);
	}
	return 0;
}
module_init(sprinkle_init);

static void __exit sprinkle_exit(void)
{
	sprinkle_free();
}
module_exit(sprinkle_exit);

MODULE_DESCRIPTION("Unmovable pages at places of one's choice");
MODULE_LICENSE("GPL");
