// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests: the thread sends one at a time and waits for its response.  What a
 * failed request leaves in doubt is for settle.c to find out.
 */

#include <linux/completion.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_ring.h>

#include "virtio_mem.h"

/* Memory asked for at once: long enough to make requests rare. */
#define VIRTIO_MEM_RUN_SIZE		(2ULL * SZ_1G)

/*
 * Seconds after which a missing response is told, and a thread that is to rest
 * waits no longer.
 */
#define VIRTIO_MEM_PATIENCE		10

void virtio_mem_response(struct virtqueue *vq)
{
	struct virtio_mem *vm = vq->vdev->priv;

	complete(&vm->response);
}

/* Whether there is no use in talking to the device until it is reset. */
bool virtio_mem_check_broken(struct virtio_mem *vm)
{
	struct virtio_device *vdev = vm->vdev;
	const char *what;
	u8 status;

	if (vm->broken)
		return true;
	status = vdev->config->get_status(vdev);
	if (status == VIRTIO_MEM_STATUS_GONE)
		what = "it is not there";
	else if (!(status & VIRTIO_CONFIG_S_DRIVER_OK))
		what = "somebody reset it";
	else if (status & VIRTIO_CONFIG_S_NEEDS_RESET)
		what = "it needs a reset";
	else if (virtqueue_is_broken(vm->vq))
		what = "its queue is broken";
	else
		return false;
	vm->broken = true;
	/* Not again and again, of one that no reset helps. */
	if (!virtio_mem_was_reset(vm))
		dev_err(&vdev->dev, "%s\n", what);
	return true;
}

static void virtio_mem_tell_silence(struct virtio_mem *vm)
{
	WRITE_ONCE(vm->result, -ETIMEDOUT);
	dev_warn(&vm->vdev->dev, "no answer to a request for %u s, waiting on\n",
		 VIRTIO_MEM_PATIENCE);
}

/* Returns 0, -EIO, or -ETIMEDOUT when the thread must not wait any longer. */
static int virtio_mem_await_response(struct virtio_mem *vm)
{
	unsigned int len, waited = 0, left = 0;

	while (!virtqueue_get_buf(vm->vq, &len)) {
		if (virtio_mem_check_broken(vm))
			return -EIO;
		if ((READ_ONCE(vm->leave) || vm->hurried) &&
		    left++ == VIRTIO_MEM_PATIENCE)
			return -ETIMEDOUT;
		if (!wait_for_completion_timeout(&vm->response, HZ) &&
		    ++waited == VIRTIO_MEM_PATIENCE)
			virtio_mem_tell_silence(vm);
	}
	vm->in_flight = false;
	return 0;
}

/*
 * Whether there is a device to send to, and the buffers are ours: not those of a
 * request that no one waited for.
 */
static bool virtio_mem_can_send(struct virtio_mem *vm)
{
	return !READ_ONCE(vm->leave) &&
	       !(vm->in_flight && virtio_mem_await_response(vm));
}

/*
 * Sends a request that is filled.  Returns 0, or when nothing was sent -EINTR,
 * if the device is broken, or -ENOMEM.
 */
static int virtio_mem_post(struct virtio_mem *vm, const void *data, size_t len)
{
	struct scatterlist req, resp, *sgs[] = { &req, &resp };

	memset(&vm->resp, 0xff, sizeof(vm->resp));
	sg_init_one(&req, data, len);
	sg_init_one(&resp, &vm->resp, sizeof(vm->resp));
	reinit_completion(&vm->response);

	if (virtqueue_add_sgs(vm->vq, sgs, 1, 1, vm, GFP_KERNEL))
		return virtio_mem_check_broken(vm) ? -EINTR : -ENOMEM;
	vm->in_flight = true;
	virtqueue_kick(vm->vq);
	return 0;
}

/* As virtio_mem_post(), or -EINTR if the thread is to rest. */
static int virtio_mem_send(struct virtio_mem *vm, u16 type,
			   unsigned long block, unsigned long nr)
{
	u64 addr = vm->addr + block * vm->block_size;

	if (!virtio_mem_can_send(vm))
		return -EINTR;
	memset(&vm->req, 0, sizeof(vm->req));
	vm->req.type = cpu_to_virtio16(vm->vdev, type);
	if (nr) {	/* the three requests with a range lay it out alike */
		vm->req.u.plug.addr = cpu_to_virtio64(vm->vdev, addr);
		vm->req.u.plug.nb_blocks = cpu_to_virtio16(vm->vdev, nr);
	}
	return virtio_mem_post(vm, &vm->req, sizeof(vm->req));
}

/* What each answer of the device means for who asked. */
static int virtio_mem_answer(struct virtio_mem *vm,
			     enum virtio_mem_answer *answer)
{
	static const struct {
		enum virtio_mem_answer answer;
		int rc;
	} known[] = {
		[VIRTIO_MEM_RESP_ACK] = { VIRTIO_MEM_ANSWER_ACK, 0 },
		[VIRTIO_MEM_RESP_NACK] = { VIRTIO_MEM_ANSWER_NACK, -EAGAIN },
		[VIRTIO_MEM_RESP_BUSY] = { VIRTIO_MEM_ANSWER_BUSY, -ETXTBSY },
		[VIRTIO_MEM_RESP_ERROR] = { VIRTIO_MEM_ANSWER_ERROR, -EINVAL },
	};
	/* The device may write to it at any time. */
	u16 type = virtio16_to_cpu(vm->vdev, READ_ONCE(vm->resp.type));

	if (type >= ARRAY_SIZE(known)) {
		*answer = VIRTIO_MEM_ANSWER_ODD;
		return -EPROTO;
	}
	*answer = known[type].answer;
	return known[type].rc;
}

/* Waits for the answer, if the request could be sent (@rc). */
static int virtio_mem_finish(struct virtio_mem *vm, u16 type, ktime_t since,
			     int rc)
{
	enum virtio_mem_answer answer = VIRTIO_MEM_ANSWER_NONE;

	cond_resched();		/* a fast device would never let us sleep */
	if (!rc)
		rc = virtio_mem_await_response(vm);
	if (!rc)
		rc = virtio_mem_answer(vm, &answer);
	virtio_mem_count_request(vm, type, answer);
	virtio_mem_count_work(vm, VIRTIO_MEM_WORK_REQUEST, since, !rc);
	return rc;
}

/*
 * Returns 0, or what a retry later might change.  @nr is 0 for the request that
 * has no range.
 */
int virtio_mem_exchange(struct virtio_mem *vm, u16 type, unsigned long block,
			unsigned long nr)
{
	ktime_t since = ktime_get();
	int rc = virtio_mem_send(vm, type, block, nr);

	rc = virtio_mem_finish(vm, type, since, rc);
	if (rc == -EINVAL || rc == -EPROTO)
		vm->odd = (struct virtio_mem_odd) { type, block, nr };
	return rc;
}

/* The device may answer what it likes: nothing depends on it. */
void virtio_mem_request_report(struct virtio_mem *vm,
			       const struct virtio_mem_x_report *report)
{
	ktime_t since = ktime_get();
	int rc = -EINTR;

	if (virtio_mem_can_send(vm)) {
		vm->report = *report;
		rc = virtio_mem_post(vm, &vm->report, sizeof(vm->report));
	}
	virtio_mem_finish(vm, VIRTIO_MEM_REQ_X_REPORT, since, rc);
}

/*
 * Whether a request was refused, so that its blocks are what they were.  After
 * any other failure they may be unplugged: Linux must not use them again.
 */
bool virtio_mem_refused(int rc)
{
	return rc == -EAGAIN || rc == -ETXTBSY || rc == -EINTR ||
	       rc == -ENOMEM;
}

/* What the device did is not known, and the map says unplugged. */
void virtio_mem_doubt(struct virtio_mem *vm, unsigned long block,
		      unsigned long nr)
{
	/* To settle what lies between, or all, does no harm. */
	if (!vm->settled && !vm->doubt.nr)
		virtio_mem_run_extend(&vm->doubt, 0, virtio_mem_nr_blocks(vm));
	virtio_mem_run_extend(&vm->doubt, block, nr);
	vm->settled = false;
}

/* A PLUG or UNPLUG request. */
int virtio_mem_request_change(struct virtio_mem *vm, u16 type,
			      unsigned long block, unsigned long nr)
{
	int rc = virtio_mem_exchange(vm, type, block, nr);

	if (rc && !virtio_mem_refused(rc))
		virtio_mem_doubt(vm, block, nr);
	return rc;
}

/*
 * Returns the state of a block, and of those after it that are alike, up to
 * *@nr, which tells how many.  Never MIXED; or a negative error.
 */
int virtio_mem_request_state(struct virtio_mem *vm, unsigned long block,
			     unsigned long *nr)
{
	for (;; *nr = DIV_ROUND_UP(*nr, 2)) {
		int rc = virtio_mem_exchange(vm, VIRTIO_MEM_REQ_STATE, block,
					     *nr);
		u16 state = virtio16_to_cpu(vm->vdev,
					    READ_ONCE(vm->resp.u.state.state));

		if (rc)
			return rc;
		if (state < VIRTIO_MEM_STATE_MIXED)
			return state;
		if (state == VIRTIO_MEM_STATE_MIXED && *nr > 1)
			continue;
		vm->odd = (struct virtio_mem_odd) { VIRTIO_MEM_REQ_STATE,
						    block, *nr };
		return -EPROTO;
	}
}

/* Most blocks in a request: no big block is cut. */
unsigned long virtio_mem_run_blocks(const struct virtio_mem *vm)
{
	u64 nr = clamp_t(u64, div64_u64(VIRTIO_MEM_RUN_SIZE, vm->block_size),
			 vm->unit_blocks, U16_MAX);

	return rounddown((unsigned long)nr, vm->unit_blocks);
}
