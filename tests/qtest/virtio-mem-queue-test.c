// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The queue of the virtio-mem device, as honest drivers use it: requests of
 * any legal shape, and many of them.  What dishonest ones put there is left to
 * virtio-mem-hostile-test.c.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

/* Unusual but legal shapes */

typedef struct LegalShape {
    const char *name;
    QVirtioMemShape shape;
} LegalShape;

static const LegalShape legal_shapes[] = {
    { "queue-takes-requests-of-one-byte-descriptors", { 24, 1, 10, 1 } },
    { "queue-takes-requests-cut-at-odd-places", { 24, 7, 10, 3 } },
    { "queue-takes-requests-cut-after-their-header", { 24, 8, 10, 8 } },
    { "queue-takes-answers-in-one-byte-descriptors", { 24, 24, 10, 1 } },
    { "queue-takes-larger-buffers-than-needed", { 4096, 4096, 4096, 4096 } },
    { "queue-takes-larger-buffers-in-pieces", { 64, 5, 32, 6 } },
    { "queue-takes-a-buffer-for-thousands-of-answers",
      { 24, 24, 65000, 65000 } },
};

/* This test checks that all four requests may come in such a shape. */
static void test_legal_shape(QVirtioMem *mem, const void *row)
{
    const LegalShape *legal = row;
    uint16_t type;

    for (type = VIRTIO_MEM_REQ_PLUG; type <= VIRTIO_MEM_REQ_STATE; type++) {
        assert_obeyed(mem, type, &legal->shape, false);
    }
}

/* This test checks a request whose descriptors are in a table of their own. */
static void test_indirect(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG,
                                                block_addr(mem, 3), 2);
    struct virtio_mem_resp resp;
    QVRingIndirectDesc *table;
    uint64_t out = guest_alloc(mem->alloc, sizeof(req));
    uint64_t in = guest_alloc(mem->alloc, sizeof(resp));
    uint32_t head;

    qvirtio_mem_start(mem, QVIRTIO_MEM_DECLINED &
                           ~(1ull << VIRTIO_RING_F_INDIRECT_DESC));
    qtest_memwrite(qts, out, &req, sizeof(req));
    table = qvring_indirect_desc_setup(qts, mem->vdev, mem->alloc, 2);
    qvring_indirect_desc_add(mem->vdev, qts, table, out, sizeof(req), false);
    qvring_indirect_desc_add(mem->vdev, qts, table, in, sizeof(resp), true);
    head = qvirtqueue_add_indirect(qts, mem->vq, table);
    qvirtio_mem_expose(mem, head);
    qvirtio_mem_kick(mem);

    g_assert_cmpuint(qvirtio_mem_wait_used(mem, NULL), ==, head);
    qtest_memread(qts, in, &resp, sizeof(resp));
    assert_ack(le16_to_cpu(resp.type));
    assert_plugged(mem, 3, 2);

    guest_free(mem->alloc, table->desc);
    g_free(table);
    guest_free(mem->alloc, out);
    guest_free(mem->alloc, in);
}

/* Many requests */

/* This test checks that the driver is told of an answer. */
static void test_answer_interrupts(QVirtioMem *mem, const void *row)
{
    g_assert_false(qvirtio_mem_take_irq(mem, QVIRTIO_MEM_QUEUE_IRQ));
    assert_ack(plug(mem, 0, 1));
    qvirtio_mem_wait_irq(mem, QVIRTIO_MEM_QUEUE_IRQ);
}

/* Queues @n PLUGs of a block each, kicks once, and expects ACKs in order. */
static void plug_all_at_once(QVirtioMem *mem, int n)
{
    g_autofree QVirtioMemPending *pending = g_new(QVirtioMemPending, n);
    struct virtio_mem_req req;
    int i;

    qvirtqueue_reset_pool(mem->vq);
    for (i = 0; i < n; i++) {
        req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG, block_addr(mem, i), 1);
        pending[i] = qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
    }
    g_assert_cmphex(plugged_size(mem), ==, 0);
    qvirtio_mem_kick(mem);
    for (i = 0; i < n; i++) {
        assert_ack(qvirtio_mem_finish(mem, &pending[i]).type);
    }
    g_assert_cmphex(plugged_size(mem), ==, n * BLOCK);
}

/* This test checks that one notification may stand for several requests. */
static void test_queued_requests(QVirtioMem *mem, const void *row)
{
    plug_all_at_once(mem, 8);
    assert_plugged(mem, 0, 8);
}

/* This test checks a queue without room for one request more, twice. */
static void test_full_queue(QVirtioMem *mem, const void *row)
{
    int round;

    set_requested(mem, REGION);
    for (round = 0; round < 2; round++) {
        plug_all_at_once(mem, mem->vq->size / 2);
        g_assert_cmpuint(mem->vq->num_free, ==, 0);
        assert_ack(unplug_all(mem));
    }
}

/* This test checks that queued requests see what the ones before them did. */
static void test_queued_in_order(QVirtioMem *mem, const void *row)
{
    const struct {
        uint16_t type;
        uint16_t answer;
    } steps[] = {
        { VIRTIO_MEM_REQ_PLUG, VIRTIO_MEM_RESP_ACK },
        { VIRTIO_MEM_REQ_PLUG, VIRTIO_MEM_RESP_ERROR },
        { VIRTIO_MEM_REQ_UNPLUG, VIRTIO_MEM_RESP_ACK },
        { VIRTIO_MEM_REQ_UNPLUG, VIRTIO_MEM_RESP_ERROR },
        { VIRTIO_MEM_REQ_PLUG, VIRTIO_MEM_RESP_ACK },
    };
    QVirtioMemPending pending[ARRAY_SIZE(steps)];
    struct virtio_mem_req req;
    int i;

    for (i = 0; i < ARRAY_SIZE(steps); i++) {
        req = qvirtio_mem_req(steps[i].type, block_addr(mem, 0), 1);
        pending[i] = qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
    }
    qvirtio_mem_kick(mem);
    for (i = 0; i < ARRAY_SIZE(steps); i++) {
        g_assert_cmpuint(qvirtio_mem_finish(mem, &pending[i]).type, ==,
                         steps[i].answer);
    }
    g_assert_cmphex(plugged_size(mem), ==, BLOCK);
}

/* This test checks that the ring goes round, many times. */
static void test_many_requests(QVirtioMem *mem, const void *row)
{
    int i;

    for (i = 0; i < 1000; i++) {
        assert_ack(plug(mem, i % 100, 3));
        assert_ack(unplug(mem, i % 100, 3));
    }
    g_assert_cmphex(plugged_size(mem), ==, 0);
}

/* This test checks that a stopped machine's memory stays as it is. */
static void test_stopped_machine(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG,
                                                block_addr(mem, 3), 2);
    QVirtioMemPending pending = qvirtio_mem_offer(mem, &req,
                                                  &qvirtio_mem_plain);

    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    qvirtio_mem_kick(mem);
    g_assert_cmphex(plugged_size(mem), ==, 0);
    g_assert_cmpint(descriptors_in_use(mem), ==, 0);
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    assert_ack(qvirtio_mem_finish(mem, &pending).type);
    assert_plugged(mem, 3, 2);
}

/* The list */

static const Case queue_cases[] = {
    { "queue-takes-indirect-descriptors", test_indirect },
    { "queue-interrupts-with-the-answer", test_answer_interrupts },
    { "queue-takes-several-requests-at-once", test_queued_requests },
    { "queue-answers-in-order", test_queued_in_order },
    { "queue-can-be-full", test_full_queue },
    { "queue-goes-round-in-2000-requests", test_many_requests },
    { "queue-of-a-stopped-machine-waits", test_stopped_machine },
    { "queue-of-a-stopped-machine-waits-without-ioeventfd",
      test_stopped_machine, DEFAULT_DEVICE ",ioeventfd=off" },
    { "queue-of-a-stopped-machine-waits-with-prealloc",
      test_stopped_machine, DEFAULT_DEVICE ",ioeventfd=off,prealloc=on" },
};

static void register_virtio_mem_queue_test(void)
{
    ADD_CASES("virtio-mem-queue", queue_cases);
    ADD_ROWS("virtio-mem-queue", legal_shapes, test_legal_shape);
}

libqos_init(register_virtio_mem_queue_test);
