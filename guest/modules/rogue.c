// SPDX-License-Identifier: GPL-2.0-only
/*
 * rogue: a module for tests that uses physical memory of its choice, whether it
 * may or not, and tells how much of it lasted.
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>

static ulong start;
module_param(start, ulong, 0444);
MODULE_PARM_DESC(start, "Physical address of the first page to use");

static ulong stride = PAGE_SIZE;
module_param(stride, ulong, 0444);
MODULE_PARM_DESC(stride, "Bytes from one page to the next");

static ulong count = 1;
module_param(count, ulong, 0444);
MODULE_PARM_DESC(count, "Pages to use");

static bool reads;
module_param(reads, bool, 0444);
MODULE_PARM_DESC(reads, "Read them only");

static bool waits;
module_param(waits, bool, 0444);
MODULE_PARM_DESC(waits, "Between writing and reading, until it may go on");

static bool goes_on;
module_param(goes_on, bool, 0644);
MODULE_PARM_DESC(goes_on, "Reads what it has written");

static bool later;
module_param(later, bool, 0444);
MODULE_PARM_DESC(later, "Do all that in a thread");

static bool written;
module_param(written, bool, 0444);
MODULE_PARM_DESC(written, "Out: only reading is left to do");

static bool done;
module_param(done, bool, 0444);
MODULE_PARM_DESC(done, "Out: nothing is left to do");

static ulong kept;
module_param(kept, ulong, 0444);
MODULE_PARM_DESC(kept, "Out: pages that had their value when read");

/* Like nothing that anybody else would write there */
static u64 value_of(unsigned long i)
{
	return 0x726f677565000000ull + i;
}

/* Writes a page, or returns what it begins with. */
static int use_page(unsigned long i, bool write, u64 *value)
{
	u64 *page = memremap(start + i * stride, PAGE_SIZE, MEMREMAP_WB);

	if (!page)
		return -ENXIO;
	if (write)
		WRITE_ONCE(*page, *value);
	else
		*value = READ_ONCE(*page);
	memunmap(page);
	cond_resched();
	return 0;
}

static DECLARE_COMPLETION(finished);

static int use_all(void)
{
	unsigned long i;
	u64 value;
	int rc = 0;

	for (i = 0; i < count && !reads && !rc; i++) {
		value = value_of(i);
		rc = use_page(i, true, &value);
	}
	written = true;
	while (waits && !READ_ONCE(goes_on))
		msleep(20);
	for (i = 0; i < count && !rc; i++) {
		rc = use_page(i, false, &value);
		kept += !rc && value == value_of(i);
	}
	done = true;
	return rc;
}

static int use_all_later(void *unused)
{
	/* The module may be gone when this returns: so it doesn't. */
	kthread_complete_and_exit(&finished, use_all());
}

static int __init rogue_init(void)
{
	struct task_struct *thread;

	if (!later)
		return use_all();
	thread = kthread_run(use_all_later, NULL, "rogue");
	return PTR_ERR_OR_ZERO(thread);
}
module_init(rogue_init);

static void __exit rogue_exit(void)
{
	if (later)
		wait_for_completion(&finished);
}
module_exit(rogue_exit);

MODULE_DESCRIPTION("A use of physical memory that nobody allowed");
MODULE_LICENSE("GPL");
