// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-mem fuzzing target
 *
 * Takes an input as a program of steps: requests, chains of any shape, writes
 * to registers, resizes, resets.  After each program the device must be in a
 * state that it may have, and obey requests.  Then everything is unplugged and
 * forgotten, so that no program sees what another one did.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qom/object.h"
#include "hw/virtio/virtio-mem.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "tests/qtest/libqos/virtio-mem.h"
#include "fuzz.h"
#include "qos_fuzz.h"

#define BLOCK          (2 * MiB)
#define DEVICE_PATH    "/machine/peripheral/vmem0"

#define MAX_CHAIN      16
#define GARBAGE        0xa5

/*
 * Memory of the driver: a place for each request that is on the queue and its
 * answer, and a page where chains do as they like.
 */
#define QUEUE_SIZE     128
#define SLOT_SIZE      128
#define SLOT_ANSWER    64
#define SCRATCH_SIZE   4096
#define SCRATCH_TABLE  (SCRATCH_SIZE - MAX_CHAIN * sizeof(struct vring_desc))

/* Where a PC has registers, and how large the device's own are */
#define MMIO_START     (3 * GiB)
#define MMIO_END       (4 * GiB)
#define BAR_SIZE       (16 * KiB)

/* What the driver knows about the chain at a head. */
typedef struct Offer {
    uint32_t in_len;        /* bytes that the device may write */
    uint64_t answer;        /* of a request: where; else 0 */
} Offer;

static struct {
    QTestState *qts;
    QVirtioMem *mem;
    Object *device;         /* on the bus, with all properties */
    VirtIOMEM *vmem;
    uint64_t region_nb;     /* blocks */
    uint64_t mmio_start;    /* where libqos places BARs after a system reset */
    uint64_t slots;
    uint64_t scratch;
    unsigned int next_slot;
    Offer offers[QUEUE_SIZE];
    /* Something wrote where only the driver does: answers mean nothing. */
    bool queue_touched;
    /* Only a system reset makes the machine as the driver knows it. */
    bool machine_touched;
} fuzz;

/* The input.  Behind its end there are zeroes. */

typedef struct Program {
    const uint8_t *at;
    const uint8_t *end;
} Program;

static uint64_t take(Program *program, size_t size)
{
    uint64_t value = 0;

    size = MIN(size, program->end - program->at);
    memcpy(&value, program->at, size);
    program->at += size;
    return le64_to_cpu(value);
}

static uint8_t take8(Program *program)
{
    return take(program, 1);
}

static uint16_t take16(Program *program)
{
    return take(program, 2);
}

/* The address of a block, from some below the region to some behind it. */
static uint64_t take_block_addr(Program *program)
{
    int64_t block = take16(program) % (fuzz.region_nb + 8);

    return fuzz.mem->addr + (block - 4) * BLOCK;
}

/* The user's side */

static uint64_t get_size(const char *property)
{
    return object_property_get_uint(fuzz.device, property, &error_abort);
}

static bool set_requested(uint64_t size)
{
    return object_property_set_uint(fuzz.device, "requested-size", size, NULL);
}

/* Answers */

static void check_answer(const Offer *offer, uint32_t len)
{
    uint8_t bytes[SLOT_SIZE - SLOT_ANSWER];
    struct virtio_mem_resp resp;

    qtest_memread(fuzz.qts, offer->answer, bytes, sizeof(bytes));
    for (size_t i = len; i < sizeof(bytes); i++) {
        g_assert_cmphex(bytes[i], ==, GARBAGE);
    }
    g_assert_cmpuint(len, ==, sizeof(resp));
    memcpy(&resp, bytes, sizeof(resp));
    g_assert_cmpuint(le16_to_cpu(resp.type), <=, VIRTIO_MEM_RESP_ERROR);
    g_assert_cmpuint(le16_to_cpu(resp.u.state.state), <=,
                     VIRTIO_MEM_STATE_MIXED);
}

static void check_used(void)
{
    uint32_t head, len;

    while (!fuzz.queue_touched &&
           qvirtqueue_get_buf(fuzz.qts, fuzz.mem->vq, &head, &len)) {
        g_assert_cmpuint(head, <, QUEUE_SIZE);
        g_assert_cmpuint(len, <=, fuzz.offers[head].in_len);
        if (fuzz.offers[head].answer) {
            check_answer(&fuzz.offers[head], len);
        }
    }
}

static void kick(void)
{
    qvirtio_mem_kick(fuzz.mem);
    flush_events(fuzz.qts);
    check_used();
}

/* As above, and waits for what takes the device long. */
static void kick_and_wait(void)
{
    kick();
    while (virtio_mem_job_is_running(fuzz.vmem)) {
        main_loop_wait(false);
    }
    flush_events(fuzz.qts);
    check_used();
}

/* Chains */

/* Starts at the first descriptor again when there are not enough left. */
static void make_room(size_t nb_descs)
{
    if (nb_descs > fuzz.mem->vq->num_free) {
        kick_and_wait();
        qvirtqueue_reset_pool(fuzz.mem->vq);
    }
}

static void offer_chain(const QVirtioMemDesc *chain, size_t n, uint64_t answer)
{
    Offer offer = { .answer = answer };
    uint32_t head;

    n = MIN(n, fuzz.mem->vq->size);
    for (size_t i = 0; i < n; i++) {
        offer.in_len += chain[i].in ? chain[i].len : 0;
    }
    make_room(n);
    head = qvirtio_mem_offer_chain(fuzz.mem, chain, n);
    fuzz.offers[head] = offer;
}

static void offer_indirect(const QVirtioMemDesc *chain, size_t n)
{
    uint64_t table = fuzz.scratch + SCRATCH_TABLE;
    uint16_t flags = cpu_to_le16(VRING_DESC_F_INDIRECT);
    Offer offer = { };
    uint32_t head;

    for (size_t i = 0; i < n; i++) {
        struct vring_desc desc = {
            .addr = cpu_to_le64(chain[i].addr),
            .len = cpu_to_le32(chain[i].len),
            .flags = cpu_to_le16((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
                                 (chain[i].in ? VRING_DESC_F_WRITE : 0)),
            .next = cpu_to_le16(i + 1),
        };

        qtest_memwrite(fuzz.qts, table + i * sizeof(desc), &desc, sizeof(desc));
        offer.in_len += chain[i].in ? chain[i].len : 0;
    }
    make_room(1);
    head = qvirtqueue_add(fuzz.qts, fuzz.mem->vq, table,
                          n * sizeof(struct vring_desc), false, false);
    qtest_memwrite(fuzz.qts, fuzz.mem->vq->desc +
                   head * sizeof(struct vring_desc) +
                   offsetof(struct vring_desc, flags), &flags, sizeof(flags));
    fuzz.offers[head] = offer;
    qvirtio_mem_expose(fuzz.mem, head);
}

/* Adds a buffer to a chain, cut into descriptors. */
static size_t add_buffer(QVirtioMemDesc *chain, size_t n, uint64_t addr,
                         uint32_t len, uint32_t piece, bool in)
{
    for (uint32_t done = 0; done < len && n < MAX_CHAIN; done += piece) {
        chain[n++] = (QVirtioMemDesc) {
            addr + done, MIN(piece, len - done), in
        };
    }
    return n;
}

/* Requests */

/* Offers a request in a slot of its own; returns where its answer will be. */
static uint64_t offer_request(const struct virtio_mem_req *req,
                              const QVirtioMemShape *shape)
{
    uint64_t slot = fuzz.slots + fuzz.next_slot++ % QUEUE_SIZE * SLOT_SIZE;
    QVirtioMemDesc chain[MAX_CHAIN];
    uint8_t bytes[SLOT_SIZE];
    size_t n;

    memset(bytes, GARBAGE, sizeof(bytes));
    memcpy(bytes, req, sizeof(*req));
    qtest_memwrite(fuzz.qts, slot, bytes, sizeof(bytes));
    n = add_buffer(chain, 0, slot, shape->out_len, shape->out_piece, false);
    n = add_buffer(chain, n, slot + SLOT_ANSWER, shape->in_len, shape->in_piece,
                   true);
    if (n) {
        offer_chain(chain, n, slot + SLOT_ANSWER);
    }
    return slot + SLOT_ANSWER;
}

/* Sends a request to a device that must answer, alone on the queue. */
static struct virtio_mem_resp ask(uint16_t type, uint64_t addr,
                                  uint16_t nb_blocks)
{
    struct virtio_mem_req req = qvirtio_mem_req(type, addr, nb_blocks);
    struct virtio_mem_resp resp;
    uint16_t used = fuzz.mem->vq->last_used_idx;
    uint64_t answer;

    qvirtqueue_reset_pool(fuzz.mem->vq);
    answer = offer_request(&req, &qvirtio_mem_plain);
    kick_and_wait();
    g_assert_cmpuint((uint16_t)(fuzz.mem->vq->last_used_idx - used), ==, 1);
    qtest_memread(fuzz.qts, answer, &resp, sizeof(resp));
    return resp;
}

/* Starting and stopping */

/* Empties the queue, and enables it with a size that is a power of two. */
static void start_queue(uint32_t size)
{
    const QVirtioPCIDevice *pci = fuzz.mem->pci;
    uint64_t common = pci->bar.addr + pci->common_cfg_offset;
    QVirtioDevice *vdev = fuzz.mem->vdev;
    QVirtQueue *vq = fuzz.mem->vq;

    vq->size = size;
    vq->last_used_idx = 0;
    qvirtqueue_reset_pool(vq);
    qvring_init(fuzz.qts, fuzz.mem->alloc, vq, vq->desc);
    vdev->bus->queue_select(vdev, vq->index);
    qtest_writew(fuzz.qts, common + offsetof(struct virtio_pci_common_cfg,
                                             queue_size), size);
    vdev->bus->set_queue_address(vdev, vq);
    qtest_writew(fuzz.qts, common + offsetof(struct virtio_pci_common_cfg,
                                             queue_enable), 1);
    memset(fuzz.offers, 0, sizeof(fuzz.offers));
}

/* D13, D16: only a reset of the system unplugs anything. */
static void restart(uint64_t declined)
{
    QVirtioDevice *vdev = fuzz.mem->vdev;
    uint64_t size = fuzz.machine_touched ? 0 : get_size("size");
    /* What it was doing it may finish, and then nobody hears of it. */
    bool busy = virtio_mem_job_is_running(fuzz.vmem) && !fuzz.machine_touched;

    if (fuzz.machine_touched) {
        fuzz.mem->pci->pdev->bus->mmio_alloc_ptr = fuzz.mmio_start;
        fuzz_reset(fuzz.qts);
        qvirtio_pci_device_enable(fuzz.mem->pci);
    }
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) & ~declined);
    start_queue(QUEUE_SIZE);
    qvirtio_set_driver_ok(vdev);
    flush_events(fuzz.qts);
    g_assert_true(busy || get_size("size") == size);
    fuzz.queue_touched = false;
    fuzz.machine_touched = false;
}

/* What the device must be like, whatever a program did */

static uint64_t nb_plugged(uint64_t first, uint64_t nb_blocks)
{
    struct virtio_mem_resp resp = ask(VIRTIO_MEM_REQ_STATE,
                                      fuzz.mem->addr + first * BLOCK,
                                      nb_blocks);

    g_assert_cmpuint(le16_to_cpu(resp.type), ==, VIRTIO_MEM_RESP_ACK);
    switch (le16_to_cpu(resp.u.state.state)) {
    case VIRTIO_MEM_STATE_PLUGGED:
        return nb_blocks;
    case VIRTIO_MEM_STATE_UNPLUGGED:
        return 0;
    default:
        g_assert_cmpuint(nb_blocks, >, 1);
        return nb_plugged(first, nb_blocks / 2) +
               nb_plugged(first + nb_blocks / 2, nb_blocks - nb_blocks / 2);
    }
}

static void check_config(const struct virtio_mem_config *config)
{
    /* D02 */
    g_assert_cmphex(config->block_size, ==, BLOCK);
    g_assert_cmphex(config->region_size, ==, fuzz.region_nb * BLOCK);
    g_assert_cmphex(config->addr, ==, get_size("memaddr"));
    g_assert_cmphex(config->node_id, ==, 0);
    /* D04, D06 */
    g_assert_cmphex(config->usable_region_size % BLOCK, ==, 0);
    g_assert_cmphex(config->usable_region_size, <=, config->region_size);
    g_assert_cmphex(config->usable_region_size, >=, config->requested_size);
    g_assert_cmphex(config->plugged_size, <=, config->usable_region_size);
    /* What the user sees */
    g_assert_cmphex(config->requested_size, ==, get_size("requested-size"));
    g_assert_cmphex(config->plugged_size, ==, get_size("size"));
}

static void check_device(void)
{
    struct virtio_mem_config config = qvirtio_mem_config(fuzz.mem);

    check_config(&config);
    /* D03 */
    g_assert_cmphex(nb_plugged(0, config.usable_region_size / BLOCK) * BLOCK,
                    ==, config.plugged_size);
}

static void unplug_all(void)
{
    g_assert_true(set_requested(0));
    g_assert_cmpuint(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0).type, ==,
                     cpu_to_le16(VIRTIO_MEM_RESP_ACK));
    check_device();
    g_assert_cmphex(get_size("size"), ==, 0);                   /* D41 */
}

/* Steps */

enum {
    HOW_QUIET   = 1 << 0,       /* no notification */
    HOW_SKEWED  = 1 << 1,       /* not on a block's edge */
    HOW_ANYHOW  = 1 << 2,       /* an address or type of all 64 or 16 bits */
    HOW_SHAPED  = 1 << 3,       /* other buffers than a driver's */
};

static struct virtio_mem_req take_request(Program *program, uint8_t how)
{
    uint16_t type = take8(program) % (VIRTIO_MEM_REQ_STATE + 1);
    uint64_t addr = take_block_addr(program);
    uint16_t nb_blocks = take8(program);

    if (how & HOW_SKEWED) {
        addr += (int16_t)take16(program);
        nb_blocks = take16(program);
    }
    if (how & HOW_ANYHOW) {
        addr = take(program, 8);
        type = take16(program);
    }
    return qvirtio_mem_req(type, addr, nb_blocks);
}

/* About as large as a driver's, up to what a slot has room for. */
static QVirtioMemShape take_shape(Program *program)
{
    QVirtioMemShape shape = qvirtio_mem_plain;

    shape.out_len = (shape.out_len + take8(program)) % (SLOT_ANSWER + 1);
    shape.in_len = (shape.in_len + take8(program)) %
                   (SLOT_SIZE - SLOT_ANSWER + 1);
    shape.out_piece = 1 + take8(program) % SLOT_ANSWER;
    shape.in_piece = 1 + take8(program) % SLOT_ANSWER;
    return shape;
}

static void step_request(Program *program)
{
    uint8_t how = take8(program);
    struct virtio_mem_req req = take_request(program, how);
    QVirtioMemShape shape = how & HOW_SHAPED ? take_shape(program)
                                             : qvirtio_mem_plain;

    offer_request(&req, &shape);
    if (!(how & HOW_QUIET)) {
        kick();
    }
}

static void step_kick(Program *program)
{
    kick();
}

/* Registers, by the part of the BAR that they are in. */
static uint64_t take_register(Program *program)
{
    const QVirtioPCIDevice *pci = fuzz.mem->pci;
    const uint64_t parts[] = {
        pci->common_cfg_offset, pci->device_cfg_offset, pci->isr_cfg_offset,
        pci->notify_cfg_offset,
    };
    uint64_t part = parts[take8(program) % ARRAY_SIZE(parts)];

    return part + take8(program);
}

static uint64_t take_place(Program *program)
{
    const QVirtQueue *vq = fuzz.mem->vq;

    switch (take8(program) % 6) {
    case 0:
        return fuzz.scratch + take16(program) % SCRATCH_SIZE;
    case 1:
        return take_block_addr(program) + (int8_t)take8(program);
    case 2:
        return fuzz.mem->pci->bar.addr + take_register(program);
    case 3:
        return vq->desc + take16(program) % qvring_size(vq->size, vq->align);
    case 4:
        return UINT64_MAX - take16(program);
    default:
        return take(program, 8);
    }
}

static bool is_inside(const QVirtioMemDesc *desc, uint64_t addr, uint64_t size)
{
    return desc->addr >= addr && desc->addr - addr < size &&
           desc->len <= size - (desc->addr - addr);
}

/* Whether it reaches registers of others: to read them may be enough. */
static bool touches_machine(const QVirtioMemDesc *desc)
{
    return desc->addr < MMIO_END && desc->addr + desc->len > MMIO_START &&
           !is_inside(desc, fuzz.mem->pci->bar.addr, BAR_SIZE);
}

enum {
    DESC_IN   = 1 << 0,
    DESC_LONG = 1 << 1,     /* a length of 32 bits */
};

static QVirtioMemDesc take_desc(Program *program)
{
    uint8_t how = take8(program);
    QVirtioMemDesc desc = {
        .in = how & DESC_IN,
        .addr = take_place(program),
        .len = take(program, how & DESC_LONG ? 4 : 1),
    };

    if (desc.in && !is_inside(&desc, fuzz.scratch, SCRATCH_SIZE)) {
        fuzz.queue_touched = true;
    }
    if (touches_machine(&desc)) {
        fuzz.machine_touched = true;
    }
    return desc;
}

static void step_chain(Program *program)
{
    uint8_t how = take8(program);
    struct virtio_mem_req req = take_request(program, how);
    QVirtioMemDesc chain[MAX_CHAIN];
    size_t n = 1 + take8(program) % MAX_CHAIN;
    bool indirect = take8(program) % 2;

    qtest_memwrite(fuzz.qts, fuzz.scratch, &req, sizeof(req));
    for (size_t i = 0; i < n; i++) {
        chain[i] = take_desc(program);
    }
    if (indirect) {
        offer_indirect(chain, n);
    } else {
        offer_chain(chain, n, 0);
    }
    if (!(how & HOW_QUIET)) {
        kick();
    }
}

static void step_ring_write(Program *program)
{
    const QVirtQueue *vq = fuzz.mem->vq;
    uint64_t offset = take16(program) % qvring_size(vq->size, vq->align);
    uint16_t value = cpu_to_le16(take16(program));

    fuzz.queue_touched = true;
    qtest_memwrite(fuzz.qts, vq->desc + offset, &value, sizeof(value));
}

static void write_register(Program *program)
{
    uint64_t offset = take_register(program);
    size_t size = 1 << take8(program) % 3;
    uint64_t value = cpu_to_le64(take(program, size));

    qtest_memwrite(fuzz.qts, fuzz.mem->pci->bar.addr + offset, &value, size);
}

static void write_pci_config(Program *program)
{
    uint8_t offset = take8(program) & ~3;

    fuzz.machine_touched = true;
    qpci_config_writel(fuzz.mem->pci->pdev, offset, take(program, 4));
}

/* What touches the machine is rare, as it costs a system reset. */
static void step_register_write(Program *program)
{
    fuzz.queue_touched = true;
    if (take8(program) % 16 == 15) {
        write_pci_config(program);
    } else {
        write_register(program);
    }
    flush_events(fuzz.qts);
}

static void step_register_read(Program *program)
{
    uint8_t bytes[64];
    uint64_t offset = take_register(program);

    qtest_memread(fuzz.qts, fuzz.mem->pci->bar.addr + offset, bytes,
                  take8(program) % (sizeof(bytes) + 1));
}

static void step_resize(Program *program)
{
    uint64_t size = take16(program) % (fuzz.region_nb + 8) * BLOCK +
                    take8(program) % 2;
    uint64_t before = get_size("requested-size");
    bool legal = size % BLOCK == 0 && size <= fuzz.region_nb * BLOCK;

    g_assert_true(set_requested(size) == legal);
    g_assert_cmphex(get_size("requested-size"), ==, legal ? size : before);
    flush_events(fuzz.qts);
}

static void step_reset(Program *program)
{
    uint8_t how = take8(program);

    fuzz.machine_touched |= how % 16 == 15;
    restart(QVIRTIO_F_BAD_FEATURE |
            (how & 1 ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0) |
            (how & 2 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0));
}

/* Resets the queue alone. */
static void step_queue_reset(Program *program)
{
    const QVirtioPCIDevice *pci = fuzz.mem->pci;
    uint64_t common = pci->bar.addr + pci->common_cfg_offset;

    fuzz.mem->vdev->bus->queue_select(fuzz.mem->vdev, 0);
    qtest_writew(fuzz.qts, common +
                 offsetof(struct virtio_pci_modern_common_cfg, queue_reset), 1);
    start_queue(1 << take8(program) % 8);
    flush_events(fuzz.qts);
}

typedef void Step(Program *program);

/* A step stands here as often as it should come up in random input. */
static Step *const steps[] = {
    step_request, step_request, step_request, step_request, step_request,
    step_request, step_chain, step_chain, step_chain, step_kick,
    step_ring_write, step_register_write, step_register_read, step_resize,
    step_reset, step_queue_reset,
};

static void run_program(QTestState *qts, const unsigned char *data, size_t size)
{
    Program program = { data, data + size };

    while (program.at < program.end) {
        steps[take8(&program) % ARRAY_SIZE(steps)](&program);
    }
    restart(QVIRTIO_MEM_DECLINED);
    check_device();
    unplug_all();
}

static void start_driver(QTestState *qts)
{
    qos_init_path(qts);
    fuzz.qts = qts;
    fuzz.mem = fuzz_qos_obj;
    fuzz.device = object_resolve_path(DEVICE_PATH, NULL);
    fuzz.vmem = VIRTIO_MEM(object_resolve_path(DEVICE_PATH "/virtio-backend",
                                               NULL));
    fuzz.region_nb = fuzz.mem->region_size / BLOCK;
    fuzz.mmio_start = fuzz.mem->pci->bar.addr;
    fuzz.slots = guest_alloc(fuzz.mem->alloc, QUEUE_SIZE * SLOT_SIZE);
    fuzz.scratch = guest_alloc(fuzz.mem->alloc, SCRATCH_SIZE);
    restart(QVIRTIO_MEM_DECLINED);
}

/* A small region, as all that is plugged costs memory and time. */
static void *add_small_backend(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object memory-backend-ram,id=small,size=64M ");
    return arg;
}

static void add_target(const char *name, const char *description,
                       const char *device, QOSBeforeTest before)
{
    fuzz_add_qos_target(&(FuzzTarget) {
            .name = name,
            .description = description,
            .pre_fuzz = start_driver,
            .fuzz = run_program,
        }, "virtio-mem", &(QOSGraphTestOptions) {
            .edge.extra_device_opts = device,
            .before = before,
        });
}

static void register_virtio_mem_fuzz_targets(void)
{
    add_target("virtio-mem", "Fuzz virtio-mem by programs of requests, "
               "register accesses, resizes and resets", "block-size=2M", NULL);
    add_target("virtio-mem-options", "As virtio-mem, with all options on",
               "block-size=2M,memdev=small,prealloc=on,dynamic-memslots=on,"
               "refuse-unrequested-unplug=on", add_small_backend);
}

fuzz_target_init(register_virtio_mem_fuzz_targets);
