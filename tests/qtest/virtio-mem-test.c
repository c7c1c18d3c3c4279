// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio-mem device, alone: every rule of the protocol that shows without
 * a guest, named by its rule (D01 to D50), and what monitors and hostile
 * drivers may ask of it.  Each case, or row of a table, gets a QEMU of its own;
 * the list stands at the end.  Left out: migration, mistakes on the command
 * line.  The driver that sends the requests is libqos/virtio-mem.c.
 */

#include "qemu/osdep.h"
#include "libqtest-single.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/host-utils.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "libqos/qgraph.h"
#include "libqos/virtio-mem.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"

#define VMEM_PATH      "/machine/peripheral/vmem0"
#define SIZE_EVENT     "MEMORY_DEVICE_SIZE_CHANGE"
#define DEFAULT_DEVICE "block-size=2M,requested-size=64M"

/* What the default options amount to, over the backend of 1 GiB */
#define BLOCK          (2 * MiB)
#define REQUESTED      (64 * MiB)
#define REQUESTED_NB   (REQUESTED / BLOCK)
#define REGION         (1 * GiB)
#define REGION_NB      (REGION / BLOCK)

typedef void CaseFunc(QVirtioMem *mem, const void *row);

typedef struct Case {
    const char *name;
    CaseFunc *run;
    /* Options of the device; NULL for DEFAULT_DEVICE */
    const char *device;
    /* More of the command line, or NULL */
    const char *machine;
    /* The row of a table that the case is about, or NULL */
    const void *row;
} Case;

/* Requests */

static uint64_t block_addr(QVirtioMem *mem, int64_t index)
{
    return mem->addr + index * mem->block_size;
}

/* PLUG, UNPLUG and STATE carry the same fields in the same places. */
static struct virtio_mem_req make_request(uint16_t type, uint64_t addr,
                                          uint16_t nb_blocks)
{
    struct virtio_mem_req req = { .type = cpu_to_le16(type) };

    req.u.plug.addr = cpu_to_le64(addr);
    req.u.plug.nb_blocks = cpu_to_le16(nb_blocks);
    return req;
}

static uint16_t ask(QVirtioMem *mem, uint16_t type, uint64_t addr,
                    uint16_t nb_blocks)
{
    struct virtio_mem_req req = make_request(type, addr, nb_blocks);

    return qvirtio_mem_send(mem, &req, &qvirtio_mem_plain).type;
}

static uint16_t plug(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    return ask(mem, VIRTIO_MEM_REQ_PLUG, block_addr(mem, first), nb_blocks);
}

static uint16_t unplug(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    return ask(mem, VIRTIO_MEM_REQ_UNPLUG, block_addr(mem, first), nb_blocks);
}

static uint16_t unplug_all(QVirtioMem *mem)
{
    return ask(mem, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
}

/* The state of blocks for which the device must be able to tell it */
static uint16_t state(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    struct virtio_mem_req req = make_request(VIRTIO_MEM_REQ_STATE,
                                             block_addr(mem, first), nb_blocks);
    struct virtio_mem_resp resp;

    resp = qvirtio_mem_send(mem, &req, &qvirtio_mem_plain);
    g_assert_cmpuint(resp.type, ==, VIRTIO_MEM_RESP_ACK);
    return resp.u.state.state;
}

static void assert_ack(uint16_t type)
{
    g_assert_cmpuint(type, ==, VIRTIO_MEM_RESP_ACK);
}

static void assert_nack(uint16_t type)
{
    g_assert_cmpuint(type, ==, VIRTIO_MEM_RESP_NACK);
}

static void assert_error(uint16_t type)
{
    g_assert_cmpuint(type, ==, VIRTIO_MEM_RESP_ERROR);
}

static void assert_plugged(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    g_assert_cmpuint(state(mem, first, nb_blocks), ==,
                     VIRTIO_MEM_STATE_PLUGGED);
}

static void assert_unplugged(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    g_assert_cmpuint(state(mem, first, nb_blocks), ==,
                     VIRTIO_MEM_STATE_UNPLUGGED);
}

/* What the device looks like */

static uint64_t plugged_size(QVirtioMem *mem)
{
    return qvirtio_mem_config(mem).plugged_size;
}

static uint64_t usable_size(QVirtioMem *mem)
{
    return qvirtio_mem_config(mem).usable_region_size;
}

static int64_t usable_nb(QVirtioMem *mem)
{
    return usable_size(mem) / mem->block_size;
}

static void draw(QVirtioMem *mem, int64_t first, int64_t nb_blocks, char *map)
{
    int64_t half = nb_blocks / 2;

    switch (state(mem, first, nb_blocks)) {
    case VIRTIO_MEM_STATE_PLUGGED:
        memset(map + first, '#', nb_blocks);
        break;
    case VIRTIO_MEM_STATE_UNPLUGGED:
        memset(map + first, '.', nb_blocks);
        break;
    default:
        g_assert_cmpint(nb_blocks, >, 1);
        draw(mem, first, half, map);
        draw(mem, first + half, nb_blocks - half, map);
    }
}

/* A character for each block of the usable region, # where it is plugged */
static char *block_map(QVirtioMem *mem)
{
    int64_t nb_blocks = usable_nb(mem);
    char *map = g_malloc0(nb_blocks + 1);

    draw(mem, 0, nb_blocks, map);
    return map;
}

/* All that can change while the device operates, for comparisons */
static char *picture(QVirtioMem *mem)
{
    struct virtio_mem_config config = qvirtio_mem_config(mem);
    g_autofree char *map = block_map(mem);

    return g_strdup_printf("requested 0x%" PRIx64 " usable 0x%" PRIx64
                           " plugged 0x%" PRIx64 " %s",
                           (uint64_t)config.requested_size,
                           (uint64_t)config.usable_region_size,
                           (uint64_t)config.plugged_size, map);
}

static void assert_unchanged(QVirtioMem *mem, const char *before)
{
    g_autofree char *now = picture(mem);

    g_assert_cmpstr(now, ==, before);
}

static void assert_consistent(QVirtioMem *mem)
{
    g_autofree char *map = block_map(mem);
    uint64_t plugged = 0;
    char *c;

    for (c = map; *c; c++) {
        plugged += *c == '#' ? mem->block_size : 0;
    }
    g_assert_cmphex(plugged_size(mem), ==, plugged);
}

/* The pattern: runs of plugged blocks, holes and a single one */

#define PATTERN_MAP  "....####.##.#..."
#define PATTERN_SIZE (7 * BLOCK)

static void plug_pattern(QVirtioMem *mem)
{
    assert_ack(plug(mem, 4, 4));
    assert_ack(plug(mem, 9, 2));
    assert_ack(plug(mem, 12, 1));
}

static void assert_pattern(QVirtioMem *mem)
{
    g_autofree char *map = block_map(mem);
    size_t len = strlen(PATTERN_MAP);

    g_assert_cmpuint(strspn(map + len, "."), ==, strlen(map + len));
    map[len] = '\0';
    g_assert_cmpstr(map, ==, PATTERN_MAP);
    g_assert_cmpuint(plugged_size(mem), ==, PATTERN_SIZE);
}

/* Contents: a stamped block has a known value at each of its ends */

static uint64_t last_word(QVirtioMem *mem, int64_t index)
{
    return block_addr(mem, index + 1) - sizeof(uint64_t);
}

static void stamp(QVirtioMem *mem, int64_t index, uint64_t value)
{
    QTestState *qts = qvirtio_mem_qts(mem);

    qtest_writeq(qts, block_addr(mem, index), value);
    qtest_writeq(qts, last_word(mem, index), ~value);
}

static void assert_stamp(QVirtioMem *mem, int64_t index, uint64_t value)
{
    QTestState *qts = qvirtio_mem_qts(mem);

    g_assert_cmphex(qtest_readq(qts, block_addr(mem, index)), ==, value);
    g_assert_cmphex(qtest_readq(qts, last_word(mem, index)), ==, ~value);
}

static void assert_zero(QVirtioMem *mem, int64_t index)
{
    g_autofree uint8_t *bytes = g_malloc(mem->block_size);

    qtest_bufread(qvirtio_mem_qts(mem), block_addr(mem, index), bytes,
                  mem->block_size);
    g_assert_true(buffer_is_zero(bytes, mem->block_size));
}

/* Whether RAM of the host backs guest memory at this address */
static bool is_ram(QVirtioMem *mem, uint64_t addr)
{
    g_autofree char *answer = qtest_hmp(qvirtio_mem_qts(mem),
                                        "gpa2hva 0x%" PRIx64, addr);

    return strstr(answer, "Host virtual address for") != NULL;
}

/* The management side */

static void set_requested(QVirtioMem *mem, uint64_t size)
{
    qtest_qmp_assert_success(qvirtio_mem_qts(mem),
                             "{ 'execute': 'qom-set', 'arguments': {"
                             "  'path': %s, 'property': 'requested-size',"
                             "  'value': %" PRIu64 "} }", VMEM_PATH, size);
}

static void assert_set_refused(QVirtioMem *mem, const char *property,
                               uint64_t value)
{
    QDict *error;

    error = qtest_qmp_assert_failure_ref(qvirtio_mem_qts(mem),
                                         "{ 'execute': 'qom-set',"
                                         "  'arguments': { 'path': %s,"
                                         "  'property': %s,"
                                         "  'value': %" PRIu64 "} }",
                                         VMEM_PATH, property, value);
    qobject_unref(error);
}

static uint64_t get_property(QVirtioMem *mem, const char *path,
                             const char *property)
{
    QDict *answer;
    uint64_t value;

    answer = qtest_qmp(qvirtio_mem_qts(mem),
                       "{ 'execute': 'qom-get',"
                       "  'arguments': { 'path': %s, 'property': %s } }",
                       path, property);
    value = qdict_get_int(answer, "return");
    qobject_unref(answer);
    return value;
}

/* What query-memory-devices tells about the device with this id */
static QDict *memory_device(QVirtioMem *mem, const char *id)
{
    QDict *answer, *device, *data, *found = NULL;
    QListEntry *entry;

    answer = qtest_qmp(qvirtio_mem_qts(mem),
                       "{ 'execute': 'query-memory-devices' }");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), entry) {
        device = qobject_to(QDict, qlist_entry_obj(entry));
        data = qdict_get_qdict(device, "data");
        if (g_str_equal(qdict_get_str(data, "id"), id)) {
            g_assert_cmpstr(qdict_get_str(device, "type"), ==, "virtio-mem");
            found = qobject_ref(data);
        }
    }
    qobject_unref(answer);
    g_assert_nonnull(found);
    return found;
}

/* Resets */

static void system_reset(QVirtioMem *mem)
{
    qtest_system_reset(qvirtio_mem_qts(mem));
    qvirtio_mem_power_on(mem);
}

static void device_reset(QVirtioMem *mem)
{
    qvirtio_mem_start(mem, QVIRTIO_MEM_DECLINED);
}

/* The power management function of the pc machine's chip set */
#define PM_DEVFN       QPCI_DEVFN(1, 3)
#define PM_BASE_REG    0x40
#define PM_ENABLE_REG  0x80
#define PM_BASE        0x600
#define PM1_CONTROL    4
#define PM1_SLEEP_S3   (1 << 10 | 1 << 13)

/* Suspends the machine to RAM, and wakes it up. */
static void sleep_and_wake_up(QVirtioMem *mem)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    QPCIDevice *pm = qpci_device_find(mem->pci->pdev->bus, PM_DEVFN);

    g_assert_nonnull(pm);
    qpci_config_writel(pm, PM_BASE_REG, PM_BASE | 1);
    qpci_config_writeb(pm, PM_ENABLE_REG, 1);
    g_free(pm);
    qtest_outw(qts, PM_BASE + PM1_CONTROL, PM1_SLEEP_S3);
    qtest_qmp_eventwait(qts, "SUSPEND");
    qtest_qmp_assert_success(qts, "{ 'execute': 'system_wakeup' }");
    qtest_qmp_eventwait(qts, "WAKEUP");
    qvirtio_mem_power_on(mem);
}

/* Configuration space */

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

/* This test checks that UNPLUG_ALL fits the usable region to the target. */
static void test_unplug_all_fits_usable(QVirtioMem *mem, const void *row)
{
    uint64_t at_start = usable_size(mem);

    g_assert_cmphex(at_start, <, REGION);
    set_requested(mem, REGION);
    set_requested(mem, REQUESTED);
    assert_ack(unplug_all(mem));
    g_assert_cmphex(usable_size(mem), ==, at_start);
    assert_error(plug(mem, REGION_NB - 1, 1));
}

/* This test checks that a system reset fits the usable region likewise. */
static void test_system_reset_fits_usable(QVirtioMem *mem, const void *row)
{
    uint64_t at_start = usable_size(mem);

    g_assert_cmphex(at_start, <, REGION);
    set_requested(mem, REGION);
    set_requested(mem, REQUESTED);
    system_reset(mem);
    g_assert_cmphex(usable_size(mem), ==, at_start);
}

/* Configuration interrupts */

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

/* Initialisation and resets */

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

/* This test checks that guests may sleep with our memory plugged. */
static void test_persistent_suspend_offered(QVirtioMem *mem, const void *row)
{
    g_assert_true(mem->vdev->features &
                  (1ull << VIRTIO_MEM_F_PERSISTENT_SUSPEND));
}

/* This test checks that memory is there, as it was, after a sleep. */
static void test_sleep_keeps_memory(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;

    plug_pattern(mem);
    stamp(mem, 4, 0x0123456789abcdef);
    before = picture(mem);
    sleep_and_wake_up(mem);
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

/* Memory */

/* This test checks that every byte of a plugged block reads back. */
static void test_plugged_is_usable(QVirtioMem *mem, const void *row)
{
    g_autofree uint8_t *wrote = g_malloc(BLOCK);
    g_autofree uint8_t *read = g_malloc0(BLOCK);
    int i;

    for (i = 0; i < BLOCK; i++) {
        wrote[i] = (i * 31) ^ (i >> 12);
    }
    assert_ack(plug(mem, 5, 1));
    qtest_bufwrite(qvirtio_mem_qts(mem), block_addr(mem, 5), wrote, BLOCK);
    qtest_bufread(qvirtio_mem_qts(mem), block_addr(mem, 5), read, BLOCK);
    g_assert_cmpmem(read, BLOCK, wrote, BLOCK);
}

/* This test checks that the region has no dead end and no block is two. */
static void test_whole_region_is_usable(QVirtioMem *mem, const void *row)
{
    int i;

    set_requested(mem, REGION);
    assert_ack(plug(mem, 0, REGION_NB));
    g_assert_cmphex(plugged_size(mem), ==, REGION);
    for (i = 0; i < REGION_NB; i++) {
        stamp(mem, i, i);
    }
    for (i = 0; i < REGION_NB; i++) {
        assert_stamp(mem, i, i);
    }
}

/* This test checks that requests leave other blocks' contents alone. */
static void test_neighbours_keep_bytes(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 4, 1));
    assert_ack(plug(mem, 7, 1));
    stamp(mem, 4, 44);
    stamp(mem, 7, 77);
    assert_ack(plug(mem, 5, 2));
    assert_stamp(mem, 4, 44);
    assert_stamp(mem, 7, 77);
    assert_ack(unplug(mem, 5, 2));
    assert_stamp(mem, 4, 44);
    assert_stamp(mem, 7, 77);
    assert_error(plug(mem, 4, 4));
    assert_error(unplug(mem, 4, 4));
    assert_stamp(mem, 4, 44);
    assert_stamp(mem, 7, 77);
}

/* This test checks that a target below the plugged size takes nothing away. */
static void test_target_takes_nothing(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    stamp(mem, 12, 12);
    set_requested(mem, 0);
    assert_pattern(mem);
    assert_stamp(mem, 12, 12);
}

/* This test checks that a plugged block is RAM, as any other. */
static void test_plugged_is_ram(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 2));
    g_assert_true(is_ram(mem, block_addr(mem, 0)));
    g_assert_true(is_ram(mem, last_word(mem, 1)));
}

/* This test checks that drivers without the promise may read what is usable. */
static void test_unplugged_is_readable(QVirtioMem *mem, const void *row)
{
    g_assert_false(mem->vdev->features &
                   (1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE));
    assert_ack(plug(mem, 1, 1));
    g_assert_true(is_ram(mem, block_addr(mem, 0)));
    g_assert_true(is_ram(mem, block_addr(mem, 2)));
    g_assert_true(is_ram(mem, last_word(mem, usable_nb(mem) - 1)));
    assert_ack(unplug(mem, 1, 1));
    g_assert_true(is_ram(mem, block_addr(mem, 1)));
    assert_zero(mem, 1);
}

/* This test checks that a block that comes back does so without its past. */
static void test_unplug_discards(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 4));
    stamp(mem, 1, 0x1111111111111111);
    stamp(mem, 2, 0x2222222222222222);
    assert_ack(unplug(mem, 1, 2));
    assert_ack(plug(mem, 1, 2));
    assert_zero(mem, 1);
    assert_zero(mem, 2);
}

/* This test checks that UNPLUG_ALL discards what each block held. */
static void test_unplug_all_discards(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    stamp(mem, 4, 0x4444444444444444);
    stamp(mem, 12, 0x1212121212121212);
    assert_ack(unplug_all(mem));
    plug_pattern(mem);
    assert_zero(mem, 4);
    assert_zero(mem, 12);
}

/* This test checks that UNPLUG_ALL leaves nothing where no guest may write. */
static void test_unplug_all_discards_region(QVirtioMem *mem, const void *row)
{
    stamp(mem, REGION_NB - 1, 0x0123456789abcdef);
    assert_stamp(mem, REGION_NB - 1, 0x0123456789abcdef);
    assert_ack(unplug_all(mem));
    assert_zero(mem, REGION_NB - 1);
}

/* What the device looks at in a request */

static void set_block(QVirtioMem *mem, int64_t index, bool plugged)
{
    bool is_plugged = state(mem, index, 1) == VIRTIO_MEM_STATE_PLUGGED;

    if (plugged && !is_plugged) {
        assert_ack(plug(mem, index, 1));
    } else if (!plugged && is_plugged) {
        assert_ack(unplug(mem, index, 1));
    }
}

static void randomise_padding(struct virtio_mem_req *req, uint16_t type)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(req->padding); i++) {
        req->padding[i] = g_test_rand_int();
        req->u.plug.padding[i] = g_test_rand_int();
    }
    if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
        req->u.plug.addr = g_test_rand_int();
        req->u.plug.nb_blocks = g_test_rand_int();
    }
}

/* Sends a request of this type about block 4, which must be obeyed. */
static void assert_obeyed(QVirtioMem *mem, uint16_t type,
                          const QVirtioMemShape *shape, bool random_padding)
{
    struct virtio_mem_req req = make_request(type, block_addr(mem, 4), 1);
    bool stays = type == VIRTIO_MEM_REQ_PLUG || type == VIRTIO_MEM_REQ_STATE;
    struct virtio_mem_resp resp;

    if (random_padding) {
        randomise_padding(&req, type);
    }
    set_block(mem, 4, type != VIRTIO_MEM_REQ_PLUG);
    resp = qvirtio_mem_send(mem, &req, shape);
    assert_ack(resp.type);
    if (type == VIRTIO_MEM_REQ_STATE) {
        g_assert_cmpuint(resp.u.state.state, ==, VIRTIO_MEM_STATE_PLUGGED);
    }
    g_assert_cmpuint(state(mem, 4, 1), ==, stays ? VIRTIO_MEM_STATE_PLUGGED :
                                                   VIRTIO_MEM_STATE_UNPLUGGED);
    g_assert_cmphex(plugged_size(mem), ==, stays ? BLOCK : 0);
}

typedef struct Dressed {
    const char *name;
    uint16_t type;
    /* Random padding in the request, or else garbage around it */
    bool random_padding;
} Dressed;

static const Dressed plug_dressed[] = {
    { "D23-plug-looks-at-nothing-else", VIRTIO_MEM_REQ_PLUG, false },
    { "D24-plug-ignores-padding", VIRTIO_MEM_REQ_PLUG, true },
};

static const Dressed unplug_dressed[] = {
    { "D30-unplug-looks-at-nothing-else", VIRTIO_MEM_REQ_UNPLUG, false },
    { "D31-unplug-ignores-padding", VIRTIO_MEM_REQ_UNPLUG, true },
    { "D37-unplug-all-looks-at-nothing-else",
      VIRTIO_MEM_REQ_UNPLUG_ALL, false },
    { "D38-unplug-all-ignores-padding-and-other-fields",
      VIRTIO_MEM_REQ_UNPLUG_ALL, true },
};

static const Dressed state_dressed[] = {
    { "D43-state-looks-at-nothing-else", VIRTIO_MEM_REQ_STATE, false },
    { "D44-state-ignores-padding", VIRTIO_MEM_REQ_STATE, true },
};

/* This test checks that garbage in and around a request is not looked at. */
static void test_dressed(QVirtioMem *mem, const void *row)
{
    const Dressed *dressed = row;
    const QVirtioMemShape amid_garbage = { 200, 200, 100, 100 };
    int i;

    for (i = 0; i < 16; i++) {
        assert_obeyed(mem, dressed->type, dressed->random_padding ?
                      &qvirtio_mem_plain : &amid_garbage,
                      dressed->random_padding);
    }
}

/* PLUG, UNPLUG and STATE: ranges that no request can be about */

typedef enum Origin {
    REGION_START,
    USABLE_END,
    REGION_END,
    ADDRESS_ZERO,
} Origin;

typedef struct BadRange {
    const char *name;
    /* Where the range starts: an offset in blocks and bytes from there */
    Origin from;
    int64_t blocks;
    int64_t bytes;
    uint16_t nb_blocks;
} BadRange;

/* Where these touch the usable region, a request can be about what is in it */
static const BadRange bad_ranges[] = {
    { "of-no-blocks", REGION_START, 0, 0, 0 },
    { "one-byte-above-a-block", REGION_START, 0, 1, 1 },
    { "half-a-block-above-a-block", REGION_START, 0, BLOCK / 2, 1 },
    { "one-byte-below-a-block", REGION_START, 1, -1, 1 },
    { "just-below-the-region", REGION_START, -1, 0, 1 },
    { "from-below-into-the-region", REGION_START, -1, 0, 2 },
    { "of-boot-memory", ADDRESS_ZERO, 0, 0, 1 },
    { "from-address-zero-into-the-region", ADDRESS_ZERO, 0, 0, UINT16_MAX },
    { "last-block-past-usable-region", USABLE_END, -1, 0, 2 },
    { "just-past-the-usable-region", USABLE_END, 0, 0, 1 },
    { "of-the-regions-last-block-while-not-usable", REGION_END, -1, 0, 1 },
    { "just-past-the-region", REGION_END, 0, 0, 1 },
    { "far-past-the-region", REGION_END, 1 << 30, 0, 1 },
    { "of-as-many-blocks-as-fit-the-field", REGION_START, 0, 0, UINT16_MAX },
    { "whose-end-is-the-end-of-all-addresses", ADDRESS_ZERO, -1, 0, 1 },
    { "whose-end-wraps-around-to-address-zero", ADDRESS_ZERO, -1, 0, 2 },
    { "whose-end-wraps-around-into-the-region",
      REGION_START, 1 - (int64_t)UINT16_MAX, 0, UINT16_MAX },
};

/* A bad range, and the type of request that asks about it */
typedef struct BadRequest {
    const BadRange *range;
    uint16_t type;
} BadRequest;

static uint64_t bad_addr(QVirtioMem *mem, const BadRange *range)
{
    uint64_t addr = 0;

    switch (range->from) {
    case REGION_START:
        addr = mem->addr;
        break;
    case USABLE_END:
        addr = mem->addr + usable_size(mem);
        break;
    case REGION_END:
        addr = mem->addr + mem->region_size;
        break;
    case ADDRESS_ZERO:
        break;
    }
    return addr + range->blocks * BLOCK + range->bytes;
}

/* This test checks that such a range is an error and has no effect. */
static void test_bad_range(QVirtioMem *mem, const void *row)
{
    const BadRequest *bad = row;
    int64_t last = usable_nb(mem) - 1;
    g_autofree char *before = NULL;

    g_assert_cmphex(usable_size(mem), <, REGION);
    if (bad->type != VIRTIO_MEM_REQ_PLUG) {
        assert_ack(plug(mem, 0, 3));
        assert_ack(plug(mem, last, 1));
    }
    before = picture(mem);
    assert_error(ask(mem, bad->type, bad_addr(mem, bad->range),
                     bad->range->nb_blocks));
    assert_unchanged(mem, before);

    /* ... while the blocks next to it are fine */
    assert_ack(ask(mem, bad->type, block_addr(mem, 0), 3));
    assert_ack(ask(mem, bad->type, block_addr(mem, last), 1));
}

/* PLUG, UNPLUG and STATE, which must all see that the range is bad */
static void assert_bad_for_all(QVirtioMem *mem, uint64_t addr,
                               uint16_t nb_blocks)
{
    g_autofree char *before = picture(mem);

    assert_error(ask(mem, VIRTIO_MEM_REQ_PLUG, addr, nb_blocks));
    assert_error(ask(mem, VIRTIO_MEM_REQ_UNPLUG, addr, nb_blocks));
    assert_error(ask(mem, VIRTIO_MEM_REQ_STATE, addr, nb_blocks));
    assert_unchanged(mem, before);
}

/* This test checks the end of the region, where no unusable part follows. */
static void test_past_region(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    assert_bad_for_all(mem, block_addr(mem, REGION_NB), 1);
    assert_bad_for_all(mem, block_addr(mem, REGION_NB - 1), 2);
    assert_ack(plug(mem, 0, REGION_NB));
    assert_bad_for_all(mem, block_addr(mem, REGION_NB), 1);
    assert_bad_for_all(mem, block_addr(mem, REGION_NB - 1), 2);
    assert_bad_for_all(mem, block_addr(mem, 0), REGION_NB + 1);
}

/* This test checks that the smallest blocks have to be aligned as well. */
static void test_off_small_blocks(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 4, 4));
    assert_bad_for_all(mem, block_addr(mem, 4) + MiB / 2, 1);
    assert_bad_for_all(mem, block_addr(mem, 4) + 4 * KiB, 1);
    assert_bad_for_all(mem, block_addr(mem, 4) + 1, 1);
    assert_bad_for_all(mem, block_addr(mem, 9) + MiB / 2, 1);
    assert_ack(plug(mem, 9, 1));
}

/* PLUG of plugged and UNPLUG of unplugged blocks, over the pattern */

typedef struct Overlap {
    const char *name;
    uint16_t type;
    int64_t first;
    uint16_t nb_blocks;
} Overlap;

static const Overlap plug_overlaps[] = {
    { "D26-plug-of-plugged-blocks-is-an-error", VIRTIO_MEM_REQ_PLUG, 4, 4 },
    { "D26-plug-of-one-plugged-block-is-an-error",
      VIRTIO_MEM_REQ_PLUG, 12, 1 },
    { "D26-plug-whose-first-block-is-plugged-is-an-error",
      VIRTIO_MEM_REQ_PLUG, 7, 2 },
    { "D26-plug-whose-last-block-is-plugged-is-an-error",
      VIRTIO_MEM_REQ_PLUG, 2, 3 },
    { "D26-plug-with-a-plugged-block-inside-is-an-error",
      VIRTIO_MEM_REQ_PLUG, 11, 3 },
};

static const Overlap unplug_overlaps[] = {
    { "D33-unplug-of-unplugged-blocks-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 0, 4 },
    { "D33-unplug-of-one-unplugged-block-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 8, 1 },
    { "D33-unplug-whose-first-block-is-unplugged-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 3, 2 },
    { "D33-unplug-whose-last-block-is-unplugged-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 6, 3 },
    { "D33-unplug-with-an-unplugged-block-inside-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 7, 3 },
};

/* This test checks that such a range is an error and has no effect. */
static void test_overlap(QVirtioMem *mem, const void *row)
{
    const Overlap *overlap = row;

    plug_pattern(mem);
    assert_error(ask(mem, overlap->type, block_addr(mem, overlap->first),
                     overlap->nb_blocks));
    assert_pattern(mem);
}

/* PLUG */

/* This test checks that exactly the blocks asked for are plugged. */
static void test_plug_acks(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    assert_pattern(mem);
}

/* This test checks the two ends of what can be plugged. */
static void test_plug_ends(QVirtioMem *mem, const void *row)
{
    int64_t last = usable_nb(mem) - 1;

    assert_ack(plug(mem, 0, 1));
    assert_ack(plug(mem, last, 1));
    assert_plugged(mem, 0, 1);
    assert_unplugged(mem, 1, last - 1);
    assert_plugged(mem, last, 1);
}

/* This test checks that the size is right when the answer arrives. */
static void test_plug_counts(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 1));
    g_assert_cmphex(plugged_size(mem), ==, 1 * BLOCK);
    assert_ack(plug(mem, 10, 7));
    g_assert_cmphex(plugged_size(mem), ==, 8 * BLOCK);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "size"), ==, 8 * BLOCK);
}

/* This test checks that a driver can get all that was requested. */
static void test_plug_reaches_target(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, REQUESTED_NB - 1));
    assert_ack(plug(mem, REQUESTED_NB + 1, 1));
    g_assert_cmphex(plugged_size(mem), ==, REQUESTED);
}

/* This test checks that one block more than requested is rejected. */
static void test_plug_past_target(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = picture(mem);

    assert_nack(plug(mem, 0, REQUESTED_NB + 1));
    assert_unchanged(mem, before);
}

/* This test checks that nothing can be plugged once the target is reached. */
static void test_plug_at_target(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;

    assert_ack(plug(mem, 0, REQUESTED_NB));
    before = picture(mem);
    assert_nack(plug(mem, REQUESTED_NB, 1));
    assert_unchanged(mem, before);
    set_requested(mem, REQUESTED + BLOCK);
    assert_ack(plug(mem, REQUESTED_NB, 1));
}

/* This test checks that a target below the plugged size rejects PLUG. */
static void test_plug_above_target(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    set_requested(mem, 2 * BLOCK);
    assert_nack(plug(mem, 0, 1));
    assert_pattern(mem);
}

/* Requests nothing, and has something usable all the same (D08) */
static void request_nothing(QVirtioMem *mem)
{
    set_requested(mem, BLOCK);
    set_requested(mem, 0);
}

/* This test checks that nothing can be plugged while nothing is requested. */
static void test_plug_without_target(QVirtioMem *mem, const void *row)
{
    request_nothing(mem);
    assert_nack(plug(mem, 0, 1));
    g_assert_cmphex(plugged_size(mem), ==, 0);
}

/* This test checks that a bad range past the target is told to be bad. */
static void test_error_before_nack(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;

    assert_ack(plug(mem, 0, REQUESTED_NB));
    before = picture(mem);
    assert_nack(plug(mem, REQUESTED_NB, 1));
    assert_error(plug(mem, 0, 1));
    assert_error(plug(mem, REQUESTED_NB - 1, 2));
    assert_error(plug(mem, usable_nb(mem), 1));
    assert_error(plug(mem, REQUESTED_NB, 0));
    assert_error(ask(mem, VIRTIO_MEM_REQ_PLUG,
                     block_addr(mem, REQUESTED_NB) + 1, 1));
    assert_unchanged(mem, before);
}

/* UNPLUG */

/* This test checks that a range is cut out of the middle of another. */
static void test_unplug_acks(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 4, 9));
    assert_ack(unplug(mem, 8, 1));
    assert_ack(unplug(mem, 11, 1));
    assert_pattern(mem);
}

/* This test checks the two ends of what can be unplugged. */
static void test_unplug_ends(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    assert_ack(plug(mem, 0, REGION_NB));
    assert_ack(unplug(mem, 0, 1));
    assert_ack(unplug(mem, REGION_NB - 1, 1));
    assert_unplugged(mem, 0, 1);
    assert_plugged(mem, 1, REGION_NB - 2);
    assert_unplugged(mem, REGION_NB - 1, 1);
}

/* This test checks that the size is right when the answer arrives. */
static void test_unplug_counts(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 8));
    assert_ack(unplug(mem, 2, 5));
    g_assert_cmphex(plugged_size(mem), ==, 3 * BLOCK);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "size"), ==, 3 * BLOCK);
    assert_ack(unplug(mem, 7, 1));
    g_assert_cmphex(plugged_size(mem), ==, 2 * BLOCK);
}

/* This test checks that a driver may give back more than it was asked to. */
static void test_unplug_below_target(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, REQUESTED_NB));
    assert_ack(unplug(mem, 0, REQUESTED_NB));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_ack(plug(mem, 0, REQUESTED_NB));
}

/* UNPLUG_ALL */

/* This test checks that scattered blocks all go, and can come back. */
static void test_unplug_all_acks(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    assert_ack(plug(mem, 0, 1));
    assert_ack(plug(mem, usable_nb(mem) - 1, 1));
    assert_ack(unplug_all(mem));
    assert_unplugged(mem, 0, usable_nb(mem));
    plug_pattern(mem);
    assert_pattern(mem);
}

/* This test checks that there may be nothing to unplug. */
static void test_unplug_all_of_nothing(QVirtioMem *mem, const void *row)
{
    assert_ack(unplug_all(mem));
    assert_ack(unplug_all(mem));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_ack(plug(mem, 0, 1));
}

/* This test checks that UNPLUG_ALL needs no more than its header. */
static void test_short_unplug_all(QVirtioMem *mem, const void *row)
{
    const QVirtioMemShape header_only = { 8, 8, 10, 10 };

    assert_obeyed(mem, VIRTIO_MEM_REQ_UNPLUG_ALL, &header_only, false);
}

/* This test checks that no size remains when the answer arrives. */
static void test_unplug_all_counts(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    assert_ack(unplug_all(mem));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "size"), ==, 0);
}

/* This test checks that the region may have more blocks than 16 bits count. */
static void test_unplug_all_of_many(QVirtioMem *mem, const void *row)
{
    int64_t nb_blocks = mem->region_size / mem->block_size;
    int64_t rest = nb_blocks - UINT16_MAX;

    g_assert_cmpint(rest, >, 1);
    assert_ack(plug(mem, 0, UINT16_MAX));
    assert_ack(plug(mem, UINT16_MAX, rest));
    g_assert_cmphex(plugged_size(mem), ==, mem->region_size);
    stamp(mem, 0, 1);
    stamp(mem, nb_blocks - 1, 2);
    assert_stamp(mem, 0, 1);
    assert_stamp(mem, nb_blocks - 1, 2);

    assert_ack(unplug_all(mem));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_unplugged(mem, 0, UINT16_MAX);
    assert_unplugged(mem, UINT16_MAX, rest);
    assert_ack(plug(mem, nb_blocks - 1, 1));
    assert_zero(mem, nb_blocks - 1);
}

/* STATE, over the pattern */

typedef struct Look {
    const char *name;
    int64_t first;
    uint16_t nb_blocks;
    uint16_t expected;
} Look;

static const Look looks[] = {
    { "D47-state-of-plugged-blocks-is-plugged",
      4, 4, VIRTIO_MEM_STATE_PLUGGED },
    { "D47-state-of-one-plugged-block-is-plugged",
      12, 1, VIRTIO_MEM_STATE_PLUGGED },
    { "D47-state-of-some-of-the-plugged-blocks-is-plugged",
      5, 2, VIRTIO_MEM_STATE_PLUGGED },
    { "D48-state-of-unplugged-blocks-is-unplugged",
      13, 100, VIRTIO_MEM_STATE_UNPLUGGED },
    { "D48-state-of-the-first-block-is-unplugged",
      0, 1, VIRTIO_MEM_STATE_UNPLUGGED },
    { "D48-state-of-a-hole-of-one-block-is-unplugged",
      8, 1, VIRTIO_MEM_STATE_UNPLUGGED },
    { "D49-state-is-mixed-by-the-first-block",
      3, 5, VIRTIO_MEM_STATE_MIXED },
    { "D49-state-is-mixed-by-the-last-block",
      4, 5, VIRTIO_MEM_STATE_MIXED },
    { "D49-state-is-mixed-by-an-unplugged-block-inside",
      7, 3, VIRTIO_MEM_STATE_MIXED },
    { "D49-state-is-mixed-by-a-plugged-block-inside",
      11, 3, VIRTIO_MEM_STATE_MIXED },
    { "D49-state-of-one-block-each-is-mixed", 12, 2, VIRTIO_MEM_STATE_MIXED },
};

/* This test checks the state that is told of such a range. */
static void test_look(QVirtioMem *mem, const void *row)
{
    const Look *look = row;

    plug_pattern(mem);
    g_assert_cmpuint(state(mem, look->first, look->nb_blocks), ==,
                     look->expected);
    assert_pattern(mem);
}

/* This test checks STATE of the whole region, in all three states. */
static void test_state_of_region(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    assert_unplugged(mem, 0, REGION_NB);
    assert_ack(plug(mem, REGION_NB - 1, 1));
    g_assert_cmpuint(state(mem, 0, REGION_NB), ==, VIRTIO_MEM_STATE_MIXED);
    assert_plugged(mem, REGION_NB - 1, 1);
    assert_ack(plug(mem, 0, REGION_NB - 1));
    assert_plugged(mem, 0, REGION_NB);
}

/* This test checks that STATE is answered when there is nothing to plug. */
static void test_state_always_acks(QVirtioMem *mem, const void *row)
{
    int64_t last = usable_nb(mem) - 1;

    plug_pattern(mem);
    set_requested(mem, 0);
    assert_unplugged(mem, 0, 1);
    assert_unplugged(mem, last, 1);
    assert_plugged(mem, 4, 4);
    g_assert_cmpuint(state(mem, 0, last + 1), ==, VIRTIO_MEM_STATE_MIXED);
    assert_pattern(mem);
}

/* Any requests in any order, against a model: a map as block_map() draws it */

static uint16_t expected_answer(const char *model, uint16_t type,
                                int64_t first, int64_t nb_blocks)
{
    int64_t usable = strlen(model);
    char from = type == VIRTIO_MEM_REQ_PLUG ? '.' : '#';
    int64_t plugged = 0;
    int64_t i;

    if (!nb_blocks || first < 0 || first + nb_blocks > usable) {
        return VIRTIO_MEM_RESP_ERROR;
    }
    for (i = first; i < first + nb_blocks; i++) {
        if (model[i] != from) {
            return VIRTIO_MEM_RESP_ERROR;
        }
    }
    for (i = 0; i < usable; i++) {
        plugged += model[i] == '#';
    }
    if (type == VIRTIO_MEM_REQ_PLUG && plugged + nb_blocks > REQUESTED_NB) {
        return VIRTIO_MEM_RESP_NACK;
    }
    return VIRTIO_MEM_RESP_ACK;
}

/* This test checks a thousand random requests against the model. */
static void test_random_walk(QVirtioMem *mem, const void *row)
{
    g_autofree char *model = g_strnfill(usable_nb(mem), '.');
    g_autofree char *map = NULL;
    uint64_t plugged = 0;
    int i;

    for (i = 0; i < 1000; i++) {
        bool in = g_test_rand_int_range(0, 3);
        uint16_t type = in ? VIRTIO_MEM_REQ_PLUG : VIRTIO_MEM_REQ_UNPLUG;
        int64_t nb_blocks = g_test_rand_int_range(0, 6);
        int64_t first = g_test_rand_int_range(-1, 60);
        uint16_t expected = expected_answer(model, type, first, nb_blocks);

        g_assert_cmpuint(ask(mem, type, block_addr(mem, first), nb_blocks), ==,
                         expected);
        if (expected == VIRTIO_MEM_RESP_ACK) {
            memset(model + first, in ? '#' : '.', nb_blocks);
            plugged += (in ? nb_blocks : -nb_blocks) * BLOCK;
        }
        g_assert_cmphex(plugged_size(mem), ==, plugged);
    }
    map = block_map(mem);
    g_assert_cmpstr(map, ==, model);
}

/* The queue: requests in unusual but legal shapes */

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
    struct virtio_mem_req req = make_request(VIRTIO_MEM_REQ_PLUG,
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

/* The queue: many requests */

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
        req = make_request(VIRTIO_MEM_REQ_PLUG, block_addr(mem, i), 1);
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
        req = make_request(steps[i].type, block_addr(mem, 0), 1);
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

/* Malformed requests: the device stops until the driver resets it */

/* How many descriptors of the queue the device holds on to */
static int64_t descriptors_in_use(QVirtioMem *mem)
{
    QDict *status;
    int64_t inuse;

    status = qtest_qmp_assert_success_ref(qvirtio_mem_qts(mem),
                                          "{ 'execute':"
                                          "  'x-query-virtio-queue-status',"
                                          "  'arguments': { 'path': %s,"
                                          "  'queue': 0 } }",
                                          VMEM_PATH "/virtio-backend");
    inuse = qdict_get_int(status, "inuse");
    qobject_unref(status);
    return inuse;
}

/* The device stopped without an answer and let go of the request. */
static void assert_stopped(QVirtioMem *mem)
{
    qvirtio_mem_wait_needs_reset(mem);
    g_assert_false(qvirtqueue_get_buf(qvirtio_mem_qts(mem), mem->vq,
                                      NULL, NULL));
    g_assert_cmpint(descriptors_in_use(mem), ==, 0);
}

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
    struct virtio_mem_req req = make_request(bad->type,
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
    struct virtio_mem_req req = make_request(VIRTIO_MEM_REQ_PLUG,
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
        req = make_request(VIRTIO_MEM_REQ_PLUG, block_addr(mem, i), 1);
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
}

/* The device answered, or stopped, or reset itself by what it wrote. */
static void wait_outcome(QVirtioMem *mem)
{
    gint64 deadline = g_get_monotonic_time() + 120 * G_USEC_PER_SEC;
    uint8_t status;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        status = mem->vdev->bus->get_status(mem->vdev);
    } while (status && !(status & VIRTIO_CONFIG_S_NEEDS_RESET) &&
             !qvirtqueue_get_buf(qvirtio_mem_qts(mem), mem->vq, NULL, NULL));
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
    device_reset(mem);
    assert_consistent(mem);
    assert_ack(plug(mem, 20, 1));
    assert_ack(unplug_all(mem));
}

/* Memory of the guest that holds a PLUG of the first block */
static uint64_t plug_in_memory(QVirtioMem *mem)
{
    struct virtio_mem_req req = make_request(VIRTIO_MEM_REQ_PLUG,
                                             block_addr(mem, 0), 1);
    uint64_t addr = guest_alloc(mem->alloc, sizeof(req));

    qtest_memwrite(qvirtio_mem_qts(mem), addr, &req, sizeof(req));
    return addr;
}

/* This test checks that the device's own registers are no trap for it. */
static void test_registers_as_buffers(QVirtioMem *mem, const void *row)
{
    QVirtQueuePCI *vqpci = container_of(mem->vq, QVirtQueuePCI, vq);
    uint64_t bar = mem->pci->bar.addr;
    uint64_t common = bar + mem->pci->common_cfg_offset;
    uint64_t notify = bar + vqpci->notify_offset;
    uint64_t request = plug_in_memory(mem);
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
    uint64_t request = plug_in_memory(mem);
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
    struct virtio_mem_req req = make_request(VIRTIO_MEM_REQ_UNPLUG,
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
}

/* Management: queries and settings */

/* This test checks each field of query-memory-devices. */
static void test_query(QVirtioMem *mem, const void *row)
{
    QDict *device;

    assert_ack(plug(mem, 0, 3));
    device = memory_device(mem, "vmem0");
    g_assert_cmphex(qdict_get_int(device, "memaddr"), ==, mem->addr);
    g_assert_cmphex(qdict_get_int(device, "requested-size"), ==, REQUESTED);
    g_assert_cmphex(qdict_get_int(device, "size"), ==, 3 * BLOCK);
    g_assert_cmphex(qdict_get_int(device, "max-size"), ==, REGION);
    g_assert_cmphex(qdict_get_int(device, "block-size"), ==, BLOCK);
    g_assert_cmpint(qdict_get_int(device, "node"), ==, 0);
    g_assert_cmpstr(qdict_get_str(device, "memdev"), ==, "/objects/mem0");
    qobject_unref(device);
}

static void assert_line(const char *text, const char *key, uint64_t value)
{
    g_autofree char *line = g_strdup_printf("  %s: %" PRIu64 "\r\n", key,
                                            value);

    g_assert_nonnull(strstr(text, line));
}

/* This test checks that people at the monitor are told the same. */
static void test_info_memory_devices(QVirtioMem *mem, const void *row)
{
    g_autofree char *text = NULL;

    assert_ack(plug(mem, 0, 3));
    text = qtest_hmp(qvirtio_mem_qts(mem), "info memory-devices");
    g_assert_nonnull(strstr(text, "Memory device [virtio-mem]: \"vmem0\""));
    g_assert_nonnull(strstr(text, "memdev: /objects/mem0"));
    assert_line(text, "node", 0);
    assert_line(text, "requested-size", REQUESTED);
    assert_line(text, "size", 3 * BLOCK);
    assert_line(text, "max-size", REGION);
    assert_line(text, "block-size", BLOCK);
}

/* This test checks that plugged memory counts for its node. */
static void test_info_numa(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    before = qtest_hmp(qvirtio_mem_qts(mem), "info numa");
    g_assert_nonnull(strstr(before, "node 1 size: 0 MB"));
    g_assert_nonnull(strstr(before, "node 1 plugged: 0 MB"));
    assert_ack(plug(mem, 0, 3));
    after = qtest_hmp(qvirtio_mem_qts(mem), "info numa");
    g_assert_nonnull(strstr(after, "node 0 plugged: 0 MB"));
    g_assert_nonnull(strstr(after, "node 1 size: 6 MB"));
    g_assert_nonnull(strstr(after, "node 1 plugged: 6 MB"));
}

/* This test checks that the target reads back as it was set. */
static void test_target_reads_back(QVirtioMem *mem, const void *row)
{
    const uint64_t sizes[] = { 0, BLOCK, 600 * MiB, REGION };
    int i;

    g_assert_cmphex(get_property(mem, VMEM_PATH, "requested-size"), ==,
                    REQUESTED);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        set_requested(mem, sizes[i]);
        g_assert_cmphex(get_property(mem, VMEM_PATH, "requested-size"), ==,
                        sizes[i]);
        g_assert_cmphex(qvirtio_mem_config(mem).requested_size, ==, sizes[i]);
    }
}

typedef struct BadTarget {
    const char *name;
    uint64_t size;
} BadTarget;

static const BadTarget bad_targets[] = {
    { "qmp-refuses-a-target-one-byte-above-blocks", REQUESTED + 1 },
    { "qmp-refuses-a-target-a-page-above-blocks", REQUESTED + 4 * KiB },
    { "qmp-refuses-a-target-of-half-a-block", BLOCK / 2 },
    { "qmp-refuses-a-target-of-one-block-too-many", REGION + BLOCK },
    { "qmp-refuses-a-target-that-is-right-in-its-low-32-bits",
      (1ull << 32) + REQUESTED },
    { "qmp-refuses-a-target-with-the-top-bit", 1ull << 63 },
    { "qmp-refuses-a-target-of-the-last-block-of-64-bits",
      UINT64_MAX - BLOCK + 1 },
    { "qmp-refuses-a-target-of-all-64-bits", UINT64_MAX },
};

/* This test checks that such a target is refused and has no effect. */
static void test_bad_target(QVirtioMem *mem, const void *row)
{
    const BadTarget *bad = row;
    g_autofree char *before = NULL;

    plug_pattern(mem);
    before = picture(mem);
    assert_set_refused(mem, "requested-size", bad->size);
    assert_unchanged(mem, before);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "requested-size"), ==,
                    REQUESTED);
    g_assert_false(qvirtio_mem_take_irq(mem, QVIRTIO_MEM_CONFIG_IRQ));
}

/* This test checks that what the guest was promised cannot be set anew. */
static void test_fixed_properties(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = picture(mem);

    assert_set_refused(mem, "size", BLOCK);
    assert_set_refused(mem, "block-size", 2 * BLOCK);
    assert_set_refused(mem, "memaddr", 6 * GiB);
    assert_set_refused(mem, "node", 1);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "block-size"), ==, BLOCK);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "memaddr"), ==, mem->addr);
    assert_unchanged(mem, before);
}

/* Management: the event */

/* Waits for the event and checks that it tells of this size. */
static void assert_event(QVirtioMem *mem, uint64_t size)
{
    QDict *event = qtest_qmp_eventwait_ref(qvirtio_mem_qts(mem), SIZE_EVENT);
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "id"), ==, "vmem0");
    g_assert_cmphex(qdict_get_int(data, "size"), ==, size);
    g_assert_cmphex(get_property(mem, qdict_get_str(data, "qom-path"), "size"),
                    ==, size);
    qobject_unref(event);
}

/* An event that was sent before a command was answered has arrived by then. */
static void assert_no_event(QVirtioMem *mem)
{
    get_property(mem, VMEM_PATH, "size");
    g_assert_null(qtest_qmp_event_ref(qvirtio_mem_qts(mem), SIZE_EVENT));
}

static void let_a_second_pass(QVirtioMem *mem)
{
    qtest_clock_step(qvirtio_mem_qts(mem), NANOSECONDS_PER_SECOND + 1);
}

/* This test checks that managers hear of changes, at most once a second. */
static void test_event(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 3));
    assert_event(mem, 3 * BLOCK);
    assert_ack(plug(mem, 3, 3));
    assert_ack(unplug(mem, 0, 1));
    assert_no_event(mem);
    let_a_second_pass(mem);
    assert_event(mem, 5 * BLOCK);
    assert_no_event(mem);
}

/* This test checks that the event comes after UNPLUG too. */
static void test_event_after_unplug(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 3));
    assert_event(mem, 3 * BLOCK);
    assert_ack(unplug(mem, 0, 3));
    let_a_second_pass(mem);
    assert_event(mem, 0);
}

/* This test checks that the event comes after UNPLUG_ALL too. */
static void test_event_after_unplug_all(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 3));
    assert_event(mem, 3 * BLOCK);
    assert_ack(unplug_all(mem));
    let_a_second_pass(mem);
    assert_event(mem, 0);
}

/* This test checks that the event comes after a system reset too. */
static void test_event_after_system_reset(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 3));
    assert_event(mem, 3 * BLOCK);
    system_reset(mem);
    let_a_second_pass(mem);
    assert_event(mem, 0);
}

/* This test checks that there is no event when nothing was (un)plugged. */
static void test_no_event(QVirtioMem *mem, const void *row)
{
    assert_error(plug(mem, -1, 1));
    assert_nack(plug(mem, 0, REQUESTED_NB + 1));
    assert_error(unplug(mem, 0, 1));
    assert_unplugged(mem, 0, 1);
    set_requested(mem, 0);
    assert_no_event(mem);
}

/* Management: removal */

static void assert_device_del_refused(QVirtioMem *mem)
{
    QDict *error;

    error = qtest_qmp_assert_failure_ref(qvirtio_mem_qts(mem),
                                         "{ 'execute': 'device_del',"
                                         "  'arguments': { 'id': 'vmem0' } }");
    qobject_unref(error);
    assert_ack(ask(mem, VIRTIO_MEM_REQ_STATE, block_addr(mem, 0), 1));
}

/* This test checks that a device whose memory is in use cannot go. */
static void test_device_del_plugged(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 1));
    set_requested(mem, 0);
    assert_device_del_refused(mem);
}

/* This test checks that a device that still has a target cannot go. */
static void test_device_del_requested(QVirtioMem *mem, const void *row)
{
    assert_device_del_refused(mem);
}

/* This test checks that a device whose unplugged memory is read cannot go. */
static void test_device_del_readable(QVirtioMem *mem, const void *row)
{
    request_nothing(mem);
    assert_device_del_refused(mem);
}

/* This test checks that a device that nobody needs may go. */
static void test_device_del(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 1));
    assert_ack(unplug(mem, 0, 1));
    set_requested(mem, 0);
    qtest_qmp_assert_success(qvirtio_mem_qts(mem),
                             "{ 'execute': 'device_del',"
                             "  'arguments': { 'id': 'vmem0' } }");
}

/* This test checks that a reset may remove a device whose guest is silent. */
static void test_device_del_by_reset(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    QDict *answer;

    test_device_del(mem, row);
    qtest_system_reset(qts);
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
    answer = qtest_qmp(qts, "{ 'execute': 'query-memory-devices' }");
    g_assert_true(qlist_empty(qdict_get_qlist(answer, "return")));
    qobject_unref(answer);
    qtest_system_reset(qts);
    qtest_qmp_assert_success(qts, "{ 'execute': 'query-status' }");
}

/* This test checks that the backend stays as long as the device does. */
static void test_backend_in_use(QVirtioMem *mem, const void *row)
{
    QDict *error;

    error = qtest_qmp_assert_failure_ref(qvirtio_mem_qts(mem),
                                         "{ 'execute': 'object-del',"
                                         "  'arguments': { 'id': 'mem0' } }");
    qobject_unref(error);
    assert_ack(plug(mem, 0, 1));
    stamp(mem, 0, 1);
    assert_stamp(mem, 0, 1);
}

/* The list */

#define TWO_NODES \
    "-object memory-backend-ram,id=ram0,size=128M " \
    "-numa node,nodeid=0,memdev=ram0 -numa node,nodeid=1"
#define SHARED_BACKEND \
    "-object memory-backend-memfd,id=shared,size=1G,reserve=off"
#define HUGE_BACKEND \
    "-m maxmem=256G " \
    "-object memory-backend-ram,id=huge,size=160G,reserve=off"
#define SECOND_DEVICE \
    "-object memory-backend-ram,id=mem1,size=1G,reserve=off " \
    "-device virtio-mem-pci,id=vmem1,addr=05.0,memdev=mem1,block-size=2M"

static const Case device_cases[] = {
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
    { "D03-plugged-size-is-that-of-the-plugged-blocks", test_random_walk },
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

    { "D18-a-plugged-block-is-ram", test_plugged_is_ram },
    { "D19-unplug-discards-contents", test_unplug_discards },
    { "D19-unplug-discards-contents-of-shared-memory", test_unplug_discards,
      DEFAULT_DEVICE ",memdev=shared", SHARED_BACKEND },
    { "D19-unplug-all-discards-contents", test_unplug_all_discards },
    { "D19-unplug-all-discards-what-no-guest-may-use",
      test_unplug_all_discards_region },
    { "D19-unplug-all-discards-contents-of-shared-memory",
      test_unplug_all_discards, DEFAULT_DEVICE ",memdev=shared",
      SHARED_BACKEND },
    { "D20-requests-keep-contents-of-other-blocks",
      test_neighbours_keep_bytes },
    { "D20-a-lower-target-takes-nothing-away", test_target_takes_nothing },
    { "D21-every-byte-of-a-plugged-block-reads-back",
      test_plugged_is_usable },
    { "D21-every-block-of-the-region-reads-back",
      test_whole_region_is_usable },
    { "D22-unplugged-memory-can-be-read-without-UNPLUGGED_INACCESSIBLE",
      test_unplugged_is_readable,
      DEFAULT_DEVICE ",unplugged-inaccessible=off" },
};

static const Case plug_cases[] = {
    { "D25-no-request-reaches-past-the-region-when-all-is-usable",
      test_past_region },
    { "D25-no-request-may-be-off-a-1M-block", test_off_small_blocks,
      "block-size=1M,requested-size=64M" },
    { "D28-plug-plugs-exactly-its-blocks", test_plug_acks },
    { "D28-plug-reaches-both-ends-of-the-usable-region", test_plug_ends },
    { "D29-plugged-size-has-grown-when-plug-is-acked", test_plug_counts },
    { "D50-plug-up-to-the-target-is-acked", test_plug_reaches_target },
    { "D50-plug-past-the-target-is-nacked", test_plug_past_target },
    { "D50-plug-at-the-target-is-nacked", test_plug_at_target },
    { "D50-plug-above-a-lowered-target-is-nacked", test_plug_above_target },
    { "D50-plug-without-a-target-is-nacked", test_plug_without_target,
      "block-size=2M" },
    { "D50-an-error-goes-before-a-nack", test_error_before_nack },
};

static const Case unplug_cases[] = {
    { "D35-unplug-unplugs-exactly-its-blocks", test_unplug_acks },
    { "D35-unplug-reaches-both-ends-of-the-region", test_unplug_ends },
    { "D35-unplug-below-the-target-is-allowed", test_unplug_below_target },
    { "D36-plugged-size-has-shrunk-when-unplug-is-acked",
      test_unplug_counts },
    { "D40-unplug-all-unplugs-scattered-blocks", test_unplug_all_acks },
    { "D40-unplug-all-of-nothing-is-acked", test_unplug_all_of_nothing },
    { "D40-unplug-all-needs-no-more-than-a-header", test_short_unplug_all },
    { "D41-plugged-size-is-zero-when-unplug-all-is-acked",
      test_unplug_all_counts },
    { "D41-unplug-all-unplugs-more-blocks-than-16-bits-count",
      test_unplug_all_of_many,
      "memdev=huge,block-size=2M,requested-size=160G", HUGE_BACKEND },
    { "D42-unplug-all-fits-the-usable-region-to-the-target",
      test_unplug_all_fits_usable },
};

static const Case state_cases[] = {
    { "D46-state-is-always-acked", test_state_always_acks },
    { "D47-state-of-the-whole-region", test_state_of_region },
};

static const Case queue_cases[] = {
    { "queue-takes-indirect-descriptors", test_indirect },
    { "queue-interrupts-with-the-answer", test_answer_interrupts },
    { "queue-takes-several-requests-at-once", test_queued_requests },
    { "queue-answers-in-order", test_queued_in_order },
    { "queue-can-be-full", test_full_queue },
    { "queue-goes-round-in-2000-requests", test_many_requests },

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

static const Case management_cases[] = {
    { "qmp-query-memory-devices-tells-all", test_query },
    { "qmp-target-reads-back", test_target_reads_back },
    { "qmp-refuses-to-set-what-is-fixed", test_fixed_properties },
    { "qmp-event-comes-after-plug-and-once-a-second", test_event },
    { "qmp-event-comes-after-unplug", test_event_after_unplug },
    { "qmp-event-comes-after-unplug-all", test_event_after_unplug_all },
    { "qmp-event-comes-after-system-reset", test_event_after_system_reset },
    { "qmp-event-does-not-come-when-nothing-changed", test_no_event },
    { "qmp-device-del-is-refused-while-memory-is-plugged",
      test_device_del_plugged },
    { "qmp-device-del-is-refused-while-memory-is-requested",
      test_device_del_requested },
    { "qmp-device-del-is-refused-while-unplugged-memory-can-be-read",
      test_device_del_readable, "block-size=2M,unplugged-inaccessible=off" },
    { "qmp-device-del-is-accepted-when-nothing-is-plugged", test_device_del },
    { "qmp-device-del-is-finished-by-a-system-reset",
      test_device_del_by_reset },
    { "qmp-object-del-of-the-backend-is-refused", test_backend_in_use },
    { "hmp-info-memory-devices-tells-all", test_info_memory_devices },
    { "hmp-info-numa-counts-plugged-memory", test_info_numa,
      DEFAULT_DEVICE ",node=1", TWO_NODES },
};

/* Completes the command line; as the target outlives a reset, QEMU must not. */
static void *before_case(GString *cmd_line, void *arg)
{
    const Case *c = arg;

    qos_invalidate_command_line();
    if (c->machine) {
        g_string_append_printf(cmd_line, " %s", c->machine);
    }
    return arg;
}

static void run_case(void *obj, void *arg, QGuestAllocator *alloc)
{
    const Case *c = arg;

    c->run(obj, c->row);
}

static void add_case(const char *area, const Case *c)
{
    QOSGraphTestOptions opts = {
        .edge.extra_device_opts = c->device ?: DEFAULT_DEVICE,
        .before = before_case,
        .arg = (void *)c,
    };

    qos_add_test(c->name, area, run_case, &opts);
}

/* A case for a row of a table; it is needed until the program ends. */
static void add_row(const char *area, const char *name, CaseFunc *run,
                    const void *row)
{
    Case *c = g_new0(Case, 1);

    c->name = name;
    c->run = run;
    c->row = row;
    add_case(area, c);
}

static void add_bad_ranges(const char *area, const char *prefix, uint16_t type)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(bad_ranges); i++) {
        BadRequest *row = g_new0(BadRequest, 1);

        row->range = &bad_ranges[i];
        row->type = type;
        add_row(area, g_strdup_printf("%s-%s-is-an-error", prefix,
                                      bad_ranges[i].name),
                test_bad_range, row);
    }
}

#define ADD_CASES(area, cases) do {                         \
        int i_;                                             \
        for (i_ = 0; i_ < ARRAY_SIZE(cases); i_++) {        \
            add_case(area, &cases[i_]);                     \
        }                                                   \
    } while (0)

#define ADD_ROWS(area, rows, run) do {                      \
        int i_;                                             \
        for (i_ = 0; i_ < ARRAY_SIZE(rows); i_++) {         \
            add_row(area, rows[i_].name, run, &rows[i_]);   \
        }                                                   \
    } while (0)

static void register_virtio_mem_test(void)
{
    ADD_CASES("virtio-mem", device_cases);
    ADD_CASES("virtio-mem-plug", plug_cases);
    ADD_ROWS("virtio-mem-plug", plug_dressed, test_dressed);
    ADD_ROWS("virtio-mem-plug", plug_overlaps, test_overlap);
    add_bad_ranges("virtio-mem-plug", "D25-plug", VIRTIO_MEM_REQ_PLUG);
    ADD_CASES("virtio-mem-unplug", unplug_cases);
    ADD_ROWS("virtio-mem-unplug", unplug_dressed, test_dressed);
    ADD_ROWS("virtio-mem-unplug", unplug_overlaps, test_overlap);
    add_bad_ranges("virtio-mem-unplug", "D32-unplug", VIRTIO_MEM_REQ_UNPLUG);
    ADD_CASES("virtio-mem-state", state_cases);
    ADD_ROWS("virtio-mem-state", state_dressed, test_dressed);
    ADD_ROWS("virtio-mem-state", looks, test_look);
    add_bad_ranges("virtio-mem-state", "D45-state", VIRTIO_MEM_REQ_STATE);
    ADD_CASES("virtio-mem-queue", queue_cases);
    ADD_ROWS("virtio-mem-queue", legal_shapes, test_legal_shape);
    ADD_ROWS("virtio-mem-queue", malformed_rows, test_malformed);
    ADD_CASES("virtio-mem-management", management_cases);
    ADD_ROWS("virtio-mem-management", bad_targets, test_bad_target);
}

libqos_init(register_virtio_mem_test);
