/*
 * virtio-mem: a device that resizes the memory of a running machine
 *
 * The state of one device, and what its transports (virtio-mem-pci) and its
 * own parts call.  Each part has a file:
 *
 *   virtio-mem.c            the queue, the configuration space, resets
 *   virtio-mem-request.c    the four requests of the guest
 *   virtio-mem-job.c        requests that take long, in a thread
 *   virtio-mem-memory.c     the backend's memory: filled, given back
 *   virtio-mem-pagemap.c    which of it is in use
 *   virtio-mem-blocks.c     which blocks are plugged
 *   virtio-mem-memslots.c   which parts of the region the guest can reach
 *   virtio-mem-discard.c    telling others in QEMU (VFIO, migration, dumps)
 *   virtio-mem-migration.c  the device's state in a migration stream
 *   virtio-mem-config.c     properties
 *   virtio-mem-stats.c      what users can know of the device
 *   virtio-mem-report.c     what the driver tells of a resize
 *   virtio-mem-qmp.c        QMP commands
 *   virtio-mem-hmp.c        ... for people
 *
 * virtio-mem-protect.h has the parts that protect unplugged memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VIRTIO_MEM_H
#define HW_VIRTIO_MEM_H

#include "exec/memory.h"
#include "hw/virtio/virtio-mem-protect.h"
#include "hw/virtio/virtio.h"
#include "migration/misc.h"
#include "qapi/qapi-types-common.h"
#include "qapi/qapi-types-machine.h"
#include "qemu/notify.h"
#include "qemu/queue.h"
#include "qemu/stats64.h"
#include "qemu/thread.h"
#include "qom/object.h"
#include "standard-headers/linux/virtio_mem.h"
#include "system/hostmem.h"

#define TYPE_VIRTIO_MEM "virtio-mem"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOMEM, VIRTIO_MEM)

/* Property names; interfaces and saved configurations depend on them. */
#define VIRTIO_MEM_MEMDEV_PROP "memdev"
#define VIRTIO_MEM_NODE_PROP "node"
#define VIRTIO_MEM_SIZE_PROP "size"
#define VIRTIO_MEM_REQUESTED_SIZE_PROP "requested-size"
#define VIRTIO_MEM_BLOCK_SIZE_PROP "block-size"
#define VIRTIO_MEM_ADDR_PROP "memaddr"
#define VIRTIO_MEM_PREALLOC_PROP "prealloc"
#define VIRTIO_MEM_DYNAMIC_MEMSLOTS_PROP "dynamic-memslots"
#define VIRTIO_MEM_UNPLUGGED_INACCESSIBLE_PROP "unplugged-inaccessible"
#define VIRTIO_MEM_REFUSE_UNPLUG_PROP "refuse-unrequested-unplug"
#define VIRTIO_MEM_EARLY_MIGRATION_PROP "x-early-migration"
#define VIRTIO_MEM_REPORTS_PROP "x-driver-reports"
#define VIRTIO_MEM_PROTECTION_PROP "unplugged-protection"
#define VIRTIO_MEM_PROTECTION_ACTION_PROP "protection-action"
#define VIRTIO_MEM_PROTECTION_INTERVAL_PROP "protection-interval"
#define VIRTIO_MEM_PROTECTION_MAX_EXTENTS_PROP "protection-max-extents"

/* The smallest block that makes sense to discard and to track. */
#define VIRTIO_MEM_MIN_BLOCK_SIZE (1 * MiB)

/**
 * VirtIOMEMBlocks:
 * Which blocks of a region are plugged.  Offsets and sizes are bytes from the
 * start of the region, and multiples of @block_size where plugged or unplugged.
 */
typedef struct VirtIOMEMBlocks {
    unsigned long *plugged;     /* one bit per block */
    uint64_t nb_blocks;         /* in the region */
    uint64_t nb_plugged;        /* blocks; always the number of bits set */
    uint64_t block_size;        /* bytes, a power of two */
} VirtIOMEMBlocks;

/**
 * VirtIOMEMMemslots:
 * With dynamic-memslots the guest's address space holds @container instead of
 * the backend's memory, and of that only the slots with something plugged.
 */
typedef struct VirtIOMEMMemslots {
    MemoryRegion container;     /* of the region's size, once nb_slots is set */
    MemoryRegion *slots;        /* aliases of the backend's memory */
    unsigned int nb_slots;      /* 0: not decided */
    uint64_t slot_size;         /* bytes, a power of two; of the last: less */
} VirtIOMEMMemslots;

typedef struct VirtIOMEMJobType VirtIOMEMJobType;

/* What a job in the thread is at */
enum {
    VIRTIO_MEM_JOB_WORKS,
    VIRTIO_MEM_JOB_STOPS,       /* told to, or failed; undoes what it did */
    VIRTIO_MEM_JOB_IS_OVER,     /* nothing can stop it any more */
};

/**
 * VirtIOMEMJob:
 * A request that goes on in the device's thread.  Fields without another owner
 * belong to the thread while it works, and to the main loop before and after.
 */
typedef struct VirtIOMEMJob {
    const VirtIOMEMJobType *type;   /* NULL: there is none.  BQL */
    VirtQueueElement *elem;         /* what waits for the answer.  BQL */
    GThread *thread;                /* NULL until a job needs it.  BQL */
    QemuSemaphore begin;            /* there is a job, or else no device */
    QemuSemaphore end;              /* the thread is through with it */
    QEMUBH *bh;                     /* at the end of a job; realized */
    int phase;                      /* VIRTIO_MEM_JOB_*.  Atomic */
    uint64_t offset;                /* bytes in the region */
    uint64_t size;                  /* bytes */
    uint64_t done;                  /* bytes */
    int ret;                        /* 0 or a negative error */
} VirtIOMEMJob;

/* What travels in a migration stream, while it is being saved or loaded. */
typedef struct VirtIOMEMStream {
    uint64_t addr;
    uint64_t region_size;
    uint64_t block_size;
    uint64_t usable_region_size;
    uint64_t requested_size;
    uint64_t size;              /* bytes plugged */
    uint32_t node;
    int32_t nb_blocks;          /* bits of plugged */
    unsigned long *plugged;
} VirtIOMEMStream;

/* How many answers of the device there are: ACK to ERROR */
#define VIRTIO_MEM_NR_ANSWERS 4

/* Everything since the device was realized */
typedef struct VirtIOMEMStats {
    uint64_t answers[VIRTIO_MEM_REQUEST_TYPE__MAX][VIRTIO_MEM_NR_ANSWERS];
    uint64_t plugged;           /* bytes */
    uint64_t unplugged;         /* bytes */
    /* From any thread */
    Stat64 discards;
    Stat64 discarded;           /* bytes */
    Stat64 discard_failures;
    Stat64 prealloc_failures;
} VirtIOMEMStats;

/* The last resize; times are of QEMU_CLOCK_REALTIME */
typedef struct VirtIOMEMLastResize {
    uint64_t from;              /* bytes plugged */
    uint64_t to;                /* bytes requested */
    int64_t begin_ms;
    int64_t end_ms;             /* once it is done */
    bool is_done;
} VirtIOMEMLastResize;

/* What the driver told last, checked */
typedef struct VirtIOMEMReport {
    bool is_there;
    int64_t told_ms;            /* of QEMU_CLOCK_REALTIME */
    struct virtio_mem_x_report data;    /* in host byte order */
} VirtIOMEMReport;

/* All state is protected by the BQL, unless it says otherwise. */
struct VirtIOMEM {
    VirtIODevice parent_obj;

    VirtQueue *vq;
    QEMUBH *queue_bh;                   /* goes on with the queue; realized */
    int64_t looked_ns;                  /* when the queue last had a clock */

    /* Configuration, fixed once realized */
    HostMemoryBackend *memdev;
    uint32_t node;                      /* of the guest */
    uint64_t addr;                      /* guest physical; 0: not chosen yet */
    uint64_t block_size;                /* bytes; 0: choose */
    OnOffAuto unplugged_inaccessible;   /* AUTO only before realize */
    bool prealloc;                      /* plugged memory is there at once */
    bool dynamic_memslots;
    bool refuse_unrequested_unplug;
    bool early_migration;               /* plugged blocks go ahead of RAM */
    bool driver_reports;                /* a driver may tell how far it came */

    /* Sizes in bytes, multiples of block_size */
    uint64_t requested_size;
    uint64_t usable_region_size;
    VirtIOMEMBlocks blocks;

    VirtIOMEMMemslots memslots;
    VirtIOMEMProtection protection;
    VirtIOMEMJob job;
    int pagemap_fd;                     /* -1: none.  Realized */
    VirtIOMEMStream stream;
    bool loaded;                        /* since the last system reset */

    QLIST_HEAD(, RamDiscardListener) discard_listeners;
    NotifierList size_change_notifiers;
    uint64_t told_size;                 /* bytes; what these know is plugged */
    QEMUTimer *tell_timer;              /* until they are told more; realized */
    VirtIOMEMStats stats;
    VirtIOMEMLastResize resize;
    VirtIOMEMReport report;

    NotifierWithReturn migration_notifier;
    VMChangeStateEntry *vm_state_handler;
    QTAILQ_ENTRY(VirtIOMEM) next;       /* among all realized devices */
};

/* virtio-mem.c */

/* What messages call the device: its ID, or else its type. */
const char *virtio_mem_name(const VirtIOMEM *vmem);

/* What of the machine it is: the PCI device, say. */
DeviceState *virtio_mem_proxy(const VirtIOMEM *vmem);

/* The realized device after another one, or the first after NULL; or NULL. */
VirtIOMEM *virtio_mem_next(const VirtIOMEM *vmem);

/* Bytes that are plugged. */
uint64_t virtio_mem_get_plugged_size(const VirtIOMEM *vmem);

/* Notifiers get a pointer to the new plugged size (uint64_t, bytes). */
void virtio_mem_add_size_change_notifier(VirtIOMEM *vmem, Notifier *notifier);

/*
 * Tells them when the size is another one than they were told; to be called
 * after changes of blocks.  To tell costs more than most requests, so that
 * after the first change of a running machine the next ones are put off for a
 * moment, and told as one.
 */
void virtio_mem_tell_plugged_size(VirtIOMEM *vmem);

/* Takes a new target that virtio_mem_check_requested_size() found right. */
void virtio_mem_request_size(VirtIOMEM *vmem, uint64_t size);

/**
 * virtio_mem_shrink_usable_region:
 * Makes the usable region as small as the requested size allows.  Only for
 * UNPLUG_ALL and system resets (D08), which tell nobody (D09).
 */
void virtio_mem_shrink_usable_region(VirtIOMEM *vmem);

/* Goes on with the queue, soon. */
void virtio_mem_kick_queue(VirtIOMEM *vmem);

/* For query-memory-devices; fills all but the ID. */
void virtio_mem_fill_device_info(VirtIOMEM *vmem, VirtioMEMDeviceInfo *info);

/* virtio-mem-config.c */

/* Adds all properties, with their descriptions. */
void virtio_mem_config_class_init(ObjectClass *klass);

/**
 * virtio_mem_check_config:
 * Checks all that the user configured, before the device is realized.
 * Returns false with an error that names property, value and rule.
 */
bool virtio_mem_check_config(VirtIOMEM *vmem, Error **errp);

/**
 * virtio_mem_check_unplug:
 * Returns false with an error while the device itself can't be unplugged:
 * unplugged-inaccessible is off, memory is plugged, or memory is requested.
 */
bool virtio_mem_check_unplug(const VirtIOMEM *vmem, Error **errp);

/* Settles what the user left to the device, and warns of odd choices. */
void virtio_mem_settle_config(VirtIOMEM *vmem);

/* Bytes; what the device uses when the user didn't choose: never 0. */
uint64_t virtio_mem_get_block_size(const VirtIOMEM *vmem);

/* Of the guest; 0 when the machine has none, which is one without a number. */
unsigned int virtio_mem_nb_numa_nodes(void);

/* virtio-mem-size.c */

/* For people: in the largest unit that needs no fraction; to be freed. */
char *virtio_mem_size_str(uint64_t size);

/* virtio-mem-stats.c */

/* A request got an answer; both as on the wire. */
void virtio_mem_count_answer(VirtIOMEM *vmem, uint16_t request,
                             uint16_t answer);

/* Memory was given back to the host, or not; from any thread. */
void virtio_mem_count_discard(VirtIOMEM *vmem, uint64_t size, bool done);

/* The machine is to have another size from now on. */
void virtio_mem_resize_begins(VirtIOMEM *vmem);

/* So many bytes were plugged or unplugged. */
void virtio_mem_resize_goes_on(VirtIOMEM *vmem, uint64_t plugged,
                               uint64_t unplugged);

/* Fills all but the ID and the map. */
void virtio_mem_fill_status(VirtIOMEM *vmem, VirtioMEMStatus *status);

/* virtio-mem-report.c */

extern const VMStateDescription vmstate_virtio_mem_report;

/*
 * Takes what a driver tells, if it is possible; returns the type of the
 * response.
 */
uint16_t virtio_mem_take_report(VirtIOMEM *vmem,
                                const struct virtio_mem_x_report *report);

/* What the driver told last; NULL if it did not, to be freed. */
VirtioMEMReport *virtio_mem_report_info(const VirtIOMEM *vmem);

/* virtio-mem-request.c */

/**
 * virtio_mem_handle_request:
 * Handles one element, which it takes over.  Either it is answered, and the
 * caller notifies the guest, or a job goes on with it.  Returns false, and
 * leaves the element to the caller, when it is too short to hold a request or
 * the answer.
 */
bool virtio_mem_handle_request(VirtIOMEM *vmem, VirtQueueElement *elem);

/* Answers an element of a type of request, frees it, and notifies. */
void virtio_mem_answer(VirtIOMEM *vmem, VirtQueueElement *elem,
                       uint16_t request, uint16_t answer);

/**
 * virtio_mem_unplug_all:
 * Unplugs everything, at once.  Nothing changes when the host can't take the
 * memory back.
 */
void virtio_mem_unplug_all(VirtIOMEM *vmem);

/* virtio-mem-job.c */

/* What jobs of a kind do.  Ranges are bytes in the region. */
struct VirtIOMEMJobType {
    uint16_t request;           /* the type of what asked for it */
    /*
     * Does one piece of the work, in whichever thread, without the BQL.
     * Returns 0 or a negative error.
     */
    int (*work)(VirtIOMEM *vmem, uint64_t offset, uint64_t size);
    /* Undoes the work on what was tried, as it failed or stopped; or NULL. */
    int (*undo)(VirtIOMEM *vmem, uint64_t offset, uint64_t size);
    /*
     * Makes the result known, in the main loop: all of the range is done, or
     * @ret says why not, and the range is what was tried until then.  Returns
     * the type of the response to the guest.
     */
    uint16_t (*finish)(VirtIOMEM *vmem, uint64_t offset, uint64_t size,
                       int ret);
    /*
     * Bytes of a piece, in the main loop and in the thread.  Pieces grow as
     * long as each takes no time; but the next one may have all to do, so
     * there is a limit.  A piece keeps others from mapping memory.
     */
    uint64_t (*piece_size)(const VirtIOMEM *vmem);
    uint64_t (*thread_piece_size)(const VirtIOMEM *vmem);
    uint64_t (*max_piece_size)(const VirtIOMEM *vmem);
    /*
     * Bytes at the start of a range that need no work, for certain; or NULL.
     * Asked where more than one piece is left.
     */
    uint64_t (*empty_size)(VirtIOMEM *vmem, uint64_t offset, uint64_t size);
    /* Most likely quick: begins at once, without the thread. */
    bool often_quick;
    /* May be left half way, which undoes it. */
    bool can_stop;
};

void virtio_mem_job_init(VirtIOMEM *vmem);
void virtio_mem_job_destroy(VirtIOMEM *vmem);

/**
 * virtio_mem_job_start:
 * Works on a range of the region.  Returns true with the type of the response
 * when all is over; else the job answers @elem later, and takes it over.
 */
bool virtio_mem_job_start(VirtIOMEM *vmem, const VirtIOMEMJobType *type,
                          uint64_t offset, uint64_t size,
                          VirtQueueElement *elem, uint16_t *response);

/**
 * virtio_mem_start_thread:
 * Starts a thread of the device, which nothing but SIGSEGV and the like
 * interrupts; its name has up to 15 characters.  Returns NULL with an error
 * where the host has no thread left, instead of ending QEMU as
 * qemu_thread_create() does.
 */
GThread *virtio_mem_start_thread(const char *name, GThreadFunc function,
                                 VirtIOMEM *vmem, Error **errp);

/* Whether a request goes on in the thread; others wait for it. */
bool virtio_mem_job_is_running(const VirtIOMEM *vmem);

/**
 * virtio_mem_job_settle:
 * Returns once no job runs: waits for it, and stops what may be stopped.
 * @answer: false when the guest forgot its request.
 */
void virtio_mem_job_settle(VirtIOMEM *vmem, bool answer);

/**
 * virtio_mem_job_forsake:
 * Waits for nothing: the guest forgot its request, and a job that can stop will
 * leave everything as it was.  The queue goes on when the job has ended.
 */
void virtio_mem_job_forsake(VirtIOMEM *vmem);

/* virtio-mem-memory.c: nothing of it needs the BQL */

RAMBlock *virtio_mem_ram_block(const VirtIOMEM *vmem);
uint64_t virtio_mem_region_size(const VirtIOMEM *vmem);

/*
 * Gives the memory of a range back to the host; warns once when it can't.
 * Returns 0 or a negative error.
 */
int virtio_mem_discard(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Takes memory of the host for a range; else as virtio_mem_discard(). */
int virtio_mem_prealloc(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Bytes that virtio_mem_prealloc() fills in a moment, with all its threads. */
uint64_t virtio_mem_prealloc_piece_size(const VirtIOMEM *vmem);

/* Bytes that are given back in a millisecond or two, whatever they hold. */
uint64_t virtio_mem_discard_piece_size(const VirtIOMEM *vmem);

/* The same in a thread, which has more time */
uint64_t virtio_mem_discard_thread_piece_size(const VirtIOMEM *vmem);

/* Bytes to give back at once, at most, where nothing seems to be in them. */
uint64_t virtio_mem_discard_max_piece_size(const VirtIOMEM *vmem);

/* As virtio_mem_prealloc(), for all that is plugged, off the main loop. */
int coroutine_mixed_fn virtio_mem_prealloc_plugged(VirtIOMEM *vmem);

/* virtio-mem-pagemap.c: nothing of it needs the BQL */

/*
 * Opens /proc/self/pagemap without the right to see where in the host the pages
 * are, which a QEMU that gives up the rights of root must not keep.  Returns a
 * descriptor, or -1 with @errp set.
 */
int virtio_mem_open_pagemap(Error **errp);

/* Opens it where it is of use.  Later QEMU may have no right to. */
void virtio_mem_pagemap_open(VirtIOMEM *vmem);
void virtio_mem_pagemap_close(VirtIOMEM *vmem);
bool virtio_mem_pagemap_is_open(const VirtIOMEM *vmem);

/*
 * Bytes from the start of a range up to the first page in use, or less: 0 while
 * the pagemap is closed.
 */
uint64_t virtio_mem_empty_size(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/**
 * virtio_mem_pagemap_scan:
 * Finds the first run of pages in [*offset, end), and goes no further than
 * @max_size bytes of it, by a pagemap of the caller's; also those that are
 * Linux's page of zeroes.  Returns 0 with the run, whose size is 0 if there is
 * none, or a negative error: Linux before 6.7 can't.
 */
int virtio_mem_pagemap_scan(VirtIOMEM *vmem, int fd, uint64_t *offset,
                            uint64_t end, uint64_t max_size, uint64_t *size);

/* virtio-mem-blocks.c */

void virtio_mem_blocks_init(VirtIOMEMBlocks *blocks, uint64_t region_size,
                            uint64_t block_size);
void virtio_mem_blocks_destroy(VirtIOMEMBlocks *blocks);

/* Takes a bitmap of all blocks over. */
void virtio_mem_blocks_load(VirtIOMEMBlocks *blocks,
                            const unsigned long *plugged);
void virtio_mem_blocks_set(VirtIOMEMBlocks *blocks, uint64_t offset,
                           uint64_t size, bool plugged);

/* Makes all blocks unplugged. */
void virtio_mem_blocks_clear(VirtIOMEMBlocks *blocks);

/* Whether the block at an offset is plugged. */
bool virtio_mem_blocks_is_plugged(const VirtIOMEMBlocks *blocks,
                                  uint64_t offset);

/* Whether all blocks that [offset, offset + size) touches are (un)plugged. */
bool virtio_mem_blocks_test(const VirtIOMEMBlocks *blocks, uint64_t offset,
                            uint64_t size, bool plugged);

/**
 * virtio_mem_blocks_next:
 * Finds the first extent of (un)plugged memory in [*offset, end).
 *
 * Returns its size in bytes, cut off at @end, with *offset at its start; 0
 * when there is none.  To go on, add the size to *offset.
 */
uint64_t virtio_mem_blocks_next(const VirtIOMEMBlocks *blocks,
                                uint64_t *offset, uint64_t end, bool plugged);

/* virtio-mem-memslots.c */

/* What the machine maps for the device: all of its memory, or the slots. */
MemoryRegion *virtio_mem_memory_region(VirtIOMEM *vmem);

/* Decides how many slots to use, at most @limit; called once, unrealized. */
void virtio_mem_memslots_decide(VirtIOMEM *vmem, unsigned int limit);

/* How many the device may need; 1 with dynamic-memslots off. */
unsigned int virtio_mem_nb_memslots(const VirtIOMEM *vmem);

/* Lets the guest reach a range that is about to be plugged. */
void virtio_mem_memslots_show(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Hides slots that have nothing plugged, or only in this range. */
void virtio_mem_memslots_hide(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Shows the slots with something plugged, and hides all others. */
void virtio_mem_memslots_update(VirtIOMEM *vmem);

void virtio_mem_memslots_destroy(VirtIOMEM *vmem);

/* virtio-mem-discard.c */

/* Sets the methods of TYPE_RAM_DISCARD_MANAGER. */
void virtio_mem_discard_class_init(ObjectClass *klass);

/**
 * virtio_mem_notify_populate:
 * Asks all listeners to get ready for memory at [offset, offset + size) of the
 * region.  When one objects, those asked before are told to forget it.
 * Returns 0 or the negative error of the one that objected.
 */
int virtio_mem_notify_populate(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/*
 * Tells all listeners that what is plugged of [offset, offset + size) may be
 * other memory than before.  What one cannot map is reported, and no more.
 */
void virtio_mem_notify_replaced(VirtIOMEM *vmem, uint64_t offset,
                                uint64_t size);

/* Tells all listeners of all that is plugged, without a way back. */
int virtio_mem_notify_populate_all(VirtIOMEM *vmem);

/*
 * Tells all listeners that [offset, offset + size) was discarded, before it
 * stops being plugged.
 */
void virtio_mem_notify_discard(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Tells all listeners that everything plugged was discarded. */
void virtio_mem_notify_discard_all(VirtIOMEM *vmem);

/* virtio-mem-migration.c */

extern const VMStateDescription vmstate_virtio_mem;
extern const VMStateDescription vmstate_virtio_mem_device;

/* Whether blocks must stay as they are, as a migration reads or writes them. */
bool virtio_mem_is_migrating(void);

void virtio_mem_migration_register(VirtIOMEM *vmem);
void virtio_mem_migration_unregister(VirtIOMEM *vmem);

#endif
