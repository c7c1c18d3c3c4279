// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The configuration space of the virtio-mem device (D01 to D11): what its
 * fields say, how the usable region follows the target, and of which changes
 * the driver is told.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qemu/host-utils.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

/* The fields */

/* This test checks that each field is where the wire format puts it. */
static void test_layout(QVirtioMem *mem, const void *row)
{
    QVirtioDevice *vdev = mem->vdev;
    QDict *device = memory_device(mem, "vmem0");
    int i;

    g_assert_cmpuint(vdev->device_type, ==, 24);
    assert_ack(plug(mem, 0, 3));
    g_assert_cmphex(qvirtio_config_readq(vdev, 0), ==, BLOCK);
    g_assert_cmphex(qvirtio_config_readw(vdev, 8), ==, 0);
    for (i = 10; i < 16; i++) {
        g_assert_cmphex(qvirtio_config_readb(vdev, i), ==, 0);
    }
    g_assert_cmphex(qvirtio_config_readq(vdev, 16), ==,
                    qdict_get_int(device, "memaddr"));
    g_assert_cmphex(qvirtio_config_readq(vdev, 24), ==, REGION);
    g_assert_cmphex(qvirtio_config_readq(vdev, 32), ==, usable_size(mem));
    g_assert_cmphex(qvirtio_config_readq(vdev, 40), ==, 3 * BLOCK);
    g_assert_cmphex(qvirtio_config_readq(vdev, 48), ==, REQUESTED);
    qobject_unref(device);
}

/* This test checks that every width of access reads the same bytes. */
static void test_access_widths(QVirtioMem *mem, const void *row)
{
    uint64_t off, eight, fours, twos, ones;
    int i;

    assert_ack(plug(mem, 0, 3));
    for (off = 0; off < sizeof(struct virtio_mem_config); off += 8) {
        eight = qvirtio_config_readq(mem->vdev, off);
        fours = twos = ones = 0;
        for (i = 7; i >= 0; i--) {
            ones = ones << 8 | qvirtio_config_readb(mem->vdev, off + i);
        }
        for (i = 6; i >= 0; i -= 2) {
            twos = twos << 16 | qvirtio_config_readw(mem->vdev, off + i);
        }
        for (i = 4; i >= 0; i -= 4) {
            fours = fours << 32 | qvirtio_config_readl(mem->vdev, off + i);
        }
        g_assert_cmphex(ones, ==, eight);
        g_assert_cmphex(twos, ==, eight);
        g_assert_cmphex(fours, ==, eight);
    }
}

static void assert_constants(QVirtioMem *mem,
                             const struct virtio_mem_config *start)
{
    struct virtio_mem_config now = qvirtio_mem_config(mem);

    g_assert_cmphex(now.block_size, ==, start->block_size);
    g_assert_cmphex(now.node_id, ==, start->node_id);
    g_assert_cmphex(now.addr, ==, start->addr);
    g_assert_cmphex(now.region_size, ==, start->region_size);
}

/* This test checks that nothing but a system reset may move the region. */
static void test_constants(QVirtioMem *mem, const void *row)
{
    struct virtio_mem_config start = qvirtio_mem_config(mem);

    set_requested(mem, REGION);
    assert_constants(mem, &start);
    assert_ack(plug(mem, 0, REGION_NB));
    assert_constants(mem, &start);
    assert_ack(unplug(mem, 0, 10));
    assert_constants(mem, &start);
    set_requested(mem, 0);
    assert_constants(mem, &start);
    device_reset(mem);
    assert_constants(mem, &start);
    assert_ack(unplug_all(mem));
    assert_constants(mem, &start);
}

/* This test checks that a driver cannot write the configuration. */
static void test_config_writes(QVirtioMem *mem, const void *row)
{
    struct virtio_mem_config before, after;
    uint64_t off;

    assert_ack(plug(mem, 0, 3));
    before = qvirtio_mem_config(mem);
    for (off = 0; off < sizeof(before); off += 8) {
        qpci_io_writeq(mem->pci->pdev, mem->pci->bar,
                       mem->pci->device_cfg_offset + off, 0x40000000);
    }
    after = qvirtio_mem_config(mem);
    g_assert_cmpmem(&after, sizeof(after), &before, sizeof(before));
}

/* This test checks that the node option reaches the guest. */
static void test_node_id(QVirtioMem *mem, const void *row)
{
    g_assert_cmpuint(qvirtio_mem_config(mem).node_id, ==, 1);
    g_assert_true(mem->vdev->features & (1ull << VIRTIO_MEM_F_ACPI_PXM));
}

/* This test checks that the region goes where the memaddr option says. */
static void test_memaddr(QVirtioMem *mem, const void *row)
{
    g_assert_cmphex(mem->addr, ==, 5 * GiB);
    assert_ack(plug(mem, 0, 1));
    g_assert_true(is_ram(mem, 5 * GiB));
}

static void assert_sizes_valid(QVirtioMem *mem)
{
    struct virtio_mem_config config = qvirtio_mem_config(mem);

    g_assert_true(is_power_of_2(config.block_size));
    g_assert_cmphex(config.addr % config.block_size, ==, 0);
    g_assert_cmphex(config.region_size % config.block_size, ==, 0);
    g_assert_cmphex(config.usable_region_size % config.block_size, ==, 0);
    g_assert_cmphex(config.plugged_size % config.block_size, ==, 0);
    g_assert_cmphex(config.requested_size % config.block_size, ==, 0);
    g_assert_cmphex(config.usable_region_size, >=, config.requested_size);
    g_assert_cmphex(config.usable_region_size, <=, config.region_size);
}

/* This test checks the block size that the device picks by itself. */
static void test_auto_block_size(QVirtioMem *mem, const void *row)
{
    g_assert_cmphex(mem->block_size, >=, 1 * MiB);
    assert_sizes_valid(mem);
}

/* This test checks all sizes at each step from nothing to all and back. */
static void test_sizes_valid(QVirtioMem *mem, const void *row)
{
    uint64_t step = MAX(mem->block_size, 64 * MiB);
    uint64_t size;

    assert_sizes_valid(mem);
    for (size = step; size <= mem->region_size; size += step) {
        set_requested(mem, size - step + mem->block_size);
        assert_sizes_valid(mem);
        assert_ack(plug(mem, (size - step) / mem->block_size, 1));
        assert_sizes_valid(mem);
        g_assert_cmphex(plugged_size(mem), ==, size / step * mem->block_size);
    }
    assert_ack(unplug(mem, 0, 1));
    assert_sizes_valid(mem);
    set_requested(mem, 0);
    assert_sizes_valid(mem);
    assert_ack(unplug_all(mem));
    assert_sizes_valid(mem);
}

/* The usable region */

/* This test checks that the usable region holds any size that is asked for. */
static void test_usable_grows(QVirtioMem *mem, const void *row)
{
    const uint64_t sizes[] = { 0, BLOCK, REQUESTED, 300 * MiB, 600 * MiB,
                               REGION - BLOCK, REGION };
    uint64_t last = 0;
    int i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        set_requested(mem, sizes[i]);
        g_assert_cmphex(qvirtio_mem_config(mem).requested_size, ==, sizes[i]);
        g_assert_cmphex(usable_size(mem), >=, sizes[i]);
        g_assert_cmphex(usable_size(mem), >=, last);
        g_assert_cmphex(usable_size(mem), <=, REGION);
        last = usable_size(mem);
    }
    g_assert_cmphex(last, ==, REGION);
}

/* This test checks that what becomes usable can be plugged at once. */
static void test_usable_is_pluggable(QVirtioMem *mem, const void *row)
{
    assert_error(plug(mem, REGION_NB - 1, 1));
    set_requested(mem, REGION);
    assert_ack(plug(mem, REGION_NB - 1, 1));
}

/* This test checks that a lower target leaves the usable region alone. */
static void test_target_keeps_usable(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    g_assert_cmphex(usable_size(mem), ==, REGION);
    set_requested(mem, REQUESTED);
    g_assert_cmphex(usable_size(mem), ==, REGION);
    set_requested(mem, 0);
    g_assert_cmphex(usable_size(mem), ==, REGION);
}

/* This test checks that a device reset leaves the usable region alone. */
static void test_device_reset_keeps_usable(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    set_requested(mem, 0);
    device_reset(mem);
    g_assert_cmphex(usable_size(mem), ==, REGION);
}

/* This test checks that UNPLUG leaves the usable region alone. */
static void test_unplug_keeps_usable(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    assert_ack(plug(mem, 0, 1));
    set_requested(mem, 0);
    assert_ack(unplug(mem, 0, 1));
    g_assert_cmphex(usable_size(mem), ==, REGION);
}

/* This test checks that a system reset fits the usable region to the target. */
static void test_system_reset_fits_usable(QVirtioMem *mem, const void *row)
{
    uint64_t at_start = usable_size(mem);

    g_assert_cmphex(at_start, <, REGION);
    set_requested(mem, REGION);
    set_requested(mem, REQUESTED);
    system_reset(mem);
    g_assert_cmphex(usable_size(mem), ==, at_start);
}

/* Interrupts */

/* This test checks that a new target, up, down or zero, is announced. */
static void test_target_notifies(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    qvirtio_mem_wait_irq(mem, QVIRTIO_MEM_CONFIG_IRQ);
    set_requested(mem, BLOCK);
    qvirtio_mem_wait_irq(mem, QVIRTIO_MEM_CONFIG_IRQ);
    set_requested(mem, 0);
    qvirtio_mem_wait_irq(mem, QVIRTIO_MEM_CONFIG_IRQ);
}

/* This test checks that a target is announced anew when it is the same. */
static void test_same_target_notifies(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REQUESTED);
    qvirtio_mem_wait_irq(mem, QVIRTIO_MEM_CONFIG_IRQ);
}

/* This test checks that the driver is not told what it did itself. */
static void test_plugging_does_not_notify(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 4));
    assert_ack(unplug(mem, 1, 2));
    g_assert_false(qvirtio_mem_take_irq(mem, QVIRTIO_MEM_CONFIG_IRQ));

    /* ... while the interrupt does work */
    set_requested(mem, 0);
    qvirtio_mem_wait_irq(mem, QVIRTIO_MEM_CONFIG_IRQ);
}

/* This test checks that a target set before the driver runs is not lost. */
static void test_target_before_driver(QVirtioMem *mem, const void *row)
{
    qvirtio_reset(mem->vdev);
    set_requested(mem, 2 * REQUESTED);
    device_reset(mem);
    g_assert_cmphex(qvirtio_mem_config(mem).requested_size, ==, 2 * REQUESTED);
    assert_ack(plug(mem, 0, 2 * REQUESTED_NB));
}

/* This test checks that queue and configuration have a vector each. */
static void test_msix(QVirtioMem *mem, const void *row)
{
    QVirtQueuePCI *vqpci;

    qpci_msix_enable(mem->pci->pdev);
    device_reset(mem);
    vqpci = container_of(mem->vq, QVirtQueuePCI, vq);
    qvirtio_pci_set_msix_configuration_vector(mem->pci, mem->alloc, 0);
    qvirtqueue_pci_msix_setup(mem->pci, vqpci, mem->alloc, 1);

    assert_ack(plug(mem, 0, 1));
    g_assert_true(mem->vdev->bus->get_queue_isr_status(mem->vdev, mem->vq));
    set_requested(mem, 0);
    qvirtio_wait_config_isr(mem->vdev, 120 * G_USEC_PER_SEC);
}

/* The list */

static const Case config_cases[] = {
    { "D01-usable-region-grows-at-run-time", test_usable_is_pluggable },
    { "D01-a-target-set-before-the-driver-runs-is-kept",
      test_target_before_driver },
    { "D02-each-config-field-is-where-the-wire-format-puts-it", test_layout },
    { "D02-config-reads-the-same-at-every-width", test_access_widths },
    { "D02-constant-fields-never-change", test_constants },
    { "D02-config-cannot-be-written", test_config_writes },
    { "D02-node-id-is-the-node-option", test_node_id,
      DEFAULT_DEVICE ",node=1", TWO_NODES },
    { "D02-addr-is-the-memaddr-option", test_memaddr,
      DEFAULT_DEVICE ",memaddr=0x140000000" },
    { "D04-usable-region-holds-the-requested-size", test_usable_grows },
    { "D05-block-size-is-a-power-of-two-when-picked-by-the-device",
      test_auto_block_size, "requested-size=0" },
    { "D06-sizes-are-multiples-of-a-1M-block", test_sizes_valid,
      "block-size=1M" },
    { "D06-sizes-are-multiples-of-a-128M-block", test_sizes_valid,
      "block-size=128M" },
    { "D06-sizes-are-multiples-of-a-512M-block", test_sizes_valid,
      "block-size=512M" },
    { "D06-sizes-are-multiples-of-a-block-as-large-as-the-region",
      test_sizes_valid, "block-size=1G" },
    { "D08-a-lower-target-does-not-shrink-the-usable-region",
      test_target_keeps_usable },
    { "D08-a-device-reset-does-not-shrink-the-usable-region",
      test_device_reset_keeps_usable },
    { "D08-unplug-does-not-shrink-the-usable-region",
      test_unplug_keeps_usable },
    { "D08-a-system-reset-fits-the-usable-region-to-the-target",
      test_system_reset_fits_usable },
    { "D09-a-new-target-is-announced", test_target_notifies },
    { "D09-queue-and-config-interrupts-have-a-vector-each", test_msix },
    { "D10-plugging-is-not-announced", test_plugging_does_not_notify },
    { "D11-the-same-target-is-announced-anew", test_same_target_notifies },
};

static void register_virtio_mem_config_test(void)
{
    ADD_CASES("virtio-mem", config_cases);
}

libqos_init(register_virtio_mem_config_test);
