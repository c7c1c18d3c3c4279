// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What users and managers are told of the virtio-mem device, and what they may
 * set, over QMP and HMP: queries, targets, the event, removal.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "virtio-mem-test.h"

/* Queries and settings */

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

/* The event */

#define SIZE_EVENT "MEMORY_DEVICE_SIZE_CHANGE"

/* Waits for the event: it tells of one size, the device has another now. */
static void assert_event_of(QVirtioMem *mem, uint64_t told, uint64_t now)
{
    QDict *event = qtest_qmp_eventwait_ref(qvirtio_mem_qts(mem), SIZE_EVENT);
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "id"), ==, "vmem0");
    g_assert_cmphex(qdict_get_int(data, "size"), ==, told);
    g_assert_cmphex(get_property(mem, qdict_get_str(data, "qom-path"), "size"),
                    ==, now);
    qobject_unref(event);
}

static void assert_event(QVirtioMem *mem, uint64_t size)
{
    assert_event_of(mem, size, size);
}

/* An event that was sent before a command was answered has arrived by then. */
static void assert_no_event(QVirtioMem *mem)
{
    get_property(mem, VMEM_PATH, "size");
    g_assert_null(qtest_qmp_event_ref(qvirtio_mem_qts(mem), SIZE_EVENT));
}

static void let_pass(QVirtioMem *mem, int ms)
{
    qtest_clock_step(qvirtio_mem_qts(mem), ms * SCALE_MS + 1);
}

static void let_a_second_pass(QVirtioMem *mem)
{
    let_pass(mem, 1000);
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

/*
 * Plugs two and then three blocks more, at once, 50 ms before the next event:
 * soon enough for it to tell of the two, but not of the three, of which the
 * device itself tells only after 100 ms.
 */
static void plug_before_event(QVirtioMem *mem)
{
    assert_ack(plug(mem, 0, 1));
    assert_event(mem, BLOCK);
    let_pass(mem, 950);
    assert_ack(plug(mem, 1, 2));
    assert_ack(plug(mem, 3, 3));
}

/* This test checks that changes which follow each other are told as one. */
static void test_event_of_changes(QVirtioMem *mem, const void *row)
{
    plug_before_event(mem);
    let_pass(mem, 51);
    assert_event_of(mem, 3 * BLOCK, 6 * BLOCK);
    let_a_second_pass(mem);
    assert_event(mem, 6 * BLOCK);
}

/* This test checks that nothing is left to be told when a machine stops. */
static void test_event_before_stop(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);

    plug_before_event(mem);
    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    let_pass(mem, 51);
    assert_event(mem, 6 * BLOCK);
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

/* Removal */

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

static const Case management_cases[] = {
    { "qmp-query-memory-devices-tells-all", test_query },
    { "qmp-target-reads-back", test_target_reads_back },
    { "qmp-refuses-to-set-what-is-fixed", test_fixed_properties },
    { "qmp-event-comes-after-plug-and-once-a-second", test_event },
    { "qmp-event-comes-after-unplug", test_event_after_unplug },
    { "qmp-event-comes-after-unplug-all", test_event_after_unplug_all },
    { "qmp-event-comes-after-system-reset", test_event_after_system_reset },
    { "qmp-event-tells-of-several-changes", test_event_of_changes },
    { "qmp-event-tells-of-all-before-a-stop", test_event_before_stop },
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

static void register_virtio_mem_management_test(void)
{
    ADD_CASES("virtio-mem-management", management_cases);
    ADD_ROWS("virtio-mem-management", bad_targets, test_bad_target);
}

libqos_init(register_virtio_mem_management_test);
