// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the cases about hostile guests do to the virtio-mem device and expect of
 * it: see the end of virtio-mem-test.h for what each function is for.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/virtio_config.h"
#include "virtio-mem-test.h"

int64_t descriptors_in_use(QVirtioMem *mem)
{
    QDict *status;
    int64_t inuse;

    status = qtest_qmp_assert_success_ref(qvirtio_mem_qts(mem),
                                          "{ 'execute':"
                                          "  'x-query-virtio-queue-status',"
                                          "  'arguments': { 'path': %s,"
                                          "  'queue': 0 } }",
                                          VMEM_PATH "/virtio-backend");
    inuse = qdict_get_int(status, "inuse");
    qobject_unref(status);
    return inuse;
}

void assert_stopped(QVirtioMem *mem)
{
    qvirtio_mem_wait_needs_reset(mem);
    g_assert_false(qvirtqueue_get_buf(qvirtio_mem_qts(mem), mem->vq,
                                      NULL, NULL));
    g_assert_cmpint(descriptors_in_use(mem), ==, 0);
}

void wait_outcome(QVirtioMem *mem)
{
    gint64 deadline = g_get_monotonic_time() + 120 * G_USEC_PER_SEC;
    uint8_t status;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        status = mem->vdev->bus->get_status(mem->vdev);
    } while (status && !(status & VIRTIO_CONFIG_S_NEEDS_RESET) &&
             !qvirtqueue_get_buf(qvirtio_mem_qts(mem), mem->vq, NULL, NULL));
}

void assert_consistent(QVirtioMem *mem)
{
    g_autofree char *map = block_map(mem);
    uint64_t plugged = 0;
    char *c;

    for (c = map; *c; c++) {
        plugged += *c == '#' ? mem->block_size : 0;
    }
    g_assert_cmphex(plugged_size(mem), ==, plugged);
}

void assert_usable_after_reset(QVirtioMem *mem)
{
    set_requested(mem, REQUESTED);
    device_reset(mem);
    assert_consistent(mem);
    assert_ack(unplug_all(mem));
    assert_ack(plug(mem, 20, 2));
    stamp(mem, 21, 21);
    assert_stamp(mem, 21, 21);
    assert_ack(unplug(mem, 20, 1));
    g_assert_cmphex(plugged_size(mem), ==, mem->block_size);
    assert_ack(unplug_all(mem));
}

uint64_t plug_in_memory(QVirtioMem *mem, int64_t index)
{
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG,
                                                block_addr(mem, index), 1);
    uint64_t addr = guest_alloc(mem->alloc, sizeof(req));

    qtest_memwrite(qvirtio_mem_qts(mem), addr, &req, sizeof(req));
    return addr;
}

void write_common(QVirtioMem *mem, uint32_t offset, int width, uint32_t value)
{
    uint64_t at = mem->pci->common_cfg_offset + offset;

    switch (width) {
    case 1:
        qpci_io_writeb(mem->pci->pdev, mem->pci->bar, at, value);
        break;
    case 2:
        qpci_io_writew(mem->pci->pdev, mem->pci->bar, at, value);
        break;
    case 4:
        qpci_io_writel(mem->pci->pdev, mem->pci->bar, at, value);
        break;
    default:
        g_assert_not_reached();
    }
}

void use_short_queue(QVirtioMem *mem)
{
    mem->queue_size = SHORT_QUEUE;
    device_reset(mem);
}

void use_memory_of(QVirtioMem *mem, QGuestAllocator *alloc)
{
    qvirtqueue_cleanup(mem->vdev->bus, mem->vq, mem->alloc);
    mem->vq = NULL;
    mem->alloc = alloc;
    device_reset(mem);
}
