// SPDX-License-Identifier: GPL-2.0-only
/*
 * Settling.  After a lost response, or a time without the device, it and the
 * map may disagree.  The map says what Linux uses, so the device has to follow.
 */

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>

#include "virtio_mem.h"

/* Once: a device that lies would have us tell it at each retry. */
static void virtio_mem_tell_loss(struct virtio_mem *vm, unsigned long block,
				 unsigned long nr)
{
	if (!vm->loss_told)
		dev_err(&vm->vdev->dev,
			"%lu blocks from %lu are in use, but were unplugged: what they held is lost\n",
			nr, block);
	vm->loss_told = true;
}

/*
 * Blocks that count as plugged, but are not.  Returns 1 if Linux may use them.
 * Else they count as unplugged from now on, up to *@nr, which tells how many;
 * and 0, or -EINTR.
 */
static int virtio_mem_write_off(struct virtio_mem *vm, unsigned long block,
				unsigned long *nr)
{
	unsigned long chunk = virtio_mem_chunk_of_block(vm, block);
	struct virtio_mem_chunk *c = &vm->chunks[chunk];
	bool used;

	*nr = min(*nr, virtio_mem_chunk_block(vm, chunk + 1) - block);
	if (!virtio_mem_lock_pages(vm))
		return -EINTR;
	used = c->online;
	if (!used)
		virtio_mem_set_plugged(vm, block, *nr, false);
	mutex_unlock(&vm->pages);
	if (!used && !c->plugged && c->state == VIRTIO_MEM_CHUNK_DETACHED)
		virtio_mem_chunk_move(vm, chunk, VIRTIO_MEM_CHUNK_ABSENT);
	return used;
}

/* All @nr blocks from @block are plugged, or none, as far as the map knows. */
static int virtio_mem_settle_run(struct virtio_mem *vm, unsigned long block,
				 unsigned long nr, bool plugged)
{
	unsigned long part;
	int state, rc;

	for (; nr; nr -= part, block += part) {
		part = nr;
		state = virtio_mem_request_state(vm, block, &part);
		if (state < 0)
			return state;
		if (state == (plugged ? VIRTIO_MEM_STATE_PLUGGED :
				VIRTIO_MEM_STATE_UNPLUGGED))
			continue;
		if (plugged) {
			rc = virtio_mem_write_off(vm, block, &part);
			if (rc < 0)
				return rc;
			if (!rc)
				continue;
			virtio_mem_tell_loss(vm, block, part);
		}
		rc = virtio_mem_exchange(vm, plugged ? VIRTIO_MEM_REQ_PLUG :
					 VIRTIO_MEM_REQ_UNPLUG, block, part);
		if (rc && rc != -EAGAIN)
			return rc;
		/* A device may keep what is not more than it was asked for. */
		if (rc && !plugged)
			virtio_mem_adopt(vm, block, part);
		/* It may plug that again when more is requested. */
		else if (rc)
			virtio_mem_run_extend(&vm->lost, block, part);
	}
	return 0;
}

static int virtio_mem_settle(struct virtio_mem *vm, unsigned long block,
			     unsigned long nr)
{
	unsigned long end = min(block + nr, virtio_mem_usable_blocks(vm));
	unsigned long run;
	int rc = 0;

	for (; block < end && !rc; block += run) {
		bool plugged = test_bit(block, vm->plugged);

		run = plugged ? find_next_zero_bit(vm->plugged, end, block) :
				find_next_bit(vm->plugged, end, block);
		run = min(run - block, virtio_mem_run_blocks(vm));
		rc = virtio_mem_settle_run(vm, block, run, plugged);
	}
	return rc;
}

/* What is not usable is not plugged (D08), and nobody may ask for it (G06). */
static int virtio_mem_settle_unusable(struct virtio_mem *vm)
{
	unsigned long end = virtio_mem_nr_blocks(vm), nr;
	unsigned long block = find_next_bit(vm->plugged, end,
					    virtio_mem_usable_blocks(vm));
	int rc;

	while (block < end) {
		nr = find_next_zero_bit(vm->plugged, end, block) - block;
		rc = virtio_mem_write_off(vm, block, &nr);
		if (rc < 0)
			return rc;
		if (rc)
			virtio_mem_tell_loss(vm, block, nr);
		block = find_next_bit(vm->plugged, end, block + nr);
	}
	return 0;
}

static int virtio_mem_settle_all(struct virtio_mem *vm)
{
	int rc = virtio_mem_settle(vm, 0, virtio_mem_nr_blocks(vm));

	return rc ?: virtio_mem_settle_unusable(vm);
}

/* Of all chunks none is known to Linux. */
static void virtio_mem_forget_plugged(struct virtio_mem *vm)
{
	unsigned long chunk;

	for (chunk = 0; chunk < vm->nr_chunks; chunk++) {
		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_DETACHED)
			continue;
		vm->chunks[chunk].plugged = 0;
		virtio_mem_chunk_move(vm, chunk, VIRTIO_MEM_CHUNK_ABSENT);
	}
	bitmap_zero(vm->plugged, virtio_mem_nr_blocks(vm));
	vm->nr_plugged = 0;
}

/* What the device says that it has plugged, in bytes. */
u64 virtio_mem_read_plugged_size(const struct virtio_mem *vm)
{
	u64 size;

	virtio_cread_le(vm->vdev, struct virtio_mem_config, plugged_size,
			&size);
	return size;
}

/* Memory that a kernel or driver plugged that is gone belongs to nobody. */
static int virtio_mem_unplug_left_over(struct virtio_mem *vm)
{
	u64 plugged = virtio_mem_read_plugged_size(vm);
	int rc;

	if (plugged) {
		rc = virtio_mem_exchange(vm, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
		if (rc)
			return rc;
		dev_info(&vm->vdev->dev, "unplugged %llu MiB that were left over\n",
			 plugged / SZ_1M);
		/* Only now it may have shrunk. */
		virtio_mem_read_usable_size(vm);
	}
	virtio_mem_forget_plugged(vm);
	return 0;
}

/*
 * Nobody may ask for what is not usable: that stays in doubt until it is, as
 * what is lost does until the device has it again, or Linux no longer.
 */
static void virtio_mem_keep_doubt(struct virtio_mem *vm)
{
	unsigned long end = vm->doubt.block + vm->doubt.nr;
	unsigned long usable = virtio_mem_usable_blocks(vm);

	vm->doubt.block = max(vm->doubt.block, usable);
	vm->doubt.nr = end > vm->doubt.block ? end - vm->doubt.block : 0;
	if (vm->lost.nr)
		virtio_mem_run_extend(&vm->doubt, vm->lost.block, vm->lost.nr);
}

/* Comes before all other work.  What is in doubt is settled first. */
int virtio_mem_take_stock(struct virtio_mem *vm)
{
	int rc;

	if (vm->settled)
		return 0;
	vm->lost.nr = 0;
	if (vm->doubt.nr)
		rc = virtio_mem_settle(vm, vm->doubt.block, vm->doubt.nr);
	else if (virtio_mem_in_use(vm))
		rc = virtio_mem_settle_all(vm);
	else
		rc = virtio_mem_unplug_left_over(vm);
	/* It is to rest: what could not be adopted is still in doubt. */
	if (!rc && READ_ONCE(vm->leave))
		rc = -EINTR;
	if (rc)
		return rc;
	virtio_mem_keep_doubt(vm);
	vm->settled = !vm->doubt.nr;
	/* What is still in doubt is online, or not plugged in the map. */
	cmpxchg(&vm->presence, VIRTIO_MEM_BACK, VIRTIO_MEM_PRESENT);
	return 0;
}
