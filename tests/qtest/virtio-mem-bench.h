/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the virtio-mem benchmark share: a QEMU without a guest, its
 * CPU time, samples, and how results are printed.
 */

#ifndef TESTS_VIRTIO_MEM_BENCH_H
#define TESTS_VIRTIO_MEM_BENCH_H

#include "qemu/units.h"
#include "libqtest.h"
#include "libqos/virtio-mem.h"

#define BENCH_BLOCK  (2 * MiB)

/* Parts; @argument is a size in GiB for those that take one */

void bench_requests(uint64_t argument);
void bench_unplug_all(uint64_t argument);
void bench_realize(uint64_t argument);
void bench_prealloc(uint64_t argument);
void bench_give_back(uint64_t argument);
void bench_empty(uint64_t argument);
void bench_scattered(uint64_t argument);
void bench_tables(uint64_t argument);
void bench_again(uint64_t argument);
void bench_pass(uint64_t argument);

/* A QEMU (virtio-mem-bench.c) */

typedef struct BenchVM {
    QTestState *qts;
    QGuestAllocator alloc;
    QPCIBus *bus;
    QVirtioPCIDevice *pci;      /* NULL until a driver runs */
    QVirtioMem mem;             /* the driver; idle until it is started */
} BenchVM;

/* Starts one with room for memory devices of @size bytes, and @arguments. */
BenchVM *bench_start(uint64_t size, const char *arguments);
void bench_stop(BenchVM *vm);

/* Adds a backend mem0 of @size bytes, not reserved, with @options, or "". */
void bench_add_backend(BenchVM *vm, uint64_t size, const char *options);

/* Adds a device vmem0 on it, which wants all of it plugged; as above. */
void bench_add_device(BenchVM *vm, uint64_t requested, const char *options);

/* Starts the driver of vmem0. */
QVirtioMem *bench_drive(BenchVM *vm);

/* CPU time that QEMU has used, in ns, once all of its threads sleep. */
int64_t bench_cpu_ns(BenchVM *vm);

/* A field of /proc/PID/status that is in kB, such as VmRSS; in bytes */
int64_t bench_status(BenchVM *vm, const char *field);

/* Samples */

typedef GArray Samples;

Samples *samples_new(void);
void samples_add(Samples *samples, double value);

/*
 * A sample that nothing disturbed, which frees them: the rest of the host only
 * ever adds to what something costs, so it is low among them.
 */
double samples_undisturbed(Samples *samples);

/* How much of the region is protected in which way, where it is */
void bench_report_coverage(BenchVM *vm);

/* Prints a measurement as a line of JSON. */
void bench_report(const char *what, const char *unit, double value);

/* As above, of a request: ns of CPU time; @raw includes the notification. */
void bench_report_request(const char *what, double net, double raw);

#endif
