/*
 * virtio-mem: when unplugged memory is protected
 *
 * Blocks are protected from before they are discarded until they are plugged
 * again.  The memory of a machine that stands still is left alone: who changes
 * it then is not the guest, but a migration, a snapshot or a debugger.  What is
 * in unplugged blocks when it runs again finds the audit.
 *
 * Linux lets one userfaultfd have a mapping.  The target of a postcopy
 * migration and a background snapshot need theirs: the guard steps aside, and
 * returns by itself.  While pages still arrive by postcopy the audit waits,
 * too: what it gave back would never arrive again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "hw/virtio/virtio-mem.h"
#include "migration/misc.h"
#include "standard-headers/linux/virtio_mem.h"
#include "system/runstate.h"

static bool is_on(const VirtIOMEM *vmem)
{
    return vmem->protection.mode != MEMORY_DEVICE_PROTECTION_OFF;
}

static bool is_guarding(const VirtIOMEM *vmem)
{
    return vmem->protection.mode > MEMORY_DEVICE_PROTECTION_AUDIT;
}

/* Blocks */

static void guard(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    virtio_mem_guard_lock(vmem);
    virtio_mem_guard_add(vmem, offset, size);
    qemu_mutex_unlock(&vmem->protection.guard.lock);
}

static void unguard(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    virtio_mem_guard_lock(vmem);
    virtio_mem_guard_remove(vmem, offset, size);
    qemu_mutex_unlock(&vmem->protection.guard.lock);
}

static void audit(VirtIOMEM *vmem, uint64_t offset, uint64_t size,
                  bool unplugged)
{
    virtio_mem_audit_lock(vmem);
    virtio_mem_audit_set(vmem, offset, size, unplugged);
    qemu_mutex_unlock(&vmem->protection.audit.lock);
}

void virtio_mem_protect_soon(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    if (is_guarding(vmem)) {
        guard(vmem, offset, size);
    }
}

void virtio_mem_protect(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    if (is_on(vmem)) {
        audit(vmem, offset, size, true);
    }
}

void virtio_mem_unprotect(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    if (is_on(vmem)) {
        audit(vmem, offset, size, false);
    }
    if (is_guarding(vmem)) {
        unguard(vmem, offset, size);
    }
}

static void audit_anew(VirtIOMEM *vmem)
{
    uint64_t end = virtio_mem_region_size(vmem), offset = 0, size;

    virtio_mem_audit_set(vmem, 0, end, true);
    for (; (size = virtio_mem_blocks_next(&vmem->blocks, &offset, end, true));
         offset += size) {
        virtio_mem_audit_set(vmem, offset, size, false);
    }
}

void virtio_mem_protect_anew(VirtIOMEM *vmem)
{
    if (is_on(vmem)) {
        virtio_mem_audit_lock(vmem);
        audit_anew(vmem);
        qemu_mutex_unlock(&vmem->protection.audit.lock);
    }
    if (is_guarding(vmem)) {
        virtio_mem_guard_lock(vmem);
        virtio_mem_guard_anew(vmem);
        qemu_mutex_unlock(&vmem->protection.guard.lock);
    }
}

void virtio_mem_protect_loaded(VirtIOMEM *vmem)
{
    virtio_mem_protect_anew(vmem);
    virtio_mem_audit_lock(vmem);
    vmem->protection.audit.forgives = true;
    qemu_mutex_unlock(&vmem->protection.audit.lock);
}

/* Moments */

/* Pages are on their way that nobody else will send again. */
static bool memory_is_the_guests(void)
{
    return runstate_is_running() && !migration_in_incoming_postcopy();
}

static void set_audit_off(VirtIOMEM *vmem, bool off)
{
    virtio_mem_audit_lock(vmem);
    vmem->protection.audit.is_off = off;
    qemu_mutex_unlock(&vmem->protection.audit.lock);
}

static void set_aside(VirtIOMEM *vmem, bool aside)
{
    VirtIOMEMGuard *guard = &vmem->protection.guard;

    virtio_mem_guard_lock(vmem);
    if (guard->is_aside != aside ||
        (!aside && virtio_mem_guard_wants_more(vmem))) {
        guard->is_aside = aside;
        virtio_mem_guard_anew(vmem);
    }
    qemu_mutex_unlock(&guard->lock);
}

void virtio_mem_protect_update(VirtIOMEM *vmem)
{
    bool active = memory_is_the_guests();
    bool aside = !active || migration_in_bg_snapshot();

    if (!is_on(vmem)) {
        return;
    }
    set_audit_off(vmem, !active);
    /* What a job is about to plug or unplug does not show yet: soon again. */
    if (is_guarding(vmem) && (aside || !virtio_mem_job_is_running(vmem))) {
        set_aside(vmem, aside);
    }
}

void virtio_mem_protect_driver_changed(VirtIOMEM *vmem, uint8_t status)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(vmem);
    bool negotiated =
        virtio_vdev_has_feature(vdev, VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE);

    if (vmem->protection.mode != MEMORY_DEVICE_PROTECTION_FULL) {
        return;
    }
    if (status & VIRTIO_CONFIG_S_DRIVER_OK && !negotiated) {
        warn_report_once("virtio-mem '%s': the driver may read unplugged "
                         "memory: '%s' full is no more than write",
                         virtio_mem_name(vmem), VIRTIO_MEM_PROTECTION_PROP);
    }
    qatomic_set(&vmem->protection.guard.forbids_reads,
                status & VIRTIO_CONFIG_S_DRIVER_OK && negotiated);
}

/* Begin and end */

void virtio_mem_protection_init(VirtIOMEM *vmem)
{
    vmem->protection.guard.fd = -1;
    qemu_mutex_init(&vmem->protection.guard.lock);
    qemu_mutex_init(&vmem->protection.audit.lock);
    qemu_cond_init(&vmem->protection.audit.wake);
    qemu_mutex_init(&vmem->protection.violations.lock);
}

void virtio_mem_protection_destroy(VirtIOMEM *vmem)
{
    qemu_mutex_destroy(&vmem->protection.guard.lock);
    qemu_mutex_destroy(&vmem->protection.audit.lock);
    qemu_cond_destroy(&vmem->protection.audit.wake);
    qemu_mutex_destroy(&vmem->protection.violations.lock);
}

static bool guard_begin(VirtIOMEM *vmem, Error **errp)
{
    if (!is_guarding(vmem)) {
        return true;
    }
    if (!virtio_mem_guard_begin(vmem, errp)) {
        return false;
    }
    if (!virtio_mem_faults_begin(vmem, errp)) {
        virtio_mem_guard_end(vmem);
        return false;
    }
    return true;
}

static void guard_end(VirtIOMEM *vmem)
{
    if (is_guarding(vmem)) {
        set_aside(vmem, true);
        virtio_mem_faults_end(vmem);
        virtio_mem_guard_end(vmem);
    }
}

static bool parts_begin(VirtIOMEM *vmem, Error **errp)
{
    virtio_mem_violations_begin(vmem);
    if (!guard_begin(vmem, errp)) {
        virtio_mem_violations_end(vmem);
        return false;
    }
    if (!virtio_mem_audit_begin(vmem, errp)) {
        guard_end(vmem);
        virtio_mem_violations_end(vmem);
        return false;
    }
    return true;
}

bool virtio_mem_protect_begin(VirtIOMEM *vmem, Error **errp)
{
    ERRP_GUARD();

    if (!is_on(vmem)) {
        return true;
    }
    if (!parts_begin(vmem, errp)) {
        error_prepend(errp, "property '%s': %s is not possible for memory "
                      "backend '%s': ", VIRTIO_MEM_PROTECTION_PROP,
                      MemoryDeviceProtection_str(vmem->protection.mode),
                      object_get_canonical_path_component(
                          OBJECT(vmem->memdev)));
        return false;
    }
    virtio_mem_protect_update(vmem);
    return true;
}

void virtio_mem_protect_end(VirtIOMEM *vmem)
{
    if (is_on(vmem)) {
        virtio_mem_audit_end(vmem);
        guard_end(vmem);
        virtio_mem_violations_end(vmem);
    }
}

/* What users get told */

/* What the mode amounts to now; with guard.lock held. */
static MemoryDeviceProtection mode_now(const VirtIOMEM *vmem)
{
    const VirtIOMEMProtection *protection = &vmem->protection;

    if (!memory_is_the_guests()) {
        return MEMORY_DEVICE_PROTECTION_OFF;
    }
    if (!is_guarding(vmem) || protection->guard.is_aside) {
        return MEMORY_DEVICE_PROTECTION_AUDIT;
    }
    return qatomic_read(&protection->guard.forbids_reads) ? protection->mode
           : MEMORY_DEVICE_PROTECTION_WRITE;
}

VirtioMEMProtectionInfo *virtio_mem_protection_info(VirtIOMEM *vmem)
{
    uint64_t unplugged = virtio_mem_region_size(vmem) -
                         virtio_mem_get_plugged_size(vmem);
    VirtioMEMProtectionInfo *info;

    if (!is_on(vmem)) {
        return NULL;
    }
    info = g_new0(VirtioMEMProtectionInfo, 1);
    info->mode = vmem->protection.mode;
    info->action = vmem->protection.action;
    virtio_mem_guard_lock(vmem);
    info->now = mode_now(vmem);
    /* What is just being unplugged is guarded, and plugged. */
    info->guarded = MIN(vmem->protection.guard.nb_blocks * vmem->block_size,
                        unplugged);
    info->extents = vmem->protection.guard.nb_extents;
    qemu_mutex_unlock(&vmem->protection.guard.lock);
    info->audited = unplugged - info->guarded;
    info->passes = qatomic_read(&vmem->protection.audit.nb_passes);
    virtio_mem_violations_fill_info(vmem, info);
    return info;
}
