/*
 * virtio-mem: accesses to what is guarded
 *
 * Who accesses unplugged memory waits until the device's thread lets it go on.
 * What the host itself reads is none of its business: that is told apart by the
 * thread that reads.  All else violates the protection, and gets a page that is
 * taken back at once (virtio-mem-loan.c).
 *
 * A vCPU that goes on and on is slowed down: it has to wait for its page.  No
 * other thread has to, as it may keep the rest of QEMU.  For the same reason
 * this thread takes no lock that others hold for long, the BQL least of all.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qemu/userfaultfd.h"
#include "qapi/error.h"
#include "hw/core/cpu.h"
#include "hw/virtio/virtio-mem.h"
#include "trace.h"

/* Accesses of vCPUs that need not wait: so many at once, and so many a ms */
#define MAX_TOKENS 64
#define TOKENS_PER_MS 8

/* Events that are read at a time */
#define EVENTS 16

/* The vCPU of a thread.  Several may share one: the one that runs there. */
static CPUState *cpu_of_thread(uint32_t thread_id)
{
    CPUState *cpu, *found = NULL;

    CPU_FOREACH(cpu) {
        if (cpu->thread_id == thread_id && (!found || cpu->running)) {
            found = cpu;
        }
    }
    return found;
}

static void add_tokens(VirtIOMEMFaults *faults)
{
    int64_t now = get_clock();
    int64_t nb = (now - faults->filled_ns) / (SCALE_MS / TOKENS_PER_MS);

    if (nb > 0) {
        faults->tokens = MIN(faults->tokens + nb, MAX_TOKENS);
        faults->filled_ns = now;
    }
}

/* A thread waits for one access at a time; an older one was woken already. */
static void let_wait(VirtIOMEMFaults *faults, const struct uffd_msg *msg)
{
    for (guint i = 0; i < faults->waiting->len; i++) {
        struct uffd_msg *old = &g_array_index(faults->waiting, struct uffd_msg,
                                              i);

        if (old->arg.pagefault.feat.ptid == msg->arg.pagefault.feat.ptid) {
            *old = *msg;
            return;
        }
    }
    g_array_append_vals(faults->waiting, msg, 1);
}

/* With guard.lock held, and where CPUs don't go away */
static void handle_guarded(VirtIOMEM *vmem, const struct uffd_msg *msg,
                           uint64_t offset)
{
    VirtIOMEMFaults *faults = &vmem->protection.faults;
    uint64_t flags = msg->arg.pagefault.flags;
    CPUState *cpu = cpu_of_thread(msg->arg.pagefault.feat.ptid);
    bool is_there = flags & UFFD_PAGEFAULT_FLAG_WP;
    bool is_write = is_there || flags & UFFD_PAGEFAULT_FLAG_WRITE;

    trace_virtio_mem_fault(offset, is_write, cpu ? cpu->cpu_index : -1);
    if (!is_write &&
        !(cpu && qatomic_read(&vmem->protection.guard.forbids_reads))) {
        virtio_mem_lend_zeroes(vmem, offset);
        return;
    }
    if (cpu && !faults->tokens) {
        let_wait(faults, msg);
        return;
    }
    faults->tokens -= cpu != NULL;
    virtio_mem_violated(vmem, is_write ? MEMORY_DEVICE_VIOLATION_KIND_WRITE
                                       : MEMORY_DEVICE_VIOLATION_KIND_READ,
                        offset, 1, cpu);
    virtio_mem_lend(vmem, offset, is_there);
}

static void handle_fault(VirtIOMEM *vmem, const struct uffd_msg *msg)
{
    uint64_t offset = msg->arg.pagefault.address -
                      (uintptr_t)memory_region_get_ram_ptr(&vmem->memdev->mr);

    if (msg->event != UFFD_EVENT_PAGEFAULT) {
        return;
    }
    RCU_READ_LOCK_GUARD();
    QEMU_LOCK_GUARD(&vmem->protection.guard.lock);
    /* Else who waited was woken when the block was plugged. */
    if (virtio_mem_guard_has(vmem, offset)) {
        handle_guarded(vmem, msg, offset);
    }
}

static void read_faults(VirtIOMEM *vmem)
{
    struct uffd_msg msgs[EVENTS];
    int nb = uffd_read_events(vmem->protection.guard.fd, msgs, EVENTS);

    for (int i = 0; i < nb; i++) {
        handle_fault(vmem, &msgs[i]);
    }
}

static void handle_waiting(VirtIOMEM *vmem)
{
    VirtIOMEMFaults *faults = &vmem->protection.faults;
    struct uffd_msg msg;

    while (faults->waiting->len && faults->tokens) {
        msg = g_array_index(faults->waiting, struct uffd_msg, 0);
        g_array_remove_index(faults->waiting, 0);
        handle_fault(vmem, &msg);
    }
}

/* Returns how long nothing is to be done, in ns; -1: until something happens */
static int64_t end_loans(VirtIOMEM *vmem)
{
    int64_t wait_ns;

    WITH_QEMU_LOCK_GUARD(&vmem->protection.guard.lock) {
        wait_ns = virtio_mem_end_loans(vmem);
    }
    if (vmem->protection.faults.waiting->len) {
        return MIN((uint64_t)wait_ns, SCALE_MS / TOKENS_PER_MS);
    }
    return wait_ns;
}

static void *fault_thread(void *opaque)
{
    VirtIOMEM *vmem = opaque;
    VirtIOMEMFaults *faults = &vmem->protection.faults;
    GPollFD fds[] = {
        { .fd = event_notifier_get_fd(&faults->stop), .events = G_IO_IN },
        { .fd = vmem->protection.guard.fd, .events = G_IO_IN },
    };

    rcu_register_thread();
    while (!fds[0].revents) {
        qemu_poll_ns(fds, ARRAY_SIZE(fds), end_loans(vmem));
        add_tokens(faults);
        handle_waiting(vmem);
        if (fds[1].revents) {
            read_faults(vmem);
        }
    }
    rcu_unregister_thread();
    return NULL;
}

bool virtio_mem_faults_begin(VirtIOMEM *vmem, Error **errp)
{
    VirtIOMEMFaults *faults = &vmem->protection.faults;
    int ret = event_notifier_init(&faults->stop, 0);

    if (ret) {
        error_setg_errno(errp, -ret, "no event notifier");
        return false;
    }
    faults->waiting = g_array_new(false, false, sizeof(struct uffd_msg));
    faults->tokens = MAX_TOKENS;
    faults->filled_ns = get_clock();
    faults->thread = virtio_mem_start_thread("vmem-fault", fault_thread,
                                             vmem, errp);
    if (!faults->thread) {
        g_array_unref(faults->waiting);
        event_notifier_cleanup(&faults->stop);
    }
    return faults->thread;
}

void virtio_mem_faults_end(VirtIOMEM *vmem)
{
    VirtIOMEMFaults *faults = &vmem->protection.faults;

    if (!faults->thread) {
        return;
    }
    event_notifier_set(&faults->stop);
    g_thread_join(g_steal_pointer(&faults->thread));
    g_array_unref(faults->waiting);
    event_notifier_cleanup(&faults->stop);
}
