/*
 * virtio-mem: what follows when a guest uses unplugged memory
 *
 * Counts what happened, by kind, and tells it: a line in the log for the first,
 * and an event a second at most, with how many it stands for.  A guest that
 * goes on and on can't make the host print or send more than that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qapi/qapi-events-machine.h"
#include "hw/virtio/virtio-mem.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "trace.h"

/* From one event of a device to the next */
#define EVENT_MS 1000

static bool is_told(const VirtIOMEM *vmem)
{
    return vmem->protection.action != MEMORY_DEVICE_VIOLATION_ACTION_DISCARD;
}

static void stop_machine(void)
{
    qemu_system_vmstop_request_prepare();
    qemu_system_vmstop_request(RUN_STATE_PAUSED);
}

/*
 * In the vCPU's thread, with the BQL.  The machine may have stopped, and gone
 * on, since this was asked for: no vCPU may stand still in one that runs.
 */
static void stop_cpu(CPUState *cpu, run_on_cpu_data data)
{
    cpu->stop = true;
    cpu_exit(cpu);
    stop_machine();
}

void virtio_mem_violated(VirtIOMEM *vmem, MemoryDeviceViolationKind kind,
                         uint64_t offset, uint64_t count, CPUState *cpu)
{
    VirtIOMEMViolations *violations = &vmem->protection.violations;
    VirtIOMEMViolation *untold = &violations->untold[kind];

    WITH_QEMU_LOCK_GUARD(&violations->lock) {
        violations->counts[kind] += count;
        violations->last_addr = vmem->addr + offset;
        untold->count += count;
        untold->addr = vmem->addr + offset;
        untold->cpu_index = cpu ? cpu->cpu_index : -1;
        violations->must_act = true;
    }
    trace_virtio_mem_violation(kind, offset, count);
    /* It gets no further than the instruction that it is at. */
    if (cpu &&
        vmem->protection.action == MEMORY_DEVICE_VIOLATION_ACTION_PAUSE) {
        async_run_on_cpu(cpu, stop_cpu, RUN_ON_CPU_NULL);
    }
    qemu_bh_schedule(violations->bh);
}

/* In the main loop */

static void warn(VirtIOMEM *vmem, MemoryDeviceViolationKind kind,
                 const VirtIOMEMViolation *violation)
{
    if (vmem->protection.violations.was_warned) {
        return;
    }
    vmem->protection.violations.was_warned = true;
    warn_report("virtio-mem '%s': the guest uses unplugged memory at 0x%" PRIx64
                " (%s, %s); more of that is told by MEMORY_DEVICE_VIOLATION",
                virtio_mem_name(vmem), violation->addr,
                MemoryDeviceViolationKind_str(kind),
                MemoryDeviceViolationAction_str(vmem->protection.action));
}

static void tell(VirtIOMEM *vmem, MemoryDeviceViolationKind kind,
                 const VirtIOMEMViolation *violation)
{
    DeviceState *proxy = virtio_mem_proxy(vmem);
    g_autofree char *path = object_get_canonical_path(OBJECT(proxy));

    warn(vmem, kind, violation);
    qapi_event_send_memory_device_violation(
        proxy->id, path, violation->addr,
        QEMU_ALIGN_DOWN(violation->addr, vmem->block_size), kind,
        violation->cpu_index >= 0, MAX(violation->cpu_index, 0),
        vmem->protection.action, violation->count);
}

/* Returns whether the machine stops or ends. */
static bool act(VirtIOMEM *vmem)
{
    WITH_QEMU_LOCK_GUARD(&vmem->protection.violations.lock) {
        if (!vmem->protection.violations.must_act) {
            return false;
        }
        vmem->protection.violations.must_act = false;
    }
    switch (vmem->protection.action) {
    case MEMORY_DEVICE_VIOLATION_ACTION_PAUSE:
        stop_machine();
        return true;
    case MEMORY_DEVICE_VIOLATION_ACTION_SHUTDOWN:
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_HOST_ERROR);
        return true;
    default:
        return false;
    }
}

/*
 * Acts on what is new, and tells it unless others were told just now; but why a
 * machine stops at once, as that needs its user to go on.
 */
static void virtio_mem_violations_bh(void *opaque)
{
    VirtIOMEM *vmem = opaque;
    VirtIOMEMViolations *violations = &vmem->protection.violations;
    VirtIOMEMViolation untold[ARRAY_SIZE(violations->untold)] = { };
    bool any = false, stops = act(vmem);

    if ((timer_pending(violations->timer) && !stops) || !is_told(vmem)) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&violations->lock) {
        memcpy(untold, violations->untold, sizeof(untold));
        memset(violations->untold, 0, sizeof(violations->untold));
    }
    for (int kind = 0; kind < ARRAY_SIZE(untold); kind++) {
        if (untold[kind].count) {
            tell(vmem, kind, &untold[kind]);
            any = true;
        }
    }
    if (any) {
        timer_mod(violations->timer,
                  qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + EVENT_MS);
    }
}

void virtio_mem_violations_reset(VirtIOMEM *vmem)
{
    VirtIOMEMViolations *violations = &vmem->protection.violations;

    QEMU_LOCK_GUARD(&violations->lock);
    memset(violations->counts, 0, sizeof(violations->counts));
    violations->last_addr = 0;
    violations->since_s = g_get_real_time() / G_USEC_PER_SEC;
    violations->was_warned = false;
}

void virtio_mem_violations_fill_info(VirtIOMEM *vmem,
                                     VirtioMEMProtectionInfo *info)
{
    VirtIOMEMViolations *violations = &vmem->protection.violations;

    QEMU_LOCK_GUARD(&violations->lock);
    info->writes = violations->counts[MEMORY_DEVICE_VIOLATION_KIND_WRITE];
    info->reads = violations->counts[MEMORY_DEVICE_VIOLATION_KIND_READ];
    info->found = violations->counts[MEMORY_DEVICE_VIOLATION_KIND_FOUND];
    info->since = violations->since_s;
    info->has_last_address = info->writes || info->reads || info->found;
    info->last_address = violations->last_addr;
}

void virtio_mem_violations_begin(VirtIOMEM *vmem)
{
    VirtIOMEMViolations *violations = &vmem->protection.violations;

    violations->bh = virtio_bh_new_guarded(DEVICE(vmem),
                                           virtio_mem_violations_bh, vmem);
    violations->timer = timer_new_ms(QEMU_CLOCK_REALTIME,
                                     virtio_mem_violations_bh, vmem);
    memset(violations->untold, 0, sizeof(violations->untold));
    violations->must_act = false;
    virtio_mem_violations_reset(vmem);
}

void virtio_mem_violations_end(VirtIOMEM *vmem)
{
    VirtIOMEMViolations *violations = &vmem->protection.violations;

    g_clear_pointer(&violations->timer, timer_free);
    g_clear_pointer(&violations->bh, qemu_bh_delete);
}
