// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio-mem benchmark: what the host sees of a device
 *
 * How long it takes to add one, to give a guest memory that is there in
 * advance (prealloc) and to take back what it wrote, and whether QEMU answers
 * meanwhile; and what an empty but large device takes: memory, and time to
 * migrate.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include <sys/mman.h>
#include "qobject/qdict.h"
#include "virtio-mem-bench.h"

#define TIMEOUT_US  (300 * G_USEC_PER_SEC)

/* How often those who wait look; also the error of the times they measure */
#define INTERVAL_US 1000

static double seconds_since(gint64 start)
{
    return (g_get_monotonic_time() - start) / (double)G_USEC_PER_SEC;
}

static double in_mib(int64_t bytes)
{
    return bytes / (double)MiB;
}

/* Adding a device */

void bench_realize(uint64_t size_gib)
{
    g_autofree char *what = g_strdup_printf("realize, GiB: %" PRIu64, size_gib);
    BenchVM *vm = bench_start(size_gib * GiB, "");
    int64_t before;

    bench_add_backend(vm, size_gib * GiB, "");
    before = bench_cpu_ns(vm);
    bench_add_device(vm, 0, "");
    bench_report(what, "ns", bench_cpu_ns(vm) - before);
    bench_stop(vm);
}

/* What takes long */

/* Someone at the monitor, who measures how long each answer takes */
typedef struct Monitor {
    BenchVM *vm;
    GThread *thread;
    bool done;                  /* atomic */
    Samples *latencies;         /* ms */
} Monitor;

/* The monitor is all that the thread uses; it has a socket of its own. */
static void *ask_monitor(void *opaque)
{
    Monitor *monitor = opaque;

    while (!qatomic_read(&monitor->done)) {
        gint64 start = g_get_monotonic_time();

        qtest_qmp_assert_success(monitor->vm->qts,
                                 "{'execute': 'query-status'}");
        samples_add(monitor->latencies, seconds_since(start) * 1000);
        g_usleep(INTERVAL_US);
    }
    return NULL;
}

static void monitor_begin(Monitor *monitor, BenchVM *vm)
{
    *monitor = (Monitor) { .vm = vm, .latencies = samples_new() };
    monitor->thread = g_thread_new("monitor", ask_monitor, monitor);
}

static double monitor_worst(Monitor *monitor)
{
    double worst = 0;
    int i;

    qatomic_set(&monitor->done, true);
    g_thread_join(monitor->thread);
    for (i = 0; i < monitor->latencies->len; i++) {
        worst = MAX(worst, g_array_index(monitor->latencies, double, i));
    }
    g_array_unref(monitor->latencies);
    return worst;
}

/* Returns how long the device took to answer, in seconds. */
static double timed_request(QVirtioMem *mem, uint16_t request_type,
                            uint64_t offset, uint64_t size)
{
    struct virtio_mem_req req = qvirtio_mem_req(request_type,
                                                mem->addr + offset,
                                                size / BENCH_BLOCK);
    QVirtioMemPending pending;
    uint32_t head, len;
    uint16_t type;
    gint64 start;

    qvirtqueue_reset_pool(mem->vq);
    pending = qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
    start = g_get_monotonic_time();
    qvirtio_mem_kick(mem);
    /* Who waits without a pause takes a CPU from the threads that work. */
    while (!qvirtqueue_get_buf(qvirtio_mem_qts(mem), mem->vq, &head, &len)) {
        g_assert_cmpint(g_get_monotonic_time() - start, <, TIMEOUT_US);
        g_usleep(INTERVAL_US);
    }
    qtest_memread(qvirtio_mem_qts(mem), pending.in, &type, sizeof(type));
    g_assert_cmpuint(le16_to_cpu(type), ==, VIRTIO_MEM_RESP_ACK);
    qvirtio_mem_forget(mem, &pending);
    return seconds_since(start);
}

/*
 * Where the host is itself a virtual machine, memory that its own host has to
 * provide first costs many times as much.  So have it provided.
 */
static void warm_up(uint64_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(memory != MAP_FAILED);
    /* In huge pages, as QEMU; without them it only takes longer. */
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 0x5a, size);
    munmap(memory, size);
}

void bench_prealloc(uint64_t size_gib)
{
    uint64_t size = size_gib * GiB;
    BenchVM *vm = bench_start(size, "");
    QVirtioMem *mem;
    Monitor monitor;
    double seconds;

    bench_add_backend(vm, size, "{'prealloc-threads': 2}");
    bench_add_device(vm, size, "{'prealloc': true}");
    mem = bench_drive(vm);
    warm_up(size);
    monitor_begin(&monitor, vm);
    seconds = timed_request(mem, VIRTIO_MEM_REQ_PLUG, 0, size);
    bench_report("preallocate", "s", seconds);
    bench_report("preallocate: longest wait for QMP", "ms",
                 monitor_worst(&monitor));
    g_assert_cmpint(bench_status(vm, "VmRSS"), >=, size);
    bench_stop(vm);
}

/* Plugs and writes every second block of twice @size. */
static void write_scattered(QVirtioMem *mem, uint64_t size)
{
    uint64_t offset;

    for (offset = 0; offset < 2 * size; offset += 2 * BENCH_BLOCK) {
        timed_request(mem, VIRTIO_MEM_REQ_PLUG, offset, BENCH_BLOCK);
        qtest_memset(qvirtio_mem_qts(mem), mem->addr + offset, 0x5a,
                     BENCH_BLOCK);
    }
}

void bench_give_back(uint64_t size_gib)
{
    uint64_t size = size_gib * GiB;
    BenchVM *vm = bench_start(2 * size, "");
    QVirtioMem *mem;
    Monitor monitor;
    double seconds;

    bench_add_backend(vm, 2 * size, "");
    bench_add_device(vm, 2 * size, "");
    mem = bench_drive(vm);
    warm_up(size);
    write_scattered(mem, size);
    g_assert_cmpint(bench_status(vm, "VmRSS"), >=, size);
    monitor_begin(&monitor, vm);
    seconds = timed_request(mem, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
    bench_report("give back: UNPLUG_ALL, every 2nd written", "s", seconds);
    bench_report("give back: longest wait for QMP", "ms",
                 monitor_worst(&monitor));
    g_assert_cmpint(bench_status(vm, "VmRSS"), <, size);
    bench_stop(vm);
}

/* An empty device */

/* Returns what QEMU says it took, in seconds. */
static double migrate_to(BenchVM *vm, const char *uri)
{
    gint64 start = g_get_monotonic_time();

    qtest_qmp_assert_success(vm->qts, "{'execute': 'migrate',"
                             " 'arguments': {'uri': %s}}", uri);
    for (;;) {
        g_autoptr(QDict) response = qtest_qmp(vm->qts,
                                              "{'execute': 'query-migrate'}");
        QDict *info = qdict_get_qdict(response, "return");
        const char *status = qdict_get_try_str(info, "status");

        g_assert_cmpstr(status, !=, "failed");
        if (!g_strcmp0(status, "completed")) {
            return qdict_get_int(info, "total-time") / 1000.0;
        }
        g_assert_cmpint(g_get_monotonic_time() - start, <, TIMEOUT_US);
        g_usleep(10 * INTERVAL_US);
    }
}

static BenchVM *start_empty(uint64_t size, const char *arguments)
{
    BenchVM *vm = bench_start(size, arguments);

    bench_add_backend(vm, size, "");
    bench_add_device(vm, 0, "");
    return vm;
}

static void bench_migrate_between(uint64_t size)
{
    g_autofree char *path = g_strdup_printf("%s/virtio-mem-bench-%d",
                                            g_get_tmp_dir(), getpid());
    g_autofree char *uri = g_strdup_printf("unix:%s", path);
    g_autofree char *incoming = g_strdup_printf("-incoming %s", uri);
    BenchVM *target = start_empty(size, incoming);
    BenchVM *source = start_empty(size, "");

    bench_report("empty: migrate to another QEMU", "s",
                 migrate_to(source, uri));
    qtest_qmp_eventwait(target->qts, "RESUME");
    bench_stop(source);
    bench_stop(target);
    unlink(path);
}

void bench_empty(uint64_t size_gib)
{
    uint64_t size = size_gib * GiB;
    BenchVM *vm = bench_start(size, "");
    int64_t bare = bench_status(vm, "VmRSS"), backend, device;

    bench_add_backend(vm, size, "");
    backend = bench_status(vm, "VmRSS");
    bench_add_device(vm, 0, "");
    device = bench_status(vm, "VmRSS");
    bench_report("empty: resident", "MiB", in_mib(device));
    bench_report("empty: resident, for the backend", "MiB",
                 in_mib(backend - bare));
    bench_report("empty: resident, for the device", "MiB",
                 in_mib(device - backend));
    bench_report("empty: migrate to nowhere", "s",
                 migrate_to(vm, "exec:cat >/dev/null"));
    bench_report("empty: peak resident, migrating", "MiB",
                 in_mib(bench_status(vm, "VmHWM")));
    bench_stop(vm);
    bench_migrate_between(size);
}
