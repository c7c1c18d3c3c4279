// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio-mem benchmark: requests
 *
 * A batch of requests is put on the queue, then the device is told of all at
 * once; CPU time of QEMU counts, so that neither the test's socket nor other
 * load on the host does.  The cost of telling it of nothing is measured each
 * time, too, and subtracted.  All answers are checked.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "virtio-mem-bench.h"

#define REGION          (64 * GiB)
#define REGION_NB       (REGION / BENCH_BLOCK)

/* Requests on the queue at a time: of 128 descriptors, each takes two. */
#define BATCH           64
#define KICKS           60
#define MAX_KICKS       300
#define UNPLUG_ALLS     20
#define WRITTEN_NB      512
#define WRITES          5

/* A request and its response, as they lie in the guest's memory */
typedef struct Slot {
    struct virtio_mem_req req;
    struct virtio_mem_resp resp;
    uint8_t unused[64 - sizeof(struct virtio_mem_req) -
                   sizeof(struct virtio_mem_resp)];
} Slot;

typedef struct Bench {
    BenchVM *vm;
    QVirtioMem *mem;
    uint64_t slots;             /* guest address of BATCH slots */
    uint16_t idx;               /* requests that were made available so far */
} Bench;

/* What batches of one kind of request cost, in ns of CPU time */
typedef struct Costs {
    Samples *full;
    Samples *empty;             /* a notification without a request */
    unsigned int n;             /* requests in a batch */
} Costs;

/* The requests of a batch: one for @nb_blocks every @stride blocks */
typedef struct Batch {
    uint16_t type;
    uint16_t state;             /* that STATE must answer */
    uint16_t nb_blocks;
    uint64_t first;
    uint64_t stride;
    unsigned int n;
} Batch;

/* The queue */

/* Descriptors of slots never change. */
static void write_descriptors(Bench *bench)
{
    struct vring_desc desc[2 * BATCH];
    int i;

    for (i = 0; i < BATCH; i++) {
        uint64_t slot = bench->slots + i * sizeof(Slot);

        desc[2 * i] = (struct vring_desc) {
            .addr = cpu_to_le64(slot + offsetof(Slot, req)),
            .len = cpu_to_le32(sizeof(struct virtio_mem_req)),
            .flags = cpu_to_le16(VRING_DESC_F_NEXT),
            .next = cpu_to_le16(2 * i + 1),
        };
        desc[2 * i + 1] = (struct vring_desc) {
            .addr = cpu_to_le64(slot + offsetof(Slot, resp)),
            .len = cpu_to_le32(sizeof(struct virtio_mem_resp)),
            .flags = cpu_to_le16(VRING_DESC_F_WRITE),
        };
    }
    qtest_memwrite(bench->vm->qts, bench->mem->vq->desc, desc, sizeof(desc));
}

/* Nor does the slot that comes at a place of the ring. */
static void write_ring(Bench *bench)
{
    QVirtQueue *vq = bench->mem->vq;
    g_autofree uint16_t *ring = g_new(uint16_t, vq->size);
    int i;

    g_assert_cmpuint(vq->size, >=, 2 * BATCH);
    g_assert_cmpuint(vq->size % BATCH, ==, 0);
    for (i = 0; i < vq->size; i++) {
        ring[i] = cpu_to_le16(2 * (i % BATCH));
    }
    qtest_memwrite(bench->vm->qts,
                   vq->avail + offsetof(struct vring_avail, ring), ring,
                   vq->size * sizeof(*ring));
}

static void write_requests(Bench *bench, const Batch *batch)
{
    Slot slots[BATCH] = { };
    int i;

    for (i = 0; i < batch->n; i++) {
        uint64_t block = batch->first + i * batch->stride;
        Slot *slot = &slots[(bench->idx + i) % BATCH];

        slot->req.type = cpu_to_le16(batch->type);
        slot->req.u.plug.addr = cpu_to_le64(bench->mem->addr +
                                            block * BENCH_BLOCK);
        slot->req.u.plug.nb_blocks = cpu_to_le16(batch->nb_blocks);
        slot->resp.type = cpu_to_le16(UINT16_MAX);
    }
    qtest_memwrite(bench->vm->qts, bench->slots, slots, sizeof(slots));
}

static void offer_requests(Bench *bench, const Batch *batch)
{
    uint16_t idx = cpu_to_le16(bench->idx + batch->n);

    write_requests(bench, batch);
    qtest_memwrite(bench->vm->qts, bench->mem->vq->avail +
                   offsetof(struct vring_avail, idx), &idx, sizeof(idx));
}

static void check_answers(Bench *bench, const Batch *batch)
{
    Slot slots[BATCH];
    uint16_t used;
    int i;

    qtest_memread(bench->vm->qts, bench->mem->vq->used +
                  offsetof(struct vring_used, idx), &used, sizeof(used));
    g_assert_cmpuint(le16_to_cpu(used), ==, (uint16_t)(bench->idx + batch->n));
    qtest_memread(bench->vm->qts, bench->slots, slots, sizeof(slots));
    for (i = 0; i < batch->n; i++) {
        const Slot *slot = &slots[(bench->idx + i) % BATCH];

        g_assert_cmpuint(le16_to_cpu(slot->resp.type), ==, VIRTIO_MEM_RESP_ACK);
        if (batch->type == VIRTIO_MEM_REQ_STATE) {
            g_assert_cmpuint(le16_to_cpu(slot->resp.u.state.state), ==,
                             batch->state);
        }
    }
    bench->idx += batch->n;
}

static int64_t timed_kick(Bench *bench)
{
    int64_t before = bench_cpu_ns(bench->vm);

    qvirtio_mem_kick(bench->mem);
    return bench_cpu_ns(bench->vm) - before;
}

static Costs costs_new(void)
{
    return (Costs) { .full = samples_new(), .empty = samples_new() };
}

/* Kicks before the first sample, so that both find QEMU's caches as warm. */
static void sample_batch(Bench *bench, const Batch *batch, Costs *costs)
{
    timed_kick(bench);
    samples_add(costs->empty, timed_kick(bench));
    offer_requests(bench, batch);
    samples_add(costs->full, timed_kick(bench));
    costs->n = batch->n;
    check_answers(bench, batch);
}

/* For what only prepares a measurement */
static void run_batch(Bench *bench, const Batch *batch)
{
    offer_requests(bench, batch);
    timed_kick(bench);
    check_answers(bench, batch);
}

static void G_GNUC_PRINTF(2, 3) report_costs(Costs *costs, const char *fmt, ...)
{
    double full = samples_undisturbed(costs->full);
    double empty = samples_undisturbed(costs->empty);
    g_autofree char *what = NULL;
    va_list ap;

    va_start(ap, fmt);
    what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    bench_report_request(what, (full - empty) / costs->n, full / costs->n);
}

static Bench start(uint64_t size)
{
    Bench bench = { .vm = bench_start(size, "") };

    bench_add_backend(bench.vm, size, "");
    bench_add_device(bench.vm, size, "");
    bench.mem = bench_drive(bench.vm);
    bench.slots = guest_alloc(&bench.vm->alloc, BATCH * sizeof(Slot));
    write_descriptors(&bench);
    write_ring(&bench);
    return bench;
}

/* PLUG, UNPLUG, STATE */

static void bench_size(Bench *bench, uint16_t nb_blocks)
{
    Batch batch = {
        .nb_blocks = nb_blocks,
        .stride = nb_blocks,
        .n = MIN(BATCH, REGION_NB / nb_blocks),
        .state = VIRTIO_MEM_STATE_PLUGGED,
    };
    Costs plug = costs_new(), state = costs_new(), unplug = costs_new();
    /* Small batches need more of them, to be as exact. */
    int kicks = MIN(MAX_KICKS, KICKS * BATCH / batch.n);
    int i;

    for (i = 0; i < kicks; i++) {
        batch.type = VIRTIO_MEM_REQ_PLUG;
        sample_batch(bench, &batch, &plug);
        batch.type = VIRTIO_MEM_REQ_STATE;
        sample_batch(bench, &batch, &state);
        batch.type = VIRTIO_MEM_REQ_UNPLUG;
        sample_batch(bench, &batch, &unplug);
    }
    report_costs(&plug, "PLUG, blocks: %u", nb_blocks);
    report_costs(&unplug, "UNPLUG, blocks: %u", nb_blocks);
    report_costs(&state, "STATE, blocks: %u", nb_blocks);
}

/* Plugs single blocks, every second of @nb. */
static void plug_scattered(Bench *bench, uint64_t nb)
{
    Batch batch = {
        .type = VIRTIO_MEM_REQ_PLUG, .nb_blocks = 1, .stride = 2, .n = BATCH,
    };

    for (; batch.first < nb; batch.first += BATCH * batch.stride) {
        run_batch(bench, &batch);
    }
}

static const Batch unplug_all = { .type = VIRTIO_MEM_REQ_UNPLUG_ALL, .n = 1 };

static void bench_state_scattered(Bench *bench, const uint16_t *sizes, size_t n)
{
    int i, k;

    plug_scattered(bench, REGION_NB);
    for (i = 0; i < n; i++) {
        Batch batch = {
            .type = VIRTIO_MEM_REQ_STATE,
            .state = VIRTIO_MEM_STATE_MIXED,
            .nb_blocks = sizes[i],
            .n = BATCH,
        };
        Costs costs = costs_new();

        for (k = 0; k < KICKS; k++) {
            sample_batch(bench, &batch, &costs);
        }
        report_costs(&costs, "STATE, every 2nd plugged, blocks: %u", sizes[i]);
    }
    run_batch(bench, &unplug_all);
}

static void write_blocks(Bench *bench, uint64_t nb, uint64_t stride)
{
    uint64_t block;

    for (block = 0; block < nb; block += stride) {
        qtest_memset(bench->vm->qts, bench->mem->addr + block * BENCH_BLOCK,
                     0x5a, BENCH_BLOCK);
    }
}

static void bench_unplug_written(Bench *bench)
{
    Batch batch = { .nb_blocks = WRITTEN_NB, .n = 1 };
    Costs costs = costs_new();
    int i;

    for (i = 0; i < WRITES; i++) {
        batch.type = VIRTIO_MEM_REQ_PLUG;
        run_batch(bench, &batch);
        write_blocks(bench, WRITTEN_NB, 1);
        batch.type = VIRTIO_MEM_REQ_UNPLUG;
        sample_batch(bench, &batch, &costs);
    }
    report_costs(&costs, "UNPLUG, all written, blocks: %u", WRITTEN_NB);
}

void bench_requests(uint64_t argument)
{
    static const uint16_t sizes[] = { 1, 64, 512, 4096, 32767 };
    Bench bench = start(REGION);
    int i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        bench_size(&bench, sizes[i]);
    }
    /* A single block is in no mixed state. */
    bench_state_scattered(&bench, sizes + 1, ARRAY_SIZE(sizes) - 1);
    bench_unplug_written(&bench);
    bench_stop(bench.vm);
}

/* UNPLUG_ALL */

static void bench_unplug_scattered(Bench *bench)
{
    Costs costs = costs_new();
    int i;

    for (i = 0; i < UNPLUG_ALLS; i++) {
        plug_scattered(bench, REGION_NB);
        sample_batch(bench, &unplug_all, &costs);
    }
    report_costs(&costs, "UNPLUG_ALL, every 2nd plugged");
}

static void bench_unplug_scattered_written(Bench *bench)
{
    Costs costs = costs_new();
    int i;

    for (i = 0; i < WRITES; i++) {
        plug_scattered(bench, 2 * WRITTEN_NB);
        write_blocks(bench, 2 * WRITTEN_NB, 2);
        sample_batch(bench, &unplug_all, &costs);
    }
    report_costs(&costs, "UNPLUG_ALL, every 2nd of %u plugged and written",
                 2 * WRITTEN_NB);
}

static void bench_unplug_nothing(Bench *bench)
{
    Costs costs = costs_new();
    int i;

    for (i = 0; i < MAX_KICKS; i++) {
        sample_batch(bench, &unplug_all, &costs);
    }
    report_costs(&costs, "UNPLUG_ALL, nothing plugged");
}

void bench_unplug_all(uint64_t argument)
{
    Bench bench = start(REGION);

    bench_unplug_nothing(&bench);
    bench_unplug_scattered(&bench);
    bench_unplug_scattered_written(&bench);
    bench_stop(bench.vm);
}

/* Every second block of a region plugged: as many holes as there can be */

void bench_scattered(uint64_t size_gib)
{
    uint64_t nb_blocks = size_gib * GiB / BENCH_BLOCK;
    Bench bench = start(size_gib * GiB);
    Batch batch = {
        .type = VIRTIO_MEM_REQ_PLUG, .nb_blocks = 1, .stride = 2, .n = BATCH,
    };
    int64_t before = bench_cpu_ns(bench.vm);

    for (; batch.first < nb_blocks; batch.first += batch.n * batch.stride) {
        run_batch(&bench, &batch);
    }
    bench_report("plug every 2nd block, all of them", "ns",
                 bench_cpu_ns(bench.vm) - before);
    bench_report_coverage(bench.vm);
    bench_stop(bench.vm);
}
