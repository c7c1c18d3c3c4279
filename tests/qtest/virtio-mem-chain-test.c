// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Descriptor chains that no honest driver puts on the queue of the virtio-mem
 * device: their descriptors contradict each other, lead nowhere or lie where
 * no descriptor should.  A table says for each whether it stops the device, is
 * obeyed all the same, or either.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define REQ_LEN  sizeof(struct virtio_mem_req)
#define RESP_LEN sizeof(struct virtio_mem_resp)
#define DESC_LEN sizeof(struct vring_desc)

/* The block that the request plugs; those below it are plugged before */
#define WANTED 3

/* How the page that the chain works on is divided */
#define ANSWER_OFFSET 64
#define TABLE_OFFSET  1024

typedef enum Place {
    REQUEST,
    ANSWER,
    TABLE,
    DESCRIPTORS,
    AVAIL_RING,
    USED_RING,
    REGISTERS,
    OTHER_DEVICE,
    UNPLUGGED,
    NOWHERE,
    LAST_BYTES,
} Place;

typedef enum Outcome {
    STOPS,
    OBEYED,
    EITHER,
} Outcome;

typedef struct ChainDesc {
    Place place;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} ChainDesc;

typedef struct Chain {
    const char *name;
    Outcome outcome;
    /* In the queue's table, or in one of its own when the first is indirect */
    ChainDesc desc[3];
    /* An indirect table's descriptors */
    ChainDesc table[3];
    /* Entry of the available ring: which descriptor comes first */
    uint16_t head;
    /* Options of the device; NULL for DEFAULT_DEVICE */
    const char *device;
} Chain;

/* The request and its answer as they should be, for the chain's other parts */
#define GOOD_REQUEST  { REQUEST, REQ_LEN, NEXT, 1 }
#define GOOD_ANSWER   { ANSWER, RESP_LEN, WRITE, 0 }
#define GOOD_TABLE    { GOOD_REQUEST, GOOD_ANSWER }
#define MEMSLOTS      DEFAULT_DEVICE ",dynamic-memslots=on"

static const Chain chains[] = {
    { "chain-with-a-descriptor-of-no-bytes-first", STOPS,
      { { REQUEST, 0, NEXT, 1 }, { REQUEST, REQ_LEN, NEXT, 2 },
        GOOD_ANSWER } },
    { "chain-with-a-request-of-no-bytes", STOPS,
      { { REQUEST, 0, NEXT, 1 }, GOOD_ANSWER } },
    { "chain-with-an-answer-of-no-bytes", STOPS,
      { GOOD_REQUEST, { ANSWER, 0, WRITE, 0 } } },
    { "chain-with-the-answer-before-the-request", STOPS,
      { { ANSWER, RESP_LEN, WRITE | NEXT, 1 }, { REQUEST, REQ_LEN, 0, 0 } } },
    { "chain-with-a-request-only-to-be-written", STOPS,
      { { REQUEST, REQ_LEN, WRITE | NEXT, 1 }, GOOD_ANSWER } },
    { "chain-with-an-answer-only-to-be-read", STOPS,
      { GOOD_REQUEST, { ANSWER, RESP_LEN, 0, 0 } } },
    { "chain-with-next-just-past-the-queue", STOPS,
      { { REQUEST, REQ_LEN, NEXT, SHORT_QUEUE }, GOOD_ANSWER } },
    { "chain-with-next-far-past-the-queue", STOPS,
      { { REQUEST, REQ_LEN, NEXT, UINT16_MAX }, GOOD_ANSWER } },
    { "chain-with-its-head-just-past-the-queue", STOPS,
      { GOOD_REQUEST, GOOD_ANSWER }, .head = SHORT_QUEUE },
    { "chain-with-its-head-far-past-the-queue", STOPS,
      { GOOD_REQUEST, GOOD_ANSWER }, .head = UINT16_MAX },
    { "chain-that-loops-between-answers", STOPS,
      { GOOD_REQUEST, { ANSWER, RESP_LEN, WRITE | NEXT, 1 } } },
    { "chain-that-loops-back-to-the-request", STOPS,
      { GOOD_REQUEST, { ANSWER, RESP_LEN, WRITE | NEXT, 0 } } },
    { "chain-with-a-request-of-almost-4-GiB", STOPS,
      { { REQUEST, UINT32_MAX, NEXT, 1 }, GOOD_ANSWER } },
    { "chain-with-an-answer-of-almost-4-GiB", STOPS,
      { GOOD_REQUEST, { ANSWER, UINT32_MAX, WRITE, 0 } } },
    { "chain-with-a-request-whose-end-wraps-around", EITHER,
      { { LAST_BYTES, REQ_LEN, NEXT, 1 }, GOOD_ANSWER } },
    { "chain-with-an-answer-whose-end-wraps-around", EITHER,
      { GOOD_REQUEST, { LAST_BYTES, RESP_LEN, WRITE, 0 } } },

    { "chain-with-the-answer-over-the-request", OBEYED,
      { GOOD_REQUEST, { REQUEST, RESP_LEN, WRITE, 0 } } },
    { "chain-with-the-answer-over-descriptors", OBEYED,
      { GOOD_REQUEST, { DESCRIPTORS, RESP_LEN, WRITE, 0 } } },
    { "chain-with-the-answer-over-the-available-ring", EITHER,
      { GOOD_REQUEST, { AVAIL_RING, RESP_LEN, WRITE, 0 } } },
    { "chain-with-the-answer-over-the-used-ring", EITHER,
      { GOOD_REQUEST, { USED_RING, RESP_LEN, WRITE, 0 } } },
    { "chain-with-the-used-ring-as-request", EITHER,
      { { USED_RING, REQ_LEN, NEXT, 1 }, GOOD_ANSWER } },
    { "chain-with-a-request-in-another-devices-registers", EITHER,
      { { OTHER_DEVICE, REQ_LEN, NEXT, 1 }, GOOD_ANSWER } },
    { "chain-with-an-answer-in-another-devices-registers", EITHER,
      { GOOD_REQUEST, { OTHER_DEVICE, RESP_LEN, WRITE, 0 } } },
    { "chain-with-a-request-in-unplugged-memory", EITHER,
      { { UNPLUGGED, REQ_LEN, NEXT, 1 }, GOOD_ANSWER } },
    { "chain-with-an-answer-in-unplugged-memory", EITHER,
      { GOOD_REQUEST, { UNPLUGGED, RESP_LEN, WRITE, 0 } } },
    { "chain-with-a-request-in-memory-that-is-not-mapped", EITHER,
      { { UNPLUGGED, REQ_LEN, NEXT, 1 }, GOOD_ANSWER }, .device = MEMSLOTS },
    { "chain-with-an-answer-in-memory-that-is-not-mapped", EITHER,
      { GOOD_REQUEST, { UNPLUGGED, RESP_LEN, WRITE, 0 } },
      .device = MEMSLOTS },

    { "indirect-table-of-no-bytes", STOPS,
      { { TABLE, 0, INDIRECT, 0 } }, GOOD_TABLE },
    { "indirect-table-of-half-a-descriptor", STOPS,
      { { TABLE, DESC_LEN / 2, INDIRECT, 0 } }, GOOD_TABLE },
    { "indirect-table-one-byte-too-long", STOPS,
      { { TABLE, 2 * DESC_LEN + 1, INDIRECT, 0 } }, GOOD_TABLE },
    { "indirect-table-of-almost-4-GiB", EITHER,
      { { TABLE, UINT32_MAX - 15, INDIRECT, 0 } }, GOOD_TABLE },
    { "indirect-table-with-next-past-its-end", STOPS,
      { { TABLE, 2 * DESC_LEN, INDIRECT, 0 } },
      { { REQUEST, REQ_LEN, NEXT, 2 }, GOOD_ANSWER } },
    { "indirect-table-that-loops", STOPS,
      { { TABLE, 2 * DESC_LEN, INDIRECT, 0 } },
      { GOOD_REQUEST, { ANSWER, RESP_LEN, WRITE | NEXT, 1 } } },
    { "indirect-table-inside-an-indirect-table", STOPS,
      { { TABLE, DESC_LEN, INDIRECT, 0 } },
      { { TABLE, DESC_LEN, INDIRECT, 0 } } },
    { "indirect-table-behind-a-request", STOPS,
      { GOOD_REQUEST, { TABLE, 2 * DESC_LEN, INDIRECT, 0 } }, GOOD_TABLE },
    { "indirect-table-with-a-next-descriptor", EITHER,
      { { TABLE, 2 * DESC_LEN, INDIRECT | NEXT, 1 }, GOOD_ANSWER },
      GOOD_TABLE },
    { "indirect-table-only-to-be-written", EITHER,
      { { TABLE, 2 * DESC_LEN, INDIRECT | WRITE, 0 } }, GOOD_TABLE },
    { "indirect-table-in-the-devices-registers", EITHER,
      { { REGISTERS, 2 * DESC_LEN, INDIRECT, 0 } } },
    { "indirect-table-where-nothing-is", STOPS,
      { { NOWHERE, 2 * DESC_LEN, INDIRECT, 0 } } },
    { "indirect-table-in-unplugged-memory", STOPS,
      { { UNPLUGGED, 2 * DESC_LEN, INDIRECT, 0 } } },
    { "indirect-table-in-memory-that-is-not-mapped", STOPS,
      { { UNPLUGGED, 2 * DESC_LEN, INDIRECT, 0 } }, .device = MEMSLOTS },
    { "indirect-table-in-the-queues-own-descriptors", STOPS,
      { { DESCRIPTORS, DESC_LEN, INDIRECT, 0 } } },
};

static uint64_t place_addr(QVirtioMem *mem, uint64_t page, Place place)
{
    switch (place) {
    case REQUEST:
        return page;
    case ANSWER:
        return page + ANSWER_OFFSET;
    case TABLE:
        return page + TABLE_OFFSET;
    case DESCRIPTORS:
        return mem->vq->desc;
    case AVAIL_RING:
        return mem->vq->avail;
    case USED_RING:
        return mem->vq->used;
    case REGISTERS:
        return mem->pci->bar.addr + mem->pci->common_cfg_offset;
    case OTHER_DEVICE:
        return HPET_ADDR;
    case UNPLUGGED:
        return block_addr(mem, 30);
    case NOWHERE:
        return 1ull << 38;
    case LAST_BYTES:
        return UINT64_MAX - 4;
    }
    g_assert_not_reached();
}

static void write_descs(QVirtioMem *mem, uint64_t page, uint64_t table,
                        const ChainDesc *descs, size_t n)
{
    struct vring_desc out;
    size_t i;

    for (i = 0; i < n; i++) {
        out.addr = cpu_to_le64(place_addr(mem, page, descs[i].place));
        out.len = cpu_to_le32(descs[i].len);
        out.flags = cpu_to_le16(descs[i].flags);
        out.next = cpu_to_le16(descs[i].next);
        qtest_memwrite(qvirtio_mem_qts(mem), table + i * DESC_LEN, &out,
                       DESC_LEN);
    }
}

/* What was written where the second descriptor points */
static uint16_t answer_type(QVirtioMem *mem, uint64_t page, const Chain *chain)
{
    return qtest_readw(qvirtio_mem_qts(mem),
                       place_addr(mem, page, chain->desc[1].place));
}

static void assert_outcome(QVirtioMem *mem, uint64_t page, const Chain *chain,
                           const char *before)
{
    uint64_t plugged;

    if (chain->outcome == STOPS) {
        assert_stopped(mem);
        device_reset(mem);
        assert_unchanged(mem, before);
        return;
    }
    wait_outcome(mem);
    if (chain->outcome == OBEYED) {
        assert_ack(answer_type(mem, page, chain));
    }
    device_reset(mem);
    plugged = plugged_size(mem);
    assert_plugged(mem, 0, WANTED);
    if (chain->outcome == OBEYED || plugged > WANTED * BLOCK) {
        assert_plugged(mem, WANTED, 1);
        g_assert_cmphex(plugged, ==, (WANTED + 1) * BLOCK);
    }
}

/* This test checks what comes of a chain that its driver got wrong. */
static void test_chain(QVirtioMem *mem, const void *row)
{
    const Chain *chain = row;
    QTestState *qts = qvirtio_mem_qts(mem);
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG,
                                                block_addr(mem, WANTED), 1);
    g_autofree char *before = NULL;
    uint64_t page;

    assert_ack(plug(mem, 0, WANTED));
    before = picture(mem);
    use_short_queue(mem);
    page = guest_alloc(mem->alloc, 4096);
    qtest_memset(qts, page, 0, 4096);
    qtest_memwrite(qts, page, &req, sizeof(req));
    write_descs(mem, page, page + TABLE_OFFSET, chain->table,
                ARRAY_SIZE(chain->table));
    write_descs(mem, page, mem->vq->desc, chain->desc,
                ARRAY_SIZE(chain->desc));
    qvirtio_mem_expose(mem, chain->head);
    qvirtio_mem_kick(mem);
    assert_outcome(mem, page, chain, before);
    guest_free(mem->alloc, page);
    assert_usable_after_reset(mem);
}

/* An indirect table with a byte of the answer in each of its descriptors */

/* Offers a PLUG of the first block through @n descriptors. */
static uint64_t offer_long_table(QVirtioMem *mem, size_t n)
{
    g_autofree struct vring_desc *table = g_new0(struct vring_desc, n);
    uint64_t addr = guest_alloc(mem->alloc, n * DESC_LEN);
    uint64_t answer = guest_alloc(mem->alloc, n);
    QTestState *qts = qvirtio_mem_qts(mem);
    size_t i;

    for (i = 0; i < n; i++) {
        table[i].addr = cpu_to_le64(answer + i);
        table[i].len = cpu_to_le32(1);
        table[i].flags = cpu_to_le16(i + 1 < n ? WRITE | NEXT : WRITE);
        table[i].next = cpu_to_le16(i + 1);
    }
    table[0].addr = cpu_to_le64(plug_in_memory(mem, 0));
    table[0].len = cpu_to_le32(REQ_LEN);
    table[0].flags = cpu_to_le16(NEXT);
    qtest_bufwrite(qts, addr, table, n * DESC_LEN);
    qtest_writeq(qts, mem->vq->desc, addr);
    qtest_writel(qts, mem->vq->desc + 8, n * DESC_LEN);
    qtest_writew(qts, mem->vq->desc + 12, INDIRECT);
    qvirtio_mem_expose(mem, 0);
    qvirtio_mem_kick(mem);
    return answer + 1;
}

/* This test checks a table with more descriptors than the queue has. */
static void test_table_longer_than_the_queue(QVirtioMem *mem, const void *row)
{
    uint64_t answer;

    use_short_queue(mem);
    answer = offer_long_table(mem, mem->vq->size + 72);

    g_assert_cmpuint(qvirtio_mem_wait_used(mem, NULL), ==, 0);
    assert_ack(qtest_readw(qvirtio_mem_qts(mem), answer));
    assert_usable_after_reset(mem);
}

/* This test checks a table with more descriptors than QEMU takes. */
static void test_table_too_long(QVirtioMem *mem, const void *row)
{
    offer_long_table(mem, 1025);
    assert_stopped(mem);
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_usable_after_reset(mem);
}

/* Waits until the used ring's index is this, however long it is. */
static void wait_used_index(QVirtioMem *mem, uint16_t index)
{
    gint64 deadline = g_get_monotonic_time() + 120 * G_USEC_PER_SEC;

    while (qtest_readw(qvirtio_mem_qts(mem), mem->vq->used +
                       offsetof(struct vring_used, idx)) != index) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

/* This test checks an index that is ahead of the ring: the ring goes round. */
static void test_index_jumps(QVirtioMem *mem, const void *row)
{
    const uint16_t jumps[] = { SHORT_QUEUE + 1, 0x8000, UINT16_MAX };
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG,
                                                block_addr(mem, WANTED), 1);
    QVirtioMemPending pending;
    int i;

    for (i = 0; i < ARRAY_SIZE(jumps); i++) {
        use_short_queue(mem);
        pending = qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
        qtest_memset(qvirtio_mem_qts(mem), mem->vq->avail, 0,
                     offsetof(struct vring_avail, ring[SHORT_QUEUE]));
        qtest_writew(qvirtio_mem_qts(mem), mem->vq->avail +
                     offsetof(struct vring_avail, idx), jumps[i]);
        qvirtio_mem_kick(mem);
        wait_used_index(mem, jumps[i]);
        g_assert_cmphex(plugged_size(mem), ==, BLOCK);
        qvirtio_mem_forget(mem, &pending);
    }
    assert_usable_after_reset(mem);
}

static const Case chain_cases[] = {
    { "indirect-table-longer-than-the-queue",
      test_table_longer_than_the_queue },
    { "indirect-table-longer-than-QEMU-takes", test_table_too_long },
    { "available-index-that-jumps-past-the-ring", test_index_jumps },
};

static void register_chain_cases(void)
{
    int i;

    ADD_CASES("virtio-mem-chain", chain_cases);
    for (i = 0; i < ARRAY_SIZE(chains); i++) {
        add_row_for("virtio-mem-chain", chains[i].name, test_chain,
                    chains[i].device, &chains[i]);
    }
}

libqos_init(register_chain_cases);
