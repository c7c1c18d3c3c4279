/*
 * virtio-mem: accesses to what is guarded
 *
 * Who accesses unplugged memory waits until the device's thread lets it go on.
 * What the host itself reads is none of its business: that is told apart by the
 * thread that reads.  All else violates the protection, and gets a page that is
 * taken back at once (virtio-mem-loan.c).
 *
 * KVM may leave it to a thread of the kernel to get a page that a vCPU lacks.
 * Such a thread always wants to write, whatever the vCPU wants: there, what the
 * page holds when it is taken back tells a write from a read.
 *
 * A vCPU that goes on and on is slowed down, but never while it waits here: it
 * may keep the rest of QEMU.  For the same reason this thread takes no lock
 * that others hold for long, the BQL least of all.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qemu/userfaultfd.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "hw/virtio/virtio-mem.h"
#include "trace.h"

/* Accesses that cost vCPUs no time: so many at once, and so many a ms */
#define MAX_TOKENS 64
#define TOKENS_PER_MS 8

/* What another one costs, and for how many vCPUs */
#define SLOW_US 10000
#define MAX_CPUS 1024

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

/* Threads of vCPUs that sleep, or are about to.  Atomic */
static int sleepers[MAX_CPUS];

/* In the vCPU's thread, with the BQL */
static void sleep_a_while(CPUState *cpu, run_on_cpu_data data)
{
    bql_unlock();
    g_usleep(SLOW_US);
    bql_lock();
    qatomic_set(&sleepers[cpu->cpu_index], 0);
}

/*
 * Once it is through with its instruction.  What a vCPU that goes away was to
 * do is never done: who comes in its place has another thread.
 */
static void slow_down(CPUState *cpu)
{
    if (cpu->cpu_index < MAX_CPUS &&
        qatomic_xchg(&sleepers[cpu->cpu_index], cpu->thread_id) !=
        cpu->thread_id) {
        async_run_on_cpu(cpu, sleep_a_while, RUN_ON_CPU_NULL);
    }
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

/* Returns whether an access is to cost vCPUs time. */
static bool takes_token(VirtIOMEMFaults *faults)
{
    if (faults->tokens) {
        faults->tokens--;
        return false;
    }
    return true;
}

/* It comes back here until it has the page, but that is the same access. */
static void handle_violation(VirtIOMEM *vmem, uint64_t offset, bool is_write,
                             bool is_there, CPUState *cpu)
{
    if (!virtio_mem_lend(vmem, offset, is_there)) {
        return;
    }
    virtio_mem_violated(vmem, is_write ? MEMORY_DEVICE_VIOLATION_KIND_WRITE
                                       : MEMORY_DEVICE_VIOLATION_KIND_READ,
                        offset, 1, cpu);
    if (cpu && takes_token(&vmem->protection.faults)) {
        slow_down(cpu);
    }
}

/* The kernel's own threads have other processes, or none. */
static bool is_thread_of_qemu(uint32_t thread_id)
{
    return !tgkill(getpid(), thread_id, 0);
}

/* With guard.lock held, and as long as CPUs don't go away */
static void handle_page(VirtIOMEM *vmem, const struct uffd_msg *msg,
                        uint64_t offset)
{
    uint64_t flags = msg->arg.pagefault.flags;
    uint32_t thread_id = msg->arg.pagefault.feat.ptid;
    CPUState *cpu = cpu_of_thread(thread_id);
    bool is_there = flags & UFFD_PAGEFAULT_FLAG_WP;
    bool is_write = is_there || flags & UFFD_PAGEFAULT_FLAG_WRITE;

    trace_virtio_mem_fault(offset, is_write, cpu ? cpu->cpu_index : -1);
    if (!virtio_mem_guard_has(vmem, offset)) {
        /* It was plugged meanwhile, or Linux could not let it be. */
        virtio_mem_let_go_on(vmem, offset, is_there);
    } else if (!cpu && is_write && !is_thread_of_qemu(thread_id)) {
        virtio_mem_lend_unclear(vmem, offset, is_there);
    } else if (is_write ||
               (cpu && qatomic_read(&vmem->protection.guard.forbids_reads))) {
        handle_violation(vmem, offset, is_write, is_there, cpu);
    } else {
        virtio_mem_lend_zeroes(vmem, offset);
    }
}

static void let_others_go_first(VirtIOMEM *vmem)
{
    while (qatomic_read(&vmem->protection.guard.nb_waiting)) {
        sched_yield();
    }
}

static void handle_fault(VirtIOMEM *vmem, const struct uffd_msg *msg)
{
    uint64_t offset = msg->arg.pagefault.address -
                      (uintptr_t)memory_region_get_ram_ptr(&vmem->memdev->mr);

    if (msg->event != UFFD_EVENT_PAGEFAULT) {
        return;
    }
    let_others_go_first(vmem);
    cpu_list_lock();
    WITH_QEMU_LOCK_GUARD(&vmem->protection.guard.lock) {
        handle_page(vmem, msg, offset);
    }
    cpu_list_unlock();
}

static void read_faults(VirtIOMEM *vmem)
{
    struct uffd_msg msgs[EVENTS];
    int nb = uffd_read_events(vmem->protection.guard.fd, msgs, EVENTS);

    for (int i = 0; i < nb; i++) {
        handle_fault(vmem, &msgs[i]);
    }
}

static void slow_all_down(void)
{
    CPUState *cpu;

    cpu_list_lock();
    CPU_FOREACH(cpu) {
        /* Others have no thread yet, or no longer. */
        if (cpu->created && !cpu->unplug) {
            slow_down(cpu);
        }
    }
    cpu_list_unlock();
}

/* Returns how long nothing is to be done, in ns; -1: until something happens */
static int64_t end_loans(VirtIOMEM *vmem)
{
    VirtIOMEMLoans *loans = &vmem->protection.guard.loans;
    unsigned int nb_judged = 0;
    int64_t ns = 0;

    while (!ns) {
        let_others_go_first(vmem);
        WITH_QEMU_LOCK_GUARD(&vmem->protection.guard.lock) {
            ns = virtio_mem_end_loan(vmem);
            nb_judged += loans->nb_judged;
            loans->nb_judged = 0;
        }
    }
    while (nb_judged--) {
        if (takes_token(&vmem->protection.faults)) {
            /* One of them it was. */
            slow_all_down();
            break;
        }
    }
    return ns;
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
    faults->tokens = MAX_TOKENS;
    faults->filled_ns = get_clock();
    faults->thread = virtio_mem_start_thread("vmem-fault", fault_thread,
                                             vmem, errp);
    if (!faults->thread) {
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
    event_notifier_cleanup(&faults->stop);
}
