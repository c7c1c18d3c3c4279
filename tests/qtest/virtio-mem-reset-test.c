// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How the virtio-mem device starts, and what it keeps when it, the machine or
 * the guest starts again (D12 to D17).
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/module.h"
#include "standard-headers/linux/virtio_config.h"
#include "virtio-mem-test.h"

/* Features */

/* This test checks that a driver must promise not to read unplugged memory. */
static void test_declined_feature(QVirtioMem *mem, const void *row)
{
    QVirtioDevice *vdev = mem->vdev;
    uint64_t inaccessible = 1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE;
    uint64_t features;
    uint8_t status;

    qvirtio_start_device(vdev);
    features = qvirtio_get_features(vdev) & ~QVIRTIO_MEM_DECLINED;
    g_assert_true(features & inaccessible);
    vdev->bus->set_features(vdev, features & ~inaccessible);
    status = vdev->bus->get_status(vdev);
    vdev->bus->set_status(vdev, status | VIRTIO_CONFIG_S_FEATURES_OK);
    g_assert_cmphex(vdev->bus->get_status(vdev), ==, status);

    device_reset(mem);
    assert_ack(plug(mem, 0, 1));
}

/* This test checks that guests may sleep with our memory plugged. */
static void test_persistent_suspend_offered(QVirtioMem *mem, const void *row)
{
    g_assert_true(mem->vdev->features &
                  (1ull << VIRTIO_MEM_F_PERSISTENT_SUSPEND));
}

/* Resets of the device, of the machine, and a sleep */

/* This test checks that a device reset keeps which blocks are plugged. */
static void test_device_reset_keeps_blocks(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;

    plug_pattern(mem);
    before = picture(mem);
    device_reset(mem);
    assert_unchanged(mem, before);
    assert_pattern(mem);
}

/* This test checks that a device reset keeps what plugged blocks hold. */
static void test_device_reset_keeps_bytes(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    stamp(mem, 4, 0x0123456789abcdef);
    stamp(mem, 12, 0xfedcba9876543210);
    device_reset(mem);
    assert_stamp(mem, 4, 0x0123456789abcdef);
    assert_stamp(mem, 12, 0xfedcba9876543210);
    stamp(mem, 12, 1);
    assert_stamp(mem, 12, 1);
}

/* This test checks that memory is there, as it was, after a sleep. */
static void test_sleep_keeps_memory(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;

    plug_pattern(mem);
    stamp(mem, 4, 0x0123456789abcdef);
    before = picture(mem);
    qvirtio_mem_sleep(mem, &qvirtio_mem_power_pc);
    assert_unchanged(mem, before);
    assert_pattern(mem);
    assert_stamp(mem, 4, 0x0123456789abcdef);
}

/* This test checks that a rebooted machine starts without our memory. */
static void test_system_reset_unplugs(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    system_reset(mem);
    g_assert_cmphex(plugged_size(mem), ==, 0);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "size"), ==, 0);
    assert_unplugged(mem, 0, usable_nb(mem));
    plug_pattern(mem);
    assert_pattern(mem);
}

/* This test checks that a reboot leaves no trace of what memory held. */
static void test_system_reset_discards(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 3));
    stamp(mem, 0, 0x0123456789abcdef);
    stamp(mem, 2, 0x0123456789abcdef);
    system_reset(mem);
    assert_ack(plug(mem, 0, 3));
    assert_zero(mem, 0);
    assert_zero(mem, 2);
}

/* This test checks that a reboot keeps the target. */
static void test_system_reset_keeps_target(QVirtioMem *mem, const void *row)
{
    set_requested(mem, 300 * MiB);
    system_reset(mem);
    g_assert_cmphex(qvirtio_mem_config(mem).requested_size, ==, 300 * MiB);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "requested-size"), ==,
                    300 * MiB);
    g_assert_cmphex(usable_size(mem), >=, 300 * MiB);
}

/* The list */

static const Case reset_cases[] = {
    { "D12-a-driver-without-UNPLUGGED_INACCESSIBLE-is-refused",
      test_declined_feature },
    { "D13-a-device-reset-keeps-blocks-plugged",
      test_device_reset_keeps_blocks },
    { "D14-a-device-reset-keeps-contents", test_device_reset_keeps_bytes },
    { "D15-PERSISTENT_SUSPEND-is-offered", test_persistent_suspend_offered },
    { "D16-a-system-reset-unplugs-all", test_system_reset_unplugs },
    { "D16-a-system-reset-discards-contents", test_system_reset_discards },
    { "D16-a-system-reset-keeps-the-target", test_system_reset_keeps_target },
    { "D17-a-sleep-to-ram-keeps-blocks-and-contents",
      test_sleep_keeps_memory },
};

static void register_virtio_mem_reset_test(void)
{
    ADD_CASES("virtio-mem", reset_cases);
}

libqos_init(register_virtio_mem_reset_test);
