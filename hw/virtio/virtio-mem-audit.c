/*
 * virtio-mem: looking for memory in what is unplugged
 *
 * Whoever puts a page into an unplugged block, and in whichever way, the host
 * has less memory than it should.  A thread looks for such pages once in an
 * interval, and gives them back.  It asks Linux for pages that are there, so
 * that a pass costs what it finds, not what the region has:
 *
 *   private memory       PAGEMAP_SCAN, or else /proc/self/pagemap
 *   files, memfd         SEEK_DATA: sees what other processes put there, too
 *   hugetlb files        PAGEMAP_SCAN, for what QEMU has mapped; what others
 *                        put there no system call tells: it is given back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/cpu-common.h"
#include "exec/ramblock.h"
#include "hw/virtio/virtio-mem.h"
#include "trace.h"

/*
 * How much is looked through while others may have to wait: 50 ms where a guest
 * filled page tables by reading, which empties them, else next to no time.
 */
#define PIECE_SIZE (8 * GiB)
#define SLOW_PIECE_SIZE (256 * MiB)

/* A run of pages is looked for, and given back, no further than that. */
#define RUN_SIZE (4 * MiB)

/* Pages that are there */
typedef struct Found {
    uint64_t offset;            /* bytes in the region */
    uint64_t size;              /* bytes */
} Found;

/* How to look for pages */
struct VirtIOMEMAuditKind {
    /* Finds the first ones in [offset, end); false: none */
    bool (*find)(VirtIOMEM *vmem, uint64_t offset, uint64_t end, Found *found);
    uint64_t piece_size;        /* bytes to look through at a time */
    bool punches;               /* where there is nothing to tell of, too */
};

static uint64_t page_size(const VirtIOMEM *vmem)
{
    return qemu_ram_pagesize(virtio_mem_ram_block(vmem));
}

static char *host_addr(const VirtIOMEM *vmem, uint64_t offset)
{
    return (char *)memory_region_get_ram_ptr(&vmem->memdev->mr) + offset;
}

/* Private memory */

static bool find_by_scan(VirtIOMEM *vmem, uint64_t offset, uint64_t end,
                         Found *found)
{
    if (virtio_mem_pagemap_scan(vmem, vmem->protection.audit.fd, &offset, end,
                                MAX(RUN_SIZE, page_size(vmem)), &found->size)) {
        return false;
    }
    found->offset = offset;
    return found->size;
}

/* An entry of the pagemap is 64 bits for a page; bit 63 or 62: in use. */
static bool is_in_use(const VirtIOMEM *vmem, uint64_t entry)
{
    /* Bit 61: a page of a file that is mapped privately */
    return entry >> 62 && (!(entry & BIT_ULL(61)) ||
                           qemu_ram_is_shared(virtio_mem_ram_block(vmem)));
}

/* Finds the first run of pages in use; @found is relative to the first entry */
static bool find_run(const VirtIOMEM *vmem, const uint64_t *entries, int nb,
                     Found *found)
{
    uint64_t small = qemu_real_host_page_size();
    int first = 0, end;

    while (first < nb && !is_in_use(vmem, entries[first])) {
        first++;
    }
    end = first;
    while (end < nb && is_in_use(vmem, entries[end])) {
        end++;
    }
    *found = (Found) { first * small, (end - first) * small };
    return first < nb;
}

/* Before Linux 6.7 */
static bool find_by_reading(VirtIOMEM *vmem, uint64_t offset, uint64_t end,
                            Found *found)
{
    uint64_t entries[512];
    uint64_t small = qemu_real_host_page_size();
    uintptr_t page;
    ssize_t nb;

    for (; offset < end; offset += nb / sizeof(*entries) * small) {
        page = (uintptr_t)host_addr(vmem, offset) / small;
        nb = pread(vmem->protection.audit.fd, entries,
                   MIN(sizeof(entries), (end - offset) / small * 8), page * 8);
        if (nb < (ssize_t)sizeof(*entries)) {
            return false;
        }
        if (find_run(vmem, entries, nb / sizeof(*entries), found)) {
            found->offset = QEMU_ALIGN_DOWN(offset + found->offset,
                                            page_size(vmem));
            found->size = ROUND_UP(found->size, page_size(vmem));
            return true;
        }
    }
    return false;
}

/* Files */

/* How many bytes of [offset, end) hold pages, without a gap; a page at least */
static uint64_t resident_size(const VirtIOMEM *vmem, uint64_t offset,
                              uint64_t end)
{
    unsigned char pages[RUN_SIZE / (4 * KiB)];
    uint64_t size = MIN(end - offset, RUN_SIZE), nb = size / page_size(vmem);
    uint64_t i = 0;

    if (!mincore(host_addr(vmem, offset), size, pages)) {
        while (i < nb && pages[i] & 1) {
            i++;
        }
    }
    return MAX(i, 1) * page_size(vmem);
}

/* SEEK_HOLE would go on behind the end, however far. */
static bool find_by_seeking(VirtIOMEM *vmem, uint64_t offset, uint64_t end,
                            Found *found)
{
    RAMBlock *rb = virtio_mem_ram_block(vmem);
    off_t data = lseek(qemu_ram_get_fd(rb), rb->fd_offset + offset, SEEK_DATA);

    if (data < 0 || data >= rb->fd_offset + end) {
        return false;
    }
    found->offset = QEMU_ALIGN_DOWN(data - rb->fd_offset, page_size(vmem));
    found->size = resident_size(vmem, found->offset, end);
    return true;
}

/* By memory, and by what Linux has */

static const struct VirtIOMEMAuditKind scanning = {
    find_by_scan, PIECE_SIZE
};
static const struct VirtIOMEMAuditKind reading = {
    find_by_reading, SLOW_PIECE_SIZE
};
static const struct VirtIOMEMAuditKind seeking = {
    find_by_seeking, PIECE_SIZE
};
static const struct VirtIOMEMAuditKind scanning_and_punching = {
    find_by_scan, PIECE_SIZE, true
};
static const struct VirtIOMEMAuditKind reading_and_punching = {
    find_by_reading, SLOW_PIECE_SIZE, true
};

/* With audit.lock held */

static void give_back(VirtIOMEM *vmem, const Found *found)
{
    /* Reads may leave pages of zeroes. */
    bool is_violation = !vmem->protection.audit.forgives &&
                        virtio_mem_holds_data(vmem, found->offset, found->size);

    virtio_mem_discard(vmem, found->offset, found->size);
    if (is_violation) {
        virtio_mem_violated(vmem, MEMORY_DEVICE_VIOLATION_KIND_FOUND,
                            found->offset, found->size / page_size(vmem), NULL);
    }
}

/*
 * What an access holds at this moment comes back anyway.  Who waits for a page
 * goes on waiting: one that is lent now is not to be taken for one that stayed.
 */
static void give_back_what_stayed(VirtIOMEM *vmem, Found *found)
{
    QEMU_LOCK_GUARD(&vmem->protection.guard.lock);
    if (virtio_mem_is_any_lent(vmem, found->offset, found->size)) {
        found->size = page_size(vmem);
    }
    if (!virtio_mem_is_any_lent(vmem, found->offset, found->size)) {
        give_back(vmem, found);
    }
}

/* Returns up to where it came. */
static uint64_t audit_extent(VirtIOMEM *vmem, uint64_t offset, uint64_t end)
{
    const struct VirtIOMEMAuditKind *kind = vmem->protection.audit.kind;
    Found found;

    if (!kind->find(vmem, offset, end, &found)) {
        if (kind->punches) {
            virtio_mem_discard(vmem, offset, end - offset);
        }
        return end;
    }
    give_back_what_stayed(vmem, &found);
    return found.offset + found.size;
}

/* Looks through a piece, from @offset on; returns where the next one begins. */
static uint64_t audit_piece(VirtIOMEM *vmem, uint64_t offset)
{
    VirtIOMEMAudit *audit = &vmem->protection.audit;
    uint64_t nb_blocks = vmem->blocks.nb_blocks, end;
    uint64_t first = find_next_bit(audit->blocks, nb_blocks,
                                   offset / vmem->block_size);

    if (first == nb_blocks) {
        return virtio_mem_region_size(vmem);
    }
    offset = MAX(offset, first * vmem->block_size);
    end = find_next_zero_bit(audit->blocks, nb_blocks, first) *
          vmem->block_size;
    end = MIN(end, offset + audit->kind->piece_size);
    return audit_extent(vmem, offset, end);
}

static bool audit_goes_on(const VirtIOMEMAudit *audit)
{
    return !audit->is_off && !audit->stops;
}

/* Others have the lock between two pieces. */
static void audit_pass(VirtIOMEM *vmem)
{
    VirtIOMEMAudit *audit = &vmem->protection.audit;
    uint64_t end = virtio_mem_region_size(vmem), offset = 0;

    while (offset < end && audit_goes_on(audit)) {
        offset = audit_piece(vmem, offset);
        qemu_mutex_unlock(&audit->lock);
        while (qatomic_read(&audit->nb_waiting)) {
            sched_yield();
        }
        qemu_mutex_lock(&audit->lock);
    }
    if (offset >= end) {
        qatomic_inc(&audit->nb_passes);
        audit->forgives = false;
    }
}

static void *audit_thread(void *opaque)
{
    VirtIOMEM *vmem = opaque;
    VirtIOMEMAudit *audit = &vmem->protection.audit;

    rcu_register_thread();
    qemu_mutex_lock(&audit->lock);
    while (!audit->stops) {
        qemu_cond_timedwait(&audit->wake, &audit->lock,
                            vmem->protection.interval_ms);
        if (audit_goes_on(audit)) {
            audit_pass(vmem);
        }
        /* What protection stepped aside for may be over. */
        if (audit->is_off || virtio_mem_guard_wants_more(vmem)) {
            qemu_bh_schedule(audit->bh);
        }
    }
    qemu_mutex_unlock(&audit->lock);
    rcu_unregister_thread();
    return NULL;
}

void virtio_mem_audit_lock(VirtIOMEM *vmem)
{
    VirtIOMEMAudit *audit = &vmem->protection.audit;

    /* Or else the thread, which is awake, would have it again and again. */
    qatomic_inc(&audit->nb_waiting);
    qemu_mutex_lock(&audit->lock);
    qatomic_dec(&audit->nb_waiting);
}

void virtio_mem_audit_set(VirtIOMEM *vmem, uint64_t offset, uint64_t size,
                          bool unplugged)
{
    unsigned long *blocks = vmem->protection.audit.blocks;
    uint64_t first = offset / vmem->block_size, nb = size / vmem->block_size;

    if (!blocks) {
        return;
    }
    if (unplugged) {
        bitmap_set(blocks, first, nb);
    } else {
        bitmap_clear(blocks, first, nb);
    }
}

/* Begin and end */

static bool pagemap_is_scanned(VirtIOMEM *vmem, int fd)
{
    uint64_t offset = 0, size;

    return !virtio_mem_pagemap_scan(vmem, fd, &offset, page_size(vmem),
                                    page_size(vmem), &size);
}

static bool audit_choose(VirtIOMEM *vmem, Error **errp)
{
    VirtIOMEMAudit *audit = &vmem->protection.audit;
    RAMBlock *rb = virtio_mem_ram_block(vmem);
    bool is_file = qemu_ram_get_fd(rb) >= 0 && qemu_ram_is_shared(rb);

    if (is_file && page_size(vmem) == qemu_real_host_page_size()) {
        audit->kind = &seeking;
        return true;
    }
    audit->fd = virtio_mem_open_pagemap(errp);
    if (audit->fd < 0) {
        return false;
    }
    if (pagemap_is_scanned(vmem, audit->fd)) {
        audit->kind = is_file ? &scanning_and_punching : &scanning;
    } else {
        audit->kind = is_file ? &reading_and_punching : &reading;
    }
    return true;
}

static void virtio_mem_audit_bh(void *opaque)
{
    virtio_mem_protect_update(opaque);
}

bool virtio_mem_audit_begin(VirtIOMEM *vmem, Error **errp)
{
    VirtIOMEMAudit *audit = &vmem->protection.audit;

    audit->fd = -1;
    if (!audit_choose(vmem, errp)) {
        return false;
    }
    audit->forgives = false;
    qatomic_set(&audit->nb_passes, 0);
    audit->blocks = bitmap_new(vmem->blocks.nb_blocks);
    bitmap_set(audit->blocks, 0, vmem->blocks.nb_blocks);
    audit->is_off = true;
    audit->stops = false;
    audit->bh = virtio_bh_new_guarded(DEVICE(vmem), virtio_mem_audit_bh, vmem);
    audit->thread = virtio_mem_start_thread("vmem-audit", audit_thread,
                                            vmem, errp);
    if (!audit->thread) {
        virtio_mem_audit_end(vmem);
    }
    return audit->thread;
}

void virtio_mem_audit_end(VirtIOMEM *vmem)
{
    VirtIOMEMAudit *audit = &vmem->protection.audit;

    if (audit->thread) {
        virtio_mem_audit_lock(vmem);
        audit->stops = true;
        qemu_cond_signal(&audit->wake);
        qemu_mutex_unlock(&audit->lock);
        g_thread_join(g_steal_pointer(&audit->thread));
    }
    if (audit->blocks) {
        if (audit->fd >= 0) {
            close(audit->fd);
        }
        g_clear_pointer(&audit->bh, qemu_bh_delete);
        g_free(g_steal_pointer(&audit->blocks));
    }
}
