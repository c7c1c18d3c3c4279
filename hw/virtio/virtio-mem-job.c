/*
 * virtio-mem: requests that take long
 *
 * To fill gigabytes with memory, or to give them back, takes up to seconds: too
 * long for the main loop.  A job works on a range piece by piece, first for a
 * moment where it was asked for, then in the device's thread.  What it amounts
 * to is made known, and the guest answered, in the main loop.  A device has one
 * job at a time, and its queue waits for that.
 *
 * Whoever needs to see no request half done settles the job first: system
 * resets, the end of the device, a machine that stops, a migration that begins.
 * A guest that resets the device does not make QEMU wait: the job is forsaken,
 * and ends on its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/virtio/virtio-mem.h"
#include "trace.h"

/* How long a request may keep the main loop before it goes on in a thread */
#define MOMENT_NS (1 * SCALE_MS)

/* What took less had next to nothing to do: the next may be larger. */
#define QUICK_NS (20 * SCALE_US)
#define PIECE_GROWTH 64

/*
 * How far to look for work at once.  Page tables that a guest left empty take
 * half a millisecond per GiB.
 */
#define LOOK_SIZE (2 * GiB)
#define LOOK_GROWTH 8
#define MAX_LOOK_SIZE (64 * GiB)

static bool job_is_over(const VirtIOMEMJob *job)
{
    return job->ret || job->done == job->size;
}

static bool job_should_stop(const VirtIOMEMJob *job)
{
    return qatomic_read(&job->phase) == VIRTIO_MEM_JOB_STOPS;
}

/*
 * Passes by what needs no work, in whole pieces, and looks no further than
 * @look bytes.  Returns whether there is work where the job has come to.
 */
static bool job_finds_work(VirtIOMEM *vmem, uint64_t look, uint64_t piece)
{
    VirtIOMEMJob *job = &vmem->job;
    uint64_t left = job->size - job->done;
    uint64_t empty;

    if (!job->type->empty_size || left <= piece) {
        return true;
    }
    look = MIN(look, left);
    empty = job->type->empty_size(vmem, job->offset + job->done, look);
    job->done += empty < look ? QEMU_ALIGN_DOWN(empty, piece) : look;
    return empty < look;
}

/*
 * Works for @duration_ns, unless all is over before; at least in pieces of
 * @least bytes.  Returns what time it is, of get_clock().
 */
static int64_t job_work(VirtIOMEM *vmem, int64_t duration_ns, uint64_t least)
{
    VirtIOMEMJob *job = &vmem->job;
    uint64_t most = MAX(least, job->type->max_piece_size(vmem));
    uint64_t piece = least, look = LOOK_SIZE;
    int64_t start = get_clock(), now = start, begun;
    bool quick;

    while (!job_is_over(job) && !job_should_stop(job) &&
           now - start < duration_ns) {
        begun = now;
        if (job_finds_work(vmem, look, least)) {
            piece = MIN(piece, job->size - job->done);
            job->ret = job->type->work(vmem, job->offset + job->done, piece);
            job->done += piece;
        }
        now = get_clock();
        quick = now - begun < QUICK_NS;
        piece = quick ? MIN(PIECE_GROWTH * piece, most) : least;
        look = quick ? MIN(LOOK_GROWTH * look, MAX_LOOK_SIZE) : LOOK_SIZE;
    }
    return now;
}

/*
 * From here on nobody can stop the job.  One that failed and is undone counts
 * as stopped: it changed nothing that a driver must know, so none waits for it.
 */
static void job_conclude(VirtIOMEM *vmem)
{
    VirtIOMEMJob *job = &vmem->job;
    int end = job->ret && job->type->undo ? VIRTIO_MEM_JOB_STOPS
                                          : VIRTIO_MEM_JOB_IS_OVER;

    if (qatomic_cmpxchg(&job->phase, VIRTIO_MEM_JOB_WORKS, end) ==
        VIRTIO_MEM_JOB_STOPS) {
        job->ret = -ECANCELED;
    }
    if (job->ret && job->type->undo && job->done) {
        job->type->undo(vmem, job->offset, job->done);
    }
}

static void *job_thread(void *opaque)
{
    VirtIOMEM *vmem = opaque;
    VirtIOMEMJob *job = &vmem->job;

    rcu_register_thread();
    for (;;) {
        qemu_sem_wait(&job->begin);
        if (!job->type) {
            break;
        }
        job_work(vmem, INT64_MAX, job->type->thread_piece_size(vmem));
        job_conclude(vmem);
        qemu_bh_schedule(job->bh);
        qemu_sem_post(&job->end);
    }
    rcu_unregister_thread();
    return NULL;
}

GThread *virtio_mem_start_thread(const char *name, GThreadFunc function,
                                 VirtIOMEM *vmem, Error **errp)
{
    g_autoptr(GError) err = NULL;
    sigset_t all, before;
    GThread *thread;

    /* Signals are for the main thread, but for those that nobody can block. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread = g_thread_try_new(name, function, vmem, &err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!thread) {
        error_setg(errp, "%s", err->message);
    }
    return thread;
}

/*
 * The thread begins with the first job that needs it: a device that only gives
 * memory needs none.  Where there is none the job fails, and the guest asks
 * again.
 */
static bool job_has_thread(VirtIOMEM *vmem)
{
    VirtIOMEMJob *job = &vmem->job;
    Error *err = NULL;

    if (job->thread) {
        return true;
    }
    job->thread = virtio_mem_start_thread("virtio-mem", job_thread, vmem, &err);
    if (!job->thread) {
        warn_report_once("virtio-mem '%s': requests that take long wait for a "
                         "thread of the host: %s", virtio_mem_name(vmem),
                         error_get_pretty(err));
        error_free(err);
    }
    return job->thread;
}

/* Leaves no job, and returns the type of the response. */
static uint16_t job_finish(VirtIOMEM *vmem)
{
    VirtIOMEMJob *job = &vmem->job;
    const VirtIOMEMJobType *type = job->type;

    job->type = NULL;
    return type->finish(vmem, job->offset, job->done, job->ret);
}

bool virtio_mem_job_start(VirtIOMEM *vmem, const VirtIOMEMJobType *type,
                          uint64_t offset, uint64_t size,
                          VirtQueueElement *elem, uint16_t *response)
{
    VirtIOMEMJob *job = &vmem->job;

    assert(!job->type);
    job->type = type;
    job->offset = offset;
    job->size = size;
    job->done = 0;
    job->ret = 0;
    job->phase = VIRTIO_MEM_JOB_WORKS;

    if (type->often_quick) {
        vmem->looked_ns = job_work(vmem, MOMENT_NS, type->piece_size(vmem));
    }
    if (!job_is_over(job) && !job_has_thread(vmem)) {
        job->ret = -EAGAIN;
    }
    if (job_is_over(job)) {
        job_conclude(vmem);
        *response = job_finish(vmem);
        return true;
    }
    trace_virtio_mem_job_thread(offset, size, job->done);
    job->elem = elem;
    qemu_sem_post(&job->begin);
    return false;
}

bool virtio_mem_job_is_running(const VirtIOMEM *vmem)
{
    return vmem->job.type;
}

/* Waits for the thread, makes known what it did, and answers who still asks. */
static void job_end(VirtIOMEM *vmem)
{
    VirtIOMEMJob *job = &vmem->job;
    uint16_t request = job->type->request, response;
    VirtQueueElement *elem;

    qemu_sem_wait(&job->end);
    qemu_bh_cancel(job->bh);
    elem = g_steal_pointer(&job->elem);
    response = job_finish(vmem);
    if (elem) {
        virtio_mem_answer(vmem, elem, request, response);
    }
    virtio_mem_tell_plugged_size(vmem);
    virtio_mem_kick_queue(vmem);
}

/* Makes it stop, if it may; returns whether it was over before. */
static bool job_stop(VirtIOMEMJob *job)
{
    if (job->type->can_stop) {
        qatomic_cmpxchg(&job->phase, VIRTIO_MEM_JOB_WORKS,
                        VIRTIO_MEM_JOB_STOPS);
    }
    return qatomic_read(&job->phase) == VIRTIO_MEM_JOB_IS_OVER;
}

static void job_forget_request(VirtIOMEM *vmem)
{
    VirtQueueElement *elem = g_steal_pointer(&vmem->job.elem);

    if (elem) {
        virtqueue_detach_element(vmem->vq, elem, 0);
        g_free(elem);
    }
}

void virtio_mem_job_settle(VirtIOMEM *vmem, bool answer)
{
    if (!virtio_mem_job_is_running(vmem)) {
        return;
    }
    if (!answer) {
        job_forget_request(vmem);
    }
    job_stop(&vmem->job);
    job_end(vmem);
}

void virtio_mem_job_forsake(VirtIOMEM *vmem)
{
    if (!virtio_mem_job_is_running(vmem)) {
        return;
    }
    job_forget_request(vmem);
    /* What is plugged already must be known before a driver looks. */
    if (job_stop(&vmem->job)) {
        job_end(vmem);
    }
}

static void virtio_mem_job_bh(void *opaque)
{
    job_end(opaque);
}

void virtio_mem_job_init(VirtIOMEM *vmem)
{
    VirtIOMEMJob *job = &vmem->job;

    job->bh = virtio_bh_new_guarded(DEVICE(vmem), virtio_mem_job_bh, vmem);
    qemu_sem_init(&job->begin, 0);
    qemu_sem_init(&job->end, 0);
}

void virtio_mem_job_destroy(VirtIOMEM *vmem)
{
    VirtIOMEMJob *job = &vmem->job;

    virtio_mem_job_settle(vmem, false);
    if (job->thread) {
        qemu_sem_post(&job->begin);
        g_thread_join(g_steal_pointer(&job->thread));
    }
    qemu_sem_destroy(&job->begin);
    qemu_sem_destroy(&job->end);
    qemu_bh_delete(job->bh);
    job->bh = NULL;
}
