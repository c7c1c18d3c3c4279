/*
 * virtio-mem: which memory of the backend is in use
 *
 * To give back a large range takes long or next to nothing, and which of the
 * two cannot be seen from outside.  Linux 6.7 and later find the next page in
 * use, in memory or swapped out: PAGEMAP_SCAN, described in the kernel's
 * Documentation/admin-guide/mm/pagemap.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include "exec/cpu-common.h"
#include "hw/virtio/virtio-mem.h"

/* As in linux/fs.h, which has them since Linux 6.7 */
typedef struct PageRegion {
    uint64_t start;             /* addresses in QEMU */
    uint64_t end;
    uint64_t categories;        /* PAGE_* */
} PageRegion;

typedef struct PagemapScan {
    uint64_t size;              /* bytes of this structure */
    uint64_t flags;
    uint64_t start;             /* addresses in QEMU */
    uint64_t end;
    uint64_t walk_end;          /* out: where it stopped */
    uint64_t vec;               /* out: PageRegion[vec_len] */
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
} PagemapScan;

#define IOCTL_PAGEMAP_SCAN _IOWR('f', 16, PagemapScan)
#define PAGE_FILE    BIT_ULL(2)
#define PAGE_PRESENT BIT_ULL(3)
#define PAGE_SWAPPED BIT_ULL(4)

/*
 * Sets *@page to the first page in use, or @end; false on errors.  The kernel
 * looks for a second page, too, before it returns the first one.
 */
static bool find_page(int fd, uint64_t start, uint64_t end, uint64_t *page)
{
    PageRegion region = { .start = end };
    PagemapScan scan = {
        .size = sizeof(scan),
        .start = start,
        .end = end,
        .vec = (uintptr_t)&region,
        .vec_len = 1,
        .max_pages = 1,
        .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED,
        .return_mask = PAGE_PRESENT | PAGE_SWAPPED,
    };

    if (ioctl(fd, IOCTL_PAGEMAP_SCAN, &scan) < 0) {
        return false;
    }
    *page = region.start;
    return true;
}

int virtio_mem_pagemap_scan(VirtIOMEM *vmem, int fd, uint64_t *offset,
                            uint64_t end, uint64_t max_size, uint64_t *size)
{
    uint64_t base = (uintptr_t)memory_region_get_ram_ptr(&vmem->memdev->mr);
    bool shared = qemu_ram_is_shared(virtio_mem_ram_block(vmem));
    /* What a private mapping of a file shows is not private memory. */
    uint64_t not = shared ? 0 : PAGE_FILE;
    PageRegion region = { };
    PagemapScan scan = {
        .size = sizeof(scan),
        .start = base + *offset,
        .end = base + end,
        .vec = (uintptr_t)&region,
        .vec_len = 1,
        .max_pages = max_size / qemu_real_host_page_size(),
        .category_inverted = not,
        .category_mask = not,
        .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED,
        .return_mask = PAGE_PRESENT | PAGE_SWAPPED,
    };

    if (ioctl(fd, IOCTL_PAGEMAP_SCAN, &scan) < 0) {
        return -errno;
    }
    *offset = region.start - base;
    *size = region.end - region.start;
    return 0;
}

/* QEMU's page tables don't tell what a file holds, or those who share it. */
static bool is_told_by_pagemap(const VirtIOMEM *vmem)
{
    RAMBlock *rb = virtio_mem_ram_block(vmem);

    return qemu_ram_get_fd(rb) < 0 && !qemu_ram_is_shared(rb);
}

/* False on older kernels, in some sandboxes, or without a file. */
static bool pagemap_works(int fd)
{
    uint64_t page;

    return find_page(fd, 0, qemu_real_host_page_size(), &page);
}

/* Of this thread, as Linux has them: 64 of them in two structures */
typedef struct __user_cap_data_struct Caps[_LINUX_CAPABILITY_U32S_3];

int virtio_mem_open_pagemap(Error **errp)
{
    struct __user_cap_header_struct version = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    bool changed = false;
    Caps before, fewer;
    int fd;

    if (!syscall(SYS_capget, &version, before)) {
        memcpy(fewer, before, sizeof(fewer));
        fewer[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &=
            ~CAP_TO_MASK(CAP_SYS_ADMIN);
        changed = !syscall(SYS_capset, &version, fewer);
    }
    fd = qemu_open("/proc/self/pagemap", O_RDONLY, errp);
    if (changed) {
        syscall(SYS_capset, &version, before);
    }
    return fd;
}

void virtio_mem_pagemap_open(VirtIOMEM *vmem)
{
    if (is_told_by_pagemap(vmem)) {
        vmem->pagemap_fd = virtio_mem_open_pagemap(NULL);
        if (!pagemap_works(vmem->pagemap_fd)) {
            virtio_mem_pagemap_close(vmem);
        }
    }
}

void virtio_mem_pagemap_close(VirtIOMEM *vmem)
{
    if (vmem->pagemap_fd >= 0) {
        close(vmem->pagemap_fd);
        vmem->pagemap_fd = -1;
    }
}

bool virtio_mem_pagemap_is_open(const VirtIOMEM *vmem)
{
    return vmem->pagemap_fd >= 0;
}

uint64_t virtio_mem_empty_size(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    uint64_t start = (uintptr_t)memory_region_get_ram_ptr(&vmem->memdev->mr) +
                     offset;
    uint64_t page;

    if (!virtio_mem_pagemap_is_open(vmem) ||
        !find_page(vmem->pagemap_fd, start, start + size, &page)) {
        return 0;
    }
    return page - start;
}
