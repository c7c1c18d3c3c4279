// SPDX-License-Identifier: GPL-2.0-only
/*
 * window: a module for tests that lets programs map physical memory of their
 * choice, by /dev/window, and execute what is there.  Nobody may have it.
 */

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

static int window_mmap(struct file *file, struct vm_area_struct *vma)
{
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff,
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static const struct file_operations window_operations = {
	.owner = THIS_MODULE,
	.mmap = window_mmap,
};

static struct miscdevice window_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "window",
	.fops = &window_operations,
};
module_misc_device(window_device);

MODULE_DESCRIPTION("Physical memory for programs that must not have it");
MODULE_LICENSE("GPL");
