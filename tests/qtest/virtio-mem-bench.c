// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-mem-bench: what a virtio-mem device costs its host, without a guest
 *
 * Runs a part of the benchmark with the QEMU in QTEST_QEMU_BINARY, whichever
 * device it has, and prints a line of JSON for each measurement.  This file
 * starts QEMU, reads its CPU time and prints; virtio-mem-bench-requests.c times
 * requests, virtio-mem-bench-host.c what the host sees, and
 * virtio-mem-bench-protection.c what protection costs.  tools/bench-device
 * compares two QEMUs, tools/bench-protection ways to protect.
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/timer.h"
#include "block/qdict.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qnum.h"
#include "libqos/malloc-pc.h"
#include "libqos/pci-pc.h"
#include "virtio-mem-bench.h"

#define SLOT 4

/* A QEMU */

/*
 * The address space has room for terabytes.  A kick is handled before QEMU
 * answers it only without ioeventfd, which bench_add_device() sees to.
 */
BenchVM *bench_start(uint64_t size, const char *arguments)
{
    BenchVM *vm = g_new0(BenchVM, 1);

    vm->qts = qtest_initf("-machine pc -nodefaults -cpu qemu64,phys-bits=46 "
                          "-m size=128M,maxmem=%" PRIu64 "M %s",
                          size / MiB + 2048, arguments);
    pc_alloc_init(&vm->alloc, vm->qts, ALLOC_NO_FLAGS);
    vm->bus = qpci_new_pc(vm->qts, &vm->alloc);
    return vm;
}

void bench_stop(BenchVM *vm)
{
    if (vm->pci) {
        qvirtqueue_cleanup(vm->mem.vdev->bus, vm->mem.vq, &vm->alloc);
        qvirtio_pci_destructor(&vm->pci->obj);
        g_free(vm->pci);
    }
    qpci_free_pc(vm->bus);
    alloc_destroy(&vm->alloc);
    qtest_quit(vm->qts);
    g_free(vm);
}

/* Adds the members of @json to the arguments of a command. */
static void add_options(QDict *arguments, const char *json)
{
    g_autoptr(QDict) options = NULL;

    if (*json) {
        options = qobject_to(QDict, qobject_from_json(json, &error_abort));
        qdict_join(arguments, options, true);
    }
}

static void run_command(BenchVM *vm, const char *command, QDict *arguments)
{
    qtest_qmp_assert_success(vm->qts, "{'execute': %s, 'arguments': %p}",
                             command, arguments);
}

void bench_add_backend(BenchVM *vm, uint64_t size, const char *options)
{
    QDict *arguments = qdict_new();

    qdict_put_str(arguments, "qom-type", "memory-backend-ram");
    qdict_put_str(arguments, "id", "mem0");
    qdict_put_int(arguments, "size", size);
    qdict_put_bool(arguments, "reserve", false);
    add_options(arguments, options);
    run_command(vm, "object-add", arguments);
}

void bench_add_device(BenchVM *vm, uint64_t requested, const char *options)
{
    QDict *arguments = qdict_new();

    qdict_put_str(arguments, "driver", "virtio-mem-pci");
    qdict_put_str(arguments, "id", "vmem0");
    qdict_put_str(arguments, "memdev", "mem0");
    qdict_put_str(arguments, "addr", stringify(SLOT));
    qdict_put_bool(arguments, "ioeventfd", false);
    qdict_put_int(arguments, "block-size", BENCH_BLOCK);
    qdict_put_int(arguments, "requested-size", requested);
    add_options(arguments, options);
    run_command(vm, "device_add", arguments);
}

QVirtioMem *bench_drive(BenchVM *vm)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(SLOT, 0) };

    vm->pci = virtio_pci_new(vm->bus, &addr);
    g_assert_nonnull(vm->pci);
    vm->mem.vdev = &vm->pci->vdev;
    vm->mem.pci = vm->pci;
    vm->mem.alloc = &vm->alloc;
    qvirtio_mem_power_on(&vm->mem);
    return &vm->mem;
}

/* What the kernel tells */

static bool thread_sleeps(BenchVM *vm, const char *tid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%s/stat",
                                            qtest_pid(vm->qts), tid);
    g_autofree char *stat = NULL;

    /* One that has just ended tells nothing. */
    return g_file_get_contents(path, &stat, NULL, NULL) &&
           strstr(stat, ") S ");
}

static bool all_threads_sleep(BenchVM *vm)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task",
                                            qtest_pid(vm->qts));
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *tid;

    g_assert_nonnull(dir);
    while ((tid = g_dir_read_name(dir))) {
        if (!thread_sleeps(vm, tid)) {
            return false;
        }
    }
    return true;
}

/*
 * Nothing is on its way: a thread wakes the next one before it goes to sleep
 * itself, so that who looks twice finds one of them awake.
 */
static bool is_idle(BenchVM *vm)
{
    return all_threads_sleep(vm) && all_threads_sleep(vm);
}

/*
 * The kernel adds up what a thread used when it goes to sleep, at the latest,
 * so that the clock is exact only then.
 */
int64_t bench_cpu_ns(BenchVM *vm)
{
    gint64 deadline = g_get_monotonic_time() + 120 * G_USEC_PER_SEC;
    struct timespec time;
    clockid_t clock;

    while (!is_idle(vm)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
    g_assert_cmpint(clock_getcpuclockid(qtest_pid(vm->qts), &clock), ==, 0);
    g_assert_cmpint(clock_gettime(clock, &time), ==, 0);
    return time.tv_sec * NANOSECONDS_PER_SECOND + time.tv_nsec;
}

int64_t bench_status(BenchVM *vm, const char *field)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            qtest_pid(vm->qts));
    g_autofree char *label = g_strdup_printf("\n%s:", field);
    g_autofree char *status = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    line = strstr(status, label);
    g_assert_nonnull(line);
    return g_ascii_strtoll(line + strlen(label), NULL, 10) * KiB;
}

/* Results */

Samples *samples_new(void)
{
    return g_array_new(false, false, sizeof(double));
}

void samples_add(Samples *samples, double value)
{
    g_array_append_val(samples, value);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double samples_undisturbed(Samples *samples)
{
    double value;

    g_assert_cmpuint(samples->len, >, 0);
    g_array_sort(samples, compare);
    value = g_array_index(samples, double, samples->len / 10);
    g_array_unref(samples);
    return value;
}

static void print_line(const QDict *line)
{
    g_autoptr(GString) json = qobject_to_json(QOBJECT(line));

    printf("%s\n", json->str);
    fflush(stdout);
}

static QDict *new_line(const char *what, const char *unit, double value)
{
    QDict *line = qdict_new();

    qdict_put_str(line, "what", what);
    qdict_put_str(line, "unit", unit);
    qdict_put(line, "value", qnum_from_double(value));
    return line;
}

void bench_report(const char *what, const char *unit, double value)
{
    g_autoptr(QDict) line = new_line(what, unit, value);

    print_line(line);
}

void bench_report_request(const char *what, double net, double raw)
{
    g_autoptr(QDict) line = new_line(what, "ns", net);

    qdict_put(line, "raw", qnum_from_double(raw));
    print_line(line);
}

/* The program */

typedef struct Part {
    const char *name;
    void (*run)(uint64_t argument);
} Part;

static const Part parts[] = {
    { "requests", bench_requests },
    { "unplug-all", bench_unplug_all },
    { "realize", bench_realize },
    { "prealloc", bench_prealloc },
    { "give-back", bench_give_back },
    { "empty", bench_empty },
    { "scattered", bench_scattered },
    { "tables", bench_tables },
    { "again", bench_again },
    { "pass", bench_pass },
};

int main(int argc, char **argv)
{
    uint64_t argument = 0;
    int i;

    if (argc == 2 || (argc == 3 && !qemu_strtou64(argv[2], NULL, 10,
                                                  &argument))) {
        for (i = 0; i < ARRAY_SIZE(parts); i++) {
            if (g_str_equal(argv[1], parts[i].name)) {
                parts[i].run(argument);
                return 0;
            }
        }
    }
    fprintf(stderr, "usage: virtio-mem-bench requests|unplug-all\n"
            "       virtio-mem-bench realize|prealloc|give-back|empty|"
            "scattered|tables|again|pass GIB\n");
    return 2;
}
