// SPDX-License-Identifier: GPL-2.0-only
/*
 * Resets a device that asks for it, or whose queue is broken.  That unplugs
 * nothing, so that memory stays in use meanwhile.
 */

#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/workqueue.h>

#include "virtio_mem.h"

/* At once, then soon, then twice as late each time. */
#define VIRTIO_MEM_RESET_MIN		(HZ / 10)
#define VIRTIO_MEM_RESET_MAX		(60 * HZ)

/* Whether the device was taken out. */
bool virtio_mem_is_gone(struct virtio_device *vdev)
{
	return vdev->config->get_status(vdev) == VIRTIO_MEM_STATUS_GONE;
}

/* Whether that was not long ago, so that it seems to be of no use. */
bool virtio_mem_was_reset(const struct virtio_mem *vm)
{
	return vm->stats.resets &&
	       time_before(jiffies, vm->reset_last + VIRTIO_MEM_RESET_MAX);
}

/* Not while the machine sleeps: then others reset the device. */
static void virtio_mem_queue_reset(struct virtio_mem *vm)
{
	if (queue_delayed_work(system_freezable_wq, &vm->reset,
			       vm->reset_delay))
		vm->reset_delay = clamp(vm->reset_delay * 2,
					(unsigned long)VIRTIO_MEM_RESET_MIN,
					(unsigned long)VIRTIO_MEM_RESET_MAX);
}

/* Until then there is nothing to do with the device. */
void virtio_mem_reset_later(struct virtio_mem *vm)
{
	if (!IS_ENABLED(CONFIG_PM_SLEEP)) {
		dev_err_once(&vm->vdev->dev,
			     "this kernel can't reset it (CONFIG_PM_SLEEP): bind it again\n");
		return;
	}
	if (!virtio_mem_was_reset(vm))
		vm->reset_delay = 0;
	virtio_mem_queue_reset(vm);
}

#ifdef CONFIG_PM_SLEEP

/* Called with the device's lock held, which keeps the driver bound. */
static void virtio_mem_reset_now(struct virtio_mem *vm)
{
	/* Who resets a device that is not there waits for ever. */
	if (virtio_mem_is_gone(vm->vdev)) {
		virtio_mem_queue_reset(vm);
		return;
	}
	virtio_mem_stop(vm);
	vm->stats.resets++;
	vm->reset_last = jiffies;
	/* What an attempt before this one left there, if it failed */
	vm->vdev->failed = false;
	if (virtio_device_restore(vm->vdev))
		virtio_mem_reset_later(vm);
}

void virtio_mem_reset_work(struct work_struct *work)
{
	struct virtio_mem *vm = container_of(to_delayed_work(work),
					     struct virtio_mem, reset);
	struct device *dev = &vm->vdev->dev;

	/* Who unbinds the driver has the lock, and waits for this work. */
	if (!device_trylock(dev)) {
		queue_delayed_work(system_freezable_wq, &vm->reset,
				   VIRTIO_MEM_RESET_MIN);
		return;
	}
	/* Whoever shuts the machine down breaks all queues on purpose. */
	if (vm->broken && system_state <= SYSTEM_RUNNING)
		virtio_mem_reset_now(vm);
	device_unlock(dev);
}

#else /* !CONFIG_PM_SLEEP */

void virtio_mem_reset_work(struct work_struct *work)
{
}

#endif
