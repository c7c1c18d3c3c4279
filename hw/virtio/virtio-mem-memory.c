/*
 * virtio-mem: the memory of the backend
 *
 * Fills parts of it with memory of the host, and gives parts back.  Knows
 * nothing of the guest; what is plugged decides virtio-mem-request.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "block/thread-pool.h"
#include "exec/cpu-common.h"
#include "hw/virtio/virtio-mem.h"
#include "system/hostmem.h"
#include "trace.h"

/* QEMU's preallocation starts no thread for less than this. */
#define PREALLOC_SIZE_PER_THREAD (64 * MiB)

RAMBlock *virtio_mem_ram_block(const VirtIOMEM *vmem)
{
    return vmem->memdev->mr.ram_block;
}

uint64_t virtio_mem_region_size(const VirtIOMEM *vmem)
{
    return memory_region_size(&vmem->memdev->mr);
}

static bool is_file(const VirtIOMEM *vmem)
{
    return qemu_ram_get_fd(virtio_mem_ram_block(vmem)) >= 0;
}

/*
 * A private mapping of a file, with base pages: others may map the file, too,
 * clones of a template each its own copy of it.
 */
static bool is_private_copy(const VirtIOMEM *vmem)
{
    RAMBlock *rb = virtio_mem_ram_block(vmem);

    /* The name of the type last, which takes longer to look at. */
    return is_file(vmem) && !qemu_ram_is_shared(rb) &&
           qemu_ram_pagesize(rb) == qemu_real_host_page_size() &&
           object_dynamic_cast(OBJECT(vmem->memdev), "memory-backend-file");
}

/* Gives back what the guest wrote; the file keeps what it holds. */
static int discard_private_copy(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    char *start = memory_region_get_ram_ptr(&vmem->memdev->mr);

    return qemu_madvise(start + offset, size, QEMU_MADV_DONTNEED) ? -errno : 0;
}

int virtio_mem_discard(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    int ret;

    if (is_private_copy(vmem)) {
        ret = discard_private_copy(vmem, offset, size);
    } else {
        ret = ram_block_discard_range(virtio_mem_ram_block(vmem), offset, size);
    }
    trace_virtio_mem_discard(offset, size, ret);
    virtio_mem_count_discard(vmem, size, !ret);
    if (ret) {
        warn_report_once("virtio-mem '%s': memory of the backend cannot be "
                         "given back: %s", virtio_mem_name(vmem),
                         strerror(-ret));
    }
    return ret;
}

int virtio_mem_prealloc(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    HostMemoryBackend *memdev = vmem->memdev;
    char *start = memory_region_get_ram_ptr(&memdev->mr) + offset;
    Error *err = NULL;

    if (qemu_prealloc_mem(memory_region_get_fd(&memdev->mr), start, size,
                          memdev->prealloc_threads, memdev->prealloc_context,
                          false, &err)) {
        trace_virtio_mem_prealloc(offset, size);
        return 0;
    }
    stat64_add(&vmem->stats.prealloc_failures, 1);
    warn_report_once("virtio-mem '%s': 0x%" PRIx64 " bytes at 0x%" PRIx64
                     " cannot be filled with memory of the host: %s",
                     virtio_mem_name(vmem), size, offset,
                     error_get_pretty(err));
    error_free(err);
    return -ENOMEM;
}

/* What a piece of the memory cannot be smaller than */
static uint64_t page_size(const VirtIOMEM *vmem)
{
    return qemu_ram_pagesize(virtio_mem_ram_block(vmem));
}

uint64_t virtio_mem_prealloc_piece_size(const VirtIOMEM *vmem)
{
    return ROUND_UP(vmem->memdev->prealloc_threads * PREALLOC_SIZE_PER_THREAD,
                    page_size(vmem));
}

/* Small pages of a file take the longest to give back: 150 ns per KiB. */
uint64_t virtio_mem_discard_piece_size(const VirtIOMEM *vmem)
{
    return MAX(page_size(vmem), is_file(vmem) ? 4 * MiB : 32 * MiB);
}

uint64_t virtio_mem_discard_thread_piece_size(const VirtIOMEM *vmem)
{
    return 8 * virtio_mem_discard_piece_size(vmem);
}

uint64_t virtio_mem_discard_max_piece_size(const VirtIOMEM *vmem)
{
    if (virtio_mem_pagemap_is_open(vmem)) {
        return virtio_mem_discard_piece_size(vmem);
    }
    return is_file(vmem) ? 128 * MiB : 2 * GiB;
}

static int prealloc_plugged(void *opaque)
{
    VirtIOMEM *vmem = opaque;
    uint64_t offset = 0, size;
    int ret = 0;

    while (!ret && (size = virtio_mem_blocks_next(&vmem->blocks, &offset,
                                                  virtio_mem_region_size(vmem),
                                                  true))) {
        ret = virtio_mem_prealloc(vmem, offset, size);
        offset += size;
    }
    return ret;
}

int coroutine_mixed_fn virtio_mem_prealloc_plugged(VirtIOMEM *vmem)
{
    if (qemu_in_coroutine()) {
        return thread_pool_submit_co(prealloc_plugged, vmem);
    }
    return prealloc_plugged(vmem);
}
