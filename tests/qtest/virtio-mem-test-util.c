// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the cases of the virtio-mem qtests do to the device and expect of it:
 * see virtio-mem-test.h for what each function is for.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "virtio-mem-test.h"

/* Requests */

uint64_t block_addr(QVirtioMem *mem, int64_t index)
{
    return mem->addr + index * mem->block_size;
}

uint16_t ask(QVirtioMem *mem, uint16_t type, uint64_t addr, uint16_t nb_blocks)
{
    struct virtio_mem_req req = qvirtio_mem_req(type, addr, nb_blocks);

    return qvirtio_mem_send(mem, &req, &qvirtio_mem_plain).type;
}

uint16_t plug(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    return ask(mem, VIRTIO_MEM_REQ_PLUG, block_addr(mem, first), nb_blocks);
}

uint16_t unplug(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    return ask(mem, VIRTIO_MEM_REQ_UNPLUG, block_addr(mem, first), nb_blocks);
}

uint16_t unplug_all(QVirtioMem *mem)
{
    return ask(mem, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
}

uint16_t state(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    struct virtio_mem_req req = qvirtio_mem_req(VIRTIO_MEM_REQ_STATE,
                                                block_addr(mem, first),
                                                nb_blocks);
    struct virtio_mem_resp resp;

    resp = qvirtio_mem_send(mem, &req, &qvirtio_mem_plain);
    g_assert_cmpuint(resp.type, ==, VIRTIO_MEM_RESP_ACK);
    return resp.u.state.state;
}

void assert_ack(uint16_t type)
{
    g_assert_cmpuint(type, ==, VIRTIO_MEM_RESP_ACK);
}

void assert_nack(uint16_t type)
{
    g_assert_cmpuint(type, ==, VIRTIO_MEM_RESP_NACK);
}

void assert_error(uint16_t type)
{
    g_assert_cmpuint(type, ==, VIRTIO_MEM_RESP_ERROR);
}

void assert_busy(uint16_t type)
{
    g_assert_cmpuint(type, ==, VIRTIO_MEM_RESP_BUSY);
}

void assert_plugged(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    g_assert_cmpuint(state(mem, first, nb_blocks), ==,
                     VIRTIO_MEM_STATE_PLUGGED);
}

void assert_unplugged(QVirtioMem *mem, int64_t first, uint16_t nb_blocks)
{
    g_assert_cmpuint(state(mem, first, nb_blocks), ==,
                     VIRTIO_MEM_STATE_UNPLUGGED);
}

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

void assert_obeyed(QVirtioMem *mem, uint16_t type,
                   const QVirtioMemShape *shape, bool random_padding)
{
    struct virtio_mem_req req = qvirtio_mem_req(type, block_addr(mem, 4), 1);
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

/* What the device looks like */

uint64_t plugged_size(QVirtioMem *mem)
{
    return qvirtio_mem_config(mem).plugged_size;
}

uint64_t usable_size(QVirtioMem *mem)
{
    return qvirtio_mem_config(mem).usable_region_size;
}

int64_t usable_nb(QVirtioMem *mem)
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

char *block_map(QVirtioMem *mem)
{
    int64_t nb_blocks = usable_nb(mem);
    char *map = g_malloc0(nb_blocks + 1);

    draw(mem, 0, nb_blocks, map);
    return map;
}

char *picture(QVirtioMem *mem)
{
    struct virtio_mem_config config = qvirtio_mem_config(mem);
    g_autofree char *map = block_map(mem);

    return g_strdup_printf("requested 0x%" PRIx64 " usable 0x%" PRIx64
                           " plugged 0x%" PRIx64 " %s",
                           (uint64_t)config.requested_size,
                           (uint64_t)config.usable_region_size,
                           (uint64_t)config.plugged_size, map);
}

void assert_unchanged(QVirtioMem *mem, const char *before)
{
    g_autofree char *now = picture(mem);

    g_assert_cmpstr(now, ==, before);
}

/* The pattern */

#define PATTERN_MAP  "....####.##.#..."
#define PATTERN_SIZE (7 * BLOCK)

void plug_pattern(QVirtioMem *mem)
{
    assert_ack(plug(mem, 4, 4));
    assert_ack(plug(mem, 9, 2));
    assert_ack(plug(mem, 12, 1));
}

void assert_pattern(QVirtioMem *mem)
{
    g_autofree char *map = block_map(mem);
    size_t len = strlen(PATTERN_MAP);

    g_assert_cmpuint(strspn(map + len, "."), ==, strlen(map + len));
    map[len] = '\0';
    g_assert_cmpstr(map, ==, PATTERN_MAP);
    g_assert_cmpuint(plugged_size(mem), ==, PATTERN_SIZE);
}

/* Contents */

uint64_t last_word(QVirtioMem *mem, int64_t index)
{
    return block_addr(mem, index + 1) - sizeof(uint64_t);
}

void stamp(QVirtioMem *mem, int64_t index, uint64_t value)
{
    QTestState *qts = qvirtio_mem_qts(mem);

    qtest_writeq(qts, block_addr(mem, index), value);
    qtest_writeq(qts, last_word(mem, index), ~value);
}

void assert_stamp(QVirtioMem *mem, int64_t index, uint64_t value)
{
    QTestState *qts = qvirtio_mem_qts(mem);

    g_assert_cmphex(qtest_readq(qts, block_addr(mem, index)), ==, value);
    g_assert_cmphex(qtest_readq(qts, last_word(mem, index)), ==, ~value);
}

void assert_zero(QVirtioMem *mem, int64_t index)
{
    g_autofree uint8_t *bytes = g_malloc(mem->block_size);

    qtest_bufread(qvirtio_mem_qts(mem), block_addr(mem, index), bytes,
                  mem->block_size);
    g_assert_true(buffer_is_zero(bytes, mem->block_size));
}

bool is_ram(QVirtioMem *mem, uint64_t addr)
{
    g_autofree char *answer = qtest_hmp(qvirtio_mem_qts(mem),
                                        "gpa2hva 0x%" PRIx64, addr);

    return strstr(answer, "Host virtual address for") != NULL;
}

/* The size of the mapping gives the region away. */
/* Where QEMU has its only memory of REGION bytes */
static uint64_t host_address(QVirtioMem *mem)
{
    g_autofree char *text = qtest_hmp(qvirtio_mem_qts(mem), "info ramblock");
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    uint64_t size, address, found = 0;
    int i;

    for (i = 0; lines[i]; i++) {
        if (sscanf(lines[i], " %*s %*u %*s %*x %*x %" SCNx64 " %" SCNx64, &size,
                   &address) == 2 && size == REGION) {
            g_assert_cmphex(found, ==, 0);
            found = address;
        }
    }
    g_assert_cmphex(found, !=, 0);
    return found;
}

uint64_t host_resident(QVirtioMem *mem)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps",
                                            qtest_pid(qvirtio_mem_qts(mem)));
    uint64_t first = host_address(mem), start, end, resident, sum = 0;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    bool within = false;
    int i;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", 0);
    for (i = 0; lines[i]; i++) {
        if (sscanf(lines[i], "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2) {
            within = start >= first && end <= first + REGION;
        } else if (within &&
                   sscanf(lines[i], "Rss: %" SCNu64, &resident) == 1) {
            sum += resident;
        }
    }
    return sum * KiB;
}

/* Management */

void set_requested(QVirtioMem *mem, uint64_t size)
{
    qtest_qmp_assert_success(qvirtio_mem_qts(mem),
                             "{ 'execute': 'qom-set', 'arguments': {"
                             "  'path': %s, 'property': 'requested-size',"
                             "  'value': %" PRIu64 "} }", VMEM_PATH, size);
}

void request_nothing(QVirtioMem *mem)
{
    set_requested(mem, BLOCK);
    set_requested(mem, 0);
}

QDict *query_property(QVirtioMem *mem, const char *path, const char *property)
{
    QDict *answer = qtest_qmp(qvirtio_mem_qts(mem),
                              "{ 'execute': 'qom-get',"
                              "  'arguments': { 'path': %s, 'property': %s } }",
                              path, property);

    g_assert_true(qdict_haskey(answer, "return"));
    return answer;
}

uint64_t get_property(QVirtioMem *mem, const char *path, const char *property)
{
    g_autoptr(QDict) answer = query_property(mem, path, property);

    return qdict_get_int(answer, "return");
}

QDict *memory_device(QVirtioMem *mem, const char *id)
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

/* A host in trouble (tests/host.c) */

/* The file of a condition; NULL where the host is an ordinary one. */
static char *host_file(const char *condition)
{
    const char *host = g_getenv("TEST_HOST");

    return host ? g_build_filename(host, condition, NULL) : NULL;
}

void wait_until_host_is_stuck(void)
{
    gint64 deadline = g_get_monotonic_time() + 120 * G_USEC_PER_SEC;
    g_autofree char *sign = host_file("filling");

    while (sign && !g_file_test(sign, G_FILE_TEST_EXISTS)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}

void let_host_go_on(void)
{
    g_autofree char *want = host_file("no-memory");

    if (want) {
        g_unlink(want);
    }
    host_ends("slow");
}

bool host_begins(const char *condition)
{
    g_autofree char *file = host_file(condition);

    if (file) {
        g_assert_true(g_file_set_contents(file, "", 0, NULL));
    }
    return file;
}

void host_ends(const char *condition)
{
    g_autofree char *file = host_file(condition);

    if (file) {
        g_assert_false(g_unlink(file));
    }
}

/* Resets */

void system_reset(QVirtioMem *mem)
{
    qtest_system_reset(qvirtio_mem_qts(mem));
    qvirtio_mem_power_on(mem);
}

void device_reset(QVirtioMem *mem)
{
    qvirtio_mem_start(mem, QVIRTIO_MEM_DECLINED);
}
