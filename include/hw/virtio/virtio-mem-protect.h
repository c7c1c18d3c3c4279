/*
 * virtio-mem: the protection of unplugged memory
 *
 * A guest may go on using what it unplugged, whoever wrote its driver.  The
 * device can keep it from gaining anything by that:
 *
 *   virtio-mem-protect.c    when protection holds, and how far
 *   virtio-mem-guard.c      which blocks are registered with userfaultfd
 *   virtio-mem-fault.c      the thread that handles accesses to these
 *   virtio-mem-loan.c       pages that an access got for a moment
 *   virtio-mem-audit.c      the thread that looks for memory in use
 *   virtio-mem-violation.c  counts, events, and what else follows
 *
 * Locks, in the order in which they are taken: the BQL, audit.lock, guard.lock,
 * violations.lock.  The thread of virtio-mem-fault.c never takes the BQL, as
 * who waits for that thread may hold it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VIRTIO_MEM_PROTECT_H
#define HW_VIRTIO_MEM_PROTECT_H

#include "hw/core/cpu.h"
#include "qapi/qapi-types-machine.h"
#include "qemu/event_notifier.h"
#include "qemu/thread.h"

typedef struct VirtIOMEM VirtIOMEM;

/* The audit's interval */
#define VIRTIO_MEM_MIN_INTERVAL_MS 10
#define VIRTIO_MEM_MAX_INTERVAL_MS (24 * 60 * 60 * 1000)

/* Pages that accesses to unplugged memory may hold at a time */
#define VIRTIO_MEM_MAX_LOANS 64

/* A page of the region that an access got */
typedef struct VirtIOMEMLoan {
    uint64_t offset;            /* bytes in the region */
    int64_t end_ns;             /* of get_clock() */
    bool is_unclear;            /* read or written, by nobody knows whom */
} VirtIOMEMLoan;

/* The oldest first.  guard.lock */
typedef struct VirtIOMEMLoans {
    VirtIOMEMLoan ring[VIRTIO_MEM_MAX_LOANS];
    unsigned int first;
    unsigned int nb;
    unsigned int max;           /* fewer where pages are large */
    unsigned int nb_judged;     /* violations that cost no vCPU time yet */
    void *zeroes;               /* a page, where the kernel can't make one */
    int mem_fd;                 /* the memory of this process, or -1 */
} VirtIOMEMLoans;

/* What is registered with userfaultfd */
typedef struct VirtIOMEMGuard {
    QemuMutex lock;
    int fd;                     /* -1: none.  Realized */
    unsigned long *blocks;      /* one bit per block.  lock */
    uint64_t nb_blocks;         /* registered.  lock */
    uint64_t nb_extents;        /* runs of them.  lock */
    uint64_t max_extents;       /* realized */
    unsigned int nb_waiting;    /* for the lock.  Atomic */
    bool is_aside;              /* registers nothing.  lock */
    bool is_incomplete;         /* does not register all.  lock */
    bool has_hole;              /* ... since the host could not.  lock */
    bool forbids_reads;         /* atomic */
    VirtIOMEMLoans loans;
} VirtIOMEMGuard;

/* The thread that handles accesses to what is guarded */
typedef struct VirtIOMEMFaults {
    GThread *thread;            /* realized */
    EventNotifier stop;
    unsigned int tokens;        /* accesses of vCPUs that cost them no time */
    int64_t filled_ns;          /* when these were last added to */
} VirtIOMEMFaults;

/* The thread that looks for memory in what is unplugged */
typedef struct VirtIOMEMAudit {
    QemuMutex lock;
    QemuCond wake;              /* with lock: to stop it */
    GThread *thread;            /* realized */
    QEMUBH *bh;                 /* asked for by the thread; realized */
    unsigned long *blocks;      /* one bit per block: unplugged.  lock */
    bool is_off;                /* looks at nothing.  lock */
    bool forgives;              /* what it finds in this pass.  lock */
    bool stops;                 /* lock */
    const struct VirtIOMEMAuditKind *kind;  /* how it looks; realized */
    int fd;                     /* the pagemap, or -1; realized */
    unsigned int nb_waiting;    /* for the lock.  Atomic */
    uint64_t nb_passes;         /* atomic */
} VirtIOMEMAudit;

/* Of a kind, and not told yet */
typedef struct VirtIOMEMViolation {
    uint64_t count;
    uint64_t addr;              /* guest physical, of the last one */
    int cpu_index;              /* ... or -1: no vCPU */
} VirtIOMEMViolation;

typedef struct VirtIOMEMViolations {
    QemuMutex lock;
    VirtIOMEMViolation untold[MEMORY_DEVICE_VIOLATION_KIND__MAX];
    uint64_t counts[MEMORY_DEVICE_VIOLATION_KIND__MAX];
    uint64_t last_addr;         /* guest physical */
    bool must_act;
    int64_t since_s;            /* of the real time; when these were 0 */
    QEMUBH *bh;                 /* realized */
    QEMUTimer *timer;           /* until the next may be told; realized */
    bool was_warned;            /* BQL */
} VirtIOMEMViolations;

typedef struct VirtIOMEMProtection {
    /* Configuration, fixed once realized */
    MemoryDeviceProtection mode;
    MemoryDeviceViolationAction action;
    uint32_t interval_ms;       /* between passes of the audit */
    uint32_t max_extents;       /* 0: choose */

    VirtIOMEMGuard guard;
    VirtIOMEMFaults faults;
    VirtIOMEMAudit audit;
    VirtIOMEMViolations violations;
} VirtIOMEMProtection;

/* virtio-mem-protect.c: all with the BQL held */

/* Before and after all others */
void virtio_mem_protection_init(VirtIOMEM *vmem);
void virtio_mem_protection_destroy(VirtIOMEM *vmem);

/**
 * virtio_mem_protect_begin:
 * Protects all of the region, where nothing is plugged yet.  Returns false
 * with the reason where host or backend can't do what is configured.
 */
bool virtio_mem_protect_begin(VirtIOMEM *vmem, Error **errp);
void virtio_mem_protect_end(VirtIOMEM *vmem);

/*
 * Blocks that become unplugged are guarded first, then discarded, then looked
 * through, too: so there is no moment in which they are not protected.
 */
void virtio_mem_protect_soon(VirtIOMEM *vmem, uint64_t offset, uint64_t size);
void virtio_mem_protect(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Before blocks are plugged, or filled to be plugged */
void virtio_mem_unprotect(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Protects what is unplugged, and nothing else. */
void virtio_mem_protect_anew(VirtIOMEM *vmem);

/*
 * The same for blocks of a migration or snapshot, which may have left something
 * in others: that is given back, and no violation.
 */
void virtio_mem_protect_loaded(VirtIOMEM *vmem);

/* The machine runs, or stops; a migration begins, or may have ended. */
void virtio_mem_protect_update(VirtIOMEM *vmem);

/* A driver has come, or gone. */
void virtio_mem_protect_driver_changed(VirtIOMEM *vmem, uint8_t status);

/* What users get told; NULL when there is none */
VirtioMEMProtectionInfo *virtio_mem_protection_info(VirtIOMEM *vmem);

/* virtio-mem-guard.c: guard.lock held, but for the first four */

/* How many mappings Linux lets a process have */
uint64_t virtio_mem_max_mappings(void);

bool virtio_mem_guard_begin(VirtIOMEM *vmem, Error **errp);
void virtio_mem_guard_end(VirtIOMEM *vmem);

/* Takes guard.lock, with priority over the thread of virtio-mem-fault.c. */
void virtio_mem_guard_lock(VirtIOMEM *vmem);

/* Registers a range, as far as there may be more extents. */
void virtio_mem_guard_add(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Who waits in such a range goes on. */
void virtio_mem_guard_remove(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Registers what is unplugged, and nothing else; long extents first. */
void virtio_mem_guard_anew(VirtIOMEM *vmem);

/* Whether it is time for virtio_mem_guard_anew(); without the lock, too */
bool virtio_mem_guard_wants_more(const VirtIOMEM *vmem);

bool virtio_mem_guard_has(const VirtIOMEM *vmem, uint64_t offset);

/* virtio-mem-fault.c */

bool virtio_mem_faults_begin(VirtIOMEM *vmem, Error **errp);
void virtio_mem_faults_end(VirtIOMEM *vmem);

/* virtio-mem-loan.c: guard.lock held, but for the first two */

bool virtio_mem_loans_begin(VirtIOMEM *vmem, Error **errp);
void virtio_mem_loans_end(VirtIOMEM *vmem);

/* A page of zeroes that can be read, for good where that takes no memory */
void virtio_mem_lend_zeroes(VirtIOMEM *vmem, uint64_t offset);

/*
 * A page for one access, which gets lost.  @is_there: it was lent to read, and
 * is to be written.  Returns false if it was lent before.
 */
bool virtio_mem_lend(VirtIOMEM *vmem, uint64_t offset, bool is_there);

/* The same where nobody knows what for: what the page holds in the end tells */
void virtio_mem_lend_unclear(VirtIOMEM *vmem, uint64_t offset, bool is_there);

/* The same for an access to what is not guarded any more: for good */
void virtio_mem_let_go_on(VirtIOMEM *vmem, uint64_t offset, bool is_there);

/*
 * Takes back the first page if it is due, and returns 0; else how many
 * nanoseconds it has left, or -1 where none is lent.
 */
int64_t virtio_mem_end_loan(VirtIOMEM *vmem);

/* Takes back all of a range. */
void virtio_mem_end_loans_of(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

bool virtio_mem_is_any_lent(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* Whether pages that are there hold more than zeroes */
bool virtio_mem_holds_data(VirtIOMEM *vmem, uint64_t offset, uint64_t size);

/* virtio-mem-audit.c */

bool virtio_mem_audit_begin(VirtIOMEM *vmem, Error **errp);
void virtio_mem_audit_end(VirtIOMEM *vmem);

/* Takes audit.lock, with priority over the thread. */
void virtio_mem_audit_lock(VirtIOMEM *vmem);

/* With audit.lock held */
void virtio_mem_audit_set(VirtIOMEM *vmem, uint64_t offset, uint64_t size,
                          bool unplugged);

/* virtio-mem-violation.c */

void virtio_mem_violations_begin(VirtIOMEM *vmem);
void virtio_mem_violations_end(VirtIOMEM *vmem);

/*
 * Counts @count pages, the last of which is at @offset of the region, and sees
 * to what follows.  @cpu: the vCPU that did it, or NULL.  In any thread
 */
void virtio_mem_violated(VirtIOMEM *vmem, MemoryDeviceViolationKind kind,
                         uint64_t offset, uint64_t count, CPUState *cpu);

/* Starts to count anew. */
void virtio_mem_violations_reset(VirtIOMEM *vmem);

/* Fills counts, the last address, and since when. */
void virtio_mem_violations_fill_info(VirtIOMEM *vmem,
                                     VirtioMEMProtectionInfo *info);

#endif
