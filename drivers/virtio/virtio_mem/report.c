// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel's log tells of a resize: a line when the target is reached,
 * and one when it can't be yet.
 */

#include <linux/errno.h>
#include <linux/memory.h>
#include <linux/ratelimit.h>
#include <linux/sizes.h>
#include <linux/virtio.h>

#include "virtio_mem.h"

/* Bytes that are plugged, but that nobody has onlined. */
static u64 virtio_mem_not_online(const struct virtio_mem *vm)
{
	u64 memory_block = memory_block_size_bytes();
	unsigned long chunk;
	u64 size = 0;

	for (chunk = 0; chunk < vm->nr_chunks; chunk++) {
		const struct virtio_mem_chunk *c = &vm->chunks[chunk];

		if (c->state == VIRTIO_MEM_CHUNK_ADDED)
			size += min(c->plugged * vm->block_size, vm->chunk_size -
				    READ_ONCE(c->online) * memory_block);
	}
	return size;
}

const char *virtio_mem_reason(int rc)
{
	switch (rc) {
	case 0:
		return "done";
	case 1:
		return "under way";
	case -EBUSY:
		return "memory is in use";
	case -EPERM:
		return "unplug_online forbids it";
	case -ENOMEM:
		return "too little memory is available";
	case -ETXTBSY:
		return "the host is busy";
	case -EIO:
		return "the device is broken";
	case -ETIMEDOUT:
		return "the device does not answer";
	case -ECANCELED:
		return "Linux could not online it";
	case -EEXIST:
	case -ENOSPC:
		return "no room to add memory";
	case -EINVAL:
	case -EPROTO:
		return "the device gave an odd answer";
	default:
		return "not possible now";
	}
}

/* Bytes of the region that don't fill a chunk, below and above the others. */
static u64 virtio_mem_ends_size(const struct virtio_mem *vm)
{
	return vm->region_size - vm->nr_chunks * vm->chunk_size;
}

/* Prints what stood in the way of this resize, if that is known. */
static void virtio_mem_print_cause(const struct virtio_mem *vm, int rc,
				   char *text, size_t size)
{
	const struct virtio_mem_obstacle *o = vm->stats.latest;

	if (rc == -EINVAL || rc == -EPROTO)
		snprintf(text, size, " to request %u for %lu blocks from %lu",
			 vm->odd.type, vm->odd.nr, vm->odd.block);
	else if (rc == -EBUSY && o)
		snprintf(text, size, ", such as a %s page in block %lu",
			 virtio_mem_kind_name(o->kind),
			 virtio_mem_block_of(vm, o->pfn));
	else if (rc == -ENOSPC &&
		 vm->requested_size > vm->nr_chunks * vm->chunk_size)
		snprintf(text, size, ", %llu MiB at its ends fill no %s block",
			 virtio_mem_ends_size(vm) / SZ_1M,
			 virtio_mem_force_bbm ? "big" : "memory");
}

/*
 * A device that changes its mind all the time must not fill the log: so many
 * lines a minute are told.
 */
#define VIRTIO_MEM_LINES		60

void virtio_mem_init_lines(struct virtio_mem *vm)
{
	ratelimit_state_init(&vm->lines, 60 * HZ, VIRTIO_MEM_LINES);
}

bool virtio_mem_may_tell(struct virtio_mem *vm)
{
	return __ratelimit(&vm->lines);
}

/* Says once that a target can't be reached yet, and once that it is. */
void virtio_mem_report(struct virtio_mem *vm, int rc)
{
	u64 plugged = vm->nr_plugged * vm->block_size;
	char cause[80] = "";
	u64 not_online;

	if (vm->reported == rc || (vm->reported < 0 && rc))
		return;
	vm->reported = rc;
	if (!virtio_mem_may_tell(vm))
		return;
	virtio_mem_print_cause(vm, rc, cause, sizeof(cause));
	if (rc)
		dev_info(&vm->vdev->dev,
			 "%llu MiB plugged of %llu MiB requested: %s (%d)%s, trying on\n",
			 plugged / SZ_1M, vm->requested_size / SZ_1M,
			 virtio_mem_reason(rc), rc, cause);
	else if (plugged < vm->requested_size)
		dev_info(&vm->vdev->dev,
			 "%llu MiB plugged of %llu MiB requested, in %llu ms: the rest is less than unit_size\n",
			 plugged / SZ_1M, vm->requested_size / SZ_1M,
			 virtio_mem_resize_ms(vm));
	else
		dev_info(&vm->vdev->dev,
			 "%llu MiB plugged, as requested, in %llu ms\n",
			 plugged / SZ_1M, virtio_mem_resize_ms(vm));

	not_online = virtio_mem_not_online(vm);
	if (not_online)
		dev_info(&vm->vdev->dev,
			 "%llu MiB wait to be onlined: see auto_online_blocks in /sys/devices/system/memory\n",
			 not_online / SZ_1M);
}
