// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio-mem benchmark: what it costs to protect unplugged memory
 *
 * In which way that is done says the QEMU that runs: tools/bench-protection
 * starts one for each.  What a mode doesn't have is not printed.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "virtio-mem-bench.h"

#define PASSES 20
#define COPIES 5

static double in_mib(int64_t bytes)
{
    return bytes / (double)MiB;
}

static double seconds_since(gint64 begun)
{
    return (g_get_monotonic_time() - begun) / (double)G_USEC_PER_SEC;
}

/* What the device says of its protection, or NULL */
static QDict *protection(BenchVM *vm)
{
    QDict *response = qtest_qmp(vm->qts, "{'execute': 'query-memory-devices'}");
    const QDict *device = qobject_to(QDict, qlist_peek(
                              qdict_get_qlist(response, "return")));
    QDict *info = qdict_get_qdict(qdict_get_qdict(device, "data"),
                                  "protection");

    qobject_ref(info);
    qobject_unref(response);
    return info;
}

void bench_report_coverage(BenchVM *vm)
{
    QDict *info = protection(vm);

    if (info) {
        bench_report("... guarded", "MiB",
                     in_mib(qdict_get_int(info, "guarded")));
        bench_report("... left to the audit", "MiB",
                     in_mib(qdict_get_int(info, "audited")));
        bench_report("... extents", "", qdict_get_int(info, "extents"));
        qobject_unref(info);
    }
}

/* Adding a device */

void bench_tables(uint64_t size_gib)
{
    BenchVM *vm = bench_start(size_gib * GiB, "");
    int64_t before;

    bench_add_backend(vm, size_gib * GiB, "");
    before = bench_status(vm, "VmPTE");
    bench_add_device(vm, 0, "");
    bench_report("realize: page tables", "MiB",
                 in_mib(bench_status(vm, "VmPTE") - before));
    bench_stop(vm);
}

/* Memory that was plugged, unplugged and plugged again */

/* All of QEMU's, but next to nothing of it is not the device's. */
static double huge_pages_mib(BenchVM *vm)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps_rollup",
                                            qtest_pid(vm->qts));
    g_autofree char *text = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    line = strstr(text, "AnonHugePages:");
    g_assert_nonnull(line);
    return in_mib(g_ascii_strtoll(strchr(line, ':') + 1, NULL, 10) * KiB);
}

static void request_all(BenchVM *vm, uint16_t type, uint64_t size)
{
    struct virtio_mem_req req = qvirtio_mem_req(type, vm->mem.addr,
                                                size / BENCH_BLOCK);

    g_assert_cmpuint(qvirtio_mem_send(&vm->mem, &req, &qvirtio_mem_plain).type,
                     ==, VIRTIO_MEM_RESP_ACK);
}

static double time_filling(BenchVM *vm, uint64_t size, uint8_t value)
{
    gint64 begun = g_get_monotonic_time();

    for (uint64_t offset = 0; offset < size; offset += 64 * MiB) {
        qtest_memset(vm->qts, vm->mem.addr + offset, value, 64 * MiB);
    }
    return seconds_since(begun);
}

void bench_again(uint64_t size_gib)
{
    uint64_t size = size_gib * GiB;
    BenchVM *vm = bench_start(size, "");
    Samples *steady = samples_new();
    double before;

    bench_add_backend(vm, size, "");
    bench_add_device(vm, size, "");
    bench_drive(vm);
    request_all(vm, VIRTIO_MEM_REQ_PLUG, size);
    time_filling(vm, size, 1);
    request_all(vm, VIRTIO_MEM_REQ_UNPLUG, size);
    request_all(vm, VIRTIO_MEM_REQ_PLUG, size);
    before = huge_pages_mib(vm);
    bench_report("plugged again: first touch", "s", time_filling(vm, size, 2));
    bench_report("plugged again: huge pages", "MiB",
                 huge_pages_mib(vm) - before);
    for (int i = 0; i < COPIES; i++) {
        samples_add(steady, time_filling(vm, size, i));
    }
    bench_report("plugged: filling it once more", "s",
                 samples_undisturbed(steady));
    bench_stop(vm);
}

/* The audit */

static int64_t passes(BenchVM *vm)
{
    QDict *info = protection(vm);
    int64_t nb = info ? qdict_get_int(info, "passes") : -1;

    qobject_unref(info);
    return nb;
}

/* Returns how many there are once these many are there. */
static int64_t wait_passes(BenchVM *vm, int64_t least)
{
    int64_t nb;

    while ((nb = passes(vm)) < least) {
        g_usleep(10000);
    }
    return nb;
}

/* CPU time of the thread that looks for memory, in ns */
static int64_t audit_ns(BenchVM *vm)
{
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task",
                                             qtest_pid(vm->qts));
    g_autoptr(GDir) dir = g_dir_open(tasks, 0, NULL);
    const char *tid;

    while ((tid = g_dir_read_name(dir))) {
        g_autofree char *comm = g_build_filename(tasks, tid, "comm", NULL);
        g_autofree char *stat = g_build_filename(tasks, tid, "schedstat", NULL);
        g_autofree char *name = NULL, *text = NULL;

        if (g_file_get_contents(comm, &name, NULL, NULL) &&
            g_str_equal(g_strchomp(name), "vmem-audit") &&
            g_file_get_contents(stat, &text, NULL, NULL)) {
            return g_ascii_strtoll(text, NULL, 10);
        }
    }
    g_assert_not_reached();
}

void bench_pass(uint64_t size_gib)
{
    BenchVM *vm = bench_start(size_gib * GiB, "");
    int64_t first, last, before;

    bench_add_backend(vm, size_gib * GiB, "");
    bench_add_device(vm, 0, "");
    if (passes(vm) >= 0) {
        /* The thread has its name once it runs. */
        first = wait_passes(vm, 1);
        before = audit_ns(vm);
        last = wait_passes(vm, first + PASSES);
        bench_report("a pass of the audit, nothing plugged", "ns",
                     (audit_ns(vm) - before) / (double)(last - first));
    }
    bench_stop(vm);
}
