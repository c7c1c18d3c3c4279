// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands of virtio-mem: query-virtio-mem, info virtio-mem and
 * memory-device-resize.  Each field is seen to change for its reason.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/module.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "virtio-mem-test.h"

/* Asking */

/* What the device vmem0 is like, with a map of so many pieces (0: none). */
static QDict *status(QVirtioMem *mem, int pieces)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    QDict *answer, *device;
    QList *list;

    answer = pieces ? qtest_qmp(qts, "{ 'execute': 'query-virtio-mem',"
                                "  'arguments': { 'id': 'vmem0',"
                                "                 'pieces': %d } }", pieces)
                    : qtest_qmp(qts, "{ 'execute': 'query-virtio-mem',"
                                "  'arguments': { 'id': 'vmem0' } }");
    list = qdict_get_qlist(answer, "return");
    g_assert_cmpint(qlist_size(list), ==, 1);
    device = qobject_to(QDict, qlist_peek(list));
    qobject_ref(device);
    qobject_unref(answer);
    return device;
}

static uint64_t number(QVirtioMem *mem, const char *field)
{
    QDict *device = status(mem, 0);
    uint64_t value = qdict_get_int(device, field);

    qobject_unref(device);
    return value;
}

static bool truth(QVirtioMem *mem, const char *field)
{
    QDict *device = status(mem, 0);
    bool value = qdict_get_bool(device, field);

    qobject_unref(device);
    return value;
}

/* All strings of a list, with a space after each */
static char *words(const QList *list)
{
    GString *text = g_string_new("");
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(list, entry) {
        QString *word = qobject_to(QString, qlist_entry_obj(entry));

        g_string_append_printf(text, "%s ", qstring_get_str(word));
    }
    return g_string_free(text, false);
}

static void assert_features(QVirtioMem *mem, const char *expected)
{
    QDict *device = status(mem, 0);
    g_autofree char *text = words(qdict_get_qlist(device, "features"));

    g_assert_cmpstr(text, ==, expected);
    qobject_unref(device);
}

/* What the command says; frees the error. */
static void assert_says(QDict *error, const char *text)
{
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, text);
    qobject_unref(error);
}

/* Sizes */

/* This test checks that it tells all that query-memory-devices does. */
static void test_base(QVirtioMem *mem, const void *row)
{
    QDict *old, *device;
    const QDictEntry *entry;

    assert_ack(plug(mem, 0, 3));
    old = memory_device(mem, "vmem0");
    device = status(mem, 0);
    g_assert_cmpint(qdict_size(old), >=, 8);
    for (entry = qdict_first(old); entry; entry = qdict_next(old, entry)) {
        const char *field = qdict_entry_key(entry);

        g_assert_true(qobject_is_equal(qdict_entry_value(entry),
                                       qdict_get(device, field)));
    }
    g_assert_cmpstr(qdict_get_str(device, "qom-path"), ==, VMEM_PATH);
    g_assert_null(qdict_get(device, "map"));
    g_assert_null(qdict_get(device, "report"));
    qobject_unref(old);
    qobject_unref(device);
}

/* This test checks that the usable size is the one that the guest reads. */
static void test_usable_size(QVirtioMem *mem, const void *row)
{
    g_assert_cmphex(number(mem, "usable-size"), ==, usable_size(mem));
    set_requested(mem, 400 * MiB);
    g_assert_cmphex(number(mem, "usable-size"), >=, 400 * MiB);
    g_assert_cmphex(number(mem, "usable-size"), ==, usable_size(mem));
}

/* This test checks that all devices are told, oldest first, or the one. */
static void test_several(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    QDict *answer, *device;
    const QListEntry *entry;
    GString *ids = g_string_new("");

    answer = qtest_qmp(qts, "{ 'execute': 'query-virtio-mem' }");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), entry) {
        device = qobject_to(QDict, qlist_entry_obj(entry));
        g_string_append_printf(ids, "%s ", qdict_get_str(device, "id"));
    }
    g_assert_cmpstr(ids->str, ==, "vmem0 vmem1 ");
    g_string_free(ids, true);
    qobject_unref(answer);

    answer = qtest_qmp(qts, "{ 'execute': 'query-virtio-mem',  'arguments': {"
                       "  'id': '/machine/peripheral/vmem1' } }");
    g_assert_cmpint(qlist_size(qdict_get_qlist(answer, "return")), ==, 1);
    device = qobject_to(QDict, qlist_peek(qdict_get_qlist(answer, "return")));
    g_assert_cmpstr(qdict_get_str(device, "id"), ==, "vmem1");
    g_assert_cmphex(qdict_get_int(device, "requested-size"), ==, 0);
    qobject_unref(answer);
}

/* Counts */

static QDict *requests_of(const QDict *device, const char *type)
{
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(device, "requests"), entry) {
        QDict *counts = qobject_to(QDict, qlist_entry_obj(entry));

        if (!strcmp(qdict_get_str(counts, "type"), type)) {
            return counts;
        }
    }
    g_assert_not_reached();
}

/* How often requests of a type got this answer */
static uint64_t answers(QVirtioMem *mem, const char *type, const char *answer)
{
    QDict *device = status(mem, 0);
    uint64_t value = qdict_get_int(requests_of(device, type), answer);

    qobject_unref(device);
    return value;
}

/* This test checks each type of request, and the answers of each. */
static void test_requests(QVirtioMem *mem, const void *row)
{
    static const char *const types[] = { "plug", "unplug", "unplug-all",
                                         "state", "x-report", "unknown" };
    QDict *device = status(mem, 0);

    for (int i = 0; i < ARRAY_SIZE(types); i++) {
        const QDict *counts = requests_of(device, types[i]);

        g_assert_cmpint(qdict_get_int(counts, "ack"), ==, 0);
        g_assert_cmpint(qdict_get_int(counts, "nack"), ==, 0);
        g_assert_cmpint(qdict_get_int(counts, "busy"), ==, 0);
        g_assert_cmpint(qdict_get_int(counts, "error"), ==, 0);
    }
    qobject_unref(device);

    assert_ack(plug(mem, 0, 3));
    assert_ack(plug(mem, 3, 1));
    assert_nack(plug(mem, 4, REQUESTED_NB));
    assert_error(plug(mem, 0, 1));
    g_assert_cmpint(answers(mem, "plug", "ack"), ==, 2);
    g_assert_cmpint(answers(mem, "plug", "nack"), ==, 1);
    g_assert_cmpint(answers(mem, "plug", "error"), ==, 1);
    assert_ack(unplug(mem, 0, 1));
    assert_error(unplug(mem, 0, 1));
    g_assert_cmpint(answers(mem, "unplug", "ack"), ==, 1);
    g_assert_cmpint(answers(mem, "unplug", "error"), ==, 1);
    assert_plugged(mem, 1, 1);
    g_assert_cmpint(answers(mem, "state", "ack"), ==, 1);
    assert_ack(unplug_all(mem));
    g_assert_cmpint(answers(mem, "unplug-all", "ack"), ==, 1);
    assert_error(ask(mem, 4, block_addr(mem, 0), 1));
    assert_error(ask(mem, VIRTIO_MEM_REQ_X_REPORT, block_addr(mem, 0), 1));
    g_assert_cmpint(answers(mem, "unknown", "error"), ==, 1);
    g_assert_cmpint(answers(mem, "x-report", "error"), ==, 1);
}

/* This test checks what it counts in bytes. */
static void test_totals(QVirtioMem *mem, const void *row)
{
    g_assert_cmphex(number(mem, "total-plugged"), ==, 0);
    assert_ack(plug(mem, 0, 5));
    g_assert_cmphex(number(mem, "total-plugged"), ==, 5 * BLOCK);
    g_assert_cmphex(number(mem, "total-unplugged"), ==, 0);
    assert_ack(unplug(mem, 1, 2));
    g_assert_cmphex(number(mem, "total-unplugged"), ==, 2 * BLOCK);
    assert_ack(unplug_all(mem));
    g_assert_cmphex(number(mem, "total-unplugged"), ==, 5 * BLOCK);
    assert_ack(plug(mem, 0, 1));
    system_reset(mem);
    g_assert_cmphex(number(mem, "total-plugged"), ==, 6 * BLOCK);
    g_assert_cmphex(number(mem, "total-unplugged"), ==, 6 * BLOCK);
}

/* This test checks that memory which is given back counts, and how much. */
static void test_discards(QVirtioMem *mem, const void *row)
{
    uint64_t discards, discarded;
    bool keeps;

    assert_ack(plug(mem, 0, 4));
    stamp(mem, 0, 1);
    discards = number(mem, "discards");
    discarded = number(mem, "discarded");
    assert_ack(unplug(mem, 0, 1));
    g_assert_cmpint(number(mem, "discards"), ==, discards + 1);
    g_assert_cmphex(number(mem, "discarded"), ==, discarded + BLOCK);
    g_assert_cmpint(number(mem, "discard-failures"), ==, 0);

    stamp(mem, 1, 1);
    keeps = host_begins("keeps-memory");
    if (keeps) {
        assert_busy(unplug(mem, 1, 1));
        g_assert_cmpint(number(mem, "discard-failures"), ==, 1);
        g_assert_cmpint(answers(mem, "unplug", "busy"), ==, 1);
        g_assert_cmphex(number(mem, "discarded"), ==, discarded + BLOCK);
        host_ends("keeps-memory");
    }
    assert_ack(unplug(mem, 1, 1));
    g_assert_cmpint(number(mem, "discard-failures"), ==, keeps);
}

/* This test checks that a host with no memory left counts. */
static void test_prealloc_failures(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 1));
    g_assert_cmpint(number(mem, "prealloc-failures"), ==, 0);
    if (host_begins("no-memory")) {
        assert_busy(plug(mem, 1, 1));
        g_assert_cmpint(number(mem, "prealloc-failures"), ==, 1);
        g_assert_cmpint(answers(mem, "plug", "busy"), ==, 1);
        host_ends("no-memory");
    }
}

/* The driver */

/* This test checks that a driver is seen to come and go. */
static void test_driver(QVirtioMem *mem, const void *row)
{
    g_assert_true(truth(mem, "driver"));
    assert_features(mem, "acpi-pxm unplugged-inaccessible "
                    "persistent-suspend ");
    mem->vdev->bus->set_status(mem->vdev, 0);
    g_assert_false(truth(mem, "driver"));
    assert_features(mem, "");
    qvirtio_mem_start(mem, QVIRTIO_MEM_DECLINED |
                           1ull << VIRTIO_MEM_F_PERSISTENT_SUSPEND);
    g_assert_true(truth(mem, "driver"));
    assert_features(mem, "acpi-pxm unplugged-inaccessible ");
    qvirtio_mem_start(mem, QVIRTIO_MEM_DECLINED |
                           1ull << VIRTIO_MEM_F_ACPI_PXM);
    assert_features(mem, "unplugged-inaccessible persistent-suspend ");
}

/* The last resize */

static void assert_resize(QVirtioMem *mem, uint64_t from, uint64_t to,
                          bool done)
{
    QDict *device = status(mem, 0);
    QDict *resize = qdict_get_qdict(device, "resize");

    g_assert_cmphex(qdict_get_int(resize, "from"), ==, from);
    g_assert_cmphex(qdict_get_int(resize, "to"), ==, to);
    g_assert_cmpint(qdict_get_bool(resize, "done"), ==, done);
    qobject_unref(device);
}

static uint64_t resize_ms(QVirtioMem *mem)
{
    QDict *device = status(mem, 0);
    uint64_t ms = qdict_get_int(qdict_get_qdict(device, "resize"), "ms");

    qobject_unref(device);
    return ms;
}

/* This test checks from where to where it goes, and when it is done. */
static void test_resize(QVirtioMem *mem, const void *row)
{
    assert_resize(mem, 0, REQUESTED, false);
    assert_ack(plug(mem, 0, REQUESTED_NB - 1));
    assert_resize(mem, 0, REQUESTED, false);
    assert_ack(plug(mem, REQUESTED_NB - 1, 1));
    assert_resize(mem, 0, REQUESTED, true);
    set_requested(mem, BLOCK);
    assert_resize(mem, REQUESTED, BLOCK, false);
    assert_ack(unplug(mem, 1, REQUESTED_NB - 1));
    assert_resize(mem, REQUESTED, BLOCK, true);
    /* The same once more is no other resize. */
    set_requested(mem, BLOCK);
    assert_resize(mem, REQUESTED, BLOCK, true);
    set_requested(mem, 0);
    assert_ack(unplug_all(mem));
    assert_resize(mem, BLOCK, 0, true);
}

/* This test checks that a machine that restarts begins anew. */
static void test_resize_reset(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, REQUESTED_NB));
    assert_resize(mem, 0, REQUESTED, true);
    system_reset(mem);
    assert_resize(mem, 0, REQUESTED, false);
    set_requested(mem, 0);
    assert_resize(mem, 0, 0, true);
}

/* Waits until the time it tells is another one. */
static void wait_other_ms(QVirtioMem *mem, uint64_t ms)
{
    while (resize_ms(mem) == ms) {
        g_usleep(1000);
    }
}

/* This test checks that its time goes on until it is done, and no longer. */
static void test_resize_time(QVirtioMem *mem, const void *row)
{
    int64_t begin = g_get_monotonic_time();
    uint64_t ms;

    set_requested(mem, 2 * BLOCK);
    wait_other_ms(mem, 0);
    wait_other_ms(mem, resize_ms(mem));
    assert_ack(plug(mem, 0, 2));
    ms = resize_ms(mem);
    g_assert_cmpint(ms, >=, 2);
    g_assert_cmpint(ms, <=, (g_get_monotonic_time() - begin) / 1000 + 1);
    g_usleep(5000);
    g_assert_cmpint(resize_ms(mem), ==, ms);
}

/* The map */

/* A letter for each piece: its first one, or x where it is unusable */
static char *map_letters(QVirtioMem *mem, int pieces, uint64_t piece_size)
{
    QDict *device = status(mem, pieces);
    QDict *map = qdict_get_qdict(device, "map");
    GString *text = g_string_new("");
    const QListEntry *entry;

    g_assert_cmphex(qdict_get_int(map, "piece-size"), ==, piece_size);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(map, "pieces"), entry) {
        const char *piece = qstring_get_str(qobject_to(QString,
                                                       qlist_entry_obj(entry)));

        if (!strcmp(piece, "unusable")) {
            g_string_append_c(text, 'x');
        } else {
            g_string_append_c(text, piece[0]);
        }
    }
    qobject_unref(device);
    return g_string_free(text, false);
}

typedef struct MapRow {
    const char *name;
    int pieces;
    uint64_t piece_size;
    const char *letters;        /* from the start; the rest is unusable */
    size_t nb_letters;          /* of all */
} MapRow;

/* 320 MiB are usable; plugged are blocks 0 to 15, and 40 */
static const MapRow maps[] = {
    { "map-of-one-piece", 1, REGION, "m", 1 },
    { "map-of-pieces-of-32-blocks", 16, 64 * MiB, "mmuuu", 16 },
    { "map-of-pieces-of-16-blocks", 32, 32 * MiB, "pumuuuuuuu", 32 },
    /* Of 52 blocks, as 51 are too few: the last piece is a short one */
    { "map-of-pieces-that-do-not-fit", 10, 104 * MiB, "muuu", 10 },
    { "map-of-every-block", 512, BLOCK, "ppppppppppppppppu", 512 },
    { "map-of-more-pieces-than-blocks", 4096, BLOCK, "pppppppppppppppp", 512 },
};

/* This test checks the map of a region, in so many pieces. */
static void test_map(QVirtioMem *mem, const void *row)
{
    const MapRow *expected = row;
    g_autofree char *letters = NULL;

    assert_ack(plug(mem, 0, 16));
    assert_ack(plug(mem, 40, 1));
    g_assert_cmphex(usable_size(mem), ==, 320 * MiB);
    letters = map_letters(mem, expected->pieces, expected->piece_size);
    g_assert_cmpint(strlen(letters), ==, expected->nb_letters);
    g_assert_true(g_str_has_prefix(letters, expected->letters));
    if (expected->nb_letters > 1) {
        g_assert_true(g_str_has_suffix(letters, "x"));
    }
    g_assert_cmpint(strchr(letters, 'x') ? strchr(letters, 'x') - letters : 0,
                    ==, expected->nb_letters > 1
                        ? DIV_ROUND_UP(320 * MiB, expected->piece_size) : 0);
}

/* This test checks how many pieces it may have. */
static void test_map_range(QVirtioMem *mem, const void *row)
{
    static const int bad[] = { 0, 4097, 65535 };

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *text = g_strdup_printf("parameter 'pieces': %d is not "
                                                "from 1 to 4096", bad[i]);

        assert_says(qtest_qmp_assert_failure_ref(
            qvirtio_mem_qts(mem), "{ 'execute': 'query-virtio-mem',"
            "  'arguments': { 'pieces': %d } }", bad[i]), text);
    }
}

/* Resizing */

static QDict *resize_error(QVirtioMem *mem, const char *id, uint64_t size)
{
    return qtest_qmp_assert_failure_ref(qvirtio_mem_qts(mem),
                                        "{ 'execute': 'memory-device-resize',"
                                        "  'arguments': { 'id': %s,"
                                        "  'size': %" PRIu64 " } }", id, size);
}

/* This test checks that it does what qom-set does, by ID or path. */
static void test_command(QVirtioMem *mem, const void *row)
{
    static const char *const ids[] = { "vmem0", VMEM_PATH };

    for (int i = 0; i < ARRAY_SIZE(ids); i++) {
        uint64_t size = (i + 1) * 100 * MiB;

        qvirtio_mem_take_irq(mem, QVIRTIO_MEM_CONFIG_IRQ);
        qtest_qmp_assert_success(qvirtio_mem_qts(mem),
                                 "{ 'execute': 'memory-device-resize',"
                                 "  'arguments': { 'id': %s,"
                                 "  'size': %" PRIu64 " } }", ids[i], size);
        g_assert_cmphex(qvirtio_mem_config(mem).requested_size, ==, size);
        g_assert_cmphex(number(mem, "requested-size"), ==, size);
        qvirtio_mem_wait_irq(mem, QVIRTIO_MEM_CONFIG_IRQ);
    }
}

typedef struct Refusal {
    const char *name;
    const char *id;
    uint64_t size;
    const char *text;
} Refusal;

static const Refusal refusals[] = {
    { "resize-refuses-a-size-above-the-backend", "vmem0", REGION + BLOCK,
      "property 'requested-size': 1026 MiB is more than the memory backend's "
      "size, 1 GiB" },
    { "resize-refuses-a-part-of-a-block", "vmem0", BLOCK + MiB,
      "property 'requested-size': 3 MiB is not a multiple of 'block-size' "
      "2 MiB" },
    { "resize-refuses-an-id-that-does-not-exist", "nobody", BLOCK,
      "there is no device 'nobody'" },
    { "resize-refuses-no-id", "", BLOCK, "there is no device ''" },
    { "resize-refuses-a-backend", "mem0", BLOCK,
      "'mem0' is a memory-backend-ram, not a virtio-mem device" },
    { "resize-refuses-a-path-to-something-else", "/machine/peripheral", BLOCK,
      "'/machine/peripheral' is a container, not a virtio-mem device" },
};

/* This test checks that it is refused in these words, and changes nothing. */
static void test_refusal(QVirtioMem *mem, const void *row)
{
    const Refusal *refusal = row;

    assert_says(resize_error(mem, refusal->id, refusal->size), refusal->text);
    g_assert_cmphex(number(mem, "requested-size"), ==, REQUESTED);
}

/* This test checks an ID that two other things have. */
static void test_ambiguous(QVirtioMem *mem, const void *row)
{
    assert_says(resize_error(mem, "twice", BLOCK),
                "'twice' is more than one object, and no virtio-mem device");
    assert_says(qtest_qmp_assert_failure_ref(
        qvirtio_mem_qts(mem), "{ 'execute': 'query-virtio-mem',"
        "  'arguments': { 'id': 'twice' } }"),
        "'twice' is more than one object, and no virtio-mem device");
}

/* This test checks that a device goes before a backend of the same name. */
static void test_same_name(QVirtioMem *mem, const void *row)
{
    qtest_qmp_assert_success(qvirtio_mem_qts(mem),
                             "{ 'execute': 'memory-device-resize',"
                             "  'arguments': { 'id': 'vmem0',"
                             "  'size': %" PRIu64 " } }", (uint64_t)BLOCK);
    g_assert_cmphex(number(mem, "requested-size"), ==, BLOCK);
}

/* For people */

static void assert_hmp(QVirtioMem *mem, const char *command, const char *text)
{
    g_autofree char *answer = qtest_hmp(qvirtio_mem_qts(mem), "%s", command);

    g_assert_cmpstr(answer, ==, text);
}

/* This test checks that a size counts MiB, or has a suffix. */
static void test_hmp_resize(QVirtioMem *mem, const void *row)
{
    assert_hmp(mem, "memory-device-resize vmem0 128", "");
    g_assert_cmphex(number(mem, "requested-size"), ==, 128 * MiB);
    assert_hmp(mem, "memory-device-resize vmem0 1G", "");
    g_assert_cmphex(number(mem, "requested-size"), ==, GiB);
    assert_hmp(mem, "memory-device-resize vmem0 2G",
               "Error: property 'requested-size': 2 GiB is more than the memory"
               " backend's size, 1 GiB\r\n");
    assert_hmp(mem, "memory-device-resize vmem0 much", "invalid size\r\n"
               "Try \"help memory-device-resize\" for more information\r\n");
    assert_hmp(mem, "memory-device-resize mem0 1",
               "Error: 'mem0' is a memory-backend-ram, not a virtio-mem "
               "device\r\n");
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_error("there is no '%s' in:\n%s", part, text);
    }
}

/* This test checks each line of the text, and how wide it is. */
static void test_hmp_info(QVirtioMem *mem, const void *row)
{
    g_autofree char *text = NULL, *range = NULL;
    g_auto(GStrv) lines = NULL;

    assert_ack(plug(mem, 0, 3));
    assert_error(plug(mem, 0, 1));
    assert_ack(unplug(mem, 2, 1));
    text = qtest_hmp(qvirtio_mem_qts(mem), "info virtio-mem vmem0");
    range = g_strdup_printf("0x%" PRIx64 " to 0x%" PRIx64, mem->addr,
                            mem->addr + REGION - 1);
    assert_has(text, "vmem0: 4 MiB of 64 MiB requested, at most 1 GiB\r\n");
    assert_has(text, "memory: /objects/mem0, ");
    assert_has(text, range);
    assert_has(text, ", node 0, blocks of 2 MiB\r\n");
    assert_has(text, "resize: 0 bytes to 64 MiB, still going after ");
    assert_has(text, " s, at 4 MiB\r\n");
    assert_has(text, "driver: there, acpi-pxm, unplugged-inaccessible, "
               "persistent-suspend\r\n");
    assert_has(text, "in all: 6 MiB plugged, 2 MiB unplugged\r\n");
    assert_has(text, ", 0 failed\r\n");
    assert_has(text, "    plug             1          0          0          1");
    assert_has(text, "    unplug           1          0          0          0");
    g_assert_null(strstr(text, "unplug-all"));
    assert_has(text, "map: # is 4 MiB plugged, + partly, . unplugged, "
               "- not usable now\r\n    #.....");
    lines = g_strsplit(text, "\r\n", 0);
    for (int i = 0; lines[i]; i++) {
        g_assert_cmpint(strlen(lines[i]), <=, 80);
    }
    g_assert_cmpint(strlen(lines[g_strv_length(lines) - 2]), ==, 4 + 64);

    set_requested(mem, 4 * MiB);
    g_clear_pointer(&text, g_free);
    text = qtest_hmp(qvirtio_mem_qts(mem), "info virtio-mem");
    assert_has(text, "resize: 4 MiB to 4 MiB, done in 0.00");
}

/* This test checks that it says what it was asked for wrongly. */
static void test_hmp_info_error(QVirtioMem *mem, const void *row)
{
    assert_hmp(mem, "info virtio-mem mem0",
               "Error: 'mem0' is a memory-backend-ram, not a virtio-mem "
               "device\r\n");
}

/* The list */

static const Case status_cases[] = {
    { "query-tells-all-of-memory-devices", test_base,
      DEFAULT_DEVICE ",unplugged-protection=audit" },
    { "query-tells-the-usable-size", test_usable_size },
    { "query-tells-of-all-devices-or-one", test_several, DEFAULT_DEVICE,
      SECOND_DEVICE },
    { "query-counts-requests-by-type-and-answer", test_requests },
    { "query-counts-bytes", test_totals },
    { "query-counts-discards", test_discards },
    { "query-counts-what-the-host-has-not", test_prealloc_failures,
      DEFAULT_DEVICE ",prealloc=on" },
    { "query-tells-whether-a-driver-is-there", test_driver },
    { "query-tells-of-the-last-resize", test_resize },
    { "query-tells-of-a-resize-after-a-reset", test_resize_reset },
    { "query-takes-the-time-of-a-resize", test_resize_time },
    { "query-refuses-so-many-pieces", test_map_range },
    { "resize-is-the-same-as-qom-set", test_command },
    { "resize-refuses-what-two-things-are-called", test_ambiguous,
      DEFAULT_DEVICE,
      "-object iothread,id=twice -device pci-testdev,id=twice,addr=05.0" },
    { "resize-takes-the-device-of-a-name", test_same_name, DEFAULT_DEVICE,
      "-object iothread,id=vmem0" },
    { "hmp-resize-counts-mib", test_hmp_resize },
    { "hmp-info-virtio-mem-tells-all", test_hmp_info },
    { "hmp-info-virtio-mem-refuses-others", test_hmp_info_error },
};

static void register_virtio_mem_status_test(void)
{
    ADD_CASES("virtio-mem-status", status_cases);
    ADD_ROWS("virtio-mem-status", maps, test_map);
    ADD_ROWS("virtio-mem-status", refusals, test_refusal);
}

libqos_init(register_virtio_mem_status_test);
