// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A virtio-mem driver for qtests: see virtio-mem.h for what each function
 * promises.  The device sits on the PCI bus as "vmem0", over the memory
 * backend "mem0"; test cases append options of their own.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "../libqtest.h"
#include "qemu/module.h"
#include "qgraph.h"
#include "virtio-mem.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"

#define TIMEOUT_US (120 * G_USEC_PER_SEC)
#define GARBAGE    0xa5

const QVirtioMemShape qvirtio_mem_plain = {
    .out_len = sizeof(struct virtio_mem_req),
    .out_piece = sizeof(struct virtio_mem_req),
    .in_len = sizeof(struct virtio_mem_resp),
    .in_piece = sizeof(struct virtio_mem_resp),
};

QTestState *qvirtio_mem_qts(QVirtioMem *mem)
{
    return mem->pci->pdev->bus->qts;
}

/* Starting and stopping */

static void free_queue(QVirtioMem *mem)
{
    if (mem->vq) {
        qvirtqueue_cleanup(mem->vdev->bus, mem->vq, mem->alloc);
        mem->vq = NULL;
    }
}

/* A shorter queue is faster to set up. */
static void limit_queue(QVirtioMem *mem)
{
    if (mem->queue_size) {
        mem->vdev->bus->queue_select(mem->vdev, 0);
        qpci_io_writew(mem->pci->pdev, mem->pci->bar,
                       mem->pci->common_cfg_offset +
                       offsetof(struct virtio_pci_common_cfg, queue_size),
                       mem->queue_size);
    }
}

void qvirtio_mem_start(QVirtioMem *mem, uint64_t declined)
{
    struct virtio_mem_config config;
    uint64_t features;

    qvirtio_start_device(mem->vdev);
    free_queue(mem);
    features = qvirtio_get_features(mem->vdev) & ~declined;
    qvirtio_set_features(mem->vdev, features);
    limit_queue(mem);
    mem->vq = qvirtqueue_setup(mem->vdev, mem->alloc, 0);
    qvirtio_set_driver_ok(mem->vdev);
    qvirtio_mem_take_irq(mem, QVIRTIO_MEM_QUEUE_IRQ | QVIRTIO_MEM_CONFIG_IRQ);

    config = qvirtio_mem_config(mem);
    mem->block_size = config.block_size;
    mem->addr = config.addr;
    mem->region_size = config.region_size;
}

void qvirtio_mem_power_on(QVirtioMem *mem)
{
    qvirtio_pci_device_enable(mem->pci);
    qvirtio_mem_start(mem, QVIRTIO_MEM_DECLINED);
}

/* The machine */

/* The power management function: where it says where its registers are */
#define PM_BASE_REG    0x40
#define PM_BASE        0x600
#define PM1_CONTROL    4
#define PM1_SLEEP_S3   (1 << 10 | 1 << 13)

const QVirtioMemPower qvirtio_mem_power_pc = {
    .devfn = QPCI_DEVFN(1, 3),
    .enable_reg = 0x80,
    .enable = 1,
};

const QVirtioMemPower qvirtio_mem_power_q35 = {
    .devfn = QPCI_DEVFN(31, 0),
    .enable_reg = 0x44,
    .enable = 0x80,
};

void qvirtio_mem_sleep(QVirtioMem *mem, const QVirtioMemPower *power)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    QPCIDevice *pm = qpci_device_find(mem->pci->pdev->bus, power->devfn);

    g_assert_nonnull(pm);
    qpci_config_writel(pm, PM_BASE_REG, PM_BASE | 1);
    qpci_config_writeb(pm, power->enable_reg, power->enable);
    g_free(pm);
    qtest_outw(qts, PM_BASE + PM1_CONTROL, PM1_SLEEP_S3);
    qtest_qmp_eventwait(qts, "SUSPEND");
    qtest_qmp_assert_success(qts, "{ 'execute': 'system_wakeup' }");
    qtest_qmp_eventwait(qts, "WAKEUP");
    qvirtio_mem_power_on(mem);
}

void qvirtio_mem_move(QVirtioMem *mem, QTestState *to)
{
    /* All else that the driver knows are places that have not changed. */
    mem->pci->pdev->bus->qts = to;
}

/* Registers */

struct virtio_mem_config qvirtio_mem_config(QVirtioMem *mem)
{
    struct virtio_mem_config config;

    qpci_memread(mem->pci->pdev, mem->pci->bar, mem->pci->device_cfg_offset,
                 &config, sizeof(config));
    config.block_size = le64_to_cpu(config.block_size);
    config.node_id = le16_to_cpu(config.node_id);
    config.addr = le64_to_cpu(config.addr);
    config.region_size = le64_to_cpu(config.region_size);
    config.usable_region_size = le64_to_cpu(config.usable_region_size);
    config.plugged_size = le64_to_cpu(config.plugged_size);
    config.requested_size = le64_to_cpu(config.requested_size);
    return config;
}

/* Reading the register clears it, so what it held is kept in mem->irqs. */
bool qvirtio_mem_take_irq(QVirtioMem *mem, uint8_t irq)
{
    bool came;

    mem->irqs |= qpci_io_readb(mem->pci->pdev, mem->pci->bar,
                               mem->pci->isr_cfg_offset);
    came = mem->irqs & irq;
    mem->irqs &= ~irq;
    return came;
}

void qvirtio_mem_wait_irq(QVirtioMem *mem, uint8_t irq)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (!qvirtio_mem_take_irq(mem, irq)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

/* Whether it answers nothing more; what it did answer is there by then. */
static bool has_stopped(QVirtioMem *mem)
{
    return mem->vdev->bus->get_status(mem->vdev) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

void qvirtio_mem_wait_needs_reset(QVirtioMem *mem)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (!has_stopped(mem)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

/* The queue */

void qvirtio_mem_expose(QVirtioMem *mem, uint32_t head)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    QVirtQueue *vq = mem->vq;
    uint64_t idx_addr = vq->avail + offsetof(struct vring_avail, idx);
    uint64_t ring_addr = vq->avail + offsetof(struct vring_avail, ring);
    uint16_t entry = cpu_to_le16(head);
    uint16_t idx;

    qtest_memread(qts, idx_addr, &idx, sizeof(idx));
    idx = le16_to_cpu(idx);
    qtest_memwrite(qts, ring_addr + (idx % vq->size) * sizeof(entry),
                   &entry, sizeof(entry));
    idx = cpu_to_le16(idx + 1);
    qtest_memwrite(qts, idx_addr, &idx, sizeof(idx));
}

uint32_t qvirtio_mem_offer_chain(QVirtioMem *mem, const QVirtioMemDesc *chain,
                                 size_t n)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    uint32_t head = mem->vq->free_head;
    size_t i;

    g_assert_cmpuint(n, <=, mem->vq->num_free);
    for (i = 0; i < n; i++) {
        qvirtqueue_add(qts, mem->vq, chain[i].addr, chain[i].len, chain[i].in,
                       i + 1 < n);
    }
    qvirtio_mem_expose(mem, head);
    return head;
}

/* Adds a buffer to a chain, cut into descriptors. */
static void add_buffer(GArray *chain, uint64_t addr, uint32_t len,
                       uint32_t piece, bool in)
{
    uint32_t done;

    for (done = 0; done < len; done += piece) {
        QVirtioMemDesc desc = { addr + done, MIN(piece, len - done), in };

        g_array_append_val(chain, desc);
    }
}

static uint64_t alloc_garbage(QVirtioMem *mem, uint32_t len)
{
    uint64_t addr;

    if (!len) {
        return 0;
    }
    addr = guest_alloc(mem->alloc, len);
    qtest_memset(qvirtio_mem_qts(mem), addr, GARBAGE, len);
    return addr;
}

struct virtio_mem_req qvirtio_mem_req(uint16_t type, uint64_t addr,
                                      uint16_t nb_blocks)
{
    struct virtio_mem_req req = { .type = cpu_to_le16(type) };

    req.u.plug.addr = cpu_to_le64(addr);
    req.u.plug.nb_blocks = cpu_to_le16(nb_blocks);
    return req;
}

QVirtioMemPending qvirtio_mem_offer(QVirtioMem *mem,
                                    const struct virtio_mem_req *req,
                                    const QVirtioMemShape *shape)
{
    QVirtioMemPending pending = {
        .out = alloc_garbage(mem, shape->out_len),
        .in = alloc_garbage(mem, shape->in_len),
        .in_len = shape->in_len,
    };
    g_autoptr(GArray) chain = g_array_new(false, false, sizeof(QVirtioMemDesc));

    if (shape->out_len) {
        qtest_memwrite(qvirtio_mem_qts(mem), pending.out, req,
                       MIN(shape->out_len, sizeof(*req)));
    }
    add_buffer(chain, pending.out, shape->out_len, shape->out_piece, false);
    add_buffer(chain, pending.in, shape->in_len, shape->in_piece, true);
    pending.head = qvirtio_mem_offer_chain(mem, (QVirtioMemDesc *)chain->data,
                                           chain->len);
    return pending;
}

void qvirtio_mem_kick(QVirtioMem *mem)
{
    mem->vdev->bus->virtqueue_kick(mem->vdev, mem->vq);
}

/* Somebody who waits for an answer */
typedef struct Patience {
    gint64 deadline;
    bool stopped;       /* the device has, so that one more look is the last */
} Patience;

static Patience new_patience(void)
{
    return (Patience) { .deadline = g_get_monotonic_time() + TIMEOUT_US };
}

/* After each look in vain: fails when another one makes no sense. */
static void lose_patience(QVirtioMem *mem, Patience *patience)
{
    g_assert_false(patience->stopped);
    g_assert_cmpint(g_get_monotonic_time(), <, patience->deadline);
    patience->stopped = has_stopped(mem);
}

uint32_t qvirtio_mem_wait_used(QVirtioMem *mem, uint32_t *len)
{
    Patience patience = new_patience();
    uint32_t head;

    while (!qvirtqueue_get_buf(qvirtio_mem_qts(mem), mem->vq, &head, len)) {
        lose_patience(mem, &patience);
    }
    return head;
}

/* Requests */

void qvirtio_mem_forget(QVirtioMem *mem, QVirtioMemPending *pending)
{
    if (pending->out) {
        guest_free(mem->alloc, pending->out);
    }
    if (pending->in) {
        guest_free(mem->alloc, pending->in);
    }
}

static void resp_to_cpu(struct virtio_mem_resp *resp)
{
    resp->type = le16_to_cpu(resp->type);
    resp->u.state.state = le16_to_cpu(resp->u.state.state);
}

struct virtio_mem_resp qvirtio_mem_finish(QVirtioMem *mem,
                                          QVirtioMemPending *pending)
{
    struct virtio_mem_resp resp = {};
    uint32_t len;

    g_assert_cmpuint(qvirtio_mem_wait_used(mem, &len), ==, pending->head);
    g_assert_cmpuint(len, <=, pending->in_len);
    qtest_memread(qvirtio_mem_qts(mem), pending->in, &resp,
                  MIN(pending->in_len, sizeof(resp)));
    qvirtio_mem_forget(mem, pending);
    resp_to_cpu(&resp);
    return resp;
}

struct virtio_mem_resp qvirtio_mem_send(QVirtioMem *mem,
                                        const struct virtio_mem_req *req,
                                        const QVirtioMemShape *shape)
{
    QVirtioMemPending pending;

    qvirtqueue_reset_pool(mem->vq);
    pending = qvirtio_mem_offer(mem, req, shape);
    qvirtio_mem_kick(mem);
    return qvirtio_mem_finish(mem, &pending);
}

/*
 * Requests in rounds: all with one notification, in the first descriptors, and
 * in slots of both rings that follow each other without a wrap.
 */

#define ROUND_MAX 256

typedef struct Round {
    size_t n;
    uint16_t slot;      /* the first one */
    uint64_t reqs;
    uint64_t resps;
} Round;

static void describe(struct vring_desc *desc, uint64_t addr, uint32_t len,
                     uint16_t flags, uint16_t next)
{
    *desc = (struct vring_desc) {
        .addr = cpu_to_le64(addr),
        .len = cpu_to_le32(len),
        .flags = cpu_to_le16(flags),
        .next = cpu_to_le16(next),
    };
}

static void write_round(QVirtioMem *mem, const Round *round,
                        const struct virtio_mem_req *reqs)
{
    const uint32_t req_len = sizeof(struct virtio_mem_req);
    const uint32_t resp_len = sizeof(struct virtio_mem_resp);
    QTestState *qts = qvirtio_mem_qts(mem);
    struct vring_desc desc[2 * ROUND_MAX];
    size_t i;

    for (i = 0; i < round->n; i++) {
        describe(&desc[2 * i], round->reqs + i * req_len, req_len,
                 VRING_DESC_F_NEXT, 2 * i + 1);
        describe(&desc[2 * i + 1], round->resps + i * resp_len, resp_len,
                 VRING_DESC_F_WRITE, 0);
    }
    qtest_bufwrite(qts, round->reqs, reqs, round->n * req_len);
    qtest_memset(qts, round->resps, GARBAGE, round->n * resp_len);
    qtest_bufwrite(qts, mem->vq->desc, desc, round->n * 2 * sizeof(*desc));
}

static void expose_round(QVirtioMem *mem, const Round *round)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    QVirtQueue *vq = mem->vq;
    uint16_t idx = cpu_to_le16(vq->last_used_idx + round->n);
    uint16_t heads[ROUND_MAX];
    size_t i;

    for (i = 0; i < round->n; i++) {
        heads[i] = cpu_to_le16(2 * i);
    }
    qtest_bufwrite(qts, vq->avail + offsetof(struct vring_avail, ring) +
                   round->slot * sizeof(*heads), heads,
                   round->n * sizeof(*heads));
    qtest_bufwrite(qts, vq->avail + offsetof(struct vring_avail, idx), &idx,
                   sizeof(idx));
}

/* Waits until all of the round was answered, which must be in its order. */
static void wait_round(QVirtioMem *mem, const Round *round)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    QVirtQueue *vq = mem->vq;
    struct vring_used_elem used[ROUND_MAX];
    Patience patience = new_patience();
    uint16_t idx;
    size_t i;

    vq->last_used_idx += round->n;
    for (;;) {
        qtest_bufread(qts, vq->used + offsetof(struct vring_used, idx), &idx,
                      sizeof(idx));
        if (le16_to_cpu(idx) == vq->last_used_idx) {
            break;
        }
        lose_patience(mem, &patience);
    }

    qtest_bufread(qts, vq->used + offsetof(struct vring_used, ring) +
                  round->slot * sizeof(*used), used, round->n * sizeof(*used));
    for (i = 0; i < round->n; i++) {
        g_assert_cmpuint(le32_to_cpu(used[i].id), ==, 2 * i);
        g_assert_cmpuint(le32_to_cpu(used[i].len), ==,
                         sizeof(struct virtio_mem_resp));
    }
}

/* Returns how many there were in the round. */
static size_t send_round(QVirtioMem *mem, const struct virtio_mem_req *reqs,
                         struct virtio_mem_resp *resps, size_t n)
{
    uint32_t size = mem->vq->size;
    uint16_t slot = mem->vq->last_used_idx % size;
    Round round = {
        .n = MIN(MIN(n, ROUND_MAX), MIN(size / 2, size - slot)),
        .slot = slot,
    };
    size_t i;

    round.reqs = guest_alloc(mem->alloc, round.n * sizeof(*reqs));
    round.resps = guest_alloc(mem->alloc, round.n * sizeof(*resps));
    write_round(mem, &round, reqs);
    expose_round(mem, &round);
    qvirtio_mem_kick(mem);
    wait_round(mem, &round);
    qtest_bufread(qvirtio_mem_qts(mem), round.resps, resps,
                  round.n * sizeof(*resps));
    guest_free(mem->alloc, round.reqs);
    guest_free(mem->alloc, round.resps);
    for (i = 0; i < round.n; i++) {
        resp_to_cpu(&resps[i]);
    }
    return round.n;
}

void qvirtio_mem_send_all(QVirtioMem *mem, const struct virtio_mem_req *reqs,
                          struct virtio_mem_resp *resps, size_t n)
{
    size_t done = 0;

    qvirtqueue_reset_pool(mem->vq);
    while (done < n) {
        done += send_round(mem, reqs + done, resps + done, n - done);
    }
}

/* virtio-mem-pci, as a node of the graph and outside of it */

/*
 * Interfaces that test cases ask for: one for each area, since the graph has
 * no room for all of them behind a single one.
 */
static const char *const areas[] = {
    "virtio-mem", "virtio-mem-plug", "virtio-mem-unplug", "virtio-mem-state",
    "virtio-mem-queue", "virtio-mem-chain", "virtio-mem-ring",
    "virtio-mem-storm", "virtio-mem-management", "virtio-mem-options",
    "virtio-mem-listener", "virtio-mem-protect", "virtio-mem-status",
    "virtio-mem-report",
};

static void *get_driver(void *object, const char *interface)
{
    QVirtioMemPCI *mem_pci = object;

    if (!g_strcmp0(interface, "pci-device")) {
        return mem_pci->pci_vdev.pdev;
    }
    if (!g_strcmp0(interface, "virtio")) {
        return mem_pci->mem.vdev;
    }
    g_assert_true(g_str_has_prefix(interface, "virtio-mem"));
    return &mem_pci->mem;
}

static void start_hw(QOSGraphObject *obj)
{
    QVirtioMemPCI *mem_pci = (QVirtioMemPCI *)obj;

    qvirtio_mem_power_on(&mem_pci->mem);
}

static void destructor(QOSGraphObject *obj)
{
    QVirtioMemPCI *mem_pci = (QVirtioMemPCI *)obj;

    free_queue(&mem_pci->mem);
    qvirtio_pci_destructor(obj);
}

QVirtioMemPCI *qvirtio_mem_pci_new(QPCIBus *bus, QGuestAllocator *alloc,
                                   QPCIAddress *addr)
{
    QVirtioMemPCI *mem_pci = g_new0(QVirtioMemPCI, 1);
    QOSGraphObject *obj = &mem_pci->pci_vdev.obj;

    virtio_pci_init(&mem_pci->pci_vdev, bus, addr);
    mem_pci->mem.vdev = &mem_pci->pci_vdev.vdev;
    mem_pci->mem.pci = &mem_pci->pci_vdev;
    mem_pci->mem.alloc = alloc;

    obj->get_driver = get_driver;
    obj->start_hw = start_hw;
    obj->destructor = destructor;
    return mem_pci;
}

void qvirtio_mem_pci_free(QVirtioMemPCI *mem_pci)
{
    destructor(&mem_pci->pci_vdev.obj);
    g_free(mem_pci);
}

static void *create(void *pci_bus, QGuestAllocator *alloc, void *addr)
{
    return &qvirtio_mem_pci_new(pci_bus, alloc, addr)->pci_vdev.obj;
}

static void virtio_mem_register_nodes(void)
{
    QPCIAddress addr = {
        .devfn = QPCI_DEVFN(4, 0),
    };
    QOSGraphEdgeOptions opts = {
        .before_cmd_line = "-m 128M,maxmem=8G -object "
                           "memory-backend-ram,id=mem0,size=1G,reserve=off",
        .extra_device_opts = "id=vmem0,addr=04.0,memdev=mem0",
    };
    int i;

    add_qpci_address(&opts, &addr);
    qos_node_create_driver("virtio-mem-pci", create);
    qos_node_consumes("virtio-mem-pci", "pci-bus", &opts);
    qos_node_produces("virtio-mem-pci", "pci-device");
    qos_node_produces("virtio-mem-pci", "virtio");
    for (i = 0; i < ARRAY_SIZE(areas); i++) {
        qos_node_produces("virtio-mem-pci", areas[i]);
    }
}

libqos_init(virtio_mem_register_nodes);
