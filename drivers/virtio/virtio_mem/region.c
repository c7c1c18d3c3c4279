// SPDX-License-Identifier: GPL-2.0-only
/*
 * The region: what the device says of it, checked, and its place in Linux.  No
 * word of the device is believed that could hurt: its sizes, address and node.
 */

#include <linux/acpi.h>
#include <linux/bitmap.h>
#include <linux/ioport.h>
#include <linux/log2.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/range.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>
#include <linux/vmalloc.h>

#include "virtio_mem.h"

/*
 * Memory taken page by page at once: enough to make that rare, and little
 * enough to follow a new target soon.
 */
#define VIRTIO_MEM_TAKE_SIZE		SZ_32M

int virtio_mem_claim_region(struct virtio_device *vdev,
			    struct virtio_mem *vm)
{
	vm->resource = request_mem_region(vm->addr, vm->region_size,
					  "virtio_mem");
	if (!vm->resource) {
		dev_err(&vdev->dev, "region of 0x%llx at 0x%llx is in use\n",
			vm->region_size, vm->addr);
		return -EBUSY;
	}
	/* Memory will be added inside, which /dev/mem must not touch. */
	vm->resource->flags &= ~IORESOURCE_BUSY;
	vm->resource->flags |= IORESOURCE_SYSTEM_RAM | IORESOURCE_EXCLUSIVE;
	return 0;
}

void virtio_mem_release_region(struct virtio_mem *vm)
{
	/* Only a busy region can be released. */
	vm->resource->flags |= IORESOURCE_BUSY;
	release_mem_region(vm->addr, vm->region_size);
}

void virtio_mem_free(struct virtio_mem *vm)
{
	vfree(vm->chunks);
	vfree(vm->plugged);
	vfree(vm->taken);
	kfree(vm);
}

int virtio_mem_read_region(struct virtio_device *vdev,
			   struct virtio_mem *vm)
{
	struct range range = mhp_get_pluggable_range(true);
	u64 end;

	virtio_cread_le(vdev, struct virtio_mem_config, block_size,
			&vm->block_size);
	virtio_cread_le(vdev, struct virtio_mem_config, addr, &vm->addr);
	virtio_cread_le(vdev, struct virtio_mem_config, region_size,
			&vm->region_size);

	if (!is_power_of_2(vm->block_size) || vm->block_size < PAGE_SIZE ||
	    !IS_ALIGNED(vm->addr, vm->block_size) ||
	    !IS_ALIGNED(vm->region_size, vm->block_size)) {
		dev_err(&vdev->dev,
			"block size 0x%llx, address 0x%llx and region size 0x%llx don't fit\n",
			vm->block_size, vm->addr, vm->region_size);
		return -EINVAL;
	}
	if (!vm->region_size ||
	    check_add_overflow(vm->addr, vm->region_size - 1, &end)) {
		dev_err(&vdev->dev, "region of 0x%llx at 0x%llx is not possible\n",
			vm->region_size, vm->addr);
		return -EINVAL;
	}
	if (vm->addr < range.start || end > range.end) {
		dev_err(&vdev->dev,
			"region of 0x%llx at 0x%llx is outside of [0x%llx, 0x%llx]\n",
			vm->region_size, vm->addr, range.start, range.end);
		return -ERANGE;
	}
	return 0;
}

/* May change at any time.  Of a device that says nonsense, less is believed. */
void virtio_mem_read_usable_size(struct virtio_mem *vm)
{
	u64 size;

	virtio_cread_le(vm->vdev, struct virtio_mem_config, usable_region_size,
			&size);
	vm->usable_size = min(size, vm->region_size);
}

/* Bytes that Linux gets and loses at once. */
static u64 virtio_mem_pick_chunk_size(struct virtio_device *vdev,
				      const struct virtio_mem *vm)
{
	u64 least = max_t(u64, memory_block_size_bytes(), vm->block_size);
	u64 wanted = virtio_mem_bbm_block_size;

	if (!virtio_mem_force_bbm || !wanted)
		return least;
	if (is_power_of_2(wanted) && wanted >= least)
		return wanted;
	dev_warn(&vdev->dev,
		 "bbm_block_size %llu is not a power of two from %llu on: %llu is taken\n",
		 wanted, least, least);
	return least;
}

/* Cuts the region into chunks.  All that depends on the device's word. */
int virtio_mem_layout(struct virtio_device *vdev, struct virtio_mem *vm)
{
	u64 start, end = vm->addr + vm->region_size;

	vm->chunk_size = virtio_mem_pick_chunk_size(vdev, vm);
	vm->chunk_blocks = div64_u64(vm->chunk_size, vm->block_size);
	if (vm->chunk_blocks > U16_MAX) {
		dev_err(&vdev->dev,
			"block size 0x%llx: a request for a memory block of 0x%llx can't name more than %u blocks\n",
			vm->block_size, vm->chunk_size, U16_MAX);
		return -EINVAL;
	}
	vm->unit_blocks = virtio_mem_force_bbm ? vm->chunk_blocks : 1;
	vm->take_blocks = max(1, div64_u64(VIRTIO_MEM_TAKE_SIZE,
					   vm->block_size));

	start = ALIGN(vm->addr, vm->chunk_size);
	if (start < vm->addr || start >= end ||
	    end - start < vm->chunk_size) {
		dev_err(&vdev->dev,
			"region of %llu MiB at 0x%llx holds no whole, aligned %s of %llu MiB\n",
			vm->region_size / SZ_1M, vm->addr,
			virtio_mem_force_bbm ? "big block (bbm_block_size)" :
					       "memory block",
			vm->chunk_size / SZ_1M);
		return -EINVAL;
	}
	vm->first_block = div64_u64(start - vm->addr, vm->block_size);
	vm->nr_chunks = div64_u64(end - start, vm->chunk_size);
	return 0;
}

int virtio_mem_node(struct virtio_device *vdev, struct virtio_mem *vm)
{
	int nid = NUMA_NO_NODE;
	u16 pxm;

	if (IS_ENABLED(CONFIG_ACPI_NUMA) &&
	    virtio_has_feature(vdev, VIRTIO_MEM_F_ACPI_PXM)) {
		virtio_cread_le(vdev, struct virtio_mem_config, node_id, &pxm);
		nid = pxm_to_node(pxm);
	}
	return nid == NUMA_NO_NODE ? memory_add_physaddr_to_nid(vm->addr) : nid;
}

int virtio_mem_alloc_maps(struct virtio_device *vdev,
			  struct virtio_mem *vm)
{
	size_t size = BITS_TO_LONGS(virtio_mem_nr_blocks(vm)) * sizeof(long);
	size_t chunks_size = array_size(vm->nr_chunks, sizeof(*vm->chunks));

	/* What a device says must not make the driver take all memory. */
	if (size_add(chunks_size, size_mul(2, size)) >
	    PFN_PHYS(totalram_pages()) / 32) {
		dev_err(&vdev->dev,
			"block size 0x%llx is too small for a region of 0x%llx\n",
			vm->block_size, vm->region_size);
		return -E2BIG;
	}
	vm->chunks = vzalloc(chunks_size);
	vm->plugged = vzalloc(size);
	vm->taken = vzalloc(size);
	return vm->chunks && vm->plugged && vm->taken ? 0 : -ENOMEM;
}
