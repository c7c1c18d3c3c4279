// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a driver tells the virtio-mem device of a resize, with x-driver-reports:
 * taken, shown and told if it is possible, and harmless whatever it says.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "virtio-mem-test.h"

#define REPORTS DEFAULT_DEVICE ",x-driver-reports=on"
#define EVENT   "VIRTIO_MEM_REPORT"

typedef struct virtio_mem_x_report Report;

/* Where in its page the response is */
#define ANSWER_OFFSET 1024

/* A report whose every field is another */
static Report example(void)
{
    return (Report) {
        .type = VIRTIO_MEM_REQ_X_REPORT,
        .result = VIRTIO_MEM_X_IN_USE,
        .attempts = 3,
        .retry_ms = 400,
        .requested_size = 1 * BLOCK,
        .stuck_size = {
            [VIRTIO_MEM_X_KERNEL] = 2 * BLOCK,
            [VIRTIO_MEM_X_PINNED] = 3 * BLOCK,
            [VIRTIO_MEM_X_NO_SPACE] = 4 * BLOCK,
            [VIRTIO_MEM_X_OFFLINE_REFUSED] = 5 * BLOCK,
            [VIRTIO_MEM_X_OTHER] = 6 * BLOCK,
        },
        .offline_size = 7 * BLOCK,
    };
}

static Report to_wire_order(Report report)
{
    report.type = cpu_to_le16(report.type);
    report.result = cpu_to_le16(report.result);
    report.attempts = cpu_to_le32(report.attempts);
    report.retry_ms = cpu_to_le32(report.retry_ms);
    report.requested_size = cpu_to_le64(report.requested_size);
    for (int i = 0; i < VIRTIO_MEM_X_NR_CAUSES; i++) {
        report.stuck_size[i] = cpu_to_le64(report.stuck_size[i]);
    }
    report.offline_size = cpu_to_le64(report.offline_size);
    return report;
}

/* Offers the first @len bytes of a report; returns the page that has it. */
static uint64_t offer(QVirtioMem *mem, Report report, uint32_t len)
{
    uint64_t page = guest_alloc(mem->alloc, 4 * KiB);
    Report wire = to_wire_order(report);
    const QVirtioMemDesc chain[] = {
        { page, len, false },
        { page + ANSWER_OFFSET, sizeof(struct virtio_mem_resp), true },
    };

    qtest_memwrite(qvirtio_mem_qts(mem), page, &wire, sizeof(wire));
    qvirtio_mem_offer_chain(mem, chain, ARRAY_SIZE(chain));
    qvirtio_mem_kick(mem);
    return page;
}

/* Sends a report, and returns the type of its answer. */
static uint16_t tell(QVirtioMem *mem, Report report)
{
    uint64_t page = offer(mem, report, sizeof(report));
    struct virtio_mem_resp resp;
    uint32_t len;

    qvirtio_mem_wait_used(mem, &len);
    g_assert_cmpint(len, ==, sizeof(resp));
    qtest_memread(qvirtio_mem_qts(mem), page + ANSWER_OFFSET, &resp,
                  sizeof(resp));
    guest_free(mem->alloc, page);
    return le16_to_cpu(resp.type);
}

/* What the query says that the driver told; NULL if nothing */
static QDict *told(QVirtioMem *mem)
{
    QDict *answer, *report;

    answer = qtest_qmp(qvirtio_mem_qts(mem),
                       "{ 'execute': 'query-virtio-mem' }");
    report = qdict_get_qdict(qobject_to(QDict, qlist_peek(
        qdict_get_qlist(answer, "return"))), "report");
    qobject_ref(report);
    qobject_unref(answer);
    return report;
}

static void assert_silent(QVirtioMem *mem)
{
    g_assert_null(told(mem));
}

/* That it is the example, but for its age */
static void assert_example(const QDict *report)
{
    g_assert_cmpstr(qdict_get_str(report, "result"), ==, "in-use");
    g_assert_cmpint(qdict_get_int(report, "attempts"), ==, 3);
    g_assert_cmpint(qdict_get_int(report, "retry-ms"), ==, 400);
    g_assert_cmphex(qdict_get_int(report, "requested-size"), ==, BLOCK);
    g_assert_cmphex(qdict_get_int(report, "kernel"), ==, 2 * BLOCK);
    g_assert_cmphex(qdict_get_int(report, "pinned"), ==, 3 * BLOCK);
    g_assert_cmphex(qdict_get_int(report, "no-memory"), ==, 4 * BLOCK);
    g_assert_cmphex(qdict_get_int(report, "refused"), ==, 5 * BLOCK);
    g_assert_cmphex(qdict_get_int(report, "other"), ==, 6 * BLOCK);
    g_assert_cmphex(qdict_get_int(report, "not-online"), ==, 7 * BLOCK);
    g_assert_true(qdict_haskey(report, "age-ms"));
}

/* Taking */

/* This test checks that each field is told by the query. */
static void test_fields(QVirtioMem *mem, const void *row)
{
    QDict *report;

    assert_silent(mem);
    assert_ack(tell(mem, example()));
    report = told(mem);
    assert_example(report);
    qobject_unref(report);
}

/* This test checks that a report gets older. */
static void test_age(QVirtioMem *mem, const void *row)
{
    QDict *report;
    int64_t ms;

    assert_ack(tell(mem, example()));
    do {
        report = told(mem);
        ms = qdict_get_int(report, "age-ms");
        qobject_unref(report);
    } while (ms < 2);
    assert_ack(tell(mem, example()));
    g_usleep(1000);
    report = told(mem);
    g_assert_cmpint(qdict_get_int(report, "age-ms"), >=, 1);
    qobject_unref(report);
}

typedef struct ResultRow {
    const char *name;
    uint16_t result;
    const char *text;
} ResultRow;

static const ResultRow results[] = {
    { "report-of-done", VIRTIO_MEM_X_DONE, "done" },
    { "report-of-in-use", VIRTIO_MEM_X_IN_USE, "in-use" },
    { "report-of-no-memory", VIRTIO_MEM_X_NO_MEMORY, "no-memory" },
    { "report-of-forbidden", VIRTIO_MEM_X_FORBIDDEN, "forbidden" },
    { "report-of-host-busy", VIRTIO_MEM_X_HOST_BUSY, "host-busy" },
    { "report-of-not-onlined", VIRTIO_MEM_X_NOT_ONLINED, "not-onlined" },
    { "report-of-no-room", VIRTIO_MEM_X_NO_ROOM, "no-room" },
    { "report-of-odd-answer", VIRTIO_MEM_X_ODD_ANSWER, "odd-answer" },
    { "report-of-refused", VIRTIO_MEM_X_REFUSED, "refused" },
};

/* This test checks how a result of the wire is called. */
static void test_result(QVirtioMem *mem, const void *row)
{
    const ResultRow *expected = row;
    Report report = example();
    QDict *answer;

    report.result = expected->result;
    assert_ack(tell(mem, report));
    answer = told(mem);
    g_assert_cmpstr(qdict_get_str(answer, "result"), ==, expected->text);
    qobject_unref(answer);
}

/* This test checks that a reset of the device makes it forget. */
static void test_reset(QVirtioMem *mem, const void *row)
{
    assert_ack(tell(mem, example()));
    device_reset(mem);
    assert_silent(mem);
    assert_ack(tell(mem, example()));
    system_reset(mem);
    assert_silent(mem);
}

/* The event */

static QDict *wait_event(QVirtioMem *mem)
{
    return qtest_qmp_eventwait_ref(qvirtio_mem_qts(mem), EVENT);
}

/* An event that was sent before a command was answered has arrived by then. */
static void assert_no_event(QVirtioMem *mem)
{
    qtest_qmp_assert_success(qvirtio_mem_qts(mem),
                             "{ 'execute': 'query-status' }");
    g_assert_null(qtest_qmp_event_ref(qvirtio_mem_qts(mem), EVENT));
}

/* This test checks that news are told, once a second, and nothing else. */
static void test_event(QVirtioMem *mem, const void *row)
{
    Report report = example();
    QDict *event, *data;

    assert_ack(tell(mem, report));
    event = wait_event(mem);
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "id"), ==, "vmem0");
    g_assert_cmpstr(qdict_get_str(data, "qom-path"), ==, VMEM_PATH);
    assert_example(qdict_get_qdict(data, "report"));
    qobject_unref(event);

    /* One more attempt that ended as the last one is no news. */
    qtest_clock_step(qvirtio_mem_qts(mem), 2 * NANOSECONDS_PER_SECOND);
    report.attempts++;
    report.retry_ms *= 2;
    assert_ack(tell(mem, report));
    assert_no_event(mem);

    report.stuck_size[VIRTIO_MEM_X_OTHER] = 0;
    assert_ack(tell(mem, report));
    qobject_unref(wait_event(mem));
    report.offline_size = 0;
    assert_ack(tell(mem, report));
    report.requested_size = 0;
    assert_ack(tell(mem, report));
    assert_no_event(mem);
    qtest_clock_step(qvirtio_mem_qts(mem), NANOSECONDS_PER_SECOND + 1);
    event = wait_event(mem);
    data = qdict_get_qdict(qdict_get_qdict(event, "data"), "report");
    g_assert_cmphex(qdict_get_int(data, "not-online"), ==, 0);
    g_assert_cmphex(qdict_get_int(data, "requested-size"), ==, 0);
    qobject_unref(event);
    assert_no_event(mem);
}

/* For people */

/* This test checks what the monitor says of it. */
static void test_hmp(QVirtioMem *mem, const void *row)
{
    static const char *const parts[] = {
        "driver: there, acpi-pxm, unplugged-inaccessible, persistent-suspend, "
        "x-report\r\n",
        "its report, 0 s ago: in-use, resize to 2 MiB, attempt 3, next in "
        "0.4 s\r\n",
        "4 MiB hold pages of the guest's kernel\r\n",
        "6 MiB hold pinned pages\r\n",
        "8 MiB are in use, with too little free memory to move it\r\n",
        "10 MiB can't go offline, as something refuses\r\n",
        "12 MiB are in use\r\n",
        "14 MiB are plugged, but not online in the guest\r\n",
        "    x-report         1          0          0          0\r\n",
    };
    g_autofree char *text = NULL;

    assert_ack(tell(mem, example()));
    text = qtest_hmp(qvirtio_mem_qts(mem), "info virtio-mem");
    for (int i = 0; i < ARRAY_SIZE(parts); i++) {
        if (!strstr(text, parts[i])) {
            g_error("there is no '%s' in:\n%s", parts[i], text);
        }
    }
}

/* Hostile drivers */

/* Bytes in a report */
typedef struct Field {
    size_t offset;
    size_t width;
} Field;

typedef struct BadReport {
    const char *name;
    Field field;
    uint64_t value;
} BadReport;

#define FIELD(field) { offsetof(Report, field), sizeof_field(Report, field) }

static const BadReport bad_reports[] = {
    { "report-of-a-result-too-many", FIELD(result), VIRTIO_MEM_X_NR_RESULTS },
    { "report-of-the-last-result", FIELD(result), UINT16_MAX },
    { "report-of-a-target-beyond-the-region", FIELD(requested_size),
      REGION + 1 },
    { "report-of-the-last-target", FIELD(requested_size), UINT64_MAX },
    { "report-of-more-kernel-than-region", FIELD(stuck_size[0]), REGION + 1 },
    { "report-of-more-pinned-than-region", FIELD(stuck_size[1]), REGION + 1 },
    { "report-of-more-in-use-than-region", FIELD(stuck_size[4]), UINT64_MAX },
    { "report-of-more-offline-than-region", FIELD(offline_size), REGION + 1 },
};

/* This test checks that what can't be is an error, and changes nothing. */
static void test_bad_report(QVirtioMem *mem, const void *row)
{
    const BadReport *bad = row;
    Report report = example();
    QDict *answer;

    assert_ack(tell(mem, report));
    qobject_unref(wait_event(mem));
    memcpy((char *)&report + bad->field.offset, &bad->value, bad->field.width);
    assert_error(tell(mem, report));
    answer = told(mem);
    assert_example(answer);
    qobject_unref(answer);
    qtest_clock_step(qvirtio_mem_qts(mem), NANOSECONDS_PER_SECOND + 1);
    assert_no_event(mem);
}

/* This test checks that a report which lacks its last byte stops the device. */
static void test_short(QVirtioMem *mem, const void *row)
{
    offer(mem, example(), sizeof(Report) - 1);
    assert_stopped(mem);
    assert_silent(mem);
    assert_usable_after_reset(mem);
}

/* This test checks a driver that did not take the feature. */
static void test_not_negotiated(QVirtioMem *mem, const void *row)
{
    qvirtio_mem_start(mem, QVIRTIO_MEM_DECLINED |
                           1ull << VIRTIO_MEM_F_X_REPORT);
    assert_error(tell(mem, example()));
    assert_silent(mem);
}

/* This test checks that nobody is offered it who did not ask for it. */
static void test_not_offered(QVirtioMem *mem, const void *row)
{
    uint64_t features = mem->vdev->bus->get_features(mem->vdev);

    g_assert_false(features & 1ull << VIRTIO_MEM_F_X_REPORT);
    assert_error(tell(mem, example()));
    assert_silent(mem);
}

/* This test checks the bit, which no driver may have to change. */
static void test_feature_bit(QVirtioMem *mem, const void *row)
{
    g_assert_true(mem->vdev->bus->get_features(mem->vdev) & 1ull << 23);
}

/* The list */

static const Case report_cases[] = {
    { "report-is-told-by-query", test_fields, REPORTS },
    { "report-gets-older", test_age, REPORTS },
    { "report-is-forgotten-by-resets", test_reset, REPORTS },
    { "report-that-is-news-is-an-event", test_event, REPORTS },
    { "report-is-told-by-hmp", test_hmp, REPORTS },
    { "report-that-is-too-short-stops-the-device", test_short, REPORTS },
    { "report-needs-its-feature", test_not_negotiated, REPORTS },
    { "report-is-not-offered-by-default", test_not_offered },
    { "report-has-feature-bit-23", test_feature_bit, REPORTS },
};

static void register_virtio_mem_report_test(void)
{
    ADD_CASES("virtio-mem-report", report_cases);
    for (int i = 0; i < ARRAY_SIZE(results); i++) {
        add_row_for("virtio-mem-report", results[i].name, test_result, REPORTS,
                    &results[i]);
    }
    for (int i = 0; i < ARRAY_SIZE(bad_reports); i++) {
        add_row_for("virtio-mem-report", bad_reports[i].name, test_bad_report,
                    REPORTS, &bad_reports[i]);
    }
}

libqos_init(register_virtio_mem_report_test);
