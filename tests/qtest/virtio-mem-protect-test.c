// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How the virtio-mem device keeps a guest from using what is unplugged.  Here
 * there is no vCPU: what qtest reads and writes is done by QEMU's main thread,
 * as for a device that the guest programmed.
 */

#include "qemu/osdep.h"
#include <sys/syscall.h>
#include <sys/uio.h>
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qemu/bitops.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

#define PAGE     (4 * KiB)
#define INTERVAL "protection-interval=10,"
#define AUDIT    DEFAULT_DEVICE "," INTERVAL "unplugged-protection=audit"
#define WRITE    DEFAULT_DEVICE "," INTERVAL "unplugged-protection=write"
#define FULL     DEFAULT_DEVICE "," INTERVAL "unplugged-protection=full"

#define EVENT "MEMORY_DEVICE_VIOLATION"

/* More pages than are lent at a time, and than one event tells of */
#define STORM 1000

static QDict *protection(QVirtioMem *mem)
{
    QDict *device = memory_device(mem, "vmem0");
    QDict *info = qobject_ref(qdict_get_qdict(device, "protection"));

    qobject_unref(device);
    return info;
}

static uint64_t told(QVirtioMem *mem, const char *key)
{
    QDict *info = protection(mem);
    uint64_t value = qdict_get_int(info, key);

    qobject_unref(info);
    return value;
}

/*
 * An access that takes longer than its page is lent is made again, and may
 * count again.  What is found may be a huge page.
 */
static void assert_violations(QVirtioMem *mem, uint64_t writes, uint64_t found)
{
    g_assert_cmpint(told(mem, "writes"), >=, writes);
    g_assert_cmpint(!told(mem, "writes"), ==, !writes);
    g_assert_cmpint(told(mem, "reads"), ==, 0);
    g_assert_cmpint(told(mem, "found"), >=, found);
    g_assert_cmpint(!told(mem, "found"), ==, !found);
}

/* Returns once all unplugged blocks were looked through from now on. */
static void wait_pass(QVirtioMem *mem)
{
    uint64_t passes = told(mem, "passes");

    while (told(mem, "passes") < passes + 2) {
        g_usleep(1000);
    }
}

/* Returns once the host has all back. */
static void wait_nothing_resident(QVirtioMem *mem)
{
    while (host_resident(mem)) {
        g_usleep(1000);
    }
}

static void write_block(QVirtioMem *mem, int64_t index, uint64_t offset)
{
    qtest_writeq(qvirtio_mem_qts(mem), block_addr(mem, index) + offset, 1);
}

static void assert_event(QVirtioMem *mem, const char *kind, int64_t index,
                         const char *action)
{
    QDict *event = qtest_qmp_eventwait_ref(qvirtio_mem_qts(mem), EVENT);
    const QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "id"), ==, "vmem0");
    g_assert_cmpstr(qdict_get_str(data, "qom-path"), ==, VMEM_PATH);
    g_assert_cmpstr(qdict_get_str(data, "kind"), ==, kind);
    g_assert_cmpstr(qdict_get_str(data, "action"), ==, action);
    g_assert_cmphex(qdict_get_int(data, "block"), ==, block_addr(mem, index));
    g_assert_cmphex(qdict_get_int(data, "memaddr") -
                    block_addr(mem, index), <, BLOCK);
    g_assert_cmpint(qdict_get_int(data, "count"), >=, 1);
    g_assert_false(qdict_haskey(data, "cpu-index"));
    qobject_unref(event);
}

static void assert_no_event(QVirtioMem *mem)
{
    wait_pass(mem);
    g_assert_null(qtest_qmp_event_ref(qvirtio_mem_qts(mem), EVENT));
}

/* write and full */

/* This test checks that a write is caught, told, and gains nothing. */
static void test_write(QVirtioMem *mem, const void *row)
{
    write_block(mem, 4, 3 * PAGE + 8);
    assert_event(mem, "write", 4, "report");
    wait_nothing_resident(mem);
    assert_zero(mem, 4);
    assert_violations(mem, 1, 0);
    g_assert_cmphex(told(mem, "last-address"), ==,
                    block_addr(mem, 4) + 3 * PAGE + 8);
}

/* This test checks that what a host reads is zero, and no violation. */
static void test_read(QVirtioMem *mem, const void *row)
{
    assert_zero(mem, 4);
    assert_zero(mem, REGION_NB - 1);
    wait_nothing_resident(mem);
    assert_no_event(mem);
    assert_violations(mem, 0, 0);
}

/* This test checks that a page that was read is protected as before. */
static void test_write_after_read(QVirtioMem *mem, const void *row)
{
    g_assert_cmphex(qtest_readq(qvirtio_mem_qts(mem), block_addr(mem, 4)), ==,
                    0);
    write_block(mem, 4, 0);
    assert_event(mem, "write", 4, "report");
    wait_nothing_resident(mem);
    assert_violations(mem, 1, 0);
}

/* This test checks that plugged memory is the guest's. */
static void test_plugged(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 3, 1));
    assert_ack(plug(mem, 5, 2));
    stamp(mem, 3, 3);
    stamp(mem, 5, 5);
    stamp(mem, 6, 6);
    wait_pass(mem);
    assert_violations(mem, 0, 0);
    write_block(mem, 4, 0);
    wait_pass(mem);
    g_assert_cmpint(told(mem, "writes") + told(mem, "found"), >=, 1);
    assert_stamp(mem, 3, 3);
    assert_stamp(mem, 5, 5);
    assert_stamp(mem, 6, 6);
}

/* This test checks that protection comes and goes with each request. */
static void test_plug_and_unplug(QVirtioMem *mem, const void *row)
{
    uint64_t writes;
    int i;

    for (i = 0; i < 20; i++) {
        assert_ack(plug(mem, 3, 4));
        stamp(mem, 3, i);
        stamp(mem, 6, i);
        writes = told(mem, "writes");
        wait_pass(mem);
        assert_stamp(mem, 3, i);
        assert_stamp(mem, 6, i);
        g_assert_cmpint(told(mem, "writes"), ==, writes);
        assert_ack(unplug(mem, 3, 4));
        write_block(mem, 4 + i % 2, 0);
        wait_nothing_resident(mem);
        assert_violations(mem, i + 1, 0);
    }
}

/* This test checks that all ends of the region are protected. */
static void test_ends(QVirtioMem *mem, const void *row)
{
    write_block(mem, 0, 0);
    write_block(mem, 0, BLOCK - 8);
    write_block(mem, REGION_NB - 1, 0);
    write_block(mem, REGION_NB - 1, BLOCK - 8);
    assert_violations(mem, 4, 0);
    wait_nothing_resident(mem);
}

/* This test checks that resets leave all protected that they unplug. */
static void test_resets(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 2));
    device_reset(mem);
    assert_plugged(mem, 0, 2);
    write_block(mem, 0, 0);
    assert_violations(mem, 0, 0);
    system_reset(mem);
    write_block(mem, 0, 0);
    assert_violations(mem, 1, 0);
    wait_nothing_resident(mem);
}

/* This test checks that a slot is protected while it is mapped. */
static void test_slots(QVirtioMem *mem, const void *row)
{
    write_block(mem, 4, 0);
    assert_violations(mem, 0, 0);
    assert_ack(plug(mem, 0, 1));
    write_block(mem, 4, 0);
    assert_event(mem, "write", 4, "report");
    assert_ack(unplug(mem, 0, 1));
    assert_ack(plug(mem, 4, 1));
    stamp(mem, 4, 1234);
    assert_violations(mem, 1, 0);
    write_block(mem, 0, 0);
    assert_violations(mem, 2, 0);
    wait_pass(mem);
    assert_stamp(mem, 4, 1234);
    assert_violations(mem, 2, 0);
}

/* This test checks that the guest's memory is as protected after a stop. */
static void test_stopped(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);

    assert_ack(plug(mem, 0, 1));
    stamp(mem, 0, 1234);
    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    write_block(mem, 4, 0);
    assert_violations(mem, 0, 0);
    g_assert_cmphex(told(mem, "guarded"), ==, 0);
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    assert_event(mem, "found", 4, "report");
    write_block(mem, 5, 0);
    assert_violations(mem, 1, 1);
    assert_stamp(mem, 0, 1234);
    g_assert_cmphex(told(mem, "guarded"), ==, REGION - BLOCK);
}

/* This test checks that a host that has no page loses its guard for a while. */
static void test_no_pages(QVirtioMem *mem, const void *row)
{
    bool has_none = host_begins("no-pages");

    write_block(mem, 4, 0);
    assert_event(mem, "write", 4, "report");
    if (has_none) {
        /* It goes on, with a page of its own. */
        wait_pass(mem);
        assert_violations(mem, 1, 1);
        host_ends("no-pages");
    }
    while (told(mem, "guarded") != REGION) {
        g_usleep(1000);
    }
    write_block(mem, 4, 0);
    wait_nothing_resident(mem);
    assert_violations(mem, 2, has_none);
}

/* This test checks that plugged memory is the guest's, once it was filled. */
static void test_guard_in_a_job(QVirtioMem *mem, const void *row)
{
    struct virtio_mem_req req;
    QVirtioMemPending pending;
    uint64_t offset;

    set_requested(mem, REGION);
    for (offset = 0; offset < 16; offset += 2) {
        assert_ack(plug(mem, offset, 1));
    }
    g_assert_cmpint(told(mem, "extents"), ==, 4);
    /* Now there is room for others, which are guarded after the next pass. */
    assert_ack(unplug_all(mem));
    host_begins("slow");
    qvirtqueue_reset_pool(mem->vq);
    req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG, block_addr(mem, 4), 1);
    pending = qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
    qvirtio_mem_kick(mem);
    wait_until_host_is_stuck();
    wait_pass(mem);
    let_host_go_on();
    assert_ack(qvirtio_mem_finish(mem, &pending).type);
    write_block(mem, 4, 0);
    assert_violations(mem, 0, 0);
    assert_ack(unplug(mem, 4, 1));
    write_block(mem, 4, 0);
    assert_violations(mem, 1, 0);
}

/* Where QEMU has a page of a block */
static uint64_t host_address(QVirtioMem *mem, int64_t index, uint64_t offset)
{
    g_autofree char *text = qtest_hmp(qvirtio_mem_qts(mem),
                                      "gpa2hva 0x%" PRIx64,
                                      block_addr(mem, index) + offset);
    const char *words = strstr(text, " is 0x");

    g_assert_nonnull(words);
    return g_ascii_strtoull(words + strlen(" is "), NULL, 16);
}

/* Writes as one who is no thread of QEMU, like those of KVM. */
static void write_from_outside(QVirtioMem *mem, int64_t index, uint64_t offset,
                               uint64_t value)
{
    uint64_t addr = host_address(mem, index, offset);
    struct iovec from = { &value, sizeof(value) };
    struct iovec to = { (void *)(uintptr_t)addr, sizeof(value) };

    g_assert_cmpint(process_vm_writev(qtest_pid(qvirtio_mem_qts(mem)), &from, 1,
                                      &to, 1, 0), ==, sizeof(value));
}

/*
 * This test checks that what a thread of the kernel does for a vCPU is a write
 * when it leaves something, and only then: KVM's always fetches pages to write.
 */
static void test_outside(QVirtioMem *mem, const void *row)
{
    uint64_t reads = g_str_equal(row, "full");

    write_from_outside(mem, 4, PAGE, 0);
    wait_nothing_resident(mem);
    g_assert_cmpint(told(mem, "writes"), ==, 0);
    g_assert_cmpint(!told(mem, "reads"), ==, !reads);
    g_assert_cmpint(told(mem, "found"), ==, 0);
    /* A page that QEMU read before, too */
    assert_zero(mem, 5);
    write_from_outside(mem, 5, 0, 0);
    wait_nothing_resident(mem);
    g_assert_cmpint(told(mem, "writes"), ==, 0);
    write_from_outside(mem, 6, BLOCK - 8, 1);
    wait_nothing_resident(mem);
    g_assert_cmpint(told(mem, "writes"), >=, 1);
    g_assert_cmphex(told(mem, "last-address"), ==, block_addr(mem, 7) - PAGE);
    assert_zero(mem, 6);
}

/* This test checks that a storm takes no memory, and few events. */
static void test_storm(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    uint64_t sum = 0, events = 0, writes;
    QDict *event;
    int i;

    assert_ack(plug(mem, 0, 1));
    stamp(mem, 0, 1234);
    for (i = 0; i < STORM; i++) {
        write_block(mem, 4 + i % 16, i / 16 * PAGE);
    }
    writes = told(mem, "writes");
    g_assert_cmpint(writes, >=, STORM);
    while (sum < writes) {
        event = qtest_qmp_eventwait_ref(qts, EVENT);
        sum += qdict_get_int(qdict_get_qdict(event, "data"), "count");
        events++;
        qobject_unref(event);
    }
    g_assert_cmpint(sum, ==, writes);
    g_assert_cmpint(events, <, STORM / 10);
    assert_stamp(mem, 0, 1234);
    while (host_resident(mem) > BLOCK) {
        g_usleep(1000);
    }
}

/* This test checks that extents beyond the limit are looked through. */
static void test_max_extents(QVirtioMem *mem, const void *row)
{
    uint64_t offset;

    set_requested(mem, REGION);
    for (offset = 0; offset < 64; offset += 2) {
        assert_ack(plug(mem, offset, 1));
    }
    g_assert_cmpint(told(mem, "extents"), <=, 2);
    /* Block 1, and what begins with block 63 */
    g_assert_cmphex(told(mem, "guarded"), ==, REGION - 62 * BLOCK);
    g_assert_cmphex(told(mem, "audited"), ==, 30 * BLOCK);
    write_block(mem, 3, 0);
    assert_event(mem, "found", 3, "report");
    write_block(mem, 64, 0);
    assert_violations(mem, 1, 1);
}

/* This test checks that there are as many again once the machine goes on. */
static void test_max_extents_again(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    uint64_t offset;

    set_requested(mem, REGION);
    for (offset = 0; offset < 64; offset += 2) {
        assert_ack(plug(mem, offset, 1));
    }
    g_assert_cmpint(told(mem, "extents"), ==, 8);
    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    g_assert_cmpint(told(mem, "extents"), ==, 0);
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    g_assert_cmpint(told(mem, "extents"), ==, 8);
    g_assert_cmphex(told(mem, "guarded"), ==, REGION - (63 - 7) * BLOCK);
}

/*
 * This test checks that there are no more extents than the host's mappings
 * allow for all devices; tests/host.c makes these few.
 */
static void test_few_mappings(QVirtioMem *mem, const void *row)
{
    const char *limit = g_getenv("TEST_MAX_EXTENTS");
    uint64_t nb = REGION_NB / 2;
    uint64_t block;

    if (limit) {
        nb = g_ascii_strtoull(limit, NULL, 10);
    }
    set_requested(mem, REGION);
    for (block = 0; block < REGION_NB; block += 2) {
        assert_ack(plug(mem, block, 1));
    }
    g_assert_cmpint(told(mem, "extents"), ==, nb);
    g_assert_cmphex(told(mem, "guarded"), ==, nb * BLOCK);
    g_assert_cmphex(told(mem, "audited"), ==, REGION / 2 - nb * BLOCK);
    assert_ack(unplug_all(mem));
    g_assert_cmpint(told(mem, "extents"), ==, 1);
}

/* audit */

/*
 * This test checks that memory is found, told, and given back; zeroes, which a
 * read leaves, are given back, too, but not told.
 */
static void test_audit(QVirtioMem *mem, const void *row)
{
    uint64_t found;

    assert_ack(plug(mem, 0, 1));
    stamp(mem, 0, 1234);
    write_block(mem, 4, 3 * PAGE);
    assert_event(mem, "found", 4, "report");
    found = told(mem, "found");
    assert_zero(mem, 4);
    wait_pass(mem);
    g_assert_cmpint(told(mem, "found"), ==, found);
    g_assert_cmpint(told(mem, "writes"), ==, 0);
    assert_stamp(mem, 0, 1234);
    g_assert_cmphex(told(mem, "guarded"), ==, 0);
    g_assert_cmphex(told(mem, "audited"), ==, REGION - BLOCK);
    assert_ack(unplug(mem, 0, 1));
    wait_nothing_resident(mem);
}

/* Actions */

/* This test checks that it is counted, and no more. */
static void test_discard(QVirtioMem *mem, const void *row)
{
    write_block(mem, 4, 0);
    assert_violations(mem, 1, 0);
    wait_nothing_resident(mem);
    assert_no_event(mem);
}

/* The machine stops, and an event says why before it does. */
static void assert_stops(QVirtioMem *mem)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    bool was_told = false, stopped = false;

    while (!stopped) {
        QDict *event = qtest_qmp_receive_dict(qts);
        const char *name = qdict_get_str(event, "event");

        was_told |= !strcmp(name, EVENT);
        stopped = !strcmp(name, "STOP");
        qobject_unref(event);
    }
    g_assert_true(was_told);
}

/* This test checks that it does for each violation, also in the same second. */
static void test_pause(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);
    int i;

    for (i = 1; i <= 2; i++) {
        write_block(mem, 4, 0);
        assert_stops(mem);
        assert_violations(mem, i, 0);
        wait_nothing_resident(mem);
        qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
        qtest_qmp_eventwait(qts, "RESUME");
    }
}

/* This test checks that the machine ends. */
static void test_shutdown(QVirtioMem *mem, const void *row)
{
    QDict *event;

    write_block(mem, 4, 0);
    assert_event(mem, "write", 4, "shutdown");
    event = qtest_qmp_eventwait_ref(qvirtio_mem_qts(mem), "SHUTDOWN");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"), "reason"), ==,
                    "host-error");
    qobject_unref(event);
}

/* What people are told */

/* This test checks what the monitor prints. */
static void test_info(QVirtioMem *mem, const void *row)
{
    g_autofree char *text = NULL;

    assert_ack(plug(mem, 2, 1));
    text = qtest_hmp(qvirtio_mem_qts(mem), "info memory-devices");
    g_assert_nonnull(strstr(text, "  protection: write, report\r\n"));
    g_assert_nonnull(strstr(text, "  protected: 1071644672 guarded in 2 "
                                  "extents, 0 audited\r\n"));
    g_assert_nonnull(strstr(text, "  violations: 0 writes, 0 reads, "
                                  "0 pages found\r\n"));
}

/* This test checks that it prints the last address. */
static void test_info_last(QVirtioMem *mem, const void *row)
{
    g_autofree char *text = NULL, *line = NULL;

    write_block(mem, 4, 8);
    line = g_strdup_printf("  violations: 1 writes, 0 reads, 0 pages found, "
                           "the last at 0x%" PRIx64 "\r\n",
                           block_addr(mem, 4) + 8);
    text = qtest_hmp(qvirtio_mem_qts(mem), "info virtio-mem");
    g_assert_nonnull(strstr(text, line));
}

/* What it amounts to, and that people are told. */
static void assert_now(QVirtioMem *mem, const char *now, const char *line)
{
    g_autofree char *text = NULL;
    QDict *device = memory_device(mem, "vmem0");

    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(device, "protection"), "now"),
                    ==, now);
    qobject_unref(device);
    text = qtest_hmp(qvirtio_mem_qts(mem), "info memory-devices");
    g_assert_nonnull(strstr(text, line));
}

/* This test checks what it amounts to while a machine stands still. */
static void test_now_stopped(QVirtioMem *mem, const void *row)
{
    assert_now(mem, "write", "  protection: write, report\r\n");
    qtest_qmp_assert_success(qvirtio_mem_qts(mem), "{ 'execute': 'stop' }");
    assert_now(mem, "off", "  protection: write, report; now off\r\n");
    qtest_qmp_assert_success(qvirtio_mem_qts(mem), "{ 'execute': 'cont' }");
    assert_now(mem, "write", "  protection: write, report\r\n");
}

/* This test checks what it amounts to without a driver that takes part. */
static void test_now_without_driver(QVirtioMem *mem, const void *row)
{
    assert_now(mem, "full", "  protection: full, report\r\n");
    mem->vdev->bus->set_status(mem->vdev, 0);
    assert_now(mem, "write", "  protection: full, report; now write\r\n");
}

/*
 * This test is about system calls, which test_qtest.py counts: four times, 64
 * blocks are plugged and unplugged that nobody touches.
 */
static void test_requests(QVirtioMem *mem, const void *row)
{
    int i;

    set_requested(mem, REGION);
    for (i = 0; i < 4; i++) {
        assert_ack(plug(mem, 64, 64));
        assert_ack(unplug(mem, 64, 64));
    }
}

/* Whether it tells root where in the host the first pages of mappings are */
static void assert_tells_no_frame(pid_t pid, int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
    g_autofree char *maps = NULL;
    g_auto(GStrv) lines = NULL;
    uint64_t page, entry, present = 0;

    g_assert_true(g_file_get_contents(path, &maps, NULL, NULL));
    lines = g_strsplit(g_strchomp(maps), "\n", 0);
    for (char **line = lines; *line; line++) {
        page = g_ascii_strtoull(*line, NULL, 16) / qemu_real_host_page_size();
        if (pread(fd, &entry, 8, page * 8) == 8 && entry & BIT_ULL(63)) {
            g_assert_cmphex(entry & (BIT_ULL(55) - 1), ==, 0);
            present++;
        }
    }
    g_assert_cmpint(present, >, 0);
}

/* This test checks what QEMU is told by the files that it looks through. */
static void test_pagemap(QVirtioMem *mem, const void *row)
{
    pid_t pid = qtest_pid(qvirtio_mem_qts(mem));
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    int pidfd = syscall(SYS_pidfd_open, pid, 0), fd, nb = 0;
    const char *name;

    g_assert_cmpint(pidfd, >=, 0);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *link = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);

        if (target && g_str_has_suffix(target, "/pagemap")) {
            fd = syscall(SYS_pidfd_getfd, pidfd, atoi(name), 0);
            g_assert_cmpint(fd, >=, 0);
            assert_tells_no_frame(pid, fd);
            close(fd);
            nb++;
        }
    }
    g_assert_cmpint(nb, >=, 1);
    close(pidfd);
}

/* This test checks that a device without protection tells nothing of it. */
static void test_off(QVirtioMem *mem, const void *row)
{
    QDict *device = memory_device(mem, "vmem0");

    g_assert_false(qdict_haskey(device, "protection"));
    qobject_unref(device);
}

/* This test checks that what is configured cannot change any more. */
static void test_fixed(QVirtioMem *mem, const void *row)
{
    QTestState *qts = qvirtio_mem_qts(mem);

    qobject_unref(qtest_qmp_assert_failure_ref(qts,
        "{ 'execute': 'qom-set', 'arguments': { 'path': %s,"
        "  'property': 'unplugged-protection', 'value': 'off' } }", VMEM_PATH));
    qobject_unref(qtest_qmp_assert_failure_ref(qts,
        "{ 'execute': 'qom-set', 'arguments': { 'path': %s,"
        "  'property': 'protection-action', 'value': 'discard' } }",
        VMEM_PATH));
}

#define SANDBOX \
    "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny," \
    "resourcecontrol=deny"
#define MEMFD_DEVICE "memdev=memfd0,"
#define MEMFD \
    "-object memory-backend-memfd,id=memfd0,size=1G,share=on"

static const Case cases[] = {
    { "a-write-is-caught", test_write, WRITE },
    { "a-write-is-caught-in-full", test_write, FULL },
    { "a-write-is-caught-in-memfd", test_write, MEMFD_DEVICE WRITE, MEMFD },
    { "a-host-may-read", test_read, WRITE },
    { "a-host-may-read-in-full", test_read, FULL },
    { "a-host-may-read-memfd", test_read, MEMFD_DEVICE WRITE, MEMFD },
    { "a-page-that-was-read-is-protected", test_write_after_read, WRITE },
    { "plugged-memory-is-the-guests", test_plugged, WRITE },
    { "plugged-memory-is-not-looked-through", test_plugged, AUDIT },
    { "protection-follows-requests", test_plug_and_unplug, WRITE },
    { "protection-follows-requests-in-memfd", test_plug_and_unplug,
      MEMFD_DEVICE WRITE, MEMFD },
    { "all-ends-are-protected", test_ends, WRITE },
    { "resets-protect", test_resets, WRITE },
    { "slots-are-protected-while-mapped", test_slots,
      WRITE ",dynamic-memslots=on" },
    { "a-stop-leaves-it-protected", test_stopped, WRITE },
    { "a-write-of-the-kernel-is-known-by-its-traces", test_outside, WRITE, NULL,
      "write" },
    { "a-read-of-the-kernel-is-one-in-full", test_outside, FULL, NULL,
      "full" },
    { "a-write-of-the-kernel-to-memfd", test_outside, MEMFD_DEVICE WRITE, MEMFD,
      "write" },
    { "a-storm-gains-nothing", test_storm, WRITE },
    { "extents-beyond-the-limit-are-looked-through", test_max_extents,
      WRITE ",protection-max-extents=2" },
    { "extents-are-as-many-after-a-stop", test_max_extents_again,
      WRITE ",protection-max-extents=8" },
    { "protection-waits-for-a-job", test_guard_in_a_job,
      DEFAULT_DEVICE ",prealloc=on,unplugged-protection=write"
      ",protection-max-extents=4" },
    { "a-host-without-a-page-is-no-way-out", test_no_pages, WRITE },
    { "mappings-are-shared", test_few_mappings, WRITE },
    { "mappings-are-shared-with-others", test_few_mappings, WRITE,
      SECOND_DEVICE ",unplugged-protection=write" },
    { "memory-is-found", test_audit, AUDIT },
    { "memory-is-found-in-memfd", test_audit, MEMFD_DEVICE AUDIT, MEMFD },
    { "discard-is-silent", test_discard, WRITE ",protection-action=discard" },
    { "pause-stops-the-machine", test_pause, WRITE ",protection-action=pause" },
    { "shutdown-ends-the-machine", test_shutdown,
      WRITE ",protection-action=shutdown", "-no-shutdown" },
    { "the-monitor-tells-of-protection", test_info, WRITE },
    { "the-monitor-tells-the-last-address", test_info_last, WRITE },
    { "protection-is-off-while-stopped", test_now_stopped, WRITE },
    { "protection-is-write-without-a-driver", test_now_without_driver, FULL },
    { "few-system-calls-in-audit", test_requests, AUDIT },
    { "few-system-calls-in-write", test_requests, WRITE },
    { "few-system-calls-in-full", test_requests, FULL },
    { "a-write-is-caught-in-a-sandbox", test_write, WRITE, SANDBOX },
    { "memory-is-found-in-a-sandbox", test_audit, AUDIT, SANDBOX },
    { "a-pagemap-tells-no-frames", test_pagemap, AUDIT },
    { "no-protection-is-not-told", test_off },
    { "protection-is-fixed", test_fixed, WRITE },
};

static void register_virtio_mem_protect_tests(void)
{
    ADD_CASES("virtio-mem-protect", cases);
}

libqos_init(register_virtio_mem_protect_tests);
