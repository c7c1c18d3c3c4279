// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether the guest can do without memory, and whether what is in use of it
 * fits elsewhere.  All of it is a guess: others allocate meanwhile.
 */

#include <linux/math64.h>
#include <linux/memory_hotplug.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/sizes.h>

#include "virtio_mem.h"

/*
 * Shrinking leaves the guest this much available memory, or a 32nd of all it
 * has if that is less: beyond, it would not get smaller but run out of memory.
 */
#define VIRTIO_MEM_RESERVE		SZ_64M

/* Whether the guest can do without @size bytes that are online. */
bool virtio_mem_can_spare(u64 size)
{
	u64 reserve = min_t(u64, VIRTIO_MEM_RESERVE,
			    PFN_PHYS(totalram_pages() / 32));

	return PFN_PHYS(max(si_mem_available(), 0L)) >= size + reserve;
}

/* Pages that a zone can hand out without getting low. */
static unsigned long virtio_mem_zone_room(struct zone *zone)
{
	unsigned long free = zone_page_state(zone, NR_FREE_PAGES);
	unsigned long reserve = high_wmark_pages(zone) +
				zone->lowmem_reserve[ZONE_MOVABLE];

	return populated_zone(zone) && free > reserve ? free - reserve : 0;
}

/* About how many pages a node can take, in zones up to the highest. */
static unsigned long virtio_mem_node_room(int nid, enum zone_type highest)
{
	struct pglist_data *node = NODE_DATA(nid);
	/* Clean page cache makes room. */
	long room = atomic_long_read(&node->vm_stat[NR_ACTIVE_FILE]) +
		    atomic_long_read(&node->vm_stat[NR_INACTIVE_FILE]) -
		    atomic_long_read(&node->vm_stat[NR_FILE_DIRTY]);
	int zone;

	room = max(room, 0L);
	for (zone = 0; zone <= highest; zone++)
		room += virtio_mem_zone_room(&node->node_zones[zone]);
	return room;
}

/*
 * Whether other nodes can take what a chunk has in use: offlining moves pages
 * only there if there are any, whatever policies say.  A guess from samples,
 * and in vain where a chunk can only be taken as a whole.
 */
bool virtio_mem_fits_elsewhere(struct virtio_mem *vm,
			       unsigned long chunk)
{
	unsigned long pfn = PHYS_PFN(virtio_mem_chunk_addr(vm, chunk));
	unsigned long in_use, room = 0;
	enum zone_type highest;
	struct page *page;
	int nid;

	if (num_node_state(N_MEMORY) == 1 ||
	    vm->unit_blocks == vm->chunk_blocks)
		return true;
	if (!virtio_mem_lock_pages(vm))
		return false;
	in_use = virtio_mem_sample_use(pfn, PHYS_PFN(vm->chunk_size)).pages;
	page = pfn_to_online_page(pfn);
	highest = page ? page_zonenum(page) : ZONE_NORMAL;
	mutex_unlock(&vm->pages);

	for_each_node_state(nid, N_MEMORY)
		if (nid != vm->nid)
			room += virtio_mem_node_room(nid, highest);
	return in_use <= room;
}
