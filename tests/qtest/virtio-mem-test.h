/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the virtio-mem qtests share: what a case is and how to add it, and a
 * word for each thing that cases do to the device or expect of it.  Cases are
 * made of little else, so the words are short and have no prefix.
 */

#ifndef TESTS_VIRTIO_MEM_TEST_H
#define TESTS_VIRTIO_MEM_TEST_H

#include "qobject/qdict.h"
#include "qemu/units.h"
#include "libqos/qgraph.h"
#include "libqos/virtio-mem.h"

#define VMEM_PATH      "/machine/peripheral/vmem0"
#define DEFAULT_DEVICE "block-size=2M,requested-size=64M"

/* What the default options amount to, over the backend of 1 GiB */
#define BLOCK          (2 * MiB)
#define REQUESTED      (64 * MiB)
#define REQUESTED_NB   (REQUESTED / BLOCK)
#define REGION         (1 * GiB)
#define REGION_NB      (REGION / BLOCK)

/* More of the command line, for a device on the second of two nodes */
#define TWO_NODES \
    "-object memory-backend-ram,id=ram0,size=128M " \
    "-numa node,nodeid=0,memdev=ram0 -numa node,nodeid=1"

/* The same, for one more device; options of it may follow */
#define SECOND_DEVICE \
    "-object memory-backend-ram,id=mem1,size=1G,reserve=off " \
    "-device virtio-mem-pci,id=vmem1,addr=05.0,memdev=mem1,block-size=2M"

/* A device of 160 GiB, with a backend of this type; options may follow */
#define HUGE_DEVICE "memdev=huge,block-size=2M,requested-size=160G"
#define HUGE_BACKEND(type) \
    "-m maxmem=256G " \
    "-object memory-backend-" type ",id=huge,size=160G,reserve=off"

/* Cases (virtio-mem-test.c) */

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

/* Adds a case to an area, one of those that libqos/virtio-mem.c lists. */
void add_case(const char *area, const Case *c);

/* A case for a row of a table; it is needed until the program ends. */
void add_row(const char *area, const char *name, CaseFunc *run,
             const void *row);

/* The same for a device with these options, or NULL */
void add_row_for(const char *area, const char *name, CaseFunc *run,
                 const char *device, const void *row);

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

/* Requests (from here on, virtio-mem-test-util.c) */

/* The address of this block of the region; -1 is what lies just below it */
uint64_t block_addr(QVirtioMem *mem, int64_t index);

/* These send a request and return the type of its answer. */
uint16_t ask(QVirtioMem *mem, uint16_t type, uint64_t addr, uint16_t nb_blocks);
uint16_t plug(QVirtioMem *mem, int64_t first, uint16_t nb_blocks);
uint16_t unplug(QVirtioMem *mem, int64_t first, uint16_t nb_blocks);
uint16_t unplug_all(QVirtioMem *mem);

/* The state of blocks for which the device must be able to tell it */
uint16_t state(QVirtioMem *mem, int64_t first, uint16_t nb_blocks);

void assert_ack(uint16_t type);
void assert_nack(uint16_t type);
void assert_error(uint16_t type);
void assert_busy(uint16_t type);
void assert_plugged(QVirtioMem *mem, int64_t first, uint16_t nb_blocks);
void assert_unplugged(QVirtioMem *mem, int64_t first, uint16_t nb_blocks);

/*
 * Sends a request of this type about block 4, which must be obeyed.  Random
 * padding goes into all fields that the type does not use.
 */
void assert_obeyed(QVirtioMem *mem, uint16_t type,
                   const QVirtioMemShape *shape, bool random_padding);

/* What the device looks like */

uint64_t plugged_size(QVirtioMem *mem);
uint64_t usable_size(QVirtioMem *mem);
int64_t usable_nb(QVirtioMem *mem);

/* A character for each block of the usable region, # where it is plugged */
char *block_map(QVirtioMem *mem);

/* All that can change while the device operates, for comparisons */
char *picture(QVirtioMem *mem);
void assert_unchanged(QVirtioMem *mem, const char *before);

/* The pattern: runs of plugged blocks, holes and a single one: ####.##.# */

void plug_pattern(QVirtioMem *mem);
void assert_pattern(QVirtioMem *mem);

/* Contents: a stamped block has a known value at each of its ends */

uint64_t last_word(QVirtioMem *mem, int64_t index);
void stamp(QVirtioMem *mem, int64_t index, uint64_t value);
void assert_stamp(QVirtioMem *mem, int64_t index, uint64_t value);
void assert_zero(QVirtioMem *mem, int64_t index);

/* Whether RAM of the host backs guest memory at this address */
bool is_ram(QVirtioMem *mem, uint64_t addr);

/* How many bytes of a region of REGION bytes take memory of the host */
uint64_t host_resident(QVirtioMem *mem);

/* The management side */

void set_requested(QVirtioMem *mem, uint64_t size);

/* Requests nothing, and has something usable all the same (D08) */
void request_nothing(QVirtioMem *mem);

/* The whole answer to qom-get, and a number of it */
QDict *query_property(QVirtioMem *mem, const char *path, const char *property);
uint64_t get_property(QVirtioMem *mem, const char *path, const char *property);

/* What query-memory-devices tells about the device with this id */
QDict *memory_device(QVirtioMem *mem, const char *id);

/* A host in trouble: see tests/host.c.  An ordinary one ignores all this. */

/* Returns once the device waits for this host. */
void wait_until_host_is_stuck(void);
void let_host_go_on(void);

/* Returns whether the host is in this condition, from now on. */
bool host_begins(const char *condition);
void host_ends(const char *condition);

/* Resets */

void system_reset(QVirtioMem *mem);
void device_reset(QVirtioMem *mem);

/* Hostile guests (virtio-mem-hostile-util.c) */

/* How many descriptors of the queue the device holds on to */
int64_t descriptors_in_use(QVirtioMem *mem);

/* Waits until the device stopped without an answer and let go of the request */
void assert_stopped(QVirtioMem *mem);

/* Waits until it answered, or stopped, or reset itself by what it wrote */
void wait_outcome(QVirtioMem *mem);

/* The plugged size is that of the blocks which are plugged. */
void assert_consistent(QVirtioMem *mem);

/* Requests REQUESTED and resets the device, which must work; unplugs all. */
void assert_usable_after_reset(QVirtioMem *mem);

/* The registers of a timer that each machine has */
#define HPET_ADDR 0xfed00000
#define HPET_SIZE 1024

/* Memory of the guest that holds a PLUG of the block with this index */
uint64_t plug_in_memory(QVirtioMem *mem, int64_t index);

/* Writes a register of the common configuration, of 1, 2 or 4 bytes. */
void write_common(QVirtioMem *mem, uint32_t offset, int width, uint32_t value);

#define SHORT_QUEUE 128

/* Starts the driver anew with a queue of SHORT_QUEUE descriptors, for good. */
void use_short_queue(QVirtioMem *mem);

/* Starts the driver anew with rings and buffers from @alloc. */
void use_memory_of(QVirtioMem *mem, QGuestAllocator *alloc);

#endif
