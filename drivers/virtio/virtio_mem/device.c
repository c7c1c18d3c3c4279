// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device's life from probe to remove.  Its state outlives a driver that is
 * unbound while Linux uses the memory, and is found again.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_ring.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "virtio_mem.h"

LIST_HEAD(virtio_mem_devices);
/* Whoever adds or removes a device, or binds it */
DEFINE_MUTEX(virtio_mem_devices_mutex);

/*
 * Shows the device to the memory hotplug code.  Called, as what undoes it, with
 * virtio_mem_devices_mutex held.
 */
static int virtio_mem_publish(struct virtio_mem *vm)
{
	int rc;

	vm->notifier.notifier_call = virtio_mem_notify;
	rc = register_memory_notifier(&vm->notifier);
	if (rc)
		return rc;
	if (list_empty(&virtio_mem_devices))
		rc = set_online_page_callback(virtio_mem_online_page);
	if (rc)
		unregister_memory_notifier(&vm->notifier);
	else
		list_add_rcu(&vm->list, &virtio_mem_devices);
	return rc;
}

static void virtio_mem_unpublish(struct virtio_mem *vm)
{
	list_del_rcu(&vm->list);
	if (list_empty(&virtio_mem_devices))
		restore_online_page_callback(virtio_mem_online_page);
	synchronize_rcu();
	unregister_memory_notifier(&vm->notifier);
}

/* Leaves nothing but the structure and its thread. */
static void virtio_mem_tear_down(struct virtio_mem *vm)
{
	virtio_mem_unpublish(vm);
	virtio_mem_release_region(vm);
	memory_group_unregister(vm->mgid);
	vm->gone = true;
}

/*
 * The device is gone, its thread at rest.  Returns whether nothing but the
 * structure and its thread is left.  What Linux uses keeps its state: without
 * it, memory that is onlined later would expose unplugged blocks.
 */
bool virtio_mem_abandon(struct virtio_mem *vm)
{
	if (virtio_mem_in_use(vm)) {
		pr_warn("memory at 0x%llx is in use without its device%s\n",
			vm->addr,
			vm->presence == VIRTIO_MEM_LOST ? "" : ": bind it again to resize it");
		return false;
	}
	virtio_mem_tear_down(vm);
	return true;
}

/* The thread rests until there is a queue. */
static int virtio_mem_create_thread(struct virtio_device *vdev,
				    struct virtio_mem *vm)
{
	vm->halted = true;
	vm->thread = kthread_run(virtio_mem_thread, vm, "virtio_mem/%d",
				 vdev->index);
	return PTR_ERR_OR_ZERO(vm->thread);
}

static int virtio_mem_set_up(struct virtio_device *vdev, struct virtio_mem *vm)
{
	int rc;

	rc = virtio_mem_layout(vdev, vm);
	if (rc)
		return rc;
	rc = virtio_mem_alloc_maps(vdev, vm);
	if (rc)
		return rc;
	vm->nid = virtio_mem_node(vdev, vm);
	vm->mgid = memory_group_register_dynamic(vm->nid,
						 PHYS_PFN(vm->chunk_size));
	if (vm->mgid < 0)
		return vm->mgid;
	rc = virtio_mem_claim_region(vdev, vm);
	if (rc)
		goto err_group;
	rc = virtio_mem_create_thread(vdev, vm);
	if (rc)
		goto err_region;
	rc = virtio_mem_publish(vm);
	if (rc)
		goto err_thread;
	return 0;

err_thread:
	kthread_stop(vm->thread);
err_region:
	virtio_mem_release_region(vm);
err_group:
	memory_group_unregister(vm->mgid);
	return rc;
}

static bool virtio_mem_same_region(const struct virtio_mem *a,
				   const struct virtio_mem *b)
{
	return a->addr == b->addr && a->region_size == b->region_size &&
	       a->block_size == b->block_size;
}

static bool virtio_mem_overlaps(const struct virtio_mem *a,
				const struct virtio_mem *b)
{
	return a->addr < b->addr + b->region_size &&
	       b->addr < a->addr + a->region_size;
}

/*
 * A device that was unbound while Linux used its memory left its state behind.
 * Finds it again; everything the device says about itself must be the same.
 */
static struct virtio_mem *virtio_mem_find_orphan(struct virtio_device *vdev,
						 const struct virtio_mem *like)
{
	struct virtio_mem *vm;

	list_for_each_entry(vm, &virtio_mem_devices, list) {
		bool its_own = !vm->vdev && vm->presence != VIRTIO_MEM_LOST &&
			       vm->index == vdev->index;

		if (!vm->vdev && virtio_mem_same_region(vm, like))
			return vm;
		if (!its_own && !virtio_mem_overlaps(vm, like))
			continue;
		dev_err(&vdev->dev,
			"region of 0x%llx at 0x%llx %s\n",
			like->region_size, like->addr,
			its_own ? "is not the one whose memory is in use" :
				  "overlaps that of another device");
		return ERR_PTR(-EBUSY);
	}
	return NULL;
}

/* What needs no word of the device */
void virtio_mem_prepare(struct virtio_mem *vm)
{
	mutex_init(&vm->pages);
	init_waitqueue_head(&vm->wait);
	init_completion(&vm->response);
	spin_lock_init(&vm->stats.lock);
	timer_setup(&vm->offlining.timer, virtio_mem_offline_look, 0);
	INIT_DELAYED_WORK(&vm->reset, virtio_mem_reset_work);
	virtio_mem_init_lines(vm);
}

struct virtio_mem *virtio_mem_create(struct virtio_device *vdev)
{
	struct virtio_mem *vm = kzalloc(sizeof(*vm), GFP_KERNEL);
	struct virtio_mem *orphan;
	int rc;

	if (!vm)
		return ERR_PTR(-ENOMEM);
	virtio_mem_prepare(vm);
	rc = virtio_mem_read_region(vdev, vm);
	if (rc)
		goto err_free;
	orphan = virtio_mem_find_orphan(vdev, vm);
	if (orphan) {
		kfree(vm);
		return orphan;
	}
	rc = virtio_mem_set_up(vdev, vm);
	if (rc)
		goto err_free;
	return vm;

err_free:
	virtio_mem_free(vm);
	return ERR_PTR(rc);
}

/* The device forgets its queue, and what is on it, to set it up again. */
void virtio_mem_drop_queue(struct virtio_mem *vm)
{
	virtio_reset_device(vm->vdev);
	if (!vm->vq)
		return;
	while (virtqueue_detach_unused_buf(vm->vq))
		;
	vm->vdev->config->del_vqs(vm->vdev);
	vm->vq = NULL;
}

/* Afterwards the device can be asked. */
int virtio_mem_find_queue(struct virtio_mem *vm)
{
	struct virtio_device *vdev = vm->vdev;
	struct virtqueue *vq;

	vq = virtio_find_single_vq(vdev, virtio_mem_response, "guest-request");
	if (IS_ERR(vq)) {
		dev_err(&vdev->dev, "no queue for requests: %pe\n", vq);
		return PTR_ERR(vq);
	}
	vm->vq = vq;
	if (virtqueue_get_vring_size(vq) < 2 &&
	    !virtio_has_feature(vdev, VIRTIO_RING_F_INDIRECT_DESC)) {
		dev_err(&vdev->dev, "a request does not fit into the queue\n");
		virtio_mem_drop_queue(vm);
		return -EINVAL;
	}
	/* Linux warns of a device that runs before it was told to. */
	if (vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_DRIVER_OK) {
		dev_err(&vdev->dev, "it is not what it was set to\n");
		virtio_mem_drop_queue(vm);
		return -EIO;
	}
	virtio_device_ready(vdev);
	vm->in_flight = false;
	vm->broken = false;
	return 0;
}

int virtio_mem_start(struct virtio_mem *vm)
{
	int rc = virtio_mem_find_queue(vm);

	if (rc)
		return rc;
	vm->settled = false;
	vm->loss_told = false;
	vm->doubt.nr = 0;
	vm->result = 1;
	memset(&vm->report, 0, sizeof(vm->report));
	virtio_mem_resume(vm);
	return 0;
}

void virtio_mem_stop(struct virtio_mem *vm)
{
	virtio_mem_halt(vm);
	virtio_mem_drop_queue(vm);
}

/* A thread that was left in the hotplug code does it later. */
void virtio_mem_let_go(struct virtio_mem *vm)
{
	bool last;

	mutex_lock(&virtio_mem_devices_mutex);
	vm->vdev = NULL;
	last = virtio_mem_phase(vm) == VIRTIO_MEM_RESTING &&
	       virtio_mem_abandon(vm);
	mutex_unlock(&virtio_mem_devices_mutex);
	if (last) {
		kthread_stop(vm->thread);
		virtio_mem_free(vm);
	}
}
