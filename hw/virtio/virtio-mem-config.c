/*
 * virtio-mem: what the user configures
 *
 * The properties, the rules that their values follow, and the errors that
 * name them.  What goes on when the requested size changes is left to
 * virtio-mem.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-mem.h"
#include "system/hostmem.h"
#include "system/numa.h"

/* Anonymous private memory has base pages: reads of holes cost no memory. */
static bool virtio_mem_has_shared_zeropage(const VirtIOMEM *vmem)
{
    RAMBlock *rb = virtio_mem_ram_block(vmem);

    return !qemu_ram_is_shared(rb) && qemu_ram_get_fd(rb) < 0;
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

/* What the user configured */

unsigned int virtio_mem_nb_numa_nodes(void)
{
    MachineState *ms = MACHINE(qdev_get_machine());

    return ms->numa_state ? ms->numa_state->num_nodes : 0;
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
    if (memory_region_is_rom(&vmem->memdev->mr)) {
        error_setg(errp, "property '%s': memory backend '%s' is not RAM that "
                   "can be written", VIRTIO_MEM_MEMDEV_PROP, name);
        return false;
    }
    return true;
}

static bool virtio_mem_check_node(const VirtIOMEM *vmem, Error **errp)
{
    unsigned int nb_nodes = MAX(virtio_mem_nb_numa_nodes(), 1);

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
    g_autofree char *unit = virtio_mem_size_str(block_size);

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
    g_autofree char *text = virtio_mem_size_str(value);
    g_autofree char *most = virtio_mem_size_str(region_size);

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
    g_autofree char *text = virtio_mem_size_str(block_size);
    g_autofree char *least = virtio_mem_size_str(page_size);

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
    g_autofree char *size = virtio_mem_size_str(region_size);
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

static bool virtio_mem_check_memslots(const VirtIOMEM *vmem, Error **errp)
{
    bool zeropage = virtio_mem_has_shared_zeropage(vmem);

    if (!vmem->dynamic_memslots ||
        vmem->unplugged_inaccessible == ON_OFF_AUTO_ON ||
        (vmem->unplugged_inaccessible == ON_OFF_AUTO_AUTO && !zeropage)) {
        return true;
    }
    error_setg(errp, "property '%s': on needs '%s' on, as a guest cannot read "
               "memory in slots that are not mapped",
               VIRTIO_MEM_DYNAMIC_MEMSLOTS_PROP,
               VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP);
    return false;
}

static bool virtio_mem_check_protection(const VirtIOMEM *vmem, Error **errp)
{
    uint32_t interval = vmem->protection.interval_ms;
    uint64_t most = virtio_mem_max_mappings() / 2;

    if (interval < VIRTIO_MEM_MIN_INTERVAL_MS ||
        interval > VIRTIO_MEM_MAX_INTERVAL_MS) {
        error_setg(errp, "property '%s': %" PRIu32 " ms is not from %d ms to "
                   "%d ms, which is a day", VIRTIO_MEM_PROTECTION_INTERVAL_PROP,
                   interval, VIRTIO_MEM_MIN_INTERVAL_MS,
                   VIRTIO_MEM_MAX_INTERVAL_MS);
        return false;
    }
    if (vmem->protection.max_extents > most) {
        error_setg(errp, "property '%s': %" PRIu32 " is more than %" PRIu64
                   ", which is half of the host's vm.max_map_count: each takes "
                   "two mappings", VIRTIO_MEM_PROTECTION_MAX_EXTENTS_PROP,
                   vmem->protection.max_extents, most);
        return false;
    }
    if (vmem->protection.mode == MEMORY_DEVICE_PROTECTION_OFF &&
        vmem->protection.action != MEMORY_DEVICE_VIOLATION_ACTION_REPORT) {
        error_setg(errp, "property '%s': %s needs '%s', which is off",
                   VIRTIO_MEM_PROTECTION_ACTION_PROP,
                   MemoryDeviceViolationAction_str(vmem->protection.action),
                   VIRTIO_MEM_PROTECTION_PROP);
        return false;
    }
    return true;
}

bool virtio_mem_check_config(VirtIOMEM *vmem, Error **errp)
{
    return virtio_mem_check_memdev(vmem, errp) &&
           virtio_mem_check_node(vmem, errp) &&
           virtio_mem_check_sizes(vmem, errp) &&
           virtio_mem_check_memslots(vmem, errp) &&
           virtio_mem_check_protection(vmem, errp);
}

bool virtio_mem_check_unplug(const VirtIOMEM *vmem, Error **errp)
{
    uint64_t plugged = virtio_mem_get_plugged_size(vmem);
    g_autofree char *plugged_text = virtio_mem_size_str(plugged);
    g_autofree char *requested_text = virtio_mem_size_str(vmem->requested_size);

    if (vmem->unplugged_inaccessible != ON_OFF_AUTO_ON) {
        error_setg(errp, "virtio-mem device cannot be unplugged: '%s' is not "
                   "on, so that the guest may read memory that would be gone",
                   VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP);
        return false;
    }
    if (virtio_mem_job_is_running(vmem)) {
        error_setg(errp, "virtio-mem device cannot be unplugged while it "
                   "carries out a request of the guest: wait a moment");
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
void virtio_mem_settle_config(VirtIOMEM *vmem)
{
    uint64_t auto_size = virtio_mem_auto_block_size(vmem);
    bool zeropage = virtio_mem_has_shared_zeropage(vmem);
    g_autofree char *text = virtio_mem_size_str(vmem->block_size);
    g_autofree char *auto_text = virtio_mem_size_str(auto_size);

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

/* Properties */

static bool virtio_mem_check_unrealized(Object *obj, const char *name,
                                        Error **errp)
{
    if (DEVICE(obj)->realized) {
        error_setg(errp, "property '%s' cannot change once the device is "
                   "realized", name);
        return false;
    }
    return true;
}

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
    DeviceState *proxy = virtio_mem_proxy(vmem);
    g_autofree char *text = virtio_mem_size_str(value);

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
    virtio_mem_request_size(vmem, value);
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

    if (!virtio_mem_check_unrealized(obj, name, errp) ||
        !visit_type_size(v, name, &value, errp)) {
        return;
    }
    if (!is_power_of_2(value) || value < VIRTIO_MEM_MIN_BLOCK_SIZE) {
        text = virtio_mem_size_str(value);
        least = virtio_mem_size_str(VIRTIO_MEM_MIN_BLOCK_SIZE);
        error_setg(errp, "property '%s': %s is not a power of two of at least "
                   "%s", name, text, least);
        return;
    }
    VIRTIO_MEM(obj)->block_size = value;
}

static int virtio_mem_get_protection(Object *obj, Error **errp)
{
    return VIRTIO_MEM(obj)->protection.mode;
}

static void virtio_mem_set_protection(Object *obj, int value, Error **errp)
{
    if (virtio_mem_check_unrealized(obj, VIRTIO_MEM_PROTECTION_PROP, errp)) {
        VIRTIO_MEM(obj)->protection.mode = value;
    }
}

static int virtio_mem_get_action(Object *obj, Error **errp)
{
    return VIRTIO_MEM(obj)->protection.action;
}

static void virtio_mem_set_action(Object *obj, int value, Error **errp)
{
    if (virtio_mem_check_unrealized(obj, VIRTIO_MEM_PROTECTION_ACTION_PROP,
                                    errp)) {
        VIRTIO_MEM(obj)->protection.action = value;
    }
}

static const Property virtio_mem_properties[] = {
    DEFINE_PROP_LINK(VIRTIO_MEM_MEMDEV_PROP, VirtIOMEM, memdev,
                     TYPE_MEMORY_BACKEND, HostMemoryBackend *),
    DEFINE_PROP_UINT32(VIRTIO_MEM_NODE_PROP, VirtIOMEM, node, 0),
    DEFINE_PROP_UINT64(VIRTIO_MEM_ADDR_PROP, VirtIOMEM, addr, 0),
    DEFINE_PROP_BOOL(VIRTIO_MEM_PREALLOC_PROP, VirtIOMEM, prealloc, false),
    DEFINE_PROP_BOOL(VIRTIO_MEM_DYNAMIC_MEMSLOTS_PROP, VirtIOMEM,
                     dynamic_memslots, false),
    DEFINE_PROP_ON_OFF_AUTO(VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP, VirtIOMEM,
                            unplugged_inaccessible, ON_OFF_AUTO_ON),
    DEFINE_PROP_BOOL(VIRTIO_MEM_REFUSE_UNPLUG_PROP, VirtIOMEM,
                     refuse_unrequested_unplug, false),
    DEFINE_PROP_BOOL(VIRTIO_MEM_EARLY_MIGRATION_PROP, VirtIOMEM,
                     early_migration, true),
    DEFINE_PROP_BOOL(VIRTIO_MEM_REPORTS_PROP, VirtIOMEM, driver_reports, false),
    DEFINE_PROP_UINT32(VIRTIO_MEM_PROTECTION_INTERVAL_PROP, VirtIOMEM,
                       protection.interval_ms, 1000),
    DEFINE_PROP_UINT32(VIRTIO_MEM_PROTECTION_MAX_EXTENTS_PROP, VirtIOMEM,
                       protection.max_extents, 0),
};

static void virtio_mem_describe_properties(ObjectClass *klass)
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
    object_class_property_set_description(klass, VIRTIO_MEM_PREALLOC_PROP,
        "take memory of the host for all that is plugged at once; a guest that "
        "plugs when there is none tries again later");
    object_class_property_set_description(klass,
        VIRTIO_MEM_DYNAMIC_MEMSLOTS_PROP,
        "map only those slots of the region that have something plugged; needs "
        "unplugged-inaccessible=on");
    object_class_property_set_description(klass, VIRTIO_MEM_REFUSE_UNPLUG_PROP,
        "answer NACK to a guest that unplugs more than what is plugged beyond "
        "requested-size, and so chooses which memory of the host it has");
    object_class_property_set_description(klass, VIRTIO_MEM_REPORTS_PROP,
        "let a driver that can tell how far it came with a resize, and why");
    object_class_property_set_description(klass,
        VIRTIO_MEM_PROTECTION_INTERVAL_PROP,
        "milliseconds between two looks for memory in unplugged blocks, from "
        "10 on");
    object_class_property_set_description(klass,
        VIRTIO_MEM_PROTECTION_MAX_EXTENTS_PROP,
        "how many runs of unplugged blocks userfaultfd watches, each of which "
        "takes two mappings of QEMU; 0: a quarter of vm.max_map_count");
}

static void virtio_mem_add_protection_properties(ObjectClass *klass)
{
    object_class_property_add_enum(klass, VIRTIO_MEM_PROTECTION_PROP,
                                   "MemoryDeviceProtection",
                                   &MemoryDeviceProtection_lookup,
                                   virtio_mem_get_protection,
                                   virtio_mem_set_protection);
    object_class_property_set_description(klass, VIRTIO_MEM_PROTECTION_PROP,
        "what keeps a guest from using unplugged memory: off; audit: it is "
        "looked for; write: caught when written; full: and when read");

    object_class_property_add_enum(klass, VIRTIO_MEM_PROTECTION_ACTION_PROP,
                                   "MemoryDeviceViolationAction",
                                   &MemoryDeviceViolationAction_lookup,
                                   virtio_mem_get_action,
                                   virtio_mem_set_action);
    object_class_property_set_description(klass,
        VIRTIO_MEM_PROTECTION_ACTION_PROP,
        "what follows: report: an event; discard: nothing more than that the "
        "memory is given back, as always; pause or shutdown: also that");
}

void virtio_mem_config_class_init(ObjectClass *klass)
{
    device_class_set_props(DEVICE_CLASS(klass), virtio_mem_properties);
    virtio_mem_describe_properties(klass);
    virtio_mem_add_protection_properties(klass);

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
