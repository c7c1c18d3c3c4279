// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio_mem: memory that the hypervisor resizes
 *
 * A device owns a region of physical memory, cut into blocks.  The driver
 * plugs blocks and gives them to Linux, or takes them back and unplugs them,
 * until the plugged size is the requested size.  A thread per device does all
 * the work; interrupts and notifiers only tell it that something changed.
 *
 * Linux gets memory in chunks: a memory block, or a device block when that is
 * larger.  To shrink, whole chunks are taken offline and removed, which copies
 * what is in use and touches nothing that is free.  Only what is smaller than
 * a chunk, or sits in a chunk that can't go as a whole, is taken page by page.
 *
 * This file binds devices; virtio_mem.h tells what the others do.
 */

#include <linux/atomic.h>
#include <linux/crash_dump.h>
#include <linux/device/bus.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/suspend.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <linux/workqueue.h>

#include "virtio_mem.h"

bool virtio_mem_unplug_online = true;
module_param_named(unplug_online, virtio_mem_unplug_online, bool, 0644);
MODULE_PARM_DESC(unplug_online, "Unplug memory that is online (default: Y)");

bool virtio_mem_force_bbm;
module_param_named(force_bbm, virtio_mem_force_bbm, bool, 0444);
MODULE_PARM_DESC(force_bbm,
		 "Plug and unplug big blocks only (default: N)");

unsigned long virtio_mem_bbm_block_size;
module_param_named(bbm_block_size, virtio_mem_bbm_block_size, ulong, 0444);
MODULE_PARM_DESC(bbm_block_size,
		 "Bytes of a big block, a power of two (default: a memory block, or a device block if that is larger)");

static int virtio_mem_probe(struct virtio_device *vdev)
{
	struct virtio_mem *vm;
	int rc;

	if (!vdev->config->get) {
		dev_err(&vdev->dev, "it has no configuration\n");
		return -EINVAL;
	}
	if (is_kdump_kernel())
		return virtio_mem_dump_probe(vdev);
	mutex_lock(&virtio_mem_devices_mutex);
	vm = virtio_mem_create(vdev);
	if (!IS_ERR(vm)) {
		vm->vdev = vdev;
		vm->index = vdev->index;
		cmpxchg(&vm->presence, VIRTIO_MEM_LOST, VIRTIO_MEM_BACK);
	}
	mutex_unlock(&virtio_mem_devices_mutex);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	vdev->priv = vm;
	rc = virtio_mem_start(vm);
	if (rc)
		virtio_mem_let_go(vm);
	else
		virtio_mem_stats_show(vm);
	return rc;
}

static void virtio_mem_remove(struct virtio_device *vdev)
{
	struct virtio_mem *vm = vdev->priv;

	if (is_kdump_kernel()) {
		virtio_mem_dump_remove(vdev);
		return;
	}
	virtio_mem_stats_hide(vm);
	virtio_mem_stop(vm);
	cancel_delayed_work_sync(&vm->reset);
	vdev->priv = NULL;
	virtio_mem_let_go(vm);
}

#ifdef CONFIG_PM_SLEEP
static int virtio_mem_freeze(struct virtio_device *vdev)
{
	struct virtio_mem *vm = vdev->priv;

	if (is_kdump_kernel())
		return -EBUSY;
	if (virtio_mem_is_gone(vdev)) {
		dev_err(&vdev->dev, "cannot suspend: it is not there\n");
		return -ENODEV;
	}
	virtio_mem_halt(vm);
	if (!virtio_has_feature(vdev, VIRTIO_MEM_F_PERSISTENT_SUSPEND) &&
	    (vm->nr_plugged || virtio_mem_read_plugged_size(vm))) {
		dev_err(&vdev->dev, "cannot suspend: memory is plugged\n");
		virtio_mem_resume(vm);
		return -EPERM;
	}
	virtio_mem_stop(vm);
	return 0;
}

static int virtio_mem_restore(struct virtio_device *vdev)
{
	struct virtio_mem *vm = vdev->priv;
	int rc = virtio_mem_start(vm);

	if (rc) {
		vm->broken = true;
		virtio_mem_reset_later(vm);
	}
	return rc;
}
#endif

static const unsigned int virtio_mem_features[] = {
#ifdef CONFIG_ACPI_NUMA
	VIRTIO_MEM_F_ACPI_PXM,
#endif
	VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE,
	VIRTIO_MEM_F_PERSISTENT_SUSPEND,
	VIRTIO_MEM_F_X_REPORT,
};

static const struct virtio_device_id virtio_mem_ids[] = {
	{ VIRTIO_ID_MEM, VIRTIO_DEV_ANY_ID },
	{ },
};
MODULE_DEVICE_TABLE(virtio, virtio_mem_ids);

static struct virtio_driver virtio_mem_driver = {
	.probe = virtio_mem_probe,
	.remove = virtio_mem_remove,
	.config_changed = virtio_mem_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = virtio_mem_freeze,
	.restore = virtio_mem_restore,
#endif
	.id_table = virtio_mem_ids,
	.feature_table = virtio_mem_features,
	.feature_table_size = ARRAY_SIZE(virtio_mem_features),
	.driver = {
		.name = KBUILD_MODNAME,
	},
};

/*
 * Tells a device that goes from a driver that does: only the first takes the
 * memory along, so that it must not come online any more.
 */
static int virtio_mem_bus_notify(struct notifier_block *nb,
				 unsigned long action, void *data)
{
	struct virtio_device *vdev = dev_to_virtio(data);
	struct virtio_mem *vm;

	if (action != BUS_NOTIFY_DEL_DEVICE ||
	    vdev->id.device != VIRTIO_ID_MEM)
		return NOTIFY_DONE;
	mutex_lock(&virtio_mem_devices_mutex);
	list_for_each_entry(vm, &virtio_mem_devices, list)
		if (vm->index == vdev->index)
			WRITE_ONCE(vm->presence, VIRTIO_MEM_LOST);
	mutex_unlock(&virtio_mem_devices_mutex);
	return NOTIFY_OK;
}

static struct notifier_block virtio_mem_bus_notifier = {
	.notifier_call = virtio_mem_bus_notify,
};

static int __init virtio_mem_init(void)
{
	int rc = register_pm_notifier(&virtio_mem_pm_notifier);

	if (rc)
		return rc;
	virtio_mem_stats_init();
	rc = register_virtio_driver(&virtio_mem_driver);
	if (rc)
		goto err_pm;
	rc = bus_register_notifier(virtio_mem_driver.driver.bus,
				   &virtio_mem_bus_notifier);
	if (rc)
		goto err_driver;
	return 0;

err_driver:
	unregister_virtio_driver(&virtio_mem_driver);
err_pm:
	virtio_mem_stats_exit();
	unregister_pm_notifier(&virtio_mem_pm_notifier);
	return rc;
}
module_init(virtio_mem_init);

static void __exit virtio_mem_exit(void)
{
	bus_unregister_notifier(virtio_mem_driver.driver.bus,
				&virtio_mem_bus_notifier);
	unregister_virtio_driver(&virtio_mem_driver);
	virtio_mem_stats_exit();
	unregister_pm_notifier(&virtio_mem_pm_notifier);
}
module_exit(virtio_mem_exit);

MODULE_DESCRIPTION("Memory that the hypervisor resizes");
MODULE_LICENSE("GPL");
#ifdef VIRTIO_MEM_VERSION	/* built outside a kernel's tree */
MODULE_VERSION(VIRTIO_MEM_VERSION);
#endif
