// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread: one pass after the other, each an attempt to reach the target.
 */

#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_ring.h>
#include <linux/wait.h>

#include "virtio_mem.h"

/*
 * A retry comes soon at first, then twice as late each time, up to seconds.
 * Where an attempt takes long, they come so late that they don't cost more than
 * a 20th of a CPU, and up to a minute.
 */
#define VIRTIO_MEM_RETRY_MIN		(HZ / 10)
#define VIRTIO_MEM_RETRY_MAX		(2 * HZ)
#define VIRTIO_MEM_RETRY_SHARE		20
#define VIRTIO_MEM_RETRY_LATEST		(60 * HZ)

static u64 virtio_mem_read_requested_size(const struct virtio_mem *vm)
{
	u64 size;

	virtio_cread_le(vm->vdev, struct virtio_mem_config, requested_size,
			&size);
	/* Of a device that says nonsense, believe what the region allows. */
	return min(size, vm->region_size);
}

/*
 * Whether to leave a pass half-way: to rest, or for another target.  For what
 * else may have changed the pass is repeated.
 */
bool virtio_mem_must_leave(struct virtio_mem *vm)
{
	if (READ_ONCE(vm->leave) || vm->broken)
		return true;
	if (!atomic_xchg(&vm->changed, 0))
		return false;
	if (virtio_mem_check_broken(vm))
		return true;
	vm->again = true;
	if (virtio_mem_read_requested_size(vm) == vm->requested_size)
		return false;
	atomic_set(&vm->changed, 1);
	return true;
}

static void virtio_mem_read_sizes(struct virtio_mem *vm)
{
	u64 requested = virtio_mem_read_requested_size(vm);

	virtio_mem_read_usable_size(vm);
	if (requested == vm->requested_size && vm->result <= 0)
		return;
	vm->requested_size = requested;
	vm->reported = 1;
	vm->add_told = false;
	vm->result = 1;
	vm->retry = 0;
	virtio_mem_resize_begins(vm);
}

static int virtio_mem_resize(struct virtio_mem *vm)
{
	int rc = 0, rc_empty;

	memset(vm->stuck, 0, sizeof(vm->stuck));
	if (vm->nr_plugged > virtio_mem_target(vm))
		rc = virtio_mem_shrink(vm);
	/* What a busy host did not take back may be more than there was to. */
	if (!rc && vm->nr_plugged <= virtio_mem_target(vm))
		rc = virtio_mem_grow(vm);
	rc_empty = virtio_mem_remove_empty(vm);
	rc = rc ?: rc_empty;
	return !rc && vm->lost.nr ? -EAGAIN : rc;
}

/* Jiffies to wait after an attempt that failed. */
static unsigned long virtio_mem_next_retry(const struct virtio_mem *vm,
					   unsigned long took)
{
	unsigned long most = clamp_t(unsigned long,
				     took * VIRTIO_MEM_RETRY_SHARE,
				     VIRTIO_MEM_RETRY_MAX,
				     VIRTIO_MEM_RETRY_LATEST);

	return clamp(vm->retry * 2, (unsigned long)VIRTIO_MEM_RETRY_MIN, most);
}

/* One attempt to reach the target.  Sets when to try again, if at all. */
static void virtio_mem_pass(struct virtio_mem *vm)
{
	unsigned long begin = jiffies;
	bool changed;
	int rc = 0;

	if (!virtio_mem_check_broken(vm)) {
		virtio_mem_read_sizes(vm);
		rc = virtio_mem_take_stock(vm);
		if (!rc)
			rc = virtio_mem_resize(vm);
	}
	changed = virtio_mem_must_leave(vm);
	if (READ_ONCE(vm->leave))
		return;		/* there may be no device any more */
	if (vm->broken) {
		WRITE_ONCE(vm->result, -EIO);
		vm->retry = 0;
		virtio_mem_reset_later(vm);
		return;
	}
	if (changed)
		return;
	WRITE_ONCE(vm->result, rc);
	virtio_mem_resize_attempted(vm, rc);
	virtio_mem_report(vm, rc);
	vm->retry = rc ? virtio_mem_next_retry(vm, jiffies - begin) : 0;
	virtio_mem_tell(vm, rc);
	/* The next pass has the device reset. */
	if (vm->broken)
		vm->again = true;
}

/*
 * For a thread whose device may have gone while it was in the hotplug code: it
 * frees what nobody else could free.
 */
static void virtio_mem_left_behind(struct virtio_mem *vm)
{
	bool last;

	vm->kept = false;
	mutex_lock(&virtio_mem_devices_mutex);
	last = !vm->vdev && !vm->gone && virtio_mem_abandon(vm);
	mutex_unlock(&virtio_mem_devices_mutex);
	if (last) {
		virtio_mem_free(vm);
		module_put_and_kthread_exit(0);
	}
	module_put(THIS_MODULE);
}

int virtio_mem_thread(void *data)
{
	struct virtio_mem *vm = data;

	allow_kernel_signal(SIGALRM);
	while (!kthread_should_stop()) {
		atomic_set(&vm->changed, 0);
		vm->again = false;
		if (virtio_mem_begin_pass(vm)) {
			virtio_mem_pass(vm);
			virtio_mem_end_pass(vm);
		} else {
			vm->retry = 0;	/* whoever ends the rest wakes us */
		}
		if (vm->kept)
			virtio_mem_left_behind(vm);
		wait_event_idle_timeout(vm->wait, kthread_should_stop() ||
					atomic_read(&vm->changed) || vm->again,
					vm->retry ?: MAX_SCHEDULE_TIMEOUT);
	}
	return 0;
}

void virtio_mem_config_changed(struct virtio_device *vdev)
{
	virtio_mem_wake(vdev->priv);
}
