/*
 * virtio-mem: the requests of the guest
 *
 * Reads a request, checks it, changes blocks, answers.  Rules of the virtio
 * specification are named Dnn: docs/conformance.md lists their tests.  Each
 * request plugs or unplugs all that it names, or nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/log.h"
#include "hw/virtio/virtio-mem.h"
#include "standard-headers/linux/virtio_mem.h"
#include "trace.h"

/* A range of blocks that a request names, as offset and size in the region. */
typedef struct BlockRange {
    uint64_t offset;    /* bytes */
    uint64_t size;      /* bytes */
} BlockRange;

/* Requests.  Each handler fills in the response and changes all or nothing. */

/*
 * D25, D32, D45: aligned, not empty, and inside the usable region.  Compares
 * sizes, never ends, so that no address of a hostile guest can overflow.
 */
static bool virtio_mem_range_is_valid(const VirtIOMEM *vmem, uint64_t addr,
                                      uint16_t nb_blocks, BlockRange *range)
{
    uint64_t size = nb_blocks * vmem->block_size;
    uint64_t offset = addr - vmem->addr;

    if (!nb_blocks || addr & (vmem->block_size - 1) ||
        addr < vmem->addr || size > vmem->usable_region_size ||
        offset > vmem->usable_region_size - size) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "virtio-mem '%s': %u blocks at 0x%" PRIx64 ": not aligned"
                      " blocks of 0x%" PRIx64 " within [0x%" PRIx64 ", +0x%"
                      PRIx64 ")\n", virtio_mem_name(vmem), nb_blocks, addr,
                      vmem->block_size, vmem->addr, vmem->usable_region_size);
        return false;
    }
    *range = (BlockRange) { .offset = offset, .size = size };
    return true;
}

/* D26, D33: as above, and all blocks are (un)plugged now. */
static bool virtio_mem_range_is_all(const VirtIOMEM *vmem, uint64_t addr,
                                    uint16_t nb_blocks, bool plugged,
                                    BlockRange *range)
{
    if (!virtio_mem_range_is_valid(vmem, addr, nb_blocks, range)) {
        return false;
    }
    if (!virtio_mem_blocks_test(&vmem->blocks, range->offset, range->size,
                                plugged)) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "virtio-mem '%s': %u blocks at 0x%" PRIx64
                      ": not all are %splugged\n", virtio_mem_name(vmem),
                      nb_blocks, addr, plugged ? "" : "un");
        return false;
    }
    return true;
}

/* A request that is being handled */
typedef struct Request {
    VirtQueueElement *elem;
    struct virtio_mem_req req;      /* a copy: the guest can't change it */
    struct virtio_mem_resp resp;    /* in host byte order until it is sent */
} Request;

/*
 * What a handler did: filled in the response, or left it, and the element, to a
 * job.
 */
typedef enum Outcome {
    ANSWERED,
    LEFT_TO_JOB,
} Outcome;

static Outcome answered(Request *request, uint16_t type)
{
    request->resp.type = type;
    return ANSWERED;
}

static Outcome start_job(VirtIOMEM *vmem, Request *request,
                         const VirtIOMEMJobType *type, uint64_t offset,
                         uint64_t size)
{
    return virtio_mem_job_start(vmem, type, offset, size, request->elem,
                                &request->resp.type) ? ANSWERED : LEFT_TO_JOB;
}

static void set_blocks(VirtIOMEM *vmem, uint64_t offset, uint64_t size,
                       bool plugged)
{
    virtio_mem_blocks_set(&vmem->blocks, offset, size, plugged);
    trace_virtio_mem_blocks_changed(offset, size, plugged);
    virtio_mem_resize_goes_on(vmem, plugged ? size : 0, plugged ? 0 : size);
}

/* PLUG */

/* With prealloc=on the memory is there; else the guest takes it by use. */
static uint16_t virtio_mem_plug_finish(VirtIOMEM *vmem, uint64_t offset,
                                       uint64_t size, int ret)
{
    if (ret) {
        /* All that was to be plugged, not only what was tried */
        virtio_mem_protect_soon(vmem, offset, vmem->job.size);
        virtio_mem_protect(vmem, offset, vmem->job.size);
        return VIRTIO_MEM_RESP_BUSY;                    /* D27 */
    }
    virtio_mem_memslots_show(vmem, offset, size);
    if (virtio_mem_notify_populate(vmem, offset, size)) {
        virtio_mem_memslots_hide(vmem, offset, size);
        virtio_mem_protect_soon(vmem, offset, size);
        /* A listener that agreed may have filled the memory. */
        virtio_mem_discard(vmem, offset, size);
        virtio_mem_protect(vmem, offset, size);
        return VIRTIO_MEM_RESP_BUSY;
    }
    set_blocks(vmem, offset, size, true);
    return VIRTIO_MEM_RESP_ACK;                         /* D28, D29 */
}

static const VirtIOMEMJobType prealloc_job = {
    .request = VIRTIO_MEM_REQ_PLUG,
    .work = virtio_mem_prealloc,
    .undo = virtio_mem_discard,
    .finish = virtio_mem_plug_finish,
    .thread_piece_size = virtio_mem_prealloc_piece_size,
    .max_piece_size = virtio_mem_prealloc_piece_size,
    .can_stop = true,
};

static Outcome virtio_mem_plug(VirtIOMEM *vmem, Request *request)
{
    uint64_t addr = le64_to_cpu(request->req.u.plug.addr);
    uint16_t nb_blocks = le16_to_cpu(request->req.u.plug.nb_blocks);
    BlockRange range;

    trace_virtio_mem_plug_request(addr, nb_blocks);
    if (!virtio_mem_range_is_all(vmem, addr, nb_blocks, false, &range)) {
        return answered(request, VIRTIO_MEM_RESP_ERROR);
    }
    if (virtio_mem_get_plugged_size(vmem) + range.size > vmem->requested_size) {
        return answered(request, VIRTIO_MEM_RESP_NACK);     /* D50 */
    }
    if (virtio_mem_is_migrating()) {
        return answered(request, VIRTIO_MEM_RESP_BUSY);
    }
    virtio_mem_unprotect(vmem, range.offset, range.size);
    if (vmem->prealloc) {
        return start_job(vmem, request, &prealloc_job, range.offset,
                         range.size);
    }
    return answered(request, virtio_mem_plug_finish(vmem, range.offset,
                                                    range.size, 0));
}

/* UNPLUG */

static Outcome start_discard(VirtIOMEM *vmem, Request *request,
                             const VirtIOMEMJobType *type, uint64_t offset,
                             uint64_t size)
{
    virtio_mem_memslots_hide(vmem, offset, size);
    virtio_mem_protect_soon(vmem, offset, size);
    return start_job(vmem, request, type, offset, size);
}

/*
 * All blocks stay plugged, but some of what was tried is gone, @size bytes at
 * most: listeners map anew what comes in its place, in whole blocks; those
 * whose slot was hidden do once it is shown.
 */
static uint16_t discard_failed(VirtIOMEM *vmem, uint64_t offset, uint64_t size)
{
    virtio_mem_notify_replaced(vmem, offset,
                               ROUND_UP(size, vmem->block_size));
    virtio_mem_memslots_update(vmem);
    virtio_mem_protect_anew(vmem);
    return VIRTIO_MEM_RESP_BUSY;                        /* D34, D39 */
}

static uint16_t virtio_mem_unplug_finish(VirtIOMEM *vmem, uint64_t offset,
                                         uint64_t size, int ret)
{
    if (ret) {
        return discard_failed(vmem, offset, size);
    }
    virtio_mem_notify_discard(vmem, offset, size);
    set_blocks(vmem, offset, size, false);
    virtio_mem_protect(vmem, offset, size);
    return VIRTIO_MEM_RESP_ACK;                         /* D35, D36 */
}

static const VirtIOMEMJobType discard_job = {
    .request = VIRTIO_MEM_REQ_UNPLUG,
    .work = virtio_mem_discard,
    .finish = virtio_mem_unplug_finish,
    .piece_size = virtio_mem_discard_piece_size,
    .thread_piece_size = virtio_mem_discard_thread_piece_size,
    .empty_size = virtio_mem_empty_size,
    .max_piece_size = virtio_mem_discard_max_piece_size,
    .often_quick = true,
};

/* Whether an UNPLUG takes no more than what the host wants to have back. */
static bool virtio_mem_unplug_is_requested(const VirtIOMEM *vmem, uint64_t size)
{
    return virtio_mem_get_plugged_size(vmem) >= vmem->requested_size + size;
}

static Outcome virtio_mem_unplug(VirtIOMEM *vmem, Request *request)
{
    uint64_t addr = le64_to_cpu(request->req.u.unplug.addr);
    uint16_t nb_blocks = le16_to_cpu(request->req.u.unplug.nb_blocks);
    BlockRange range;

    trace_virtio_mem_unplug_request(addr, nb_blocks);
    if (!virtio_mem_range_is_all(vmem, addr, nb_blocks, true, &range)) {
        return answered(request, VIRTIO_MEM_RESP_ERROR);
    }
    if (vmem->refuse_unrequested_unplug &&
        !virtio_mem_unplug_is_requested(vmem, range.size)) {
        return answered(request, VIRTIO_MEM_RESP_NACK);
    }
    if (virtio_mem_is_migrating()) {
        return answered(request, VIRTIO_MEM_RESP_BUSY);
    }
    return start_discard(vmem, request, &discard_job, range.offset,
                         range.size);
}

/* UNPLUG_ALL */

/*
 * The whole region is discarded, not just what is plugged: that costs no more,
 * and takes back what a guest left in unplugged blocks.
 */
static uint16_t virtio_mem_unplug_all_finish(VirtIOMEM *vmem, uint64_t offset,
                                             uint64_t size, int ret)
{
    uint64_t plugged = virtio_mem_get_plugged_size(vmem);

    if (ret) {
        return discard_failed(vmem, offset, size);
    }
    if (plugged) {
        virtio_mem_notify_discard_all(vmem);
        virtio_mem_blocks_clear(&vmem->blocks);         /* D41 */
        virtio_mem_resize_goes_on(vmem, 0, plugged);
    }
    virtio_mem_protect(vmem, 0, virtio_mem_region_size(vmem));
    trace_virtio_mem_unplugged_all();
    virtio_mem_shrink_usable_region(vmem);              /* D42 */
    return VIRTIO_MEM_RESP_ACK;                         /* D40 */
}

static const VirtIOMEMJobType discard_all_job = {
    .request = VIRTIO_MEM_REQ_UNPLUG_ALL,
    .work = virtio_mem_discard,
    .finish = virtio_mem_unplug_all_finish,
    .piece_size = virtio_mem_discard_piece_size,
    .thread_piece_size = virtio_mem_discard_thread_piece_size,
    .empty_size = virtio_mem_empty_size,
    .max_piece_size = virtio_mem_discard_max_piece_size,
    .often_quick = true,
};

static Outcome virtio_mem_unplug_all_request(VirtIOMEM *vmem, Request *request)
{
    trace_virtio_mem_unplug_all_request();
    if (virtio_mem_is_migrating()) {
        return answered(request, VIRTIO_MEM_RESP_BUSY);
    }
    return start_discard(vmem, request, &discard_all_job, 0,
                         virtio_mem_region_size(vmem));
}

void virtio_mem_unplug_all(VirtIOMEM *vmem)
{
    uint64_t region_size = virtio_mem_region_size(vmem);

    virtio_mem_memslots_hide(vmem, 0, region_size);
    virtio_mem_protect_soon(vmem, 0, region_size);
    virtio_mem_unplug_all_finish(vmem, 0, region_size,
                                 virtio_mem_discard(vmem, 0, region_size));
    virtio_mem_tell_plugged_size(vmem);
}

/* STATE */

static Outcome virtio_mem_state(VirtIOMEM *vmem, Request *request)
{
    uint64_t addr = le64_to_cpu(request->req.u.state.addr);
    uint16_t nb_blocks = le16_to_cpu(request->req.u.state.nb_blocks);
    BlockRange range;
    uint16_t state;
    bool plugged;

    trace_virtio_mem_state_request(addr, nb_blocks);
    if (!virtio_mem_range_is_valid(vmem, addr, nb_blocks, &range)) {
        return answered(request, VIRTIO_MEM_RESP_ERROR);
    }
    /* All blocks are like the first one, or they are not. */
    plugged = virtio_mem_blocks_is_plugged(&vmem->blocks, range.offset);
    if (!virtio_mem_blocks_test(&vmem->blocks, range.offset, range.size,
                                plugged)) {
        state = VIRTIO_MEM_STATE_MIXED;
    } else {
        state = plugged ? VIRTIO_MEM_STATE_PLUGGED : VIRTIO_MEM_STATE_UNPLUGGED;
    }
    trace_virtio_mem_state_response(state);
    request->resp.u.state.state = cpu_to_le16(state);
    return answered(request, VIRTIO_MEM_RESP_ACK);
}

/* X_REPORT */

static Outcome virtio_mem_report(VirtIOMEM *vmem, Request *request)
{
    VirtQueueElement *elem = request->elem;
    struct virtio_mem_x_report report;

    iov_to_buf(elem->out_sg, elem->out_num, 0, &report, sizeof(report));
    return answered(request, virtio_mem_take_report(vmem, &report));
}

/* All of them */

typedef struct RequestType {
    /* bytes of the request that the device reads (D23, D30, D37, D43) */
    size_t size;
    Outcome (*handle)(VirtIOMEM *vmem, Request *request);
} RequestType;

#define REQUEST_HEADER_SIZE offsetof(struct virtio_mem_req, u)

static const RequestType request_types[] = {
    [VIRTIO_MEM_REQ_PLUG] = {
        .size = sizeof(struct virtio_mem_req),
        .handle = virtio_mem_plug,
    },
    [VIRTIO_MEM_REQ_UNPLUG] = {
        .size = sizeof(struct virtio_mem_req),
        .handle = virtio_mem_unplug,
    },
    [VIRTIO_MEM_REQ_UNPLUG_ALL] = {
        .size = REQUEST_HEADER_SIZE,
        .handle = virtio_mem_unplug_all_request,
    },
    [VIRTIO_MEM_REQ_STATE] = {
        .size = sizeof(struct virtio_mem_req),
        .handle = virtio_mem_state,
    },
};

static const RequestType report_type = {
    .size = sizeof(struct virtio_mem_x_report),
    .handle = virtio_mem_report,
};

/* NULL: there is no such request. */
static const RequestType *request_type(VirtIOMEM *vmem, uint16_t type)
{
    if (type == VIRTIO_MEM_REQ_X_REPORT &&
        virtio_vdev_has_feature(VIRTIO_DEVICE(vmem), VIRTIO_MEM_F_X_REPORT)) {
        return &report_type;
    }
    return type < ARRAY_SIZE(request_types) ? &request_types[type] : NULL;
}

/* Puts the response on the queue, and frees the element. */
static void send_response(VirtIOMEM *vmem, VirtQueueElement *elem,
                          uint16_t request, struct virtio_mem_resp *resp)
{
    trace_virtio_mem_send_response(resp->type);
    virtio_mem_count_answer(vmem, request, resp->type);
    resp->type = cpu_to_le16(resp->type);
    iov_from_buf(elem->in_sg, elem->in_num, 0, resp, sizeof(*resp));
    virtqueue_push(vmem->vq, elem, sizeof(*resp));
    g_free(elem);
}

void virtio_mem_answer(VirtIOMEM *vmem, VirtQueueElement *elem,
                       uint16_t request, uint16_t answer)
{
    struct virtio_mem_resp resp = { .type = answer };

    send_response(vmem, elem, request, &resp);
    virtio_notify(VIRTIO_DEVICE(vmem), vmem->vq);
}

bool virtio_mem_handle_request(VirtIOMEM *vmem, VirtQueueElement *elem)
{
    Request request = { .elem = elem };
    size_t size = iov_to_buf(elem->out_sg, elem->out_num, 0, &request.req,
                             sizeof(request.req));
    uint16_t type = le16_to_cpu(request.req.type);
    const RequestType *known = request_type(vmem, type);
    Outcome outcome;

    if (size < REQUEST_HEADER_SIZE ||
        iov_size(elem->in_sg, elem->in_num) < sizeof(request.resp)) {
        return false;
    }
    if (!known) {
        qemu_log_mask(LOG_GUEST_ERROR, "virtio-mem '%s': request type %u: "
                      "only 0 to %zu exist\n", virtio_mem_name(vmem), type,
                      ARRAY_SIZE(request_types) - 1);
        outcome = answered(&request, VIRTIO_MEM_RESP_ERROR);
    } else if (iov_size(elem->out_sg, elem->out_num) < known->size) {
        return false;
    } else {
        outcome = known->handle(vmem, &request);
    }
    if (outcome == ANSWERED) {
        send_response(vmem, elem, type, &request.resp);
    }
    return true;
}
