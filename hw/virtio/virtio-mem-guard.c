/*
 * virtio-mem: which blocks are guarded
 *
 * An access to memory that is registered with userfaultfd and has no page waits
 * until the thread of virtio-mem-fault.c lets it go on.  Whole extents are
 * registered: Linux splits and joins its mappings for that, and needs no page
 * tables, so that memory that gets plugged again has huge pages as before.
 *
 * A process has a limited number of mappings, vm.max_map_count.  Extents beyond
 * a share of it, which all devices have together, are left to the audit, until
 * there are fewer.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/userfaultfd.h"
#include "qapi/error.h"
#include "exec/cpu-common.h"
#include "hw/virtio/virtio-mem.h"
#include "trace.h"

#define MODE (UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP)

/*
 * Of vm.max_map_count, where nothing is configured: one part is extents, and as
 * many are the gaps between them.
 */
#define SHARE_OF_MAPPINGS 4

/* Each device may have so many, whatever others have. */
#define FEW_EXTENTS 64

/* What Linux has unless somebody changed it */
#define DEFAULT_MAX_MAPPINGS 65530

static char *host_addr(const VirtIOMEM *vmem, uint64_t offset)
{
    return (char *)memory_region_get_ram_ptr(&vmem->memdev->mr) + offset;
}

uint64_t virtio_mem_max_mappings(void)
{
    g_autofree char *text = NULL;
    uint64_t value;

    if (!g_file_get_contents("/proc/sys/vm/max_map_count", &text, NULL, NULL) ||
        qemu_strtou64(g_strchomp(text), NULL, 10, &value)) {
        return DEFAULT_MAX_MAPPINGS;
    }
    return value;
}

/* Returns false with errno. */
static bool guard_register(VirtIOMEM *vmem, uint64_t offset, uint64_t size,
                           uint64_t *ioctls)
{
    int fd = vmem->protection.guard.fd;
    bool ok = !uffd_register_memory(fd, host_addr(vmem, offset), size, MODE,
                                    ioctls);

    trace_virtio_mem_guard(offset, size, ok);
    return ok;
}

/*
 * At the limit of mappings Linux may refuse to split one.  Then what is plugged
 * stays registered, and who accesses it is let go on (virtio-mem-fault.c).
 */
static void guard_unregister(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    uffd_unregister_memory(vmem->protection.guard.fd, host_addr(vmem, offset),
                           size);
    trace_virtio_mem_guard(offset, size, false);
}

/* Extents */

typedef struct Run {
    uint64_t first;             /* blocks */
    uint64_t end;
} Run;

static Run run_of(const VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    return (Run) { offset / vmem->block_size,
                   (offset + size) / vmem->block_size };
}

static uint64_t run_offset(const VirtIOMEM *vmem, const Run *run)
{
    return run->first * vmem->block_size;
}

static uint64_t run_size(const VirtIOMEM *vmem, const Run *run)
{
    return (run->end - run->first) * vmem->block_size;
}

/* Finds the first run of guarded blocks in [from, end), as far as it is in. */
static bool next_run(const VirtIOMEM *vmem, uint64_t from, uint64_t end,
                     Run *run)
{
    const unsigned long *blocks = vmem->protection.guard.blocks;

    run->first = find_next_bit(blocks, end, from);
    run->end = find_next_zero_bit(blocks, end, run->first);
    return run->first < end;
}

/* How many runs there are of blocks that touch this one */
static unsigned int count_runs(const VirtIOMEM *vmem, const Run *within)
{
    uint64_t from = within->first ? within->first - 1 : 0;
    uint64_t end = MIN(within->end + 1, vmem->blocks.nb_blocks);
    unsigned int nb = 0;
    Run run;

    while (next_run(vmem, from, end, &run)) {
        from = run.end;
        nb++;
    }
    return nb;
}

/* Those of all devices: they have the mappings of one process.  Atomic */
static uint64_t nb_extents_of_all;

/* How many the device may have */
static uint64_t allowed_extents(const VirtIOMEM *vmem)
{
    const VirtIOMEMGuard *guard = &vmem->protection.guard;
    uint64_t others = qatomic_read(&nb_extents_of_all) - guard->nb_extents;

    if (vmem->protection.max_extents) {
        return guard->max_extents;
    }
    return MAX(guard->max_extents - MIN(guard->max_extents, others),
               FEW_EXTENTS);
}

/* Makes all blocks of a run guarded, or none, in the map alone. */
static void set_run(VirtIOMEM *vmem, const Run *run, bool guarded)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;
    uint64_t nb = run->end - run->first;
    uint64_t nb_before = guard->nb_extents;

    guard->nb_extents -= count_runs(vmem, run);
    guard->nb_blocks -= bitmap_count_one_with_offset(guard->blocks, run->first,
                                                     nb);
    if (guarded) {
        bitmap_set(guard->blocks, run->first, nb);
        guard->nb_blocks += nb;
    } else {
        bitmap_clear(guard->blocks, run->first, nb);
    }
    guard->nb_extents += count_runs(vmem, run);
    qatomic_add(&nb_extents_of_all, guard->nb_extents - nb_before);
}

/* No loan outlives its guard: the block may be plugged from now on. */
static void remove_run(VirtIOMEM *vmem, const Run *run)
{
    virtio_mem_end_loans_of(vmem, run_offset(vmem, run), run_size(vmem, run));
    guard_unregister(vmem, run_offset(vmem, run), run_size(vmem, run));
    set_run(vmem, run, false);
}

/* The whole run that a guarded block belongs to */
static Run whole_run(const VirtIOMEM *vmem, uint64_t block)
{
    const unsigned long *blocks = vmem->protection.guard.blocks;
    uint64_t nb_blocks = vmem->blocks.nb_blocks, first = block;

    while (first && test_bit(first - 1, blocks)) {
        first--;
    }
    return (Run) { first, find_next_zero_bit(blocks, nb_blocks, block) };
}

/*
 * One of the two that a hole left is one too many: the shorter one.  Where it
 * left no two, others took what this device had: it keeps what it has.
 */
static void drop_shorter_side(VirtIOMEM *vmem, const Run *hole)
{
    Run below, above;

    if (count_runs(vmem, hole) < 2) {
        return;
    }
    below = whole_run(vmem, hole->first - 1);
    above = whole_run(vmem, hole->end);
    remove_run(vmem, run_size(vmem, &below) < run_size(vmem, &above) ? &below
                                                                     : &above);
    vmem->protection.guard.is_incomplete = true;
}

void virtio_mem_guard_add(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;
    Run run = run_of(vmem, offset, size);
    uint64_t ioctls;

    if (guard->fd < 0 || guard->is_aside) {
        return;
    }
    if (guard->nb_extents + 1 - count_runs(vmem, &run) >
        allowed_extents(vmem)) {
        guard->is_incomplete = true;
    } else if (guard_register(vmem, offset, size, &ioctls)) {
        set_run(vmem, &run, true);
    } else {
        /* No mappings left, or another userfaultfd has it: later. */
        guard->is_aside = errno == EBUSY;
        guard->is_incomplete = true;
        remove_run(vmem, &run);
    }
}

void virtio_mem_guard_remove(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;
    Run run = run_of(vmem, offset, size), part;
    uint64_t from = run.first;

    if (!guard->nb_blocks || !next_run(vmem, from, run.end, &part)) {
        return;
    }
    while (next_run(vmem, from, run.end, &part)) {
        remove_run(vmem, &part);
        from = part.end;
    }
    if (guard->nb_extents > allowed_extents(vmem)) {
        drop_shorter_side(vmem, &run);
    }
}

bool virtio_mem_guard_has(const VirtIOMEM *vmem, uint64_t offset)
{
    const VirtIOMEMGuard *guard = &vmem->protection.guard;

    return offset < virtio_mem_region_size(vmem) &&
           test_bit(offset / vmem->block_size, guard->blocks);
}

bool virtio_mem_guard_wants_more(const VirtIOMEM *vmem)
{
    const VirtIOMEMGuard *guard = &vmem->protection.guard;

    return guard->is_aside || guard->has_hole ||
           (guard->is_incomplete &&
            guard->nb_extents <= allowed_extents(vmem) / 2);
}

/* All of the region */

/* The length from which on extents fit into the limit, as a power of two */
static uint64_t shortest_extent(const VirtIOMEM *vmem)
{
    uint64_t end = virtio_mem_region_size(vmem), offset = 0, size;
    uint64_t nb[64] = { };
    uint64_t total = 0, allowed = allowed_extents(vmem);
    int class = ARRAY_SIZE(nb);

    for (; (size = virtio_mem_blocks_next(&vmem->blocks, &offset, end, false));
         offset += size) {
        nb[63 - clz64(size)]++;
    }
    while (class && total + nb[class - 1] <= allowed) {
        total += nb[--class];
    }
    return class < ARRAY_SIZE(nb) ? BIT_ULL(class) : UINT64_MAX;
}

static void remove_plugged(VirtIOMEM *vmem)
{
    uint64_t end = virtio_mem_region_size(vmem), offset = 0, size;

    for (; (size = virtio_mem_blocks_next(&vmem->blocks, &offset, end, true));
         offset += size) {
        virtio_mem_guard_remove(vmem, offset, size);
    }
}

static bool is_guarded(const VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    Run run = run_of(vmem, offset, size);

    return find_next_zero_bit(vmem->protection.guard.blocks, run.end,
                              run.first) == run.end;
}

/* Those that are at least so long, as many as fit into the limit */
static void add_extents(VirtIOMEM *vmem, uint64_t shortest)
{
    uint64_t end = virtio_mem_region_size(vmem), offset = 0, size;

    for (; (size = virtio_mem_blocks_next(&vmem->blocks, &offset, end, false));
         offset += size) {
        if (size >= shortest && !is_guarded(vmem, offset, size)) {
            virtio_mem_guard_add(vmem, offset, size);
        }
    }
}

/* What is guarded stays so all the time. */
static void add_unplugged(VirtIOMEM *vmem)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;
    uint64_t shortest = shortest_extent(vmem);

    guard->has_hole = false;
    add_extents(vmem, shortest);
    if (shortest > 1) {
        /* Some of the next shorter ones: not all of them fit. */
        add_extents(vmem, shortest / 2);
    }
    guard->is_incomplete = guard->nb_blocks < vmem->blocks.nb_blocks -
                                              vmem->blocks.nb_plugged;
}

void virtio_mem_guard_anew(VirtIOMEM *vmem)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;

    if (guard->fd < 0 || guard->is_aside) {
        virtio_mem_guard_remove(vmem, 0, virtio_mem_region_size(vmem));
    } else {
        remove_plugged(vmem);
        add_unplugged(vmem);
    }
}

/* The userfaultfd */

static bool can_be_guarded(const VirtIOMEM *vmem, Error **errp)
{
    RAMBlock *rb = virtio_mem_ram_block(vmem);

    if (qemu_ram_get_fd(rb) >= 0 && !qemu_ram_is_shared(rb) &&
        qemu_ram_pagesize(rb) == qemu_real_host_page_size()) {
        error_setg(errp, "its mapping of a file is private (share=off), where "
                   "an access to what the file holds is not seen");
        return false;
    }
    return true;
}

static uint64_t needed_features(const VirtIOMEM *vmem)
{
    RAMBlock *rb = virtio_mem_ram_block(vmem);
    uint64_t features = UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_PAGEFAULT_FLAG_WP;

    if (qemu_ram_pagesize(rb) != qemu_real_host_page_size()) {
        return features | UFFD_FEATURE_MISSING_HUGETLBFS |
               UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
    }
    if (qemu_ram_is_shared(rb)) {
        return features | UFFD_FEATURE_MISSING_SHMEM |
               UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
    }
    return features;
}

static bool guard_open(VirtIOMEM *vmem, Error **errp)
{
    uint64_t needed = needed_features(vmem), features;

    if (uffd_query_features(&features)) {
        error_setg_errno(errp, errno, "QEMU may not use userfaultfd: it needs "
                         "access to /dev/userfaultfd, or sysctl "
                         "vm.unprivileged_userfaultfd=1");
        return false;
    }
    if (needed & ~features) {
        error_setg(errp, "userfaultfd of this host's Linux can't do it for "
                   "this backend (features 0x%" PRIx64 " are missing)",
                   needed & ~features);
        return false;
    }
    /* Not only the page, from Linux 5.18 on */
    needed |= features & UFFD_FEATURE_EXACT_ADDRESS;
    vmem->protection.guard.fd = uffd_create_fd(needed, true);
    if (vmem->protection.guard.fd < 0) {
        error_setg_errno(errp, errno, "userfaultfd");
        return false;
    }
    return true;
}

/* Tries on the first block what will be done with all. */
static bool guard_try(VirtIOMEM *vmem, Error **errp)
{
    uint64_t needed = BIT_ULL(_UFFDIO_COPY) | BIT_ULL(_UFFDIO_WAKE) |
                      BIT_ULL(_UFFDIO_WRITEPROTECT);
    uint64_t ioctls;

    if (!guard_register(vmem, 0, vmem->block_size, &ioctls)) {
        error_setg_errno(errp, errno, "Linux can't watch its memory "
                         "(userfaultfd), which of files it can only on tmpfs "
                         "and hugetlbfs");
        return false;
    }
    guard_unregister(vmem, 0, vmem->block_size);
    if (needed & ~ioctls) {
        error_setg(errp, "Linux can't write-protect its memory (userfaultfd)");
        return false;
    }
    return true;
}

void virtio_mem_guard_lock(VirtIOMEM *vmem)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;

    qatomic_inc(&guard->nb_waiting);
    qemu_mutex_lock(&guard->lock);
    qatomic_dec(&guard->nb_waiting);
}

bool virtio_mem_guard_begin(VirtIOMEM *vmem, Error **errp)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;

    if (!can_be_guarded(vmem, errp) || !guard_open(vmem, errp)) {
        return false;
    }
    if (!guard_try(vmem, errp) || !virtio_mem_loans_begin(vmem, errp)) {
        uffd_close_fd(guard->fd);
        guard->fd = -1;
        return false;
    }
    guard->max_extents = vmem->protection.max_extents ?:
                         MAX(virtio_mem_max_mappings() / SHARE_OF_MAPPINGS,
                             1);
    guard->blocks = bitmap_new(vmem->blocks.nb_blocks);
    guard->nb_blocks = 0;
    guard->nb_extents = 0;
    guard->is_aside = true;
    guard->is_incomplete = false;
    guard->has_hole = false;
    qatomic_set(&guard->forbids_reads, false);
    return true;
}

void virtio_mem_guard_end(VirtIOMEM *vmem)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;

    if (guard->fd < 0) {
        return;
    }
    virtio_mem_loans_end(vmem);
    uffd_close_fd(guard->fd);
    guard->fd = -1;
    g_free(g_steal_pointer(&guard->blocks));
}
