// SPDX-License-Identifier: GPL-2.0-only
/*
 * occupy: a module for tests that claims a range of physical addresses, as a
 * driver does for its device, until it is unloaded.
 */

#include <linux/ioport.h>
#include <linux/module.h>

static ulong start;
module_param(start, ulong, 0444);
MODULE_PARM_DESC(start, "Physical address of the range");

static ulong size = PAGE_SIZE;
module_param(size, ulong, 0444);
MODULE_PARM_DESC(size, "Bytes of the range");

static int __init occupy_init(void)
{
	return request_mem_region(start, size, "occupied") ? 0 : -EBUSY;
}
module_init(occupy_init);

static void __exit occupy_exit(void)
{
	release_mem_region(start, size);
}
module_exit(occupy_exit);

MODULE_DESCRIPTION("A claim on physical addresses of one's choice");
MODULE_LICENSE("GPL");
