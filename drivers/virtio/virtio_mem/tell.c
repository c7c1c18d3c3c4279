// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the device is told, if it wants to know: how far each attempt came, and
 * what stood in the way.  That is not part of the specification; docs/
 * wire-format.md has it.
 */

#include <linux/jiffies.h>
#include <linux/string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>

#include "virtio_mem.h"

/* @nr blocks that should be unplugged can't be, for this VIRTIO_MEM_X_ cause. */
void virtio_mem_stuck(struct virtio_mem *vm, unsigned int cause,
		      unsigned long nr)
{
	vm->stuck[cause] += nr;
}

/* The same, because of a page of some kind. */
void virtio_mem_stuck_by(struct virtio_mem *vm, enum virtio_mem_kind kind,
			 unsigned long nr)
{
	unsigned int cause = VIRTIO_MEM_X_OTHER;

	if (kind == VIRTIO_MEM_PAGE_PINNED)
		cause = VIRTIO_MEM_X_PINNED;
	else if (kind > VIRTIO_MEM_PAGE_PINNED)
		cause = VIRTIO_MEM_X_KERNEL;
	virtio_mem_stuck(vm, cause, nr);
}

static void virtio_mem_fill_report(const struct virtio_mem *vm, int rc,
				   struct virtio_mem_x_report *report)
{
	struct virtio_device *vdev = vm->vdev;
	unsigned int cause;

	report->type = cpu_to_virtio16(vdev, VIRTIO_MEM_REQ_X_REPORT);
	report->result = cpu_to_virtio16(vdev, virtio_mem_result(rc));
	report->attempts = cpu_to_virtio32(vdev, virtio_mem_resize_attempts(vm));
	report->retry_ms = cpu_to_virtio32(vdev, jiffies_to_msecs(vm->retry));
	report->requested_size = cpu_to_virtio64(vdev, vm->requested_size);
	for (cause = 0; cause < VIRTIO_MEM_X_NR_CAUSES && rc; cause++)
		report->stuck_size[cause] =
			cpu_to_virtio64(vdev,
					vm->stuck[cause] * vm->block_size);
	report->offline_size = cpu_to_virtio64(vdev, virtio_mem_not_online(vm));
}

/* Tells how an attempt ended, unless that is what was told last. */
void virtio_mem_tell(struct virtio_mem *vm, int rc)
{
	struct virtio_mem_x_report report = { };

	if (!virtio_has_feature(vm->vdev, VIRTIO_MEM_F_X_REPORT))
		return;
	virtio_mem_fill_report(vm, rc, &report);
	if (memcmp(&report, &vm->report, sizeof(report)))
		virtio_mem_request_report(vm, &report);
}
