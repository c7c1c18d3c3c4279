/*
 * virtio-mem: a device that resizes the memory of a running machine
 *
 * The device as a whole: its queue, its configuration space, its life from
 * realize to unrealize, and resets.  Rules of the virtio specification are
 * named Dnn: docs/conformance.md lists their tests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/queue.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/qdev-core.h"
#include "hw/virtio/virtio-mem.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_mem.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "system/system.h"
#include "trace.h"

#define VIRTIO_MEM_QUEUE_SIZE 128

/* How long the queue may keep the main loop before others have their turn */
#define VIRTIO_MEM_TURN_NS (1 * SCALE_MS)

/* Requests between two looks at the clock: most take less than it does */
#define VIRTIO_MEM_REQUESTS_PER_LOOK 8

/* How often notifiers hear of another size, at most, while a machine runs */
#define VIRTIO_MEM_TELL_MS 100

/*
 * How far the usable region reaches beyond the requested size, at least: a
 * guest that adds memory in larger pieces than it plugs, and aligned to them,
 * finds room for the requested size.  128 MiB is the piece of x86-64 Linux.
 */
#define VIRTIO_MEM_USABLE_SLACK (256 * MiB)

/*
 * A system reset unplugs all memory; a reset of the device alone does not
 * (D13, D14).  Only an object of its own is told which of them it is.  One for
 * all devices, that stays: a system reset may remove a device, but what is
 * being reset can't be unregistered meanwhile.
 */
#define TYPE_VIRTIO_MEM_SYSTEM_RESET "virtio-mem-system-reset"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOMEMSystemReset, VIRTIO_MEM_SYSTEM_RESET)

struct VirtIOMEMSystemReset {
    Object parent_obj;

    ResettableState state;
};

static QTAILQ_HEAD(, VirtIOMEM) realized_devices =
    QTAILQ_HEAD_INITIALIZER(realized_devices);

DeviceState *virtio_mem_proxy(const VirtIOMEM *vmem)
{
    return qdev_get_parent_bus(DEVICE(vmem))->parent;
}

VirtIOMEM *virtio_mem_next(const VirtIOMEM *vmem)
{
    return vmem ? QTAILQ_NEXT(vmem, next) : QTAILQ_FIRST(&realized_devices);
}

const char *virtio_mem_name(const VirtIOMEM *vmem)
{
    const char *id = virtio_mem_proxy(vmem)->id;

    return id ? id : TYPE_VIRTIO_MEM;
}

uint64_t virtio_mem_get_plugged_size(const VirtIOMEM *vmem)
{
    return vmem->blocks.nb_plugged * vmem->blocks.block_size;
}

void virtio_mem_add_size_change_notifier(VirtIOMEM *vmem, Notifier *notifier)
{
    notifier_list_add(&vmem->size_change_notifiers, notifier);
}

void virtio_mem_tell_plugged_size(VirtIOMEM *vmem)
{
    uint64_t size = virtio_mem_get_plugged_size(vmem);

    if (size == vmem->told_size || timer_pending(vmem->tell_timer)) {
        return;
    }
    vmem->told_size = size;
    notifier_list_notify(&vmem->size_change_notifiers, &size);
    if (runstate_is_running()) {
        timer_mod(vmem->tell_timer, qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) +
                                    VIRTIO_MEM_TELL_MS);
    }
}

static void virtio_mem_tell_later(void *opaque)
{
    virtio_mem_tell_plugged_size(opaque);
}

/* As above, even if they were told of another change just now. */
static void virtio_mem_tell_at_once(VirtIOMEM *vmem)
{
    timer_del(vmem->tell_timer);
    virtio_mem_tell_plugged_size(vmem);
}

void virtio_mem_fill_device_info(VirtIOMEM *vmem, VirtioMEMDeviceInfo *info)
{
    info->memaddr = vmem->addr;
    info->node = vmem->node;
    info->requested_size = vmem->requested_size;
    info->size = virtio_mem_get_plugged_size(vmem);
    info->max_size = virtio_mem_region_size(vmem);
    info->block_size = vmem->block_size;
    info->memdev = object_get_canonical_path(OBJECT(vmem->memdev));
    info->protection = virtio_mem_protection_info(vmem);
}

/* D04, D06: covers the requested size and ends on a block. */
static uint64_t virtio_mem_usable_size(const VirtIOMEM *vmem)
{
    uint64_t slack = MAX(VIRTIO_MEM_USABLE_SLACK, 2 * vmem->block_size);

    slack = ROUND_UP(slack, vmem->block_size);
    if (virtio_mem_region_size(vmem) - vmem->requested_size <= slack) {
        return virtio_mem_region_size(vmem);
    }
    return vmem->requested_size + slack;
}

static void virtio_mem_set_usable_size(VirtIOMEM *vmem, uint64_t size)
{
    if (size != vmem->usable_region_size) {
        trace_virtio_mem_resized_usable_region(vmem->usable_region_size, size);
        vmem->usable_region_size = size;
    }
}

void virtio_mem_shrink_usable_region(VirtIOMEM *vmem)
{
    virtio_mem_set_usable_size(vmem, virtio_mem_usable_size(vmem));
}

void virtio_mem_request_size(VirtIOMEM *vmem, uint64_t size)
{
    uint64_t old_size = vmem->requested_size;

    trace_virtio_mem_requested_size(old_size, size);
    vmem->requested_size = size;
    if (size != old_size) {
        virtio_mem_resize_begins(vmem);
    }
    /* D08: it only ever grows here. */
    virtio_mem_set_usable_size(vmem, MAX(vmem->usable_region_size,
                                         virtio_mem_usable_size(vmem)));
    /* D09, D11: also for the same value, for a guest that gave up. */
    virtio_notify_config(VIRTIO_DEVICE(vmem));
}

/* The queue */

/* Returns false when there is no more to do, or something wrong. */
static bool virtio_mem_handle_one(VirtIOMEM *vmem)
{
    VirtQueueElement *elem = virtqueue_pop(vmem->vq, sizeof(*elem));

    if (!elem) {
        return false;
    }
    if (!virtio_mem_handle_request(vmem, elem)) {
        virtio_error(VIRTIO_DEVICE(vmem), "virtio-mem '%s': a request is "
                     "shorter than its type needs, or its response buffer than "
                     "%zu bytes", virtio_mem_name(vmem),
                     sizeof(struct virtio_mem_resp));
        virtqueue_detach_element(vmem->vq, elem, 0);
        g_free(elem);
        return false;
    }
    return true;
}

/* A guest that never stops asking must not stop the rest of QEMU. */
static void virtio_mem_handle_queue(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOMEM *vmem = VIRTIO_MEM(vdev);
    unsigned int handled = 0;
    int64_t end;

    /* The memory of a stopped machine stays as it is, whoever notifies. */
    if (!runstate_is_live(runstate_get())) {
        return;
    }
    vmem->looked_ns = get_clock();
    end = vmem->looked_ns + VIRTIO_MEM_TURN_NS;
    while (!virtio_mem_job_is_running(vmem) && virtio_mem_handle_one(vmem)) {
        if (++handled % VIRTIO_MEM_REQUESTS_PER_LOOK == 0) {
            vmem->looked_ns = get_clock();
        }
        if (vmem->looked_ns > end) {
            virtio_mem_kick_queue(vmem);
            break;
        }
    }
    /* Once for all of them but the last, if a job goes on with that. */
    if (handled > virtio_mem_job_is_running(vmem)) {
        virtio_notify(vdev, vq);
    }
    virtio_mem_tell_plugged_size(vmem);
}

static void virtio_mem_queue_bh(void *opaque)
{
    VirtIOMEM *vmem = opaque;

    virtio_mem_handle_queue(VIRTIO_DEVICE(vmem), vmem->vq);
}

void virtio_mem_kick_queue(VirtIOMEM *vmem)
{
    qemu_bh_schedule(vmem->queue_bh);
}

static void virtio_mem_vm_state_changed(void *opaque, bool running,
                                        RunState state)
{
    VirtIOMEM *vmem = opaque;

    if (running) {
        virtio_mem_kick_queue(vmem);
    } else {
        virtio_mem_job_settle(vmem, true);
        virtio_mem_tell_at_once(vmem);
    }
    virtio_mem_protect_update(vmem);
}

/* The guest takes back all that it asked for, and what it told. */
static void virtio_mem_reset(VirtIODevice *vdev)
{
    VirtIOMEM *vmem = VIRTIO_MEM(vdev);

    virtio_mem_job_forsake(vmem);
    vmem->report.is_there = false;
}

static void virtio_mem_queue_reset(VirtIODevice *vdev, uint32_t queue_index)
{
    if (queue_index == 0) {
        virtio_mem_job_forsake(VIRTIO_MEM(vdev));
    }
}

static void virtio_mem_set_status(VirtIODevice *vdev, uint8_t status)
{
    virtio_mem_protect_driver_changed(VIRTIO_MEM(vdev), status);
}

/* Configuration space and features */

static void virtio_mem_get_config(VirtIODevice *vdev, uint8_t *data)
{
    const VirtIOMEM *vmem = VIRTIO_MEM(vdev);
    struct virtio_mem_config config = {
        .block_size = cpu_to_le64(vmem->block_size),
        .node_id = cpu_to_le16(vmem->node),
        .addr = cpu_to_le64(vmem->addr),
        .region_size = cpu_to_le64(virtio_mem_region_size(vmem)),
        .usable_region_size = cpu_to_le64(vmem->usable_region_size),
        .plugged_size = cpu_to_le64(virtio_mem_get_plugged_size(vmem)),
        .requested_size = cpu_to_le64(vmem->requested_size),
    };

    memcpy(data, &config, sizeof(config));
}

static uint64_t virtio_mem_get_features(VirtIODevice *vdev, uint64_t features,
                                        Error **errp)
{
    const bool offered[] = {
        [VIRTIO_MEM_F_ACPI_PXM] = virtio_mem_nb_numa_nodes(),
        [VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE] =
            VIRTIO_MEM(vdev)->unplugged_inaccessible == ON_OFF_AUTO_ON,
        [VIRTIO_MEM_F_PERSISTENT_SUSPEND] = qemu_wakeup_suspend_enabled(),
        [VIRTIO_MEM_F_X_REPORT] = VIRTIO_MEM(vdev)->driver_reports,
    };

    for (unsigned int bit = 0; bit < ARRAY_SIZE(offered); bit++) {
        features |= (uint64_t)offered[bit] << bit;
    }
    return features;
}

/* D12: a driver that may read unplugged memory can't have this device. */
static int virtio_mem_validate_features(VirtIODevice *vdev)
{
    uint64_t refused = vdev->host_features & ~vdev->guest_features;

    return virtio_has_feature(refused, VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE)
           ? -EINVAL : 0;
}

/* System reset */

OBJECT_DEFINE_SIMPLE_TYPE_WITH_INTERFACES(VirtIOMEMSystemReset,
                                          virtio_mem_system_reset,
                                          VIRTIO_MEM_SYSTEM_RESET, OBJECT,
                                          { TYPE_RESETTABLE_INTERFACE }, { })

static void virtio_mem_system_reset_init(Object *obj)
{
}

static void virtio_mem_system_reset_finalize(Object *obj)
{
}

static ResettableState *virtio_mem_system_reset_get_state(Object *obj)
{
    return &VIRTIO_MEM_SYSTEM_RESET(obj)->state;
}

/*
 * The source and the target of a migration may share their memory; it belongs
 * to the one where the guest runs.
 */
static bool virtio_mem_guest_is_elsewhere(void)
{
    return runstate_check(RUN_STATE_INMIGRATE) ||
           runstate_check(RUN_STATE_FINISH_MIGRATE) ||
           runstate_check(RUN_STATE_POSTMIGRATE);
}

/*
 * D16, D17: a wake-up keeps the blocks, a snapshot or a migration brings its
 * own, in memory that may hold their contents already.  At the exit, as a
 * transport that lets go of its notifications hands on the last ones in hold.
 */
static void virtio_mem_system_reset_exit(Object *obj, ResetType type)
{
    VirtIOMEM *vmem;

    QTAILQ_FOREACH(vmem, &realized_devices, next) {
        vmem->loaded = false;
    }
    if (type == RESET_TYPE_WAKEUP || type == RESET_TYPE_SNAPSHOT_LOAD ||
        virtio_mem_guest_is_elsewhere()) {
        return;
    }
    QTAILQ_FOREACH(vmem, &realized_devices, next) {
        virtio_mem_job_settle(vmem, false);
        /*
         * Blocks that can't be unplugged, or mustn't as they migrate, stay
         * plugged: the guest unplugs them when it starts.
         */
        if (!virtio_mem_is_migrating()) {
            virtio_mem_unplug_all(vmem);
        }
        virtio_mem_resize_begins(vmem);
    }
}

static void virtio_mem_system_reset_class_init(ObjectClass *klass, void *data)
{
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    rc->get_state = virtio_mem_system_reset_get_state;
    rc->phases.exit = virtio_mem_system_reset_exit;
}

static void virtio_mem_system_reset_register_once(void)
{
    static Object *obj;

    if (!obj) {
        obj = object_new(TYPE_VIRTIO_MEM_SYSTEM_RESET);
        qemu_register_resettable(obj);
    }
}

/* Realize and unrealize */

/* Everything that can fail, and nothing that needs the settled block size. */
static bool virtio_mem_acquire(VirtIOMEM *vmem, Error **errp)
{
    int ret;

    ret = ram_block_coordinated_discard_require(true);
    if (ret) {
        error_setg_errno(errp, -ret, "virtio-mem device '%s' must discard "
                         "memory, which another device forbids",
                         virtio_mem_name(vmem));
        return false;
    }
    /* What a migration shares with us stays: it is the guest's memory. */
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        return true;
    }
    ret = virtio_mem_discard(vmem, 0, virtio_mem_region_size(vmem));
    if (ret) {
        error_setg_errno(errp, -ret, "property '%s': memory of this backend "
                         "cannot be discarded%s", VIRTIO_MEM_MEMDEV_PROP,
                         should_mlock(mlock_state) ? ", as QEMU locks it "
                         "(-overcommit mem-lock)" : "");
        ram_block_coordinated_discard_require(false);
        return false;
    }
    return true;
}

static void virtio_mem_realize(DeviceState *dev, Error **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOMEM *vmem = VIRTIO_MEM(dev);

    if (!virtio_mem_check_config(vmem, errp)) {
        return;
    }
    if (!vmem->addr || !MACHINE(qdev_get_machine())->device_memory) {
        error_setg(errp, "this machine has no place for memory devices such as "
                   "virtio-mem device '%s'", virtio_mem_name(vmem));
        return;
    }
    if (!virtio_mem_acquire(vmem, errp)) {
        return;
    }

    virtio_mem_settle_config(vmem);
    virtio_mem_blocks_init(&vmem->blocks, virtio_mem_region_size(vmem),
                           vmem->block_size);
    if (!virtio_mem_protect_begin(vmem, errp)) {
        virtio_mem_blocks_destroy(&vmem->blocks);
        ram_block_coordinated_discard_require(false);
        return;
    }
    virtio_mem_pagemap_open(vmem);
    virtio_mem_set_usable_size(vmem, virtio_mem_usable_size(vmem));

    virtio_init(vdev, VIRTIO_ID_MEM, sizeof(struct virtio_mem_config));
    vmem->vq = virtio_add_queue(vdev, VIRTIO_MEM_QUEUE_SIZE,
                                virtio_mem_handle_queue);
    vmem->queue_bh = virtio_bh_new_guarded(dev, virtio_mem_queue_bh, vmem);
    vmem->tell_timer = timer_new_full(NULL, QEMU_CLOCK_VIRTUAL, SCALE_MS,
                                      QEMU_TIMER_ATTR_EXTERNAL,
                                      virtio_mem_tell_later, vmem);
    virtio_mem_job_init(vmem);
    vmem->vm_state_handler =
        qdev_add_vm_change_state_handler(dev, virtio_mem_vm_state_changed,
                                         vmem);

    host_memory_backend_set_mapped(vmem->memdev, true);
    memory_region_set_ram_discard_manager(&vmem->memdev->mr,
                                          RAM_DISCARD_MANAGER(vmem));
    virtio_mem_migration_register(vmem);
    virtio_mem_system_reset_register_once();
    QTAILQ_INSERT_TAIL(&realized_devices, vmem, next);
    virtio_mem_resize_begins(vmem);
}

static void virtio_mem_unrealize(DeviceState *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOMEM *vmem = VIRTIO_MEM(dev);

    QTAILQ_REMOVE(&realized_devices, vmem, next);
    virtio_mem_job_destroy(vmem);
    virtio_mem_protect_end(vmem);
    virtio_mem_pagemap_close(vmem);
    qemu_del_vm_change_state_handler(vmem->vm_state_handler);
    virtio_mem_migration_unregister(vmem);
    /* A guest can let go of the whole slot whenever it likes. */
    if (!virtio_mem_guest_is_elsewhere()) {
        virtio_mem_unplug_all(vmem);
    }
    /* Slots that are still mapped would keep the device for ever. */
    virtio_mem_memslots_hide(vmem, 0, virtio_mem_region_size(vmem));
    virtio_mem_tell_at_once(vmem);
    timer_free(vmem->tell_timer);
    memory_region_set_ram_discard_manager(&vmem->memdev->mr, NULL);
    host_memory_backend_set_mapped(vmem->memdev, false);
    qemu_bh_delete(vmem->queue_bh);
    virtio_del_queue(vdev, 0);
    virtio_cleanup(vdev);
    virtio_mem_blocks_destroy(&vmem->blocks);
    ram_block_coordinated_discard_require(false);
}

static void virtio_mem_instance_init(Object *obj)
{
    VirtIOMEM *vmem = VIRTIO_MEM(obj);

    vmem->pagemap_fd = -1;
    virtio_mem_protection_init(vmem);
    QLIST_INIT(&vmem->discard_listeners);
    notifier_list_init(&vmem->size_change_notifiers);
}

static void virtio_mem_instance_finalize(Object *obj)
{
    virtio_mem_memslots_destroy(VIRTIO_MEM(obj));
    virtio_mem_protection_destroy(VIRTIO_MEM(obj));
}

static void virtio_mem_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);

    virtio_mem_config_class_init(klass);
    virtio_mem_discard_class_init(klass);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    dc->vmsd = &vmstate_virtio_mem;

    vdc->vmsd = &vmstate_virtio_mem_device;
    vdc->get_features = virtio_mem_get_features;
    vdc->validate_features = virtio_mem_validate_features;
    vdc->get_config = virtio_mem_get_config;
    vdc->reset = virtio_mem_reset;
    vdc->set_status = virtio_mem_set_status;
    vdc->queue_reset = virtio_mem_queue_reset;
    vdc->realize = virtio_mem_realize;
    vdc->unrealize = virtio_mem_unrealize;
}

static const TypeInfo virtio_mem_types[] = {
    {
        .name = TYPE_VIRTIO_MEM,
        .parent = TYPE_VIRTIO_DEVICE,
        .class_init = virtio_mem_class_init,
        .instance_size = sizeof(VirtIOMEM),
        .instance_init = virtio_mem_instance_init,
        .instance_finalize = virtio_mem_instance_finalize,
        .interfaces = (InterfaceInfo[]) {
            { TYPE_RAM_DISCARD_MANAGER },
            { }
        },
    },
};

DEFINE_TYPES(virtio_mem_types)
