// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * More than a virtio-mem device should be asked to do: requests without end,
 * resets while it works, memory that comes and goes, and requests that change
 * after the device was told of them.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "libqtest.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "virtio-mem-test.h"

#define MEMSLOTS DEFAULT_DEVICE ",dynamic-memslots=on"
#define PREALLOC DEFAULT_DEVICE ",prealloc=on"

/* Requests without end */

/* The guest's memory, to be shared with the test: a vCPU as quick as any */
#define SHARED_RAM \
    "-machine memory-backend=ram0 " \
    "-object memory-backend-memfd,id=ram0,size=128M,share=on"
#define RAM_SIZE (128 * MiB)

/*
 * How far the available index is ahead: often round the ring, so that the
 * device never finds it empty, however seldom this process gets to run.
 */
#define AHEAD 0x8000

typedef struct Storm {
    struct vring_avail *avail;
    struct vring_used *used;
    /* A request that changes all the time, or NULL */
    struct virtio_mem_req *changing;
    uint64_t addrs[2];
    bool end;
} Storm;

/* QEMU's memory of this name, in this process */
static uint8_t *map_guest_ram(QVirtioMem *mem)
{
    g_autofree char *fds = g_strdup_printf("/proc/%d/fd",
                                           qtest_pid(qvirtio_mem_qts(mem)));
    g_autoptr(GDir) dir = g_dir_open(fds, 0, NULL);
    const char *name;
    uint8_t *ram;
    int fd;

    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(fds, name, NULL);
        g_autofree char *target = g_file_read_link(path, NULL);

        if (target && strstr(target, "memfd:memory-backend-memfd")) {
            fd = open(path, O_RDWR);
            g_assert_cmpint(fd, >=, 0);
            ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                       0);
            g_assert_true(ram != MAP_FAILED);
            close(fd);
            return ram;
        }
    }
    g_assert_not_reached();
}

/* Changes all that a request asks for, each field for itself. */
static void change_request(Storm *storm, unsigned int turn)
{
    struct virtio_mem_req *req = storm->changing;
    uint16_t type = turn & 1 ? VIRTIO_MEM_REQ_PLUG : VIRTIO_MEM_REQ_UNPLUG;

    qatomic_set(&req->type, cpu_to_le16(type));
    qatomic_set(&req->u.plug.addr, cpu_to_le64(storm->addrs[turn >> 1 & 1]));
}

/* Keeps the device from ever seeing the end of the ring. */
static void *refill(void *opaque)
{
    Storm *storm = opaque;
    unsigned int turn = 0;
    uint16_t used;

    while (!qatomic_read(&storm->end)) {
        used = le16_to_cpu(qatomic_read(&storm->used->idx));
        qatomic_set(&storm->avail->idx, cpu_to_le16(used + AHEAD));
        if (storm->changing) {
            change_request(storm, turn++);
        }
    }
    return NULL;
}

/* Fills the ring with one request; returns where that is. */
static uint64_t fill_ring(QVirtioMem *mem, const struct virtio_mem_req *req)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    uint32_t half = mem->vq->size / 2;
    uint64_t out = guest_alloc(mem->alloc, sizeof(*req));
    uint64_t in = guest_alloc(mem->alloc, sizeof(struct virtio_mem_resp));
    uint32_t i;

    qtest_memwrite(qts, out, req, sizeof(*req));
    qvirtqueue_reset_pool(mem->vq);
    for (i = 0; i < half; i++) {
        qvirtqueue_add(qts, mem->vq, out, sizeof(*req), false, true);
        qvirtqueue_add(qts, mem->vq, in, sizeof(struct virtio_mem_resp), true,
                       false);
    }
    for (i = 0; i < mem->vq->size; i++) {
        qtest_writew(qts, mem->vq->avail + offsetof(struct vring_avail, ring) +
                     i * sizeof(uint16_t), 2 * (i % half));
    }
    return out;
}

/* Waits until this many more requests were answered; a device may rest. */
static void wait_progress(QVirtioMem *mem, Storm *storm, uint16_t n)
{
    gint64 deadline = g_get_monotonic_time() + 120 * G_USEC_PER_SEC;
    uint16_t from = le16_to_cpu(qatomic_read(&storm->used->idx));

    while ((uint16_t)(le16_to_cpu(qatomic_read(&storm->used->idx)) - from)
           < n) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        qvirtio_mem_kick(mem);
    }
}

/* Sends @req without end; QMP is asked and answered before it ends. */
static void storm_through_qmp(QVirtioMem *mem, const struct virtio_mem_req *req,
                              int64_t other_block)
{
    uint8_t *ram = map_guest_ram(mem);
    uint64_t out = fill_ring(mem, req);
    Storm storm = {
        .avail = (void *)(ram + mem->vq->avail),
        .used = (void *)(ram + mem->vq->used),
        .changing = other_block ? (void *)(ram + out) : NULL,
        .addrs = { le64_to_cpu(req->u.plug.addr),
                   block_addr(mem, other_block) },
    };
    GThread *thread = g_thread_new("storm", refill, &storm);
    int i;

    for (i = 0; i < 20; i++) {
        wait_progress(mem, &storm, 100);
        g_assert_cmphex(get_property(mem, VMEM_PATH, "requested-size"), ==,
                        REGION);
    }
    qatomic_set(&storm.end, true);
    g_thread_join(thread);
    device_reset(mem);
    munmap(ram, RAM_SIZE);
}

/* This test checks that QMP is answered while requests never end. */
static void test_endless(QVirtioMem *mem, const void *row)
{
    const uint16_t *type = row;
    struct virtio_mem_req req;

    set_requested(mem, REGION);
    assert_ack(plug(mem, 0, REGION_NB));
    device_reset(mem);
    req = qvirtio_mem_req(*type, mem->addr, REGION_NB);
    storm_through_qmp(mem, &req, 0);
    assert_usable_after_reset(mem);
}

/* This test checks requests that change while the device reads them. */
static void test_endless_change(QVirtioMem *mem, const void *row)
{
    g_autofree char *map = NULL;
    struct virtio_mem_req req;
    int64_t i;

    set_requested(mem, REGION);
    device_reset(mem);
    req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG, block_addr(mem, 10), 1);
    storm_through_qmp(mem, &req, 20);
    map = block_map(mem);
    for (i = 0; map[i]; i++) {
        g_assert_true(map[i] == '.' || i == 10 || i == 20);
    }
    assert_usable_after_reset(mem);
}

/* This test checks notifications without a request. */
static void test_kicks(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;
    int i;

    plug_pattern(mem);
    before = picture(mem);
    qvirtio_mem_take_irq(mem, QVIRTIO_MEM_QUEUE_IRQ);
    for (i = 0; i < 10000; i++) {
        qvirtio_mem_kick(mem);
    }
    g_assert_false(qvirtio_mem_take_irq(mem, QVIRTIO_MEM_QUEUE_IRQ));
    assert_unchanged(mem, before);
    assert_usable_after_reset(mem);
}

/* Resets while requests are under way */

static QVirtioMemPending offer(QVirtioMem *mem, uint16_t type, int64_t first,
                               uint16_t nb_blocks)
{
    struct virtio_mem_req req = qvirtio_mem_req(type, block_addr(mem, first),
                                                nb_blocks);

    return qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
}

/* Resets the queue alone and sets it up again. */
static void queue_reset(QVirtioMem *mem)
{
    g_assert_true(qvirtio_get_features(mem->vdev) &
                  1ull << VIRTIO_F_RING_RESET);
    write_common(mem, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
    qvirtqueue_cleanup(mem->vdev->bus, mem->vq, mem->alloc);
    mem->vq = qvirtqueue_setup(mem->vdev, mem->alloc, 0);
}

/* This test checks many resets, each with requests that nobody waits for. */
static void test_reset_storm(QVirtioMem *mem, const void *row)
{
    void (*reset)(QVirtioMem *) = row;
    QVirtioMemPending pending[4];
    int round, i;

    mem->queue_size = 8;
    device_reset(mem);
    for (round = 0; round < 100; round++) {
        qvirtqueue_reset_pool(mem->vq);
        for (i = 0; i < ARRAY_SIZE(pending); i++) {
            pending[i] = offer(mem, i & 1 ? VIRTIO_MEM_REQ_UNPLUG
                                          : VIRTIO_MEM_REQ_PLUG,
                               round % 8 + i / 2, 1);
        }
        qvirtio_mem_kick(mem);
        reset(mem);
        g_assert_true(reset != system_reset || plugged_size(mem) == 0);
        for (i = 0; i < ARRAY_SIZE(pending); i++) {
            qvirtio_mem_forget(mem, &pending[i]);
        }
    }
    assert_consistent(mem);
    assert_usable_after_reset(mem);
}

/* This test checks a reset of the queue alone, in a PLUG of all memory. */
static void test_queue_reset_in_job(QVirtioMem *mem, const void *row)
{
    QVirtioMemPending pending;

    set_requested(mem, REGION);
    qvirtqueue_reset_pool(mem->vq);
    pending = offer(mem, VIRTIO_MEM_REQ_PLUG, 0, REGION_NB);
    qvirtio_mem_kick(mem);
    wait_until_host_is_stuck();
    queue_reset(mem);
    let_host_go_on();
    qvirtio_mem_forget(mem, &pending);
    g_assert_true(plugged_size(mem) == 0 || plugged_size(mem) == REGION);
    assert_consistent(mem);
    /* The answer to that, if there was one, is not in the new ring. */
    g_assert_false(qvirtqueue_get_buf(qvirtio_mem_qts(mem), mem->vq,
                                      NULL, NULL));
    assert_ack(unplug_all(mem));
    assert_usable_after_reset(mem);
}

/* Offers a request whose answer goes where no memory is. */
static uint64_t offer_answer_nowhere(QVirtioMem *mem, uint16_t type,
                                     uint16_t nb_blocks)
{
    struct virtio_mem_req req = qvirtio_mem_req(type, mem->addr, nb_blocks);
    uint64_t addr = guest_alloc(mem->alloc, sizeof(req));
    const QVirtioMemDesc chain[] = {
        { addr, sizeof(req), false },
        { HPET_ADDR, HPET_SIZE, true },
    };

    qtest_memwrite(qvirtio_mem_qts(mem), addr, &req, sizeof(req));
    qvirtqueue_reset_pool(mem->vq);
    qvirtio_mem_offer_chain(mem, chain, ARRAY_SIZE(chain));
    qvirtio_mem_kick(mem);
    return addr;
}

/*
 * This test checks that resets in a long request let go of its buffers.  Those
 * that are no memory show it: QEMU lends 4 KiB for them, to all together.
 */
static void test_resets_let_go(QVirtioMem *mem, const void *row)
{
    uint64_t request;
    int i;

    for (i = 0; i < 5; i++) {
        set_requested(mem, REGION);
        request = offer_answer_nowhere(mem, VIRTIO_MEM_REQ_PLUG, REGION_NB);
        device_reset(mem);
        guest_free(mem->alloc, request);
        assert_consistent(mem);
        assert_ack(unplug_all(mem));
    }
    request = offer_answer_nowhere(mem, VIRTIO_MEM_REQ_STATE, 1);
    qvirtio_mem_wait_used(mem, NULL);
    guest_free(mem->alloc, request);
    assert_usable_after_reset(mem);
}

/* Requests that change after the notification */

/* This test checks a request that asks for something else by the time. */
static void test_rewritten(QVirtioMem *mem, const void *row)
{
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG,
                                                block_addr(mem, 5), 1);
    QTestState *qts = qvirtio_mem_qts(mem);
    QVirtioMemPending pending;
    uint64_t plugged;

    set_requested(mem, REGION);
    qvirtqueue_reset_pool(mem->vq);
    pending = offer(mem, VIRTIO_MEM_REQ_PLUG, 0, REGION_NB);
    qvirtio_mem_kick(mem);
    qtest_memwrite(qts, pending.out, &req, sizeof(req));
    /* Where the answer goes was decided as well. */
    qtest_writeq(qts, mem->vq->desc + sizeof(struct vring_desc),
                 block_addr(mem, 7));
    qvirtio_mem_wait_used(mem, NULL);
    plugged = plugged_size(mem);
    if (plugged == BLOCK) {
        assert_plugged(mem, 5, 1);
    } else {
        g_assert_cmphex(plugged, ==, REGION);
    }
    assert_consistent(mem);
    qvirtio_mem_forget(mem, &pending);
    assert_usable_after_reset(mem);
}

/* Memory that comes and goes */

/* This test checks thousands of requests that undo each other. */
static void test_cycles(QVirtioMem *mem, const void *row)
{
    const size_t n = 4000;
    g_autofree struct virtio_mem_req *reqs = g_new(struct virtio_mem_req, n);
    g_autofree struct virtio_mem_resp *resps = g_new(struct virtio_mem_resp, n);
    size_t i;

    for (i = 0; i < n; i++) {
        reqs[i] = qvirtio_mem_req(i % 2 ? VIRTIO_MEM_REQ_UNPLUG :
                                          VIRTIO_MEM_REQ_PLUG,
                                  block_addr(mem, i / 2 % 16), 1 + i / 2 % 8);
    }
    qvirtio_mem_send_all(mem, reqs, resps, n);
    for (i = 0; i < n; i++) {
        assert_ack(resps[i].type);
    }
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_usable_after_reset(mem);
}

static const uint16_t plug_type = VIRTIO_MEM_REQ_PLUG;
static const uint16_t unplug_all_type = VIRTIO_MEM_REQ_UNPLUG_ALL;
static const uint16_t state_type = VIRTIO_MEM_REQ_STATE;
static const uint16_t unknown_type = UINT16_MAX;

static const Case storm_cases[] = {
    { "storm-of-PLUG-without-end", test_endless,
      .machine = SHARED_RAM, .row = &plug_type },
    { "storm-of-UNPLUG-ALL-without-end", test_endless,
      .machine = SHARED_RAM, .row = &unplug_all_type },
    { "storm-of-STATE-without-end", test_endless,
      .machine = SHARED_RAM, .row = &state_type },
    { "storm-of-unknown-requests-without-end", test_endless,
      .machine = SHARED_RAM, .row = &unknown_type },
    { "storm-of-requests-that-change-under-way", test_endless_change,
      .machine = SHARED_RAM },
    { "storm-of-notifications-without-requests", test_kicks },
    { "storm-of-device-resets-with-requests", test_reset_storm,
      .row = device_reset },
    { "storm-of-queue-resets-with-requests", test_reset_storm,
      .row = queue_reset },
    { "storm-of-system-resets-with-requests", test_reset_storm,
      .row = system_reset },
    { "storm-of-plug-and-unplug-cycles", test_cycles },
    { "storm-of-cycles-that-map-and-unmap", test_cycles, MEMSLOTS },
    { "prealloc-and-a-queue-reset-in-the-middle", test_queue_reset_in_job,
      PREALLOC },
    { "prealloc-and-resets-with-the-answer-in-registers", test_resets_let_go,
      PREALLOC },
    { "request-that-changes-after-the-notification", test_rewritten },
    { "request-that-changes-while-it-takes-long", test_rewritten, PREALLOC },
};

static void register_storm_cases(void)
{
    ADD_CASES("virtio-mem-storm", storm_cases);
}

libqos_init(register_storm_cases);
