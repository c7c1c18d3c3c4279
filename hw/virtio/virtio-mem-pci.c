/*
 * virtio-mem-pci: a virtio-mem device on the PCI bus
 *
 * The memory device that the machine places and that QMP shows: hands all
 * questions on to the virtio-mem device inside, and its size changes to QMP.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "qapi/qapi-events-machine.h"
#include "hw/mem/memory-device.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-md-pci.h"
#include "hw/virtio/virtio-mem.h"
#include "qom/object.h"

/* virtio-mem-pci is also a virtio-mem-pci-base, which no user ever names. */
#define TYPE_VIRTIO_MEM_PCI "virtio-mem-pci-base"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOMEMPCI, VIRTIO_MEM_PCI)

struct VirtIOMEMPCI {
    VirtIOMDPCI parent_obj;

    VirtIOMEM vdev;
    Notifier size_change_notifier;
};

/* A guest removes whole slots, so that it is not asked about this device. */
static void virtio_mem_pci_warn_shared_slot(const PCIDevice *dev)
{
    if (PCI_FUNC(dev->devfn) ||
        (dev->cap_present & QEMU_PCI_CAP_MULTIFUNCTION)) {
        warn_report("virtio-mem '%s' is one function of PCI slot %u: removing "
                    "another one removes its memory from the guest, too",
                    DEVICE(dev)->id ?: TYPE_VIRTIO_MEM, PCI_SLOT(dev->devfn));
    }
}

static void virtio_mem_pci_realize(VirtIOPCIProxy *proxy, Error **errp)
{
    VirtIOMEMPCI *pci = VIRTIO_MEM_PCI(proxy);

    if (proxy->nvectors == DEV_NVECTORS_UNSPECIFIED) {
        proxy->nvectors = 2;    /* the queue and the configuration */
    }
    virtio_mem_pci_warn_shared_slot(PCI_DEVICE(proxy));
    virtio_pci_force_virtio_1(proxy);
    qdev_realize(DEVICE(&pci->vdev), BUS(&proxy->bus), errp);
}

static uint64_t virtio_mem_pci_get_addr(const MemoryDeviceState *md)
{
    return object_property_get_uint(OBJECT(md), VIRTIO_MEM_ADDR_PROP,
                                    &error_abort);
}

static void virtio_mem_pci_set_addr(MemoryDeviceState *md, uint64_t addr,
                                    Error **errp)
{
    object_property_set_uint(OBJECT(md), VIRTIO_MEM_ADDR_PROP, addr, errp);
}

static uint64_t virtio_mem_pci_get_plugged_size(const MemoryDeviceState *md,
                                                Error **errp)
{
    return virtio_mem_get_plugged_size(&VIRTIO_MEM_PCI(md)->vdev);
}

/*
 * Before the device is realized the machine asks here first, on its way to
 * place it: the first and best time to tell users of their mistakes.
 */
static MemoryRegion *virtio_mem_pci_get_memory_region(MemoryDeviceState *md,
                                                      Error **errp)
{
    VirtIOMEM *vmem = &VIRTIO_MEM_PCI(md)->vdev;

    if (!DEVICE(vmem)->realized && !virtio_mem_check_config(vmem, errp)) {
        return NULL;
    }
    return virtio_mem_memory_region(vmem);
}

static void virtio_mem_pci_decide_memslots(MemoryDeviceState *md,
                                           unsigned int limit)
{
    virtio_mem_memslots_decide(&VIRTIO_MEM_PCI(md)->vdev, limit);
}

static unsigned int virtio_mem_pci_get_memslots(MemoryDeviceState *md)
{
    return virtio_mem_nb_memslots(&VIRTIO_MEM_PCI(md)->vdev);
}

static uint64_t virtio_mem_pci_get_min_alignment(const MemoryDeviceState *md)
{
    return virtio_mem_get_block_size(&VIRTIO_MEM_PCI(md)->vdev);
}

static void virtio_mem_pci_fill_device_info(const MemoryDeviceState *md,
                                            MemoryDeviceInfo *info)
{
    VirtioMEMDeviceInfo *vi = g_new0(VirtioMEMDeviceInfo, 1);

    vi->id = g_strdup(DEVICE(md)->id);
    virtio_mem_fill_device_info(&VIRTIO_MEM_PCI(md)->vdev, vi);

    info->type = MEMORY_DEVICE_INFO_KIND_VIRTIO_MEM;
    info->u.virtio_mem.data = vi;
}

static void virtio_mem_pci_unplug_request_check(VirtIOMDPCI *vmd, Error **errp)
{
    virtio_mem_check_unplug(&VIRTIO_MEM_PCI(vmd)->vdev, errp);
}

static void virtio_mem_pci_size_changed(Notifier *notifier, void *data)
{
    VirtIOMEMPCI *pci = container_of(notifier, VirtIOMEMPCI,
                                     size_change_notifier);
    const uint64_t *size = data;
    g_autofree char *path = object_get_canonical_path(OBJECT(pci));

    qapi_event_send_memory_device_size_change(DEVICE(pci)->id, *size, path);
}

static void virtio_mem_pci_instance_init(Object *obj)
{
    VirtIOMEMPCI *pci = VIRTIO_MEM_PCI(obj);

    virtio_instance_init_common(obj, &pci->vdev, sizeof(pci->vdev),
                                TYPE_VIRTIO_MEM);
    pci->size_change_notifier.notify = virtio_mem_pci_size_changed;
    virtio_mem_add_size_change_notifier(&pci->vdev, &pci->size_change_notifier);
}

static const Property virtio_mem_pci_properties[] = {
    DEFINE_PROP_BIT("ioeventfd", VirtIOPCIProxy, flags,
                    VIRTIO_PCI_FLAG_USE_IOEVENTFD_BIT, true),
    DEFINE_PROP_UINT32("vectors", VirtIOPCIProxy, nvectors,
                       DEV_NVECTORS_UNSPECIFIED),
};

static void virtio_mem_pci_memory_device_init(MemoryDeviceClass *mdc)
{
    mdc->get_memory_region = virtio_mem_pci_get_memory_region;
    mdc->decide_memslots = virtio_mem_pci_decide_memslots;
    mdc->get_memslots = virtio_mem_pci_get_memslots;
    mdc->get_min_alignment = virtio_mem_pci_get_min_alignment;
    mdc->set_addr = virtio_mem_pci_set_addr;
    mdc->get_addr = virtio_mem_pci_get_addr;
    mdc->fill_device_info = virtio_mem_pci_fill_device_info;
    mdc->get_plugged_size = virtio_mem_pci_get_plugged_size;
}

static void virtio_mem_pci_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);

    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, virtio_mem_pci_properties);
    pc->class_id = PCI_CLASS_OTHERS;
    pc->revision = VIRTIO_PCI_ABI_VERSION;

    VIRTIO_PCI_CLASS(klass)->realize = virtio_mem_pci_realize;
    VIRTIO_MD_PCI_CLASS(klass)->unplug_request_check =
        virtio_mem_pci_unplug_request_check;
    virtio_mem_pci_memory_device_init(MEMORY_DEVICE_CLASS(klass));
}

static const VirtioPCIDeviceTypeInfo virtio_mem_pci_info = {
    .generic_name = "virtio-mem-pci",
    .base_name = TYPE_VIRTIO_MEM_PCI,
    .parent = TYPE_VIRTIO_MD_PCI,
    .class_init = virtio_mem_pci_class_init,
    .instance_init = virtio_mem_pci_instance_init,
    .instance_size = sizeof(VirtIOMEMPCI),
};

static void virtio_mem_pci_register_types(void)
{
    virtio_pci_types_register(&virtio_mem_pci_info);
}

type_init(virtio_mem_pci_register_types)
