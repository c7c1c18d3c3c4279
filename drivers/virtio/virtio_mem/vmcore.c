// SPDX-License-Identifier: GPL-2.0-only
/*
 * In the kernel that dumps one that crashed: the device is left as it is, and
 * asked which of its memory may be read.  What is unplugged reads as zeroes.
 */

#include <linux/crash_dump.h>
#include <linux/err.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>

#include "virtio_mem.h"

#ifdef CONFIG_PROC_VMCORE

/* Blocks asked about at once: one request for a GiB or so. */
#define VIRTIO_MEM_DUMP_BLOCKS		512UL

struct virtio_mem_dump {
	struct virtio_mem vm;
	struct vmcore_cb cb;
	struct mutex lock;		/* of requests, and of what they told */
	struct virtio_mem_run known;
	bool plugged;			/* all of what is known, else none */
};

/*
 * Finds out about a block, and those beside it that are alike.  Of a device
 * that does not tell nothing is read, and one that is silent is asked no more.
 */
static void virtio_mem_dump_ask(struct virtio_mem_dump *dump,
				unsigned long block)
{
	struct virtio_mem *vm = &dump->vm;
	unsigned long usable = virtio_mem_usable_blocks(vm);
	unsigned long nr = min(VIRTIO_MEM_DUMP_BLOCKS, usable - block);
	int state = virtio_mem_request_state(vm, block, &nr);

	if (state == -ETIMEDOUT) {
		block = 0;
		nr = virtio_mem_nr_blocks(vm);
	}
	if (state < 0)
		dev_warn_ratelimited(&vm->vdev->dev,
				     "no state of %lu blocks from %lu (%d): they are not dumped\n",
				     nr, block, state);
	dump->known = (struct virtio_mem_run) { block, nr };
	dump->plugged = state == VIRTIO_MEM_STATE_PLUGGED;
}

static bool virtio_mem_dump_pfn_is_ram(struct vmcore_cb *cb, unsigned long pfn)
{
	struct virtio_mem_dump *dump =
		container_of(cb, struct virtio_mem_dump, cb);
	struct virtio_mem *vm = &dump->vm;
	u64 addr = PFN_PHYS(pfn);
	unsigned long block;
	bool plugged;

	if (addr < vm->addr || addr - vm->addr >= vm->region_size)
		return true;
	block = virtio_mem_block_of(vm, pfn);
	if (block >= virtio_mem_usable_blocks(vm))
		return false;

	mutex_lock(&dump->lock);
	if (block - dump->known.block >= dump->known.nr)
		virtio_mem_dump_ask(dump, block);
	plugged = dump->plugged;
	mutex_unlock(&dump->lock);
	return plugged;
}

int virtio_mem_dump_probe(struct virtio_device *vdev)
{
	struct virtio_mem_dump *dump = kzalloc(sizeof(*dump), GFP_KERNEL);
	int rc;

	if (!dump)
		return -ENOMEM;
	virtio_mem_prepare(&dump->vm);
	dump->vm.vdev = vdev;
	dump->vm.hurried = true;
	mutex_init(&dump->lock);
	rc = virtio_mem_read_region(vdev, &dump->vm);
	if (rc)
		goto err_free;
	virtio_mem_read_usable_size(&dump->vm);
	vdev->priv = &dump->vm;
	rc = virtio_mem_find_queue(&dump->vm);
	if (rc)
		goto err_free;
	dump->cb.pfn_is_ram = virtio_mem_dump_pfn_is_ram;
	register_vmcore_cb(&dump->cb);
	dev_info(&vdev->dev, "what is unplugged is not dumped\n");
	return 0;

err_free:
	kfree(dump);
	return rc;
}

void virtio_mem_dump_remove(struct virtio_device *vdev)
{
	struct virtio_mem_dump *dump =
		container_of(vdev->priv, struct virtio_mem_dump, vm);

	unregister_vmcore_cb(&dump->cb);
	virtio_mem_drop_queue(&dump->vm);
	kfree(dump);
}

#else /* !CONFIG_PROC_VMCORE */

/* What the crashed kernel left plugged is what the dump is about. */
int virtio_mem_dump_probe(struct virtio_device *vdev)
{
	dev_warn(&vdev->dev, "left alone in the dump kernel\n");
	return -EBUSY;
}

void virtio_mem_dump_remove(struct virtio_device *vdev)
{
}

#endif
