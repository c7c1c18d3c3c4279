// SPDX-License-Identifier: GPL-2.0-only
/*
 * fetch: a module for tests that has a disk write to physical memory of its
 * choice, a page at a time: what a device does that the guest programmed so.
 */

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/io.h>
#include <linux/module.h>

static char *disk;
module_param(disk, charp, 0444);
MODULE_PARM_DESC(disk, "Path of a block device, from whose start to read");

static ulong start;
module_param(start, ulong, 0444);
MODULE_PARM_DESC(start, "Physical address of the first page, which Linux knows");

static ulong count = 1;
module_param(count, ulong, 0444);
MODULE_PARM_DESC(count, "Pages to read");

static int fetch_page(struct block_device *bdev, unsigned long i)
{
	struct bio_vec vec;
	struct bio bio;
	int rc;

	bio_init(&bio, bdev, &vec, 1, REQ_OP_READ);
	bio.bi_iter.bi_sector = i * PAGE_SECTORS;
	__bio_add_page(&bio, pfn_to_page(PHYS_PFN(start) + i), PAGE_SIZE, 0);
	rc = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return rc;
}

static int __init fetch_init(void)
{
	struct file *file;
	unsigned long i;
	int rc = 0;

	if (!pfn_valid(PHYS_PFN(start)) ||
	    !pfn_valid(PHYS_PFN(start) + count - 1))
		return -ENXIO;
	file = bdev_file_open_by_path(disk, BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(file))
		return PTR_ERR(file);
	for (i = 0; i < count && !rc; i++)
		rc = fetch_page(file_bdev(file), i);
	bdev_fput(file);
	return rc;
}
module_init(fetch_init);

static void __exit fetch_exit(void)
{
}
module_exit(fetch_exit);

MODULE_DESCRIPTION("A disk that writes where it must not");
MODULE_LICENSE("GPL");
