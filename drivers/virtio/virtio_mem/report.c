// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel's log tells of a resize: a line when the target is reached,
 * and one when it can't be yet.
 */

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/memory.h>
#include <linux/ratelimit.h>
#include <linux/sizes.h>
#include <linux/virtio.h>
#include <linux/virtio_mem.h>

#include "virtio_mem.h"

/* Bytes that are plugged, but that nobody has onlined. */
u64 virtio_mem_not_online(const struct virtio_mem *vm)
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

/* What an attempt can end with: in the log, and for the device */
static const struct virtio_mem_reason {
	int rc;
	u16 result;
	const char *text;
} virtio_mem_reasons[] = {
	{ 0, VIRTIO_MEM_X_DONE, "done" },
	{ 1, VIRTIO_MEM_X_REFUSED, "under way" },
	{ -EBUSY, VIRTIO_MEM_X_IN_USE, "memory is in use" },
	{ -EPERM, VIRTIO_MEM_X_FORBIDDEN, "unplug_online forbids it" },
	{ -ENOMEM, VIRTIO_MEM_X_NO_MEMORY, "too little memory is available" },
	{ -ETXTBSY, VIRTIO_MEM_X_HOST_BUSY, "the host is busy" },
	{ -EIO, VIRTIO_MEM_X_REFUSED, "the device is broken" },
	{ -ETIMEDOUT, VIRTIO_MEM_X_REFUSED, "the device does not answer" },
	{ -ECANCELED, VIRTIO_MEM_X_NOT_ONLINED, "Linux could not online it" },
	{ -EEXIST, VIRTIO_MEM_X_NO_ROOM, "no room to add memory" },
	{ -ENOSPC, VIRTIO_MEM_X_NO_ROOM, "no room to add memory" },
	{ -EINVAL, VIRTIO_MEM_X_ODD_ANSWER, "the device gave an odd answer" },
	{ -EPROTO, VIRTIO_MEM_X_ODD_ANSWER, "the device gave an odd answer" },
	/* of any other */
	{ -EAGAIN, VIRTIO_MEM_X_REFUSED, "not possible now" },
};

static const struct virtio_mem_reason *virtio_mem_find_reason(int rc)
{
	const struct virtio_mem_reason *reason = virtio_mem_reasons;
	const struct virtio_mem_reason *last =
		&virtio_mem_reasons[ARRAY_SIZE(virtio_mem_reasons) - 1];

	while (reason < last && reason->rc != rc)
		reason++;
	return reason;
}

const char *virtio_mem_reason(int rc)
{
	return virtio_mem_find_reason(rc)->text;
}

u16 virtio_mem_result(int rc)
{
	return virtio_mem_find_reason(rc)->result;
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
