/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio memory device (device ID 24): wire format.
 *
 * One home for both sides.  All fields are little-endian; all sizes and
 * addresses are bytes unless the name says blocks; addresses are guest
 * physical.  One virtqueue, "guest-request", carries a struct virtio_mem_req
 * from the driver and a struct virtio_mem_resp back.
 */

#ifndef _LINUX_VIRTIO_MEM_H
#define _LINUX_VIRTIO_MEM_H

#include <linux/types.h>
#include <linux/virtio_types.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_config.h>

/* Feature bits */

/* node_id holds an ACPI proximity domain */
#define VIRTIO_MEM_F_ACPI_PXM			0
/* unplugged blocks must not be accessed at all, not even read */
#define VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE	1
/* blocks keep their state over suspend to RAM */
#define VIRTIO_MEM_F_PERSISTENT_SUSPEND		2
/*
 * ours, not in the specification: the driver tells how far it came, see struct
 * virtio_mem_x_report.  The last of the bits that are for types of devices.
 */
#define VIRTIO_MEM_F_X_REPORT			23

/* Request types */

#define VIRTIO_MEM_REQ_PLUG		0
#define VIRTIO_MEM_REQ_UNPLUG		1
#define VIRTIO_MEM_REQ_UNPLUG_ALL	2
#define VIRTIO_MEM_REQ_STATE		3
/* only with VIRTIO_MEM_F_X_REPORT */
#define VIRTIO_MEM_REQ_X_REPORT		0x8000

/* Response types */

/* done */
#define VIRTIO_MEM_RESP_ACK		0
/* refused: plugging would exceed requested_size */
#define VIRTIO_MEM_RESP_NACK		1
/* not now: try again later */
#define VIRTIO_MEM_RESP_BUSY		2
/* the request was wrong: address, number of blocks, or their state */
#define VIRTIO_MEM_RESP_ERROR		3

/* State of a range of blocks, in the response to VIRTIO_MEM_REQ_STATE */

#define VIRTIO_MEM_STATE_PLUGGED	0
#define VIRTIO_MEM_STATE_UNPLUGGED	1
#define VIRTIO_MEM_STATE_MIXED		2

/* A range of blocks: aligned to block_size, inside the usable region */

struct virtio_mem_req_plug {
	__virtio64 addr;
	__virtio16 nb_blocks;
	__virtio16 padding[3];
};

struct virtio_mem_req_unplug {
	__virtio64 addr;
	__virtio16 nb_blocks;
	__virtio16 padding[3];
};

struct virtio_mem_req_state {
	__virtio64 addr;
	__virtio16 nb_blocks;
	__virtio16 padding[3];
};

struct virtio_mem_req {
	__virtio16 type;
	__virtio16 padding[3];

	union {
		struct virtio_mem_req_plug plug;
		struct virtio_mem_req_unplug unplug;
		struct virtio_mem_req_state state;
	} u;
};

struct virtio_mem_resp_state {
	__virtio16 state;
};

struct virtio_mem_resp {
	__virtio16 type;
	__virtio16 padding[3];

	union {
		struct virtio_mem_resp_state state;
	} u;
};

/*
 * What VIRTIO_MEM_REQ_X_REPORT tells.
 *
 * How an attempt to reach requested_size ended
 */
#define VIRTIO_MEM_X_DONE		0
/* memory that should be unplugged is in use */
#define VIRTIO_MEM_X_IN_USE		1
/* too little free memory is left */
#define VIRTIO_MEM_X_NO_MEMORY		2
/* the guest's administrator forbids to take memory offline */
#define VIRTIO_MEM_X_FORBIDDEN		3
/* the device answered VIRTIO_MEM_RESP_BUSY */
#define VIRTIO_MEM_X_HOST_BUSY		4
/* new memory could not be brought online */
#define VIRTIO_MEM_X_NOT_ONLINED	5
/* there is no place to add memory, or that failed */
#define VIRTIO_MEM_X_NO_ROOM		6
/* VIRTIO_MEM_RESP_ERROR, or an answer that does not exist */
#define VIRTIO_MEM_X_ODD_ANSWER		7
/* VIRTIO_MEM_RESP_NACK, or anything else */
#define VIRTIO_MEM_X_REFUSED		8

#define VIRTIO_MEM_X_NR_RESULTS		9

/* Why blocks that should be unplugged can't be */

/* pages of the kernel's own */
#define VIRTIO_MEM_X_KERNEL		0
/* pages that could be moved, but that somebody holds */
#define VIRTIO_MEM_X_PINNED		1
/* too little free memory to move what is in use */
#define VIRTIO_MEM_X_NO_SPACE		2
/* something refused to take them offline */
#define VIRTIO_MEM_X_OFFLINE_REFUSED	3
/* anything else, or what has gone since */
#define VIRTIO_MEM_X_OTHER		4

#define VIRTIO_MEM_X_NR_CAUSES		5

/* Its response has no more than a type: ACK, or ERROR for what can't be. */
struct virtio_mem_x_report {
	__virtio16 type;
	/* VIRTIO_MEM_X_DONE ... */
	__virtio16 result;
	/* how often the driver tried to reach requested_size */
	__virtio32 attempts;
	/* after how many milliseconds it tries again by itself; 0: it does not */
	__virtio32 retry_ms;
	__virtio32 padding;
	/* bytes that it aimed at */
	__virtio64 requested_size;
	/* bytes of blocks in the way, by VIRTIO_MEM_X_KERNEL ... */
	__virtio64 stuck_size[VIRTIO_MEM_X_NR_CAUSES];
	/* bytes that are plugged, but not online */
	__virtio64 offline_size;
};

/*
 * Configuration space.  Only usable_region_size, plugged_size and
 * requested_size change while the device is in use.
 */
struct virtio_mem_config {
	/* granularity of plugging; a power of two */
	__le64 block_size;
	/* valid with VIRTIO_MEM_F_ACPI_PXM */
	__le16 node_id;
	__u8 padding[6];
	/* where the region starts */
	__le64 addr;
	/* how much memory the device can ever provide */
	__le64 region_size;
	/* how much of the region, from its start, may be plugged now */
	__le64 usable_region_size;
	/* how much is plugged */
	__le64 plugged_size;
	/* how much the driver should plug: the target of a resize */
	__le64 requested_size;
};

#endif /* _LINUX_VIRTIO_MEM_H */
