// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rings of the virtio-mem device in places where they shouldn't be, its own
 * memory among them, and registers that a driver writes what it likes into,
 * while requests are under way.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/module.h"
#include "standard-headers/linux/virtio_pci.h"
#include "libqos/libqos-malloc.h"
#include "virtio-mem-test.h"

#define MEMSLOTS DEFAULT_DEVICE ",dynamic-memslots=on"
#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)

/* The block that the request under way plugs; those below are plugged before */
#define WANTED 3

static QVirtioMemPending offer_plug(QVirtioMem *mem, int64_t index)
{
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG,
                                                block_addr(mem, index), 1);

    qvirtqueue_reset_pool(mem->vq);
    return qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
}

/* The request under way was carried out, or not; nothing else was. */
static void assert_all_or_nothing(QVirtioMem *mem)
{
    uint64_t plugged;

    device_reset(mem);
    plugged = plugged_size(mem);
    assert_plugged(mem, 0, WANTED);
    g_assert_true(plugged == WANTED * BLOCK || plugged == (WANTED + 1) * BLOCK);
    assert_consistent(mem);
}

/* Registers */

typedef struct Register {
    const char *name;
    uint32_t offset;
    int width;
    uint32_t value;
} Register;

static const Register registers[] = {
    { "register-status-of-all-ones", COMMON(device_status), 1, 0xff },
    { "register-status-of-driver-ok-alone", COMMON(device_status), 1, 0x04 },
    { "register-status-needs-reset-by-the-driver",
      COMMON(device_status), 1, 0x4f },
    { "register-status-failed-with-requests", COMMON(device_status), 1, 0x8f },
    { "register-status-zero-with-requests", COMMON(device_status), 1, 0 },
    { "register-queue-size-halved-with-requests", COMMON(queue_size), 2, 64 },
    { "register-queue-size-doubled-with-requests", COMMON(queue_size), 2, 256 },
    { "register-queue-size-of-1024-with-requests",
      COMMON(queue_size), 2, 1024 },
    { "register-queue-size-no-power-of-two", COMMON(queue_size), 2, 3 },
    { "register-queue-size-of-zero", COMMON(queue_size), 2, 0 },
    { "register-queue-size-past-all-limits", COMMON(queue_size), 2, 0xffff },
    { "register-queue-enabled-twice", COMMON(queue_enable), 2, 1 },
    { "register-queue-disabled-with-requests", COMMON(queue_enable), 2, 0 },
    { "register-queue-enabled-by-nonsense", COMMON(queue_enable), 2, 0xffff },
    { "register-queue-vector-that-does-not-exist",
      COMMON(queue_msix_vector), 2, 0xfffe },
    { "register-config-vector-that-does-not-exist",
      COMMON(msix_config), 2, 0xfffe },
    { "register-descriptors-moved-with-requests",
      COMMON(queue_desc_lo), 4, 0xfffffff0 },
    { "register-queue-reset-with-requests", VIRTIO_PCI_COMMON_Q_RESET, 2, 1 },
    { "register-queue-reset-by-nonsense",
      VIRTIO_PCI_COMMON_Q_RESET, 2, 0xffff },
};

/* This test checks a register that changes on both sides of a notification. */
static void test_register(QVirtioMem *mem, const void *row)
{
    const Register *reg = row;
    QVirtioMemPending pending;

    use_short_queue(mem);
    assert_ack(plug(mem, 0, WANTED));
    pending = offer_plug(mem, WANTED);
    qvirtio_mem_kick(mem);
    write_common(mem, reg->offset, reg->width, reg->value);
    qvirtio_mem_kick(mem);
    assert_all_or_nothing(mem);
    qvirtio_mem_forget(mem, &pending);

    pending = offer_plug(mem, WANTED + 1);
    write_common(mem, COMMON(queue_select), 2, 0);
    write_common(mem, reg->offset, reg->width, reg->value);
    qvirtio_mem_kick(mem);
    assert_usable_after_reset(mem);
    qvirtio_mem_forget(mem, &pending);
}

/* This test checks queues that the device does not have. */
static void test_other_queues(QVirtioMem *mem, const void *row)
{
    const uint16_t queues[] = { 1, 2, 1023, 1024, UINT16_MAX };
    int i;

    assert_ack(plug(mem, 0, WANTED));
    for (i = 0; i < ARRAY_SIZE(queues); i++) {
        write_common(mem, COMMON(queue_select), 2, queues[i]);
        /* This one only when the selection was taken: else it is our queue. */
        if (qpci_io_readw(mem->pci->pdev, mem->pci->bar,
                          mem->pci->common_cfg_offset +
                          COMMON(queue_select)) == queues[i]) {
            write_common(mem, COMMON(queue_size), 2, 128);
            write_common(mem, COMMON(queue_desc_lo), 4, 0x1000);
            write_common(mem, COMMON(queue_enable), 2, 1);
            write_common(mem, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
        }
        qpci_io_writew(mem->pci->pdev, mem->pci->bar,
                       mem->pci->notify_cfg_offset +
                       queues[i] * mem->pci->notify_off_multiplier % 4096,
                       queues[i]);
    }
    assert_plugged(mem, 0, WANTED);
    assert_ack(plug(mem, WANTED, 1));
    assert_usable_after_reset(mem);
}

/* This test checks that features are settled once the driver is at work. */
static void test_features_change(QVirtioMem *mem, const void *row)
{
    const uint32_t features[] = { 0, UINT32_MAX };
    g_autofree char *before = NULL;
    int i, half;

    assert_ack(plug(mem, 0, WANTED));
    before = picture(mem);
    for (i = 0; i < ARRAY_SIZE(features); i++) {
        for (half = 0; half < 3; half++) {
            write_common(mem, COMMON(guest_feature_select), 4, half);
            write_common(mem, COMMON(guest_feature), 4, features[i]);
        }
        write_common(mem, COMMON(device_status), 1, 0x0f);
        assert_unchanged(mem, before);
        assert_ack(plug(mem, WANTED, 1));
        assert_ack(unplug(mem, WANTED, 1));
    }
    assert_usable_after_reset(mem);
}

/* This test checks that the whole configuration BAR takes all ones. */
static void test_config_of_all_ones(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;
    QPCIDevice *pdev = mem->pci->pdev;
    uint64_t at;

    assert_ack(plug(mem, 0, WANTED));
    before = picture(mem);
    for (at = mem->pci->device_cfg_offset;
         at < mem->pci->device_cfg_offset + 128; at++) {
        qpci_io_writeb(pdev, mem->pci->bar, at, UINT8_MAX);
        qpci_io_writew(pdev, mem->pci->bar, at, UINT16_MAX);
        qpci_io_writel(pdev, mem->pci->bar, at, UINT32_MAX);
        qpci_io_writeq(pdev, mem->pci->bar, at, UINT64_MAX);
    }
    assert_unchanged(mem, before);
    assert_ack(plug(mem, WANTED, 1));
    assert_usable_after_reset(mem);
}

/* Rings */

/* Has a ring's registers say this, without a reset. */
static void set_ring(QVirtioMem *mem, uint32_t register_lo, uint64_t addr)
{
    write_common(mem, register_lo, 4, addr);
    write_common(mem, register_lo + 4, 4, addr >> 32);
}

typedef struct RingMove {
    const char *name;
    /* Its address is the sum of these. */
    bool in_region;
    uint64_t offset;
    const char *device;
} RingMove;

static const RingMove ring_moves[] = {
    { "rings-where-nothing-is", false, 1ull << 38 },
    { "rings-at-the-end-of-all-addresses", false, UINT64_MAX - 15 },
    { "rings-in-another-devices-registers", false, 0xfed00000 },
    { "rings-in-plugged-memory-of-the-device", true, 0 },
    { "rings-across-plugged-and-unplugged-memory", true, WANTED * BLOCK - 16 },
    { "rings-in-unplugged-memory", true, 30 * BLOCK },
    { "rings-across-the-end-of-the-region", true, REGION - 16 },
    { "rings-in-memory-that-is-mapped-for-now", true, 0, MEMSLOTS },
    { "rings-across-the-end-of-what-is-mapped", true, REGION - 16, MEMSLOTS },
};

/* This test checks each ring in turn, and all of them, at an odd place. */
static void test_ring_moves(QVirtioMem *mem, const void *row)
{
    const RingMove *move = row;
    const uint32_t rings[] = {
        COMMON(queue_desc_lo), COMMON(queue_avail_lo), COMMON(queue_used_lo),
    };
    QVirtioMemPending pending;
    uint64_t addr;
    int which, i;

    use_short_queue(mem);
    for (which = 1; which < 8; which++) {
        device_reset(mem);
        assert_ack(unplug_all(mem));
        assert_ack(plug(mem, 0, WANTED));
        addr = (move->in_region ? mem->addr : 0) + move->offset;
        pending = offer_plug(mem, WANTED);
        for (i = 0; i < ARRAY_SIZE(rings); i++) {
            if (which & 1 << i) {
                set_ring(mem, rings[i], addr);
            }
        }
        write_common(mem, COMMON(queue_enable), 2, 1);
        qvirtio_mem_kick(mem);
        assert_all_or_nothing(mem);
        qvirtio_mem_forget(mem, &pending);
    }
    assert_usable_after_reset(mem);
}

/* Waits until nothing is plugged: no ring is left to tell. */
static void wait_nothing_plugged(QVirtioMem *mem)
{
    gint64 deadline = g_get_monotonic_time() + 120 * G_USEC_PER_SEC;

    while (plugged_size(mem)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

/* This test checks an UNPLUG of the blocks that hold its ring and itself. */
static void test_unplug_of_its_own_ring(QVirtioMem *mem, const void *row)
{
    const uint16_t *type = row;
    QGuestAllocator *boot = mem->alloc;
    struct virtio_mem_req req;
    QGuestAllocator inner;

    assert_ack(plug(mem, 0, WANTED));
    alloc_init(&inner, ALLOC_NO_FLAGS, mem->addr, mem->addr + WANTED * BLOCK,
               4096);
    use_memory_of(mem, &inner);
    assert_ack(plug(mem, WANTED, 1));
    assert_ack(unplug(mem, WANTED, 1));

    req = qvirtio_mem_req(*type, mem->addr, WANTED);
    qvirtqueue_reset_pool(mem->vq);
    qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
    qvirtio_mem_kick(mem);
    wait_nothing_plugged(mem);
    qvirtio_mem_kick(mem);
    use_memory_of(mem, boot);
    assert_usable_after_reset(mem);
    alloc_destroy(&inner);
}

static const uint16_t unplug_type = VIRTIO_MEM_REQ_UNPLUG;
static const uint16_t unplug_all_type = VIRTIO_MEM_REQ_UNPLUG_ALL;

static const Case ring_cases[] = {
    { "registers-of-queues-that-do-not-exist", test_other_queues },
    { "register-features-change-while-the-driver-works",
      test_features_change },
    { "registers-of-the-configuration-written-at-each-width",
      test_config_of_all_ones },
    { "rings-in-the-blocks-that-a-request-on-them-unplugs",
      test_unplug_of_its_own_ring, .row = &unplug_type },
    { "rings-in-the-blocks-that-unplug-all-takes",
      test_unplug_of_its_own_ring, .row = &unplug_all_type },
    { "rings-in-the-slot-that-a-request-on-them-unmaps",
      test_unplug_of_its_own_ring, MEMSLOTS, .row = &unplug_type },
    { "rings-in-the-slot-that-unplug-all-unmaps",
      test_unplug_of_its_own_ring, MEMSLOTS, .row = &unplug_all_type },
};

static void register_ring_cases(void)
{
    int i;

    ADD_CASES("virtio-mem-ring", ring_cases);
    ADD_ROWS("virtio-mem-ring", registers, test_register);
    for (i = 0; i < ARRAY_SIZE(ring_moves); i++) {
        add_row_for("virtio-mem-ring", ring_moves[i].name, test_ring_moves,
                    ring_moves[i].device, &ring_moves[i]);
    }
}

libqos_init(register_ring_cases);
