/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the virtio_mem driver share: a device's state, and what
 * each part does for the others.
 *
 *   main.c     binds devices; the module
 *   device.c   a device's life: created, started, stopped, abandoned
 *   region.c   what the device says of its region, checked
 *   thread.c   one attempt after the other to reach the target
 *   grow.c     which chunks to plug and to add
 *   shrink.c   which chunks and blocks to take back
 *   room.c     whether the guest can do without them
 *   chunk.c    adds and removes chunks, plugs and unplugs blocks
 *   pages.c    pages of blocks that Linux knows, plugged or not
 *   notify.c   what memory hotplug tells of the device's memory
 *   request.c  requests to the device
 *   settle.c   what the device did when nobody knows
 *   reset.c    resets a device that is stuck
 *   rest.c     when the thread must leave the device alone
 *   obstacle.c which pages stand in the way
 *   cache.c    drops what need not be moved
 *   report.c   what the log tells
 *   tell.c     what the device is told
 *   stats.c    what debugfs shows
 *   vmcore.c   which memory of a crashed kernel can be read
 *
 * Block numbers count device blocks from the start of the region, chunk numbers
 * count chunks from first_block.  Sizes are bytes.
 */

#ifndef _VIRTIO_MEM_H
#define _VIRTIO_MEM_H

#include <linux/completion.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/pfn.h>
#include <linux/ratelimit_types.h>
#include <linux/spinlock_types.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/virtio.h>
#include <linux/virtio_mem.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

/*
 * Where a chunk stands.  A chunk is a memory block of Linux, or a device block
 * if that is larger, or what bbm_block_size says.  Only the device's thread
 * moves it, see virtio_mem_chunk_move().
 */
enum virtio_mem_chunk_state {
	VIRTIO_MEM_CHUNK_ABSENT,	/* nothing plugged, unknown to Linux */
	VIRTIO_MEM_CHUNK_DETACHED,	/* plugged, unknown to Linux */
	VIRTIO_MEM_CHUNK_ADDED,		/* known to Linux, partly plugged */
	VIRTIO_MEM_NR_CHUNK_STATES
};

struct virtio_mem_chunk {
	u8 state;		/* enum virtio_mem_chunk_state; thread only */
	u32 online;		/* memory blocks online; under vm->pages */
	u32 plugged;		/* blocks; thread only */
	u32 tried;		/* round that tried to add or remove it; thread only */
	u32 obstacle;		/* page that was in the way, from 1; thread only */
};

/*
 * What the thread does.  Whoever wants it to rest waits for that.  But a
 * thread in the kernel's hotplug code waits for a lock that the waiter may
 * hold: then it is left behind, and looks for itself what it may still touch.
 */
enum virtio_mem_phase {
	VIRTIO_MEM_RESTING,		/* touches nothing */
	VIRTIO_MEM_WORKING,		/* may use the device, unless it is to leave */
	VIRTIO_MEM_HOTPLUGGING,		/* may touch the maps, not the device */
};

/* Blocks; nr 0: none. */
struct virtio_mem_run {
	unsigned long block;
	unsigned long nr;
};

/* The last request that the device answered in an odd way. */
struct virtio_mem_odd {
	u16 type;
	unsigned long block;
	unsigned long nr;
};

/* How much of a range is in use. */
struct virtio_mem_use {
	unsigned long pages;
	unsigned long listed;		/* of these, for reclaim: not being moved */
};

/* A memory block that goes offline, and how far it has come. */
struct virtio_mem_offlining {
	unsigned long pfn;
	unsigned long nr_pages;
	struct virtio_mem_use use;	/* the least so far */
	struct timer_list timer;
};

/* What a page is to whoever wants to take its memory back. */
enum virtio_mem_kind {
	VIRTIO_MEM_PAGE_FREE,
	VIRTIO_MEM_PAGE_UNPLUGGED,
	VIRTIO_MEM_PAGE_MOVABLE,
	VIRTIO_MEM_PAGE_POISONED,	/* broken: goes with a whole chunk only */
	/* The others are in the way of all. */
	VIRTIO_MEM_PAGE_PINNED,		/* somebody holds a movable one */
	VIRTIO_MEM_PAGE_RESERVED,	/* never in the page allocator */
	VIRTIO_MEM_PAGE_TABLE,		/* a table of pages */
	VIRTIO_MEM_PAGE_SLAB,		/* small objects of the kernel */
	VIRTIO_MEM_PAGE_KERNEL,		/* any other of the kernel's */
};

/* What the thread spends its time on. */
enum virtio_mem_work {
	VIRTIO_MEM_WORK_REQUEST,	/* waits for the device */
	VIRTIO_MEM_WORK_ADD,		/* chunks */
	VIRTIO_MEM_WORK_REMOVE,		/* chunks */
	VIRTIO_MEM_WORK_TAKE,		/* blocks of a chunk that stays */
	VIRTIO_MEM_WORK_GIVE,		/* the same */
	VIRTIO_MEM_WORK_LOOK,		/* what is in use */
	VIRTIO_MEM_WORK_DROP,		/* cached files of a chunk */
	VIRTIO_MEM_NR_WORKS
};

enum virtio_mem_answer {
	VIRTIO_MEM_ANSWER_ACK,
	VIRTIO_MEM_ANSWER_NACK,
	VIRTIO_MEM_ANSWER_BUSY,
	VIRTIO_MEM_ANSWER_ERROR,
	VIRTIO_MEM_ANSWER_ODD,		/* not one of the protocol */
	VIRTIO_MEM_ANSWER_NONE,		/* not sent, or not waited for */
	VIRTIO_MEM_NR_ANSWERS
};

/* A PCI device that was taken out reads as all ones, its status, too. */
#define VIRTIO_MEM_STATUS_GONE	U8_MAX

/* The four of the specification, and reports */
#define VIRTIO_MEM_NR_REQUESTS	(VIRTIO_MEM_REQ_STATE + 2)

struct virtio_mem_work_stats {
	u64 nr;
	u64 failed;
	u64 ns;
	s64 longest_ns;
};

/*
 * Of the device itself, whether a driver is bound or not.  What comes back may
 * be another one: until its blocks are settled nothing comes online.
 */
enum virtio_mem_presence {
	VIRTIO_MEM_PRESENT,
	VIRTIO_MEM_LOST,
	VIRTIO_MEM_BACK,
};

struct virtio_mem_obstacle {
	unsigned long pfn;
	enum virtio_mem_kind kind;
	u32 round;			/* the last in which it was in the way */
	u64 nr;				/* passes */
	ktime_t last;
};

struct virtio_mem_resize {
	u64 from;			/* bytes plugged */
	u64 to;				/* bytes requested */
	ktime_t begin;			/* 0: there was none */
	u64 ns;				/* up to the end of the last attempt */
	unsigned int attempts;
	int rc;				/* of the last one; 1: none yet */
};

struct virtio_mem_stats {
	struct dentry *dir;

	/* The thread's own; readers may see them a moment late */
	u64 requests[VIRTIO_MEM_NR_REQUESTS][VIRTIO_MEM_NR_ANSWERS];
	struct virtio_mem_work_stats work[VIRTIO_MEM_NR_WORKS];

	spinlock_t lock;		/* of the rest, for readers */
	struct virtio_mem_obstacle obstacles[16];
	const struct virtio_mem_obstacle *latest;	/* in this resize */
	struct virtio_mem_resize resizes[16];
	unsigned int resize;		/* the last one */

	unsigned int resets;		/* of the device, as it was stuck */
};

struct virtio_mem {
	/* Under virtio_mem_devices_mutex */
	struct virtio_device *vdev;	/* NULL while no driver is bound */
	struct list_head list;		/* in virtio_mem_devices */
	bool gone;			/* from there; about to be freed */
	enum virtio_mem_presence presence;	/* the thread ends BACK */
	unsigned int index;		/* of the device, bound or not */

	/* Under the lock of rest.c */
	enum virtio_mem_phase phase;
	bool halted;			/* no queue to work with */
	bool leave;			/* the thread leaves its pass, then rests */

	/* Fixed while the structure lives */
	u64 addr;			/* of the region, physical */
	u64 region_size;
	u64 block_size;
	u64 chunk_size;
	unsigned long first_block;	/* of chunk 0 */
	unsigned long nr_chunks;
	unsigned long chunk_blocks;	/* blocks per chunk */
	unsigned long unit_blocks;	/* fewest blocks (un)plugged at once */
	unsigned long take_blocks;	/* most blocks taken page by page at once */
	int nid;
	int mgid;			/* memory group */
	struct resource *resource;	/* the region */

	/*
	 * Which pages of online chunks are in the hands of the page allocator.
	 * Held by the thread while it moves pages, and by the notifier from
	 * the start of on- or offlining to its end.  Taken inside the hotplug
	 * locks, so the thread must not hold it when it adds or removes memory.
	 */
	struct mutex pages;
	bool pages_held;		/* the notifier holds it */
	struct virtio_mem_chunk *chunks;
	unsigned long *plugged;		/* a bit per block */
	unsigned long *taken;		/* ... whose pages we allocated */
	struct notifier_block notifier;

	/* The thread's own */
	u64 requested_size;
	u64 usable_size;
	unsigned long nr_plugged;	/* blocks, as the map says */
	unsigned long retry;		/* jiffies to the next retry; 0: none */
	u32 round;			/* number of the shrink or growth */
	unsigned long stuck[VIRTIO_MEM_X_NR_CAUSES];	/* blocks, of a shrink */
	int reported;			/* how this resize ended; 1: not yet */
	int result;			/* of the last attempt; 1: none yet */
	bool again;			/* another pass has to follow this one */
	bool add_told;			/* in this resize, that Linux refused */
	bool online_failed;		/* what was added last did not come online */
	bool settled;			/* the device agrees with the map */
	bool kept;			/* left behind, it has the module's reference */
	bool broken;			/* nothing but a reset helps the device */
	bool hurried;			/* waits for no response for long */
	unsigned long reset_delay;	/* jiffies to the next one */
	unsigned long reset_last;	/* when it was, in jiffies */
	bool loss_told;			/* that it lost memory in use */
	struct ratelimit_state lines;	/* of what a device can have us tell */
	struct virtio_mem_run doubt;	/* blocks whose response was lost */
	struct virtio_mem_run lost;	/* in use, and not plugged again */
	struct virtio_mem_odd odd;
	struct task_struct *thread;	/* lives as long as the structure */
	struct virtio_mem_offlining offlining;
	struct virtio_mem_stats stats;

	wait_queue_head_t wait;
	atomic_t changed;		/* wakes the thread */

	struct virtqueue *vq;
	bool in_flight;			/* the device has the request */
	struct completion response;
	struct delayed_work reset;
	struct virtio_mem_req req ____cacheline_aligned;
	struct virtio_mem_x_report report ____cacheline_aligned;
	struct virtio_mem_resp resp ____cacheline_aligned;
};

/* All devices, bound or not; readers may use RCU. */
extern struct list_head virtio_mem_devices;
extern struct mutex virtio_mem_devices_mutex;

/* Parameters of the module */
extern bool virtio_mem_unplug_online;
extern bool virtio_mem_force_bbm;
extern unsigned long virtio_mem_bbm_block_size;

/* Addresses and numbers */

static inline unsigned long virtio_mem_block_pages(const struct virtio_mem *vm)
{
	return PHYS_PFN(vm->block_size);
}

static inline unsigned long virtio_mem_block_pfn(const struct virtio_mem *vm,
						 unsigned long block)
{
	return PHYS_PFN(vm->addr + block * vm->block_size);
}

static inline unsigned long virtio_mem_block_of(const struct virtio_mem *vm,
						unsigned long pfn)
{
	return div64_u64(PFN_PHYS(pfn) - vm->addr, vm->block_size);
}

static inline unsigned long virtio_mem_chunk_block(const struct virtio_mem *vm,
						   unsigned long chunk)
{
	return vm->first_block + chunk * vm->chunk_blocks;
}

static inline u64 virtio_mem_chunk_addr(const struct virtio_mem *vm,
					unsigned long chunk)
{
	return vm->addr + virtio_mem_chunk_block(vm, chunk) * vm->block_size;
}

static inline unsigned long virtio_mem_nr_blocks(const struct virtio_mem *vm)
{
	return div64_u64(vm->region_size, vm->block_size);
}

static inline u64 virtio_mem_chunks_end(const struct virtio_mem *vm)
{
	return virtio_mem_chunk_addr(vm, vm->nr_chunks);
}

static inline unsigned long virtio_mem_chunk_of(const struct virtio_mem *vm, u64 addr)
{
	return div64_u64(addr - virtio_mem_chunk_addr(vm, 0), vm->chunk_size);
}

static inline unsigned long virtio_mem_chunk_of_block(const struct virtio_mem *vm,
						      unsigned long block)
{
	return (block - vm->first_block) / vm->chunk_blocks;
}

static inline bool virtio_mem_owns(const struct virtio_mem *vm, u64 addr)
{
	return addr >= virtio_mem_chunk_addr(vm, 0) &&
	       addr < virtio_mem_chunks_end(vm);
}

static inline unsigned long virtio_mem_usable_blocks(const struct virtio_mem *vm)
{
	return div64_u64(vm->usable_size, vm->block_size);
}

/* How many blocks of a chunk lie in the usable region, from its start. */
static inline unsigned long
virtio_mem_chunk_usable(const struct virtio_mem *vm, unsigned long chunk)
{
	unsigned long first = virtio_mem_chunk_block(vm, chunk);
	unsigned long usable = virtio_mem_usable_blocks(vm);

	return usable <= first ? 0 : min(usable - first, vm->chunk_blocks);
}

/* What the driver aims at: the requested size, in blocks. */
static inline unsigned long virtio_mem_target(const struct virtio_mem *vm)
{
	return rounddown(div64_u64(vm->requested_size, vm->block_size),
			 vm->unit_blocks);
}

/* Grows a run to hold these blocks, and what lies between. */
static inline void virtio_mem_run_extend(struct virtio_mem_run *run,
					 unsigned long block, unsigned long nr)
{
	unsigned long end = block + nr;

	if (run->nr) {
		end = max(end, run->block + run->nr);
		block = min(block, run->block);
	}
	*run = (struct virtio_mem_run) { block, end - block };
}

/* chunk.c */

void virtio_mem_chunk_move(struct virtio_mem *vm, unsigned long chunk,
			   enum virtio_mem_chunk_state state);
bool virtio_mem_in_use(const struct virtio_mem *vm);
void virtio_mem_set_plugged(struct virtio_mem *vm, unsigned long block,
			    unsigned long nr, bool plugged);
int virtio_mem_plug_added(struct virtio_mem *vm, unsigned long block,
			  unsigned long nr);
bool virtio_mem_take(struct virtio_mem *vm, unsigned long chunk,
		     unsigned long block, unsigned long nr);
void virtio_mem_adopt(struct virtio_mem *vm, unsigned long block,
		      unsigned long nr);
int virtio_mem_unplug_taken(struct virtio_mem *vm, struct virtio_mem_run *run);
int virtio_mem_add_chunk(struct virtio_mem *vm, unsigned long chunk);
int virtio_mem_remove_chunks(struct virtio_mem *vm, unsigned long chunk,
			     unsigned long nr);
int virtio_mem_unplug_detached(struct virtio_mem *vm);

/* rest.c */

extern struct notifier_block virtio_mem_pm_notifier;

void virtio_mem_wake(struct virtio_mem *vm);
bool virtio_mem_begin_pass(struct virtio_mem *vm);
void virtio_mem_end_pass(struct virtio_mem *vm);
bool virtio_mem_begin_hotplug(struct virtio_mem *vm);
void virtio_mem_end_hotplug(struct virtio_mem *vm);
enum virtio_mem_phase virtio_mem_phase(struct virtio_mem *vm);
void virtio_mem_halt(struct virtio_mem *vm);
void virtio_mem_resume(struct virtio_mem *vm);

/* request.c */

void virtio_mem_response(struct virtqueue *vq);
int virtio_mem_exchange(struct virtio_mem *vm, u16 type, unsigned long block,
			unsigned long nr);
bool virtio_mem_refused(int rc);
bool virtio_mem_check_broken(struct virtio_mem *vm);
void virtio_mem_doubt(struct virtio_mem *vm, unsigned long block,
		      unsigned long nr);
int virtio_mem_request_change(struct virtio_mem *vm, u16 type,
			      unsigned long block, unsigned long nr);
int virtio_mem_request_state(struct virtio_mem *vm, unsigned long block,
			     unsigned long *nr);
void virtio_mem_request_report(struct virtio_mem *vm,
			       const struct virtio_mem_x_report *report);
unsigned long virtio_mem_run_blocks(const struct virtio_mem *vm);

/* pages.c */

unsigned long virtio_mem_pass_unplugged(struct virtio_mem *vm,
					unsigned long pfn, unsigned long end,
					bool pass);
void virtio_mem_fake_online(struct virtio_mem *vm, unsigned long block);
int virtio_mem_fake_offline(struct virtio_mem *vm, unsigned long block,
			    unsigned long nr);
void virtio_mem_online_page(struct page *page, unsigned int order);
unsigned long virtio_mem_pages_in_use(unsigned long pfn, unsigned long nr,
				      unsigned long limit);
struct virtio_mem_use virtio_mem_sample_use(unsigned long pfn,
					    unsigned long nr);
unsigned long virtio_mem_free_pages(struct page *page);
bool virtio_mem_lock_pages(struct virtio_mem *vm);

/* notify.c */

void virtio_mem_offline_look(struct timer_list *timer);
int virtio_mem_notify(struct notifier_block *nb, unsigned long action,
		      void *arg);

/* thread.c */

bool virtio_mem_must_leave(struct virtio_mem *vm);
int virtio_mem_thread(void *data);
void virtio_mem_config_changed(struct virtio_device *vdev);

/* grow.c */

int virtio_mem_grow(struct virtio_mem *vm);

/* room.c */

bool virtio_mem_can_spare(u64 size);
bool virtio_mem_fits_elsewhere(struct virtio_mem *vm, unsigned long chunk);

/* shrink.c */

int virtio_mem_shrink(struct virtio_mem *vm);
int virtio_mem_remove_empty(struct virtio_mem *vm);

/* settle.c */

u64 virtio_mem_read_plugged_size(const struct virtio_mem *vm);
int virtio_mem_take_stock(struct virtio_mem *vm);

/* reset.c */

bool virtio_mem_is_gone(struct virtio_device *vdev);
bool virtio_mem_was_reset(const struct virtio_mem *vm);
void virtio_mem_reset_later(struct virtio_mem *vm);
void virtio_mem_reset_work(struct work_struct *work);

/* region.c */

int virtio_mem_claim_region(struct virtio_device *vdev, struct virtio_mem *vm);
void virtio_mem_release_region(struct virtio_mem *vm);
void virtio_mem_free(struct virtio_mem *vm);
int virtio_mem_read_region(struct virtio_device *vdev, struct virtio_mem *vm);
void virtio_mem_read_usable_size(struct virtio_mem *vm);
int virtio_mem_layout(struct virtio_device *vdev, struct virtio_mem *vm);
int virtio_mem_node(struct virtio_device *vdev, struct virtio_mem *vm);
int virtio_mem_alloc_maps(struct virtio_device *vdev, struct virtio_mem *vm);

/* device.c */

bool virtio_mem_abandon(struct virtio_mem *vm);
void virtio_mem_prepare(struct virtio_mem *vm);
struct virtio_mem *virtio_mem_create(struct virtio_device *vdev);
void virtio_mem_drop_queue(struct virtio_mem *vm);
int virtio_mem_find_queue(struct virtio_mem *vm);
int virtio_mem_start(struct virtio_mem *vm);
void virtio_mem_stop(struct virtio_mem *vm);
void virtio_mem_let_go(struct virtio_mem *vm);

/* report.c */

u64 virtio_mem_not_online(const struct virtio_mem *vm);
const char *virtio_mem_reason(int rc);
u16 virtio_mem_result(int rc);
void virtio_mem_init_lines(struct virtio_mem *vm);
bool virtio_mem_may_tell(struct virtio_mem *vm);
void virtio_mem_report(struct virtio_mem *vm, int rc);

/* tell.c */

void virtio_mem_stuck(struct virtio_mem *vm, unsigned int cause,
		      unsigned long nr);
void virtio_mem_stuck_by(struct virtio_mem *vm, enum virtio_mem_kind kind,
			 unsigned long nr);
void virtio_mem_tell(struct virtio_mem *vm, int rc);

/* obstacle.c */

const char *virtio_mem_kind_name(enum virtio_mem_kind kind);
enum virtio_mem_kind virtio_mem_obstructed(struct virtio_mem *vm,
					   unsigned long chunk);
enum virtio_mem_kind virtio_mem_blame(struct virtio_mem *vm,
				      unsigned long block, unsigned long nr);

/* cache.c */

void virtio_mem_drop_cache(struct virtio_mem *vm, unsigned long chunk);

/* stats.c */

void virtio_mem_count_request(struct virtio_mem *vm, u16 type,
			      enum virtio_mem_answer answer);
void virtio_mem_count_work(struct virtio_mem *vm, enum virtio_mem_work work,
			   ktime_t since, bool done);
void virtio_mem_note_obstacle(struct virtio_mem *vm, unsigned long pfn,
			      enum virtio_mem_kind kind);
void virtio_mem_resize_begins(struct virtio_mem *vm);
void virtio_mem_resize_attempted(struct virtio_mem *vm, int rc);
unsigned int virtio_mem_resize_attempts(const struct virtio_mem *vm);
u64 virtio_mem_resize_ms(const struct virtio_mem *vm);
void virtio_mem_stats_show(struct virtio_mem *vm);
void virtio_mem_stats_hide(struct virtio_mem *vm);
void virtio_mem_stats_init(void);
void virtio_mem_stats_exit(void);

/* vmcore.c */

int virtio_mem_dump_probe(struct virtio_device *vdev);
void virtio_mem_dump_remove(struct virtio_device *vdev);

#endif
