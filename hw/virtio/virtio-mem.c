/*
 * virtio-mem: a device that resizes the memory of a running machine
 *
 * Speaks the protocol: configuration space, the four requests, resets, and
 * the properties that the user sets.  Rules of the virtio specification are
 * named Dnn: the cases of that name in tests/qtest/virtio-mem-*-test.c say what
 * each asks for.  Which blocks are plugged is kept in virtio-mem-blocks.c;
 * telling others in QEMU is left to virtio-mem-discard.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/log.h"
#include "qemu/queue.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-mem.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_mem.h"
#include "system/hostmem.h"
#include "system/numa.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "trace.h"

#define VIRTIO_MEM_QUEUE_SIZE 128

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

static QLIST_HEAD(, VirtIOMEM) realized_devices =
    QLIST_HEAD_INITIALIZER(realized_devices);

/* A range of blocks that a request names, as offset and size in the region. */
typedef struct BlockRange {
    uint64_t offset;    /* bytes */
    uint64_t size;      /* bytes */
} BlockRange;

const char *virtio_mem_name(const VirtIOMEM *vmem)
{
    const char *id = DEVICE(qdev_get_parent_bus(DEVICE(vmem))->parent)->id;

    return id ? id : TYPE_VIRTIO_MEM;
}

static RAMBlock *virtio_mem_ram_block(const VirtIOMEM *vmem)
{
    return vmem->memdev->mr.ram_block;
}

static uint64_t virtio_mem_region_size(const VirtIOMEM *vmem)
{
    return memory_region_size(&vmem->memdev->mr);
}

/* Anonymous private memory of base pages: reads of holes cost no memory. */
static bool virtio_mem_has_shared_zeropage(const VirtIOMEM *vmem)
{
    RAMBlock *rb = virtio_mem_ram_block(vmem);

    return !qemu_ram_is_shared(rb) && qemu_ram_get_fd(rb) < 0 &&
           qemu_ram_pagesize(rb) == qemu_real_host_page_size();
}

/* Bytes; the size that the kernel tells, or the one that fits 4 KiB pages. */
static uint64_t host_thp_size(void)
{
    static uint64_t size;
    g_autofree char *text = NULL;

    if (!size) {
        if (!g_file_get_contents("/sys/kernel/mm/transparent_hugepage/"
                                 "hpage_pmd_size", &text, NULL, NULL) ||
            qemu_strtou64(text, NULL, 10, &size) || !is_power_of_2(size)) {
            size = 2 * MiB;
        }
    }
    return size;
}

static uint64_t virtio_mem_auto_block_size(const VirtIOMEM *vmem)
{
    uint64_t page_size = host_memory_backend_pagesize(vmem->memdev);

    return MAX(MAX(host_thp_size(), page_size), VIRTIO_MEM_MIN_BLOCK_SIZE);
}

uint64_t virtio_mem_get_block_size(const VirtIOMEM *vmem)
{
    if (vmem->block_size) {
        return vmem->block_size;
    }
    return vmem->memdev ? virtio_mem_auto_block_size(vmem) : host_thp_size();
}

uint64_t virtio_mem_get_plugged_size(const VirtIOMEM *vmem)
{
    return vmem->blocks.nb_plugged * vmem->blocks.block_size;
}

void virtio_mem_add_size_change_notifier(VirtIOMEM *vmem, Notifier *notifier)
{
    notifier_list_add(&vmem->size_change_notifiers, notifier);
}

static void virtio_mem_plugged_size_changed(VirtIOMEM *vmem)
{
    uint64_t size = virtio_mem_get_plugged_size(vmem);

    notifier_list_notify(&vmem->size_change_notifiers, &size);
}

void virtio_mem_fill_device_info(const VirtIOMEM *vmem,
                                 VirtioMEMDeviceInfo *info)
{
    info->memaddr = vmem->addr;
    info->node = vmem->node;
    info->requested_size = vmem->requested_size;
    info->size = virtio_mem_get_plugged_size(vmem);
    info->max_size = virtio_mem_region_size(vmem);
    info->block_size = vmem->block_size;
    info->memdev = object_get_canonical_path(OBJECT(vmem->memdev));
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

/* Gives the memory of a range back to the host; says so when it can't. */
static int virtio_mem_discard(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    int ret = ram_block_discard_range(virtio_mem_ram_block(vmem), offset, size);

    if (ret) {
        warn_report_once("virtio-mem '%s': memory of the backend cannot be "
                         "given back: %s", virtio_mem_name(vmem),
                         strerror(-ret));
    }
    return ret;
}

static void virtio_mem_set_all_unplugged(VirtIOMEM *vmem)
{
    uint64_t offset = 0, size;

    if (!vmem->blocks.nb_plugged) {
        return;
    }
    virtio_mem_notify_discard_all(vmem);
    while ((size = virtio_mem_blocks_next(&vmem->blocks, &offset,
                                          virtio_mem_region_size(vmem),
                                          true))) {
        virtio_mem_blocks_set(&vmem->blocks, offset, size, false);
    }
    virtio_mem_plugged_size_changed(vmem);
}

/*
 * Discards the whole region in one go, not just what is plugged: that costs no
 * more, and takes back what a guest left in unplugged blocks.
 */
static int virtio_mem_unplug_all(VirtIOMEM *vmem)
{
    if (virtio_mem_is_migrating() ||
        virtio_mem_discard(vmem, 0, virtio_mem_region_size(vmem))) {
        return -EBUSY;
    }
    virtio_mem_set_all_unplugged(vmem);
    trace_virtio_mem_unplugged_all();
    /* D08: only here may it shrink.  D09: and nobody is notified. */
    virtio_mem_set_usable_size(vmem, virtio_mem_usable_size(vmem));
    return 0;
}

void virtio_mem_replace_blocks(VirtIOMEM *vmem, const unsigned long *plugged)
{
    VirtIOMEMBlocks old = vmem->blocks;
    uint64_t region_size = virtio_mem_region_size(vmem);
    uint64_t offset = 0, size;

    if (old.nb_plugged) {
        virtio_mem_notify_discard_all(vmem);
    }
    virtio_mem_blocks_init(&vmem->blocks, region_size, vmem->block_size);
    virtio_mem_blocks_load(&vmem->blocks, plugged);
    while ((size = virtio_mem_blocks_next(&vmem->blocks, &offset, region_size,
                                          false))) {
        uint64_t end = offset + size;

        for (; (size = virtio_mem_blocks_next(&old, &offset, end, true));
             offset += size) {
            virtio_mem_discard(vmem, offset, size);
        }
        offset = end;
    }
    virtio_mem_blocks_destroy(&old);
}

/* Requests.  Each handler fills in the response and changes all or nothing. */

/*
 * D25, D32, D45: aligned, not empty, and inside the usable region.  Compares
 * sizes, never ends, so that no address of a hostile guest can overflow.
 */
static bool virtio_mem_range_is_valid(const VirtIOMEM *vmem, uint64_t addr,
                                      uint16_t nb_blocks, BlockRange *range)
{
    uint64_t size = nb_blocks * vmem->block_size;
    uint64_t offset = addr - vmem->addr;

    if (!nb_blocks || !QEMU_IS_ALIGNED(addr, vmem->block_size) ||
        addr < vmem->addr || size > vmem->usable_region_size ||
        offset > vmem->usable_region_size - size) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "virtio-mem '%s': %u blocks at 0x%" PRIx64 ": not aligned"
                      " blocks of 0x%" PRIx64 " within [0x%" PRIx64 ", +0x%"
                      PRIx64 ")\n", virtio_mem_name(vmem), nb_blocks, addr,
                      vmem->block_size, vmem->addr, vmem->usable_region_size);
        return false;
    }
    *range = (BlockRange) { .offset = offset, .size = size };
    return true;
}

/* D26, D33: as above, and all blocks are (un)plugged now. */
static bool virtio_mem_range_is_all(const VirtIOMEM *vmem, uint64_t addr,
                                    uint16_t nb_blocks, bool plugged,
                                    BlockRange *range)
{
    if (!virtio_mem_range_is_valid(vmem, addr, nb_blocks, range)) {
        return false;
    }
    if (!virtio_mem_blocks_test(&vmem->blocks, range->offset, range->size,
                                plugged)) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "virtio-mem '%s': %u blocks at 0x%" PRIx64
                      ": not all are %splugged\n", virtio_mem_name(vmem),
                      nb_blocks, addr, plugged ? "" : "un");
        return false;
    }
    return true;
}

static void virtio_mem_plug(VirtIOMEM *vmem, const struct virtio_mem_req *req,
                            struct virtio_mem_resp *resp)
{
    uint64_t addr = le64_to_cpu(req->u.plug.addr);
    uint16_t nb_blocks = le16_to_cpu(req->u.plug.nb_blocks);
    BlockRange range;

    trace_virtio_mem_plug_request(addr, nb_blocks);
    if (!virtio_mem_range_is_all(vmem, addr, nb_blocks, false, &range)) {
        resp->type = VIRTIO_MEM_RESP_ERROR;
    } else if (virtio_mem_get_plugged_size(vmem) + range.size >
               vmem->requested_size) {
        resp->type = VIRTIO_MEM_RESP_NACK;              /* D50 */
    } else if (virtio_mem_is_migrating()) {
        resp->type = VIRTIO_MEM_RESP_BUSY;
    } else if (virtio_mem_notify_populate(vmem, range.offset, range.size)) {
        /* A listener that agreed may have filled the memory. */
        virtio_mem_discard(vmem, range.offset, range.size);
        resp->type = VIRTIO_MEM_RESP_BUSY;              /* D27 */
    } else {
        virtio_mem_blocks_set(&vmem->blocks, range.offset, range.size, true);
        virtio_mem_plugged_size_changed(vmem);
        resp->type = VIRTIO_MEM_RESP_ACK;               /* D28, D29 */
    }
}

static void virtio_mem_unplug(VirtIOMEM *vmem, const struct virtio_mem_req *req,
                              struct virtio_mem_resp *resp)
{
    uint64_t addr = le64_to_cpu(req->u.unplug.addr);
    uint16_t nb_blocks = le16_to_cpu(req->u.unplug.nb_blocks);
    BlockRange range;

    trace_virtio_mem_unplug_request(addr, nb_blocks);
    if (!virtio_mem_range_is_all(vmem, addr, nb_blocks, true, &range)) {
        resp->type = VIRTIO_MEM_RESP_ERROR;
    } else if (virtio_mem_is_migrating() ||
               virtio_mem_discard(vmem, range.offset, range.size)) {
        resp->type = VIRTIO_MEM_RESP_BUSY;              /* D34 */
    } else {
        virtio_mem_notify_discard(vmem, range.offset, range.size);
        virtio_mem_blocks_set(&vmem->blocks, range.offset, range.size, false);
        virtio_mem_plugged_size_changed(vmem);
        resp->type = VIRTIO_MEM_RESP_ACK;               /* D35, D36 */
    }
}

static void virtio_mem_unplug_all_request(VirtIOMEM *vmem,
                                          const struct virtio_mem_req *req,
                                          struct virtio_mem_resp *resp)
{
    trace_virtio_mem_unplug_all_request();
    resp->type = virtio_mem_unplug_all(vmem) ? VIRTIO_MEM_RESP_BUSY
                                             : VIRTIO_MEM_RESP_ACK;
}

static void virtio_mem_state(VirtIOMEM *vmem, const struct virtio_mem_req *req,
                             struct virtio_mem_resp *resp)
{
    uint64_t addr = le64_to_cpu(req->u.state.addr);
    uint16_t nb_blocks = le16_to_cpu(req->u.state.nb_blocks);
    const VirtIOMEMBlocks *blocks = &vmem->blocks;
    BlockRange range;
    uint16_t state;

    trace_virtio_mem_state_request(addr, nb_blocks);
    if (!virtio_mem_range_is_valid(vmem, addr, nb_blocks, &range)) {
        resp->type = VIRTIO_MEM_RESP_ERROR;
        return;
    }
    if (virtio_mem_blocks_test(blocks, range.offset, range.size, true)) {
        state = VIRTIO_MEM_STATE_PLUGGED;
    } else if (virtio_mem_blocks_test(blocks, range.offset, range.size,
                                      false)) {
        state = VIRTIO_MEM_STATE_UNPLUGGED;
    } else {
        state = VIRTIO_MEM_STATE_MIXED;
    }
    trace_virtio_mem_state_response(state);
    resp->type = VIRTIO_MEM_RESP_ACK;
    resp->u.state.state = cpu_to_le16(state);
}

typedef struct RequestType {
    /* bytes of the request that the device reads (D23, D30, D37, D43) */
    size_t size;
    void (*handle)(VirtIOMEM *vmem, const struct virtio_mem_req *req,
                   struct virtio_mem_resp *resp);
} RequestType;

#define REQUEST_HEADER_SIZE offsetof(struct virtio_mem_req, u)

static const RequestType request_types[] = {
    [VIRTIO_MEM_REQ_PLUG] = {
        .size = sizeof(struct virtio_mem_req),
        .handle = virtio_mem_plug,
    },
    [VIRTIO_MEM_REQ_UNPLUG] = {
        .size = sizeof(struct virtio_mem_req),
        .handle = virtio_mem_unplug,
    },
    [VIRTIO_MEM_REQ_UNPLUG_ALL] = {
        .size = REQUEST_HEADER_SIZE,
        .handle = virtio_mem_unplug_all_request,
    },
    [VIRTIO_MEM_REQ_STATE] = {
        .size = sizeof(struct virtio_mem_req),
        .handle = virtio_mem_state,
    },
};

/*
 * Handles one element.  The request is copied once, so that a guest can't
 * change it underfoot.  Returns false when the element is too short to hold a
 * request or its response: there is no way to answer then.
 */
static bool virtio_mem_handle_element(VirtIOMEM *vmem, VirtQueueElement *elem)
{
    struct virtio_mem_req req = { };
    struct virtio_mem_resp resp = { };
    size_t size = iov_to_buf(elem->out_sg, elem->out_num, 0, &req, sizeof(req));
    uint16_t type = le16_to_cpu(req.type);

    if (size < REQUEST_HEADER_SIZE ||
        iov_size(elem->in_sg, elem->in_num) < sizeof(resp)) {
        return false;
    }
    if (type >= ARRAY_SIZE(request_types)) {
        qemu_log_mask(LOG_GUEST_ERROR, "virtio-mem '%s': request type %u: "
                      "only 0 to %zu exist\n", virtio_mem_name(vmem), type,
                      ARRAY_SIZE(request_types) - 1);
        resp.type = VIRTIO_MEM_RESP_ERROR;
    } else if (size < request_types[type].size) {
        return false;
    } else {
        request_types[type].handle(vmem, &req, &resp);
    }

    trace_virtio_mem_send_response(resp.type);
    resp.type = cpu_to_le16(resp.type);
    iov_from_buf(elem->in_sg, elem->in_num, 0, &resp, sizeof(resp));
    virtqueue_push(vmem->vq, elem, sizeof(resp));
    virtio_notify(VIRTIO_DEVICE(vmem), vmem->vq);
    return true;
}

static void virtio_mem_handle_queue(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOMEM *vmem = VIRTIO_MEM(vdev);

    for (;;) {
        g_autofree VirtQueueElement *elem = virtqueue_pop(vq, sizeof(*elem));

        if (!elem) {
            return;
        }
        if (!virtio_mem_handle_element(vmem, elem)) {
            virtio_error(vdev, "virtio-mem '%s': a request is shorter than its "
                         "type needs, or its response buffer than %zu bytes",
                         virtio_mem_name(vmem), sizeof(struct virtio_mem_resp));
            virtqueue_detach_element(vq, elem, 0);
            return;
        }
    }
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

static unsigned int machine_nb_numa_nodes(void)
{
    MachineState *ms = MACHINE(qdev_get_machine());

    return ms->numa_state ? ms->numa_state->num_nodes : 0;
}

static uint64_t virtio_mem_get_features(VirtIODevice *vdev, uint64_t features,
                                        Error **errp)
{
    const bool offered[] = {
        [VIRTIO_MEM_F_ACPI_PXM] = machine_nb_numa_nodes(),
        [VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE] =
            VIRTIO_MEM(vdev)->unplugged_inaccessible == ON_OFF_AUTO_ON,
        [VIRTIO_MEM_F_PERSISTENT_SUSPEND] = qemu_wakeup_suspend_enabled(),
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
 * D16, D17: a wake-up keeps the blocks, a snapshot or a migration brings its
 * own, in memory that may hold their contents already.
 */
static void virtio_mem_system_reset_hold(Object *obj, ResetType type)
{
    VirtIOMEM *vmem;

    if (type == RESET_TYPE_WAKEUP || type == RESET_TYPE_SNAPSHOT_LOAD ||
        runstate_check(RUN_STATE_INMIGRATE)) {
        return;
    }
    /* When it fails the blocks stay plugged, and the guest unplugs them. */
    QLIST_FOREACH(vmem, &realized_devices, next) {
        virtio_mem_unplug_all(vmem);
    }
}

static void virtio_mem_system_reset_class_init(ObjectClass *klass, void *data)
{
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    rc->get_state = virtio_mem_system_reset_get_state;
    rc->phases.hold = virtio_mem_system_reset_hold;
}

static void virtio_mem_system_reset_register_once(void)
{
    static Object *obj;

    if (!obj) {
        obj = object_new(TYPE_VIRTIO_MEM_SYSTEM_RESET);
        qemu_register_resettable(obj);
    }
}

/* What the user configured */

/* For people: in the largest unit that needs no fraction. */
static char *exact_size_str(uint64_t size)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    unsigned int i;

    for (i = 0; i + 1 < ARRAY_SIZE(units) && size && size % KiB == 0; i++) {
        size /= KiB;
    }
    return g_strdup_printf("%" PRIu64 " %s", size, units[i]);
}

static bool virtio_mem_check_memdev(const VirtIOMEM *vmem, Error **errp)
{
    const char *name;

    if (!vmem->memdev) {
        error_setg(errp, "property '%s' must name a memory backend",
                   VIRTIO_MEM_MEMDEV_PROP);
        return false;
    }

    name = object_get_canonical_path_component(OBJECT(vmem->memdev));
    if (host_memory_backend_is_mapped(vmem->memdev)) {
        error_setg(errp, "property '%s': memory backend '%s' is already in use",
                   VIRTIO_MEM_MEMDEV_PROP, name);
        return false;
    }
    if (vmem->memdev->prealloc) {
        error_setg(errp, "property '%s': memory backend '%s' has prealloc=on; "
                   "a virtio-mem device needs prealloc=off, as it gives all "
                   "unplugged memory back", VIRTIO_MEM_MEMDEV_PROP, name);
        return false;
    }
    if (!memory_region_is_ram(&vmem->memdev->mr) ||
        memory_region_is_rom(&vmem->memdev->mr)) {
        error_setg(errp, "property '%s': memory backend '%s' is not RAM that "
                   "can be written", VIRTIO_MEM_MEMDEV_PROP, name);
        return false;
    }
    return true;
}

static bool virtio_mem_check_node(const VirtIOMEM *vmem, Error **errp)
{
    unsigned int nb_nodes = MAX(machine_nb_numa_nodes(), 1);

    if (vmem->node >= nb_nodes) {
        error_setg(errp, "property '%s': %" PRIu32 " is not a NUMA node of the "
                   "machine, which has nodes 0 to %u", VIRTIO_MEM_NODE_PROP,
                   vmem->node, nb_nodes - 1);
        return false;
    }
    return true;
}

/* @text says what @value is. */
static bool virtio_mem_check_multiple(const VirtIOMEM *vmem,
                                      const char *property, const char *text,
                                      uint64_t value, Error **errp)
{
    uint64_t block_size = virtio_mem_get_block_size(vmem);
    g_autofree char *unit = exact_size_str(block_size);

    if (!QEMU_IS_ALIGNED(value, block_size)) {
        error_setg(errp, "property '%s': %s is not a multiple of '%s' %s",
                   property, text, VIRTIO_MEM_BLOCK_SIZE_PROP, unit);
        return false;
    }
    return true;
}

static bool virtio_mem_check_requested_size(const VirtIOMEM *vmem,
                                            uint64_t value, Error **errp)
{
    uint64_t region_size = virtio_mem_region_size(vmem);
    g_autofree char *text = exact_size_str(value);
    g_autofree char *most = exact_size_str(region_size);

    if (value > region_size) {
        error_setg(errp, "property '%s': %s is more than the memory backend's "
                   "size, %s", VIRTIO_MEM_REQUESTED_SIZE_PROP, text, most);
        return false;
    }
    return virtio_mem_check_multiple(vmem, VIRTIO_MEM_REQUESTED_SIZE_PROP, text,
                                     value, errp);
}

static bool virtio_mem_check_page_size(const VirtIOMEM *vmem, Error **errp)
{
    uint64_t page_size = host_memory_backend_pagesize(vmem->memdev);
    uint64_t block_size = virtio_mem_get_block_size(vmem);
    g_autofree char *text = exact_size_str(block_size);
    g_autofree char *least = exact_size_str(page_size);

    if (block_size < page_size) {
        error_setg(errp, "property '%s': %s is less than the memory backend's "
                   "page size, %s", VIRTIO_MEM_BLOCK_SIZE_PROP, text, least);
        return false;
    }
    return true;
}

static bool virtio_mem_check_sizes(const VirtIOMEM *vmem, Error **errp)
{
    uint64_t region_size = virtio_mem_region_size(vmem);
    g_autofree char *size = exact_size_str(region_size);
    g_autofree char *text = g_strdup_printf("the memory backend's size %s",
                                            size);
    g_autofree char *addr = g_strdup_printf("0x%" PRIx64, vmem->addr);

    return virtio_mem_check_page_size(vmem, errp) &&
           virtio_mem_check_multiple(vmem, VIRTIO_MEM_MEMDEV_PROP, text,
                                     region_size, errp) &&
           virtio_mem_check_requested_size(vmem, vmem->requested_size, errp) &&
           virtio_mem_check_multiple(vmem, VIRTIO_MEM_ADDR_PROP, addr,
                                     vmem->addr, errp);
}

bool virtio_mem_check_config(VirtIOMEM *vmem, Error **errp)
{
    return virtio_mem_check_memdev(vmem, errp) &&
           virtio_mem_check_node(vmem, errp) &&
           virtio_mem_check_sizes(vmem, errp);
}

bool virtio_mem_check_unplug(const VirtIOMEM *vmem, Error **errp)
{
    uint64_t plugged = virtio_mem_get_plugged_size(vmem);
    g_autofree char *plugged_text = exact_size_str(plugged);
    g_autofree char *requested_text = exact_size_str(vmem->requested_size);

    if (vmem->unplugged_inaccessible != ON_OFF_AUTO_ON) {
        error_setg(errp, "virtio-mem device cannot be unplugged: '%s' is not "
                   "on, so that the guest may read memory that would be gone",
                   VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP);
        return false;
    }
    if (plugged) {
        error_setg(errp, "virtio-mem device cannot be unplugged while %s of "
                   "its memory are plugged: request 0 and wait for the guest",
                   plugged_text);
        return false;
    }
    if (vmem->requested_size) {
        error_setg(errp, "virtio-mem device cannot be unplugged while '%s' is "
                   "%s instead of 0", VIRTIO_MEM_REQUESTED_SIZE_PROP,
                   requested_text);
        return false;
    }
    return true;
}

/* Settles what was left for the device to choose. */
static void virtio_mem_settle_config(VirtIOMEM *vmem)
{
    uint64_t auto_size = virtio_mem_auto_block_size(vmem);
    bool zeropage = virtio_mem_has_shared_zeropage(vmem);
    g_autofree char *text = exact_size_str(vmem->block_size);
    g_autofree char *auto_text = exact_size_str(auto_size);

    if (!vmem->block_size) {
        vmem->block_size = auto_size;
    } else if (vmem->block_size < auto_size) {
        warn_report("virtio-mem '%s': '%s' %s is less than the host's huge "
                    "pages of %s: fewer of them will back the guest",
                    virtio_mem_name(vmem), VIRTIO_MEM_BLOCK_SIZE_PROP, text,
                    auto_text);
    }

    if (vmem->unplugged_inaccessible == ON_OFF_AUTO_AUTO) {
        vmem->unplugged_inaccessible = zeropage ? ON_OFF_AUTO_OFF
                                                : ON_OFF_AUTO_ON;
    } else if (vmem->unplugged_inaccessible == ON_OFF_AUTO_OFF && !zeropage) {
        warn_report("virtio-mem '%s': '%s' is off: reads of unplugged memory "
                    "will take memory of this backend", virtio_mem_name(vmem),
                    VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP);
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
    ret = ram_block_discard_range(virtio_mem_ram_block(vmem), 0,
                                  virtio_mem_region_size(vmem));
    if (ret) {
        error_setg_errno(errp, -ret, "property '%s': memory of this backend "
                         "cannot be discarded", VIRTIO_MEM_MEMDEV_PROP);
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
    virtio_mem_set_usable_size(vmem, virtio_mem_usable_size(vmem));

    virtio_init(vdev, VIRTIO_ID_MEM, sizeof(struct virtio_mem_config));
    vmem->vq = virtio_add_queue(vdev, VIRTIO_MEM_QUEUE_SIZE,
                                virtio_mem_handle_queue);

    host_memory_backend_set_mapped(vmem->memdev, true);
    vmstate_register_ram(&vmem->memdev->mr, DEVICE(vmem));
    virtio_mem_migration_register(vmem);
    memory_region_set_ram_discard_manager(&vmem->memdev->mr,
                                          RAM_DISCARD_MANAGER(vmem));
    virtio_mem_system_reset_register_once();
    QLIST_INSERT_HEAD(&realized_devices, vmem, next);
}

static void virtio_mem_unrealize(DeviceState *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOMEM *vmem = VIRTIO_MEM(dev);

    QLIST_REMOVE(vmem, next);
    /* A guest can let go of the whole slot whenever it likes. */
    virtio_mem_discard(vmem, 0, virtio_mem_region_size(vmem));
    virtio_mem_set_all_unplugged(vmem);
    memory_region_set_ram_discard_manager(&vmem->memdev->mr, NULL);
    virtio_mem_migration_unregister(vmem);
    vmstate_unregister_ram(&vmem->memdev->mr, DEVICE(vmem));
    host_memory_backend_set_mapped(vmem->memdev, false);
    virtio_del_queue(vdev, 0);
    virtio_cleanup(vdev);
    virtio_mem_blocks_destroy(&vmem->blocks);
    ram_block_coordinated_discard_require(false);
}

/* Properties */

static void virtio_mem_get_size(Object *obj, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    uint64_t value = virtio_mem_get_plugged_size(VIRTIO_MEM(obj));

    visit_type_size(v, name, &value, errp);
}

static void virtio_mem_get_requested_size(Object *obj, Visitor *v,
                                          const char *name, void *opaque,
                                          Error **errp)
{
    uint64_t value = VIRTIO_MEM(obj)->requested_size;

    visit_type_size(v, name, &value, errp);
}

/* A device that is on its way out takes no more memory. */
static bool virtio_mem_check_staying(const VirtIOMEM *vmem, uint64_t value,
                                     Error **errp)
{
    DeviceState *proxy = qdev_get_parent_bus(DEVICE(vmem))->parent;
    g_autofree char *text = exact_size_str(value);

    if (value && proxy->pending_deleted_event) {
        error_setg(errp, "property '%s': cannot be %s while the device is "
                   "being unplugged, which ends when the guest lets go of it "
                   "or restarts", VIRTIO_MEM_REQUESTED_SIZE_PROP, text);
        return false;
    }
    return true;
}

static void virtio_mem_set_requested_size(Object *obj, Visitor *v,
                                          const char *name, void *opaque,
                                          Error **errp)
{
    VirtIOMEM *vmem = VIRTIO_MEM(obj);
    uint64_t value;

    if (!visit_type_size(v, name, &value, errp)) {
        return;
    }
    if (!DEVICE(obj)->realized) {
        vmem->requested_size = value;   /* checked by realize */
        return;
    }
    if (!virtio_mem_check_requested_size(vmem, value, errp) ||
        !virtio_mem_check_staying(vmem, value, errp)) {
        return;
    }
    vmem->requested_size = value;
    /* D08: it only ever grows here. */
    virtio_mem_set_usable_size(vmem, MAX(vmem->usable_region_size,
                                         virtio_mem_usable_size(vmem)));
    /* D09, D11: also for the same value, for a guest that gave up. */
    virtio_notify_config(VIRTIO_DEVICE(vmem));
}

static void virtio_mem_get_block_size_prop(Object *obj, Visitor *v,
                                           const char *name, void *opaque,
                                           Error **errp)
{
    uint64_t value = virtio_mem_get_block_size(VIRTIO_MEM(obj));

    visit_type_size(v, name, &value, errp);
}

static void virtio_mem_set_block_size_prop(Object *obj, Visitor *v,
                                           const char *name, void *opaque,
                                           Error **errp)
{
    g_autofree char *text = NULL, *least = NULL;
    uint64_t value;

    if (DEVICE(obj)->realized) {
        error_setg(errp, "property '%s' cannot change once the device is "
                   "realized", name);
        return;
    }
    if (!visit_type_size(v, name, &value, errp)) {
        return;
    }
    if (!is_power_of_2(value) || value < VIRTIO_MEM_MIN_BLOCK_SIZE) {
        text = exact_size_str(value);
        least = exact_size_str(VIRTIO_MEM_MIN_BLOCK_SIZE);
        error_setg(errp, "property '%s': %s is not a power of two of at least "
                   "%s", name, text, least);
        return;
    }
    VIRTIO_MEM(obj)->block_size = value;
}

static void virtio_mem_instance_init(Object *obj)
{
    VirtIOMEM *vmem = VIRTIO_MEM(obj);

    QLIST_INIT(&vmem->discard_listeners);
    notifier_list_init(&vmem->size_change_notifiers);
}

static const Property virtio_mem_properties[] = {
    DEFINE_PROP_LINK(VIRTIO_MEM_MEMDEV_PROP, VirtIOMEM, memdev,
                     TYPE_MEMORY_BACKEND, HostMemoryBackend *),
    DEFINE_PROP_UINT32(VIRTIO_MEM_NODE_PROP, VirtIOMEM, node, 0),
    DEFINE_PROP_UINT64(VIRTIO_MEM_ADDR_PROP, VirtIOMEM, addr, 0),
    DEFINE_PROP_ON_OFF_AUTO(VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP, VirtIOMEM,
                            unplugged_inaccessible, ON_OFF_AUTO_ON),
    DEFINE_PROP_BOOL(VIRTIO_MEM_EARLY_MIGRATION_PROP, VirtIOMEM,
                     early_migration, true),
};

static void virtio_mem_add_class_properties(ObjectClass *klass)
{
    object_class_property_set_description(klass, VIRTIO_MEM_MEMDEV_PROP,
        "memory backend: RAM of its own for this device, not preallocated");
    object_class_property_set_description(klass, VIRTIO_MEM_NODE_PROP,
        "NUMA node of the guest");
    object_class_property_set_description(klass, VIRTIO_MEM_ADDR_PROP,
        "guest physical address, a multiple of block-size; 0: chosen");
    object_class_property_set_description(klass,
        VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP,
        "on: only for drivers that never read unplugged memory; off: also for "
        "others; auto: off where that costs the host no memory");

    object_class_property_add(klass, VIRTIO_MEM_SIZE_PROP, "size",
                              virtio_mem_get_size, NULL, NULL, NULL);
    object_class_property_set_description(klass, VIRTIO_MEM_SIZE_PROP,
        "plugged memory in bytes");

    object_class_property_add(klass, VIRTIO_MEM_REQUESTED_SIZE_PROP, "size",
                              virtio_mem_get_requested_size,
                              virtio_mem_set_requested_size, NULL, NULL);
    object_class_property_set_description(klass, VIRTIO_MEM_REQUESTED_SIZE_PROP,
        "target for the plugged memory in bytes: a multiple of block-size, at "
        "most the size of memdev; may change at any time");

    object_class_property_add(klass, VIRTIO_MEM_BLOCK_SIZE_PROP, "size",
                              virtio_mem_get_block_size_prop,
                              virtio_mem_set_block_size_prop, NULL, NULL);
    object_class_property_set_description(klass, VIRTIO_MEM_BLOCK_SIZE_PROP,
        "granularity in bytes: a power of two, at least 1 MiB and the page "
        "size of memdev; default: the size of the host's huge pages");
}

static void virtio_mem_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);

    device_class_set_props(dc, virtio_mem_properties);
    virtio_mem_add_class_properties(klass);
    virtio_mem_discard_class_init(klass);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    dc->vmsd = &vmstate_virtio_mem;

    vdc->vmsd = &vmstate_virtio_mem_device;
    vdc->get_features = virtio_mem_get_features;
    vdc->validate_features = virtio_mem_validate_features;
    vdc->get_config = virtio_mem_get_config;
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
        .interfaces = (InterfaceInfo[]) {
            { TYPE_RAM_DISCARD_MANAGER },
            { }
        },
    },
};

DEFINE_TYPES(virtio_mem_types)
