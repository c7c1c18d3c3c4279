// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread's rest.  A pass begins awake and ends at rest; while it lasts, the
 * device stays.  Nothing but virtio_mem_phase() may be asked of a thread in the
 * kernel's hotplug code, which may wait for a lock that the asker holds.  While
 * the machine sleeps, or is about to, no thread works.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/suspend.h>
#include <linux/virtio.h>
#include <linux/wait.h>

#include "compat.h"
#include "virtio_mem.h"

static DEFINE_SPINLOCK(virtio_mem_rest_lock);
static DECLARE_WAIT_QUEUE_HEAD(virtio_mem_rested);
static unsigned int virtio_mem_nr_working;	/* threads in that phase */
static bool virtio_mem_asleep;			/* the machine, or about to be */

void virtio_mem_wake(struct virtio_mem *vm)
{
	atomic_set(&vm->changed, 1);
	wake_up(&vm->wait);
}

/* Called with virtio_mem_rest_lock held. */
static void virtio_mem_enter(struct virtio_mem *vm, enum virtio_mem_phase phase)
{
	virtio_mem_nr_working += phase == VIRTIO_MEM_WORKING;
	virtio_mem_nr_working -= vm->phase == VIRTIO_MEM_WORKING;
	vm->phase = phase;
	wake_up_all(&virtio_mem_rested);
}

bool virtio_mem_begin_pass(struct virtio_mem *vm)
{
	bool awake;

	spin_lock(&virtio_mem_rest_lock);
	awake = !vm->halted && !virtio_mem_asleep &&
		system_state <= SYSTEM_RUNNING;
	if (awake) {
		virtio_mem_enter(vm, VIRTIO_MEM_WORKING);
		vm->leave = false;
	}
	spin_unlock(&virtio_mem_rest_lock);
	return awake;
}

void virtio_mem_end_pass(struct virtio_mem *vm)
{
	spin_lock(&virtio_mem_rest_lock);
	virtio_mem_enter(vm, VIRTIO_MEM_RESTING);
	spin_unlock(&virtio_mem_rest_lock);
}

/* The code that runs afterwards must still be there, so the module stays. */
bool virtio_mem_begin_hotplug(struct virtio_mem *vm)
{
	bool stay;

	spin_lock(&virtio_mem_rest_lock);
	stay = !vm->leave && try_module_get(THIS_MODULE);
	if (stay)
		virtio_mem_enter(vm, VIRTIO_MEM_HOTPLUGGING);
	spin_unlock(&virtio_mem_rest_lock);
	/* Hotplug begins with a grace period: 10 ms, if nobody is in a hurry. */
	if (stay)
		rcu_expedite_gp();
	return stay;
}

/* A thread that was left behind keeps the module until its pass has ended. */
void virtio_mem_end_hotplug(struct virtio_mem *vm)
{
	bool kept;

	rcu_unexpedite_gp();
	spin_lock(&virtio_mem_rest_lock);
	virtio_mem_enter(vm, VIRTIO_MEM_WORKING);
	kept = vm->leave;
	vm->kept = kept;
	spin_unlock(&virtio_mem_rest_lock);
	if (!kept)
		module_put(THIS_MODULE);
}

enum virtio_mem_phase virtio_mem_phase(struct virtio_mem *vm)
{
	enum virtio_mem_phase phase;

	spin_lock(&virtio_mem_rest_lock);
	phase = vm->phase;
	spin_unlock(&virtio_mem_rest_lock);
	return phase;
}

/* Afterwards the thread touches the device no more. */
void virtio_mem_halt(struct virtio_mem *vm)
{
	spin_lock(&virtio_mem_rest_lock);
	vm->halted = true;
	vm->leave = true;
	spin_unlock(&virtio_mem_rest_lock);
	wake_up(&vm->wait);
	wait_event(virtio_mem_rested,
		   virtio_mem_phase(vm) != VIRTIO_MEM_WORKING);
}

void virtio_mem_resume(struct virtio_mem *vm)
{
	spin_lock(&virtio_mem_rest_lock);
	vm->halted = false;
	spin_unlock(&virtio_mem_rest_lock);
	virtio_mem_wake(vm);
}

/*
 * No thread works while the machine sleeps.  They stop before the hibernation
 * code takes the lock that they may wait for.
 */
static void virtio_mem_sleep(void)
{
	struct virtio_mem *vm;

	rcu_read_lock();
	spin_lock(&virtio_mem_rest_lock);
	virtio_mem_asleep = true;
	list_for_each_entry_rcu(vm, &virtio_mem_devices, list) {
		vm->leave = true;
		wake_up(&vm->wait);
	}
	spin_unlock(&virtio_mem_rest_lock);
	rcu_read_unlock();
	wait_event(virtio_mem_rested, !READ_ONCE(virtio_mem_nr_working));
}

static void virtio_mem_wake_up(void)
{
	struct virtio_mem *vm;

	spin_lock(&virtio_mem_rest_lock);
	virtio_mem_asleep = false;
	spin_unlock(&virtio_mem_rest_lock);

	rcu_read_lock();
	list_for_each_entry_rcu(vm, &virtio_mem_devices, list)
		virtio_mem_wake(vm);
	rcu_read_unlock();
}

/* The kernel that wakes up can't know what the device still has plugged. */
static int virtio_mem_check_hibernation(void)
{
	struct virtio_mem *vm;
	int rc = 0;

	rcu_read_lock();
	list_for_each_entry_rcu(vm, &virtio_mem_devices, list) {
		if (!vm->nr_plugged && !vm->doubt.nr)
			continue;
		pr_err("cannot hibernate: %llu MiB are plugged at 0x%llx%s\n",
		       vm->nr_plugged * vm->block_size / SZ_1M, vm->addr,
		       vm->doubt.nr ? ", perhaps more" : "");
		rc = -EBUSY;
	}
	rcu_read_unlock();
	return rc;
}

static int virtio_mem_pm_notify(struct notifier_block *nb, unsigned long action,
				void *data)
{
	int rc = 0;

	switch (action) {
	case PM_SUSPEND_PREPARE:
		virtio_mem_sleep();
		return NOTIFY_OK;
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		virtio_mem_sleep();
		rc = virtio_mem_check_hibernation();
		if (rc)
			virtio_mem_wake_up();
		return notifier_from_errno(rc);
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		virtio_mem_wake_up();
		return NOTIFY_OK;
	default:
		return NOTIFY_DONE;
	}
}

struct notifier_block virtio_mem_pm_notifier = {
	.notifier_call = virtio_mem_pm_notify,
};
