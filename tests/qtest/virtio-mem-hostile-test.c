// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What no honest driver puts on the queue of the virtio-mem device.  Requests
 * cut short stop it until a reset; others get an error, and no other memory is
 * touched.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "standard-headers/linux/virtio_pci.h"
#include "virtio-mem-test.h"

/* Malformed requests: the device stops until the driver resets it */

typedef struct Malformed {
    const char *name;
    uint16_t type;
    /* Bytes of the request and for its answer */
    uint32_t out_len;
    uint32_t in_len;
} Malformed;

static const Malformed malformed_rows[] = {
    { "malformed-plug-one-byte-short", VIRTIO_MEM_REQ_PLUG, 23, 10 },
    { "malformed-plug-of-a-header-only", VIRTIO_MEM_REQ_PLUG, 8, 10 },
    { "malformed-unplug-one-byte-short", VIRTIO_MEM_REQ_UNPLUG, 23, 10 },
    { "malformed-unplug-of-a-header-only", VIRTIO_MEM_REQ_UNPLUG, 8, 10 },
    { "malformed-state-one-byte-short", VIRTIO_MEM_REQ_STATE, 23, 10 },
    { "malformed-state-of-a-header-only", VIRTIO_MEM_REQ_STATE, 8, 10 },
    { "malformed-unplug-all-one-byte-short",
      VIRTIO_MEM_REQ_UNPLUG_ALL, 7, 10 },
    { "malformed-unplug-all-of-a-type-only",
      VIRTIO_MEM_REQ_UNPLUG_ALL, 2, 10 },
    { "malformed-request-of-half-a-type", VIRTIO_MEM_REQ_UNPLUG_ALL, 1, 10 },
    { "malformed-answer-without-a-request", VIRTIO_MEM_REQ_PLUG, 0, 10 },
    { "malformed-plug-without-room-for-an-answer",
      VIRTIO_MEM_REQ_PLUG, 24, 0 },
    { "malformed-plug-with-one-byte-for-the-answer",
      VIRTIO_MEM_REQ_PLUG, 24, 1 },
    { "malformed-plug-with-the-answer-one-byte-short",
      VIRTIO_MEM_REQ_PLUG, 24, 9 },
    { "malformed-unplug-with-the-answer-one-byte-short",
      VIRTIO_MEM_REQ_UNPLUG, 24, 9 },
    { "malformed-unplug-all-with-the-answer-one-byte-short",
      VIRTIO_MEM_REQ_UNPLUG_ALL, 24, 9 },
    { "malformed-state-with-the-answer-one-byte-short",
      VIRTIO_MEM_REQ_STATE, 24, 9 },
    { "malformed-state-without-room-for-the-state",
      VIRTIO_MEM_REQ_STATE, 24, 8 },
};

/* Sends a request that would be obeyed if it were not cut short. */
static void send_malformed(QVirtioMem *mem, const Malformed *bad)
{
    int64_t first = bad->type == VIRTIO_MEM_REQ_PLUG ? 3 : 0;
    struct virtio_mem_req req = qvirtio_mem_req(bad->type,
                                                block_addr(mem, first), 1);
    const QVirtioMemShape shape = {
        bad->out_len, bad->out_len, bad->in_len, bad->in_len
    };
    QVirtioMemPending pending;

    qvirtqueue_reset_pool(mem->vq);
    pending = qvirtio_mem_offer(mem, &req, &shape);
    qvirtio_mem_kick(mem);
    assert_stopped(mem);
    qvirtio_mem_forget(mem, &pending);
}

/* This test checks that such a request stops the device until a reset. */
static void test_malformed(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;

    assert_ack(plug(mem, 0, 3));
    before = picture(mem);
    send_malformed(mem, row);
    device_reset(mem);
    assert_unchanged(mem, before);
    assert_ack(plug(mem, 3, 1));
    assert_ack(unplug(mem, 0, 1));
}

/* This test checks that a driver may waste the whole ring, many times. */
static void test_malformed_whole_ring(QVirtioMem *mem, const void *row)
{
    const QVirtioMemShape shape = { mem->vq->size, 1, 0, 0 };
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG,
                                                block_addr(mem, 3), 1);
    QVirtioMemPending pending;
    int round;

    assert_ack(plug(mem, 0, 3));
    for (round = 0; round < 8; round++) {
        device_reset(mem);
        pending = qvirtio_mem_offer(mem, &req, &shape);
        g_assert_cmpuint(mem->vq->num_free, ==, 0);
        qvirtio_mem_kick(mem);
        assert_stopped(mem);
        qvirtio_mem_forget(mem, &pending);
    }
    device_reset(mem);
    g_assert_cmphex(plugged_size(mem), ==, 3 * BLOCK);
    assert_ack(plug(mem, 3, 1));
}

/* This test checks that a malformed request stops those behind it. */
static void test_malformed_among_others(QVirtioMem *mem, const void *row)
{
    const QVirtioMemShape no_answer = { 24, 24, 0, 0 };
    QVirtioMemPending pending[3];
    struct virtio_mem_req req;
    int i;

    for (i = 0; i < 3; i++) {
        req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG, block_addr(mem, i), 1);
        pending[i] = qvirtio_mem_offer(mem, &req, i == 1 ? &no_answer :
                                                  &qvirtio_mem_plain);
    }
    qvirtio_mem_kick(mem);
    assert_ack(qvirtio_mem_finish(mem, &pending[0]).type);
    assert_stopped(mem);
    qvirtio_mem_forget(mem, &pending[1]);
    qvirtio_mem_forget(mem, &pending[2]);

    device_reset(mem);
    g_assert_cmphex(plugged_size(mem), ==, BLOCK);
    assert_ack(plug(mem, 1, 2));
}

/* This test checks that a stopped device starts again with the machine. */
static void test_malformed_then_system_reset(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 3));
    send_malformed(mem, &malformed_rows[0]);
    system_reset(mem);
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_ack(plug(mem, 0, 1));
}

/* This test checks that a chain which bites its own tail stops the device. */
static void test_looped_chain(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    uint64_t buffer = guest_alloc(mem->alloc, 4096);
    uint64_t next_addr = mem->vq->desc + offsetof(struct vring_desc, next);
    uint16_t next = cpu_to_le16(0);

    qvirtqueue_add(qts, mem->vq, buffer, 8, false, true);
    qtest_memwrite(qts, next_addr, &next, sizeof(next));
    qvirtio_mem_expose(mem, 0);
    qvirtio_mem_kick(mem);
    assert_stopped(mem);

    device_reset(mem);
    assert_ack(plug(mem, 0, 1));
    guest_free(mem->alloc, buffer);
}

/* Requests that no honest driver sends */

/* This test checks that an unknown type is an error and has no effect. */
static void test_unknown_type(QVirtioMem *mem, const void *row)
{
    const uint16_t types[] = {
        VIRTIO_MEM_REQ_STATE + 1, 5, 0x00ff, 0x0100, 0x0200, 0x7fff, 0xffff,
    };
    g_autofree char *before = NULL;
    int i;

    assert_ack(plug(mem, 0, 3));
    before = picture(mem);
    for (i = 0; i < ARRAY_SIZE(types); i++) {
        assert_error(ask(mem, types[i], block_addr(mem, 0), 1));
        assert_error(ask(mem, types[i], block_addr(mem, 3), 1));
        assert_unchanged(mem, before);
    }
    assert_usable_after_reset(mem);
}

/* Has the device use these buffers, and live on whatever comes of it. */
static void survive_buffers(QVirtioMem *mem, uint64_t out, uint64_t in)
{
    const QVirtioMemDesc chain[] = {
        { out, sizeof(struct virtio_mem_req), false },
        { in, sizeof(struct virtio_mem_resp), true },
    };

    qvirtqueue_reset_pool(mem->vq);
    qvirtio_mem_offer_chain(mem, chain, ARRAY_SIZE(chain));
    qvirtio_mem_kick(mem);
    wait_outcome(mem);
    assert_usable_after_reset(mem);
}

/* This test checks that the device's own registers are no trap for it. */
static void test_registers_as_buffers(QVirtioMem *mem, const void *row)
{
    QVirtQueuePCI *vqpci = container_of(mem->vq, QVirtQueuePCI, vq);
    uint64_t bar = mem->pci->bar.addr;
    uint64_t common = bar + mem->pci->common_cfg_offset;
    uint64_t notify = bar + vqpci->notify_offset;
    uint64_t request = plug_in_memory(mem, 0);
    uint64_t answer = guest_alloc(mem->alloc, sizeof(struct virtio_mem_resp));

    survive_buffers(mem, request, notify);
    survive_buffers(mem, request, common);
    survive_buffers(mem, request,
                    common + offsetof(struct virtio_pci_common_cfg,
                                      device_status));
    survive_buffers(mem, common, answer);
    survive_buffers(mem, bar + mem->pci->device_cfg_offset, answer);
    guest_free(mem->alloc, request);
    guest_free(mem->alloc, answer);
}

/* This test checks that buffers may lie where there is no memory. */
static void test_buffers_nowhere(QVirtioMem *mem, const void *row)
{
    uint64_t unplugged = block_addr(mem, 30);
    uint64_t request = plug_in_memory(mem, 0);
    uint64_t answer = guest_alloc(mem->alloc, sizeof(struct virtio_mem_resp));

    survive_buffers(mem, request, 1ull << 38);
    survive_buffers(mem, 1ull << 38, answer);
    survive_buffers(mem, request, UINT64_MAX - 4);
    survive_buffers(mem, request, unplugged);
    survive_buffers(mem, unplugged, answer);
    guest_free(mem->alloc, request);
    guest_free(mem->alloc, answer);
}

/* This test checks that a block may hold the request to unplug itself. */
static void test_request_in_its_own_block(QVirtioMem *mem, const void *row)
{
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_UNPLUG,
                                                block_addr(mem, 6), 1);
    const QVirtioMemDesc chain[] = {
        { block_addr(mem, 6), sizeof(req), false },
        { block_addr(mem, 6) + 64, sizeof(struct virtio_mem_resp), true },
    };
    uint32_t head;

    assert_ack(plug(mem, 5, 2));
    stamp(mem, 5, 55);
    qtest_memwrite(qvirtio_mem_qts(mem), block_addr(mem, 6), &req,
                   sizeof(req));
    qvirtqueue_reset_pool(mem->vq);
    head = qvirtio_mem_offer_chain(mem, chain, ARRAY_SIZE(chain));
    qvirtio_mem_kick(mem);
    g_assert_cmpuint(qvirtio_mem_wait_used(mem, NULL), ==, head);
    assert_unplugged(mem, 6, 1);
    g_assert_cmphex(plugged_size(mem), ==, BLOCK);
    assert_stamp(mem, 5, 55);
    assert_usable_after_reset(mem);
}

/* This test checks that a device keeps its hands off another one's region. */
static void test_two_devices(QVirtioMem *mem, const void *row)
{
    QDict *other = memory_device(mem, "vmem1");
    uint64_t other_addr = qdict_get_int(other, "memaddr");
    uint64_t other_size = qdict_get_int(other, "max-size");

    g_assert_true(other_addr >= mem->addr + REGION ||
                  other_addr + other_size <= mem->addr);
    assert_error(ask(mem, VIRTIO_MEM_REQ_PLUG, other_addr, 1));
    assert_error(ask(mem, VIRTIO_MEM_REQ_STATE, other_addr, 1));
    assert_ack(plug(mem, 0, 1));
    g_assert_cmphex(get_property(mem, "/machine/peripheral/vmem1", "size"), ==,
                    0);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "size"), ==, BLOCK);
    qobject_unref(other);
    assert_usable_after_reset(mem);
}

/* The list */

static const Case hostile_cases[] = {
    { "malformed-requests-that-fill-the-ring-many-times",
      test_malformed_whole_ring },
    { "malformed-request-stops-those-behind-it",
      test_malformed_among_others },
    { "malformed-request-then-system-reset",
      test_malformed_then_system_reset },
    { "malformed-chain-that-loops", test_looped_chain },

    { "hostile-request-of-unknown-type-is-an-error", test_unknown_type },
    { "hostile-buffers-in-the-devices-own-registers",
      test_registers_as_buffers },
    { "hostile-buffers-where-no-memory-is", test_buffers_nowhere },
    { "hostile-request-inside-the-block-it-unplugs",
      test_request_in_its_own_block },
    { "hostile-request-for-another-devices-memory-is-an-error",
      test_two_devices, NULL, SECOND_DEVICE },
};

static void register_virtio_mem_hostile_test(void)
{
    ADD_CASES("virtio-mem-queue", hostile_cases);
    ADD_ROWS("virtio-mem-queue", malformed_rows, test_malformed);
}

libqos_init(register_virtio_mem_hostile_test);
