/*
 * virtio-mem: pages that an access to unplugged memory gets
 *
 * Nobody can undo an access that has begun: who made it waits in the middle of
 * an instruction.  So it gets a page, and goes on; the page is given back to
 * the host a moment later, with all that was written to it.  A guest has no
 * more of them at a time than fit the ring, whatever it does.
 *
 * QEMU's own helpers (util/userfaultfd.c) print what the host refuses.  Here
 * that is no news: others may have been faster.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qemu/userfaultfd.h"
#include "qapi/error.h"
#include "exec/cpu-common.h"
#include "hw/virtio/virtio-mem.h"

/* Who got a page needs it for one instruction. */
#define LOAN_NS (1 * SCALE_MS)

/* An instruction may access a few pages at once. */
#define MAX_LARGE_LOANS 8

/* To look for data in so much takes a millisecond, if there is none. */
#define MAX_LOOK (4 * MiB)

static uint64_t page_size(const VirtIOMEM *vmem)
{
    return qemu_ram_pagesize(virtio_mem_ram_block(vmem));
}

static bool has_small_pages(const VirtIOMEM *vmem)
{
    return page_size(vmem) == qemu_real_host_page_size();
}

static uint64_t page_addr(const VirtIOMEM *vmem, uint64_t page)
{
    return (uintptr_t)memory_region_get_ram_ptr(&vmem->memdev->mr) + page;
}

static void wake(VirtIOMEM *vmem, uint64_t page)
{
    struct uffdio_range range = {
        .start = page_addr(vmem, page),
        .len = page_size(vmem),
    };

    ioctl(vmem->protection.guard.fd, UFFDIO_WAKE, &range);
}

static int copy_zeroes(VirtIOMEM *vmem, uint64_t page)
{
    struct uffdio_copy copy = {
        .dst = page_addr(vmem, page),
        .src = (uintptr_t)vmem->protection.guard.loans.zeroes,
        .len = page_size(vmem),
        .mode = UFFDIO_COPY_MODE_DONTWAKE,
    };

    return ioctl(vmem->protection.guard.fd, UFFDIO_COPY, &copy) ? -errno : 0;
}

/* Makes a page of zeroes; who waits for it has yet to be woken. */
static int fill(VirtIOMEM *vmem, uint64_t page)
{
    struct uffdio_zeropage zeropage = {
        .range.start = page_addr(vmem, page),
        .range.len = page_size(vmem),
        .mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE,
    };

    if (vmem->protection.guard.loans.zeroes) {
        return copy_zeroes(vmem, page);
    }
    return ioctl(vmem->protection.guard.fd, UFFDIO_ZEROPAGE, &zeropage) ? -errno
                                                                        : 0;
}

static int set_write_protection(VirtIOMEM *vmem, uint64_t page, bool on)
{
    struct uffdio_writeprotect protect = {
        .range.start = page_addr(vmem, page),
        .range.len = page_size(vmem),
        .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP
                   : UFFDIO_WRITEPROTECT_MODE_DONTWAKE,
    };

    return ioctl(vmem->protection.guard.fd, UFFDIO_WRITEPROTECT, &protect)
           ? -errno : 0;
}

/*
 * A page that is gone must not be waited for in here.  Linux lets nobody wait
 * who reads the memory of a process by its file: that fails at once.
 */
bool virtio_mem_holds_data(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;
    uint64_t addr = page_addr(vmem, offset);
    char buf[4 * KiB];

    if (guard->fd < 0) {
        return !buffer_is_zero((void *)(uintptr_t)addr, size);
    }
    /* Without a way to look into pages, or the time, they count as written. */
    if (guard->loans.mem_fd < 0 || size > MAX_LOOK) {
        return true;
    }
    for (uint64_t i = 0; i < size; i += sizeof(buf)) {
        if (pread(guard->loans.mem_fd, buf, sizeof(buf), addr + i) ==
            sizeof(buf) && !buffer_is_zero(buf, sizeof(buf))) {
            return true;
        }
    }
    return false;
}

/* The ring */

static VirtIOMEMLoan *nth_loan(VirtIOMEMLoans *loans, unsigned int n)
{
    return &loans->ring[(loans->first + n) % VIRTIO_MEM_MAX_LOANS];
}

static void judge(VirtIOMEM *vmem, uint64_t page)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;
    bool is_write = virtio_mem_holds_data(vmem, page, page_size(vmem));

    if (is_write || qatomic_read(&guard->forbids_reads)) {
        virtio_mem_violated(vmem, is_write
                            ? MEMORY_DEVICE_VIOLATION_KIND_WRITE
                            : MEMORY_DEVICE_VIOLATION_KIND_READ, page, 1, NULL);
        guard->loans.nb_judged++;
    }
}

static void end_first(VirtIOMEM *vmem)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;
    VirtIOMEMLoan loan = *nth_loan(loans, 0);

    if (loan.is_unclear) {
        judge(vmem, loan.offset);
    }
    virtio_mem_discard(vmem, loan.offset, page_size(vmem));
    loans->first++;
    loans->nb--;
}

static void add_loan(VirtIOMEM *vmem, uint64_t page, bool is_unclear)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;
    int64_t end_ns = get_clock() + LOAN_NS;
    unsigned int n;

    *nth_loan(loans, loans->nb++) = (VirtIOMEMLoan) {
        .offset = page,
        .is_unclear = is_unclear,
    };
    /* To fill a large page takes longer than that. */
    for (n = has_small_pages(vmem) ? loans->nb - 1 : 0; n < loans->nb; n++) {
        nth_loan(loans, n)->end_ns = end_ns;
    }
}

bool virtio_mem_is_any_lent(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;

    for (unsigned int n = 0; n < loans->nb; n++) {
        if (nth_loan(loans, n)->offset - offset < size) {
            return true;
        }
    }
    return false;
}

int64_t virtio_mem_end_loan(VirtIOMEM *vmem)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;
    int64_t ns = -1;

    if (loans->nb) {
        ns = MAX(nth_loan(loans, 0)->end_ns - get_clock(), 0);
    }
    if (!ns) {
        end_first(vmem);
    }
    return ns;
}

void virtio_mem_end_loans_of(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;
    unsigned int nb = loans->nb;

    /* Each once: what lies elsewhere goes to the end, in the same order. */
    while (nb--) {
        VirtIOMEMLoan loan = *nth_loan(loans, 0);

        if (loan.offset - offset < size) {
            end_first(vmem);
        } else {
            loans->first++;
            *nth_loan(loans, loans->nb - 1) = loan;
        }
    }
}

/* What accesses get */

/*
 * Others may have been faster, or the mapping is no longer watched.  Where page
 * tables changed under way (-EAGAIN) who is woken asks again.
 */
static bool is_settled(int ret)
{
    return !ret || ret == -EEXIST || ret == -ENOENT || ret == -EAGAIN;
}

/* Makes it accessible: @is_there says how. */
static int open_page(VirtIOMEM *vmem, uint64_t page, bool is_there)
{
    int ret = is_there ? set_write_protection(vmem, page, false)
                       : fill(vmem, page);

    if (ret == -ENOMEM || ret == -ENOSPC) {
        /* Those who have a page will ask for it again. */
        virtio_mem_end_loans_of(vmem, 0, virtio_mem_region_size(vmem));
        ret = fill(vmem, page);
    }
    return ret;
}

/* Nobody may wait for ever: the host does what it does without us. */
static void give_up(VirtIOMEM *vmem, uint64_t page)
{
    virtio_mem_guard_remove(vmem, QEMU_ALIGN_DOWN(page, vmem->block_size),
                            vmem->block_size);
    vmem->protection.guard.has_hole = true;
}

static bool lend(VirtIOMEM *vmem, uint64_t offset, bool is_there,
                 bool is_unclear)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;
    uint64_t page = QEMU_ALIGN_DOWN(offset, page_size(vmem));
    bool is_new = !virtio_mem_is_any_lent(vmem, page, page_size(vmem));
    int ret;

    if (is_new && loans->nb == loans->max) {
        end_first(vmem);
    }
    ret = open_page(vmem, page, is_there);
    if (!ret && is_new) {
        add_loan(vmem, page, is_unclear);
    }
    if (!is_settled(ret)) {
        give_up(vmem, page);
    }
    wake(vmem, page);
    return is_new && ret != -EAGAIN;
}

bool virtio_mem_lend(VirtIOMEM *vmem, uint64_t offset, bool is_there)
{
    return lend(vmem, offset, is_there, false);
}

void virtio_mem_lend_unclear(VirtIOMEM *vmem, uint64_t offset, bool is_there)
{
    lend(vmem, offset, is_there, true);
}

void virtio_mem_let_go_on(VirtIOMEM *vmem, uint64_t offset, bool is_there)
{
    uint64_t page = QEMU_ALIGN_DOWN(offset, page_size(vmem));

    open_page(vmem, page, is_there);
    wake(vmem, page);
}

void virtio_mem_lend_zeroes(VirtIOMEM *vmem, uint64_t offset)
{
    RAMBlock *rb = virtio_mem_ram_block(vmem);
    uint64_t page = QEMU_ALIGN_DOWN(offset, page_size(vmem));
    int ret;

    if (!has_small_pages(vmem) || qemu_ram_is_shared(rb)) {
        virtio_mem_lend(vmem, offset, false);
        return;
    }
    /* Linux's page of zeroes, which is nobody's memory */
    ret = fill(vmem, page);
    if (!ret) {
        ret = set_write_protection(vmem, page, true);
    }
    if (!is_settled(ret)) {
        give_up(vmem, page);
    }
    wake(vmem, page);
}

static bool zeroes_begin(VirtIOMEM *vmem, Error **errp)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;

    if (has_small_pages(vmem)) {
        return true;
    }
    loans->zeroes = mmap(NULL, page_size(vmem), PROT_READ,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (loans->zeroes == MAP_FAILED) {
        error_setg_errno(errp, errno, "no address space for a page of zeroes");
        loans->zeroes = NULL;
        return false;
    }
    return true;
}

bool virtio_mem_loans_begin(VirtIOMEM *vmem, Error **errp)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;

    *loans = (VirtIOMEMLoans) {
        .max = has_small_pages(vmem) ? VIRTIO_MEM_MAX_LOANS : MAX_LARGE_LOANS,
    };
    if (!zeroes_begin(vmem, errp)) {
        return false;
    }
    loans->mem_fd = qemu_open("/proc/self/mem", O_RDONLY, NULL);
    return true;
}

void virtio_mem_loans_end(VirtIOMEM *vmem)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;

    virtio_mem_end_loans_of(vmem, 0, virtio_mem_region_size(vmem));
    if (loans->zeroes) {
        munmap(loans->zeroes, page_size(vmem));
        loans->zeroes = NULL;
    }
    if (loans->mem_fd >= 0) {
        close(loans->mem_fd);
    }
}
