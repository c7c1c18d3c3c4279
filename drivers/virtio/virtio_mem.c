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
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/acpi.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/crash_dump.h>
#include <linux/device/bus.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/suspend.h>
#include <linux/timer.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_ring.h>
#include <linux/vmalloc.h>

static bool unplug_online = true;
module_param(unplug_online, bool, 0644);
MODULE_PARM_DESC(unplug_online, "Unplug memory that is online (default: Y)");

static bool force_bbm;
module_param(force_bbm, bool, 0444);
MODULE_PARM_DESC(force_bbm,
		 "Plug and unplug whole memory blocks only (default: N)");

/* Memory asked for at once: long enough to make requests rare. */
#define VIRTIO_MEM_RUN_SIZE		(2ULL * SZ_1G)

/* A retry comes soon at first, then twice as late each time. */
#define VIRTIO_MEM_RETRY_MIN		(HZ / 10)
#define VIRTIO_MEM_RETRY_MAX		(10 * HZ)

/*
 * Offlining would wait for a pinned page for ever.  It is looked at this often,
 * and ended when no page was freed meanwhile.
 */
#define VIRTIO_MEM_OFFLINE_PERIOD	(HZ / 2)

/* To know how many pages are in use, this many are looked at, evenly spread. */
#define VIRTIO_MEM_SAMPLES		4096

/* Seconds that a thread which is to rest waits for a response. */
#define VIRTIO_MEM_PATIENCE		10

/*
 * Shrinking leaves the guest this much available memory, or a 32nd of all it
 * has if that is less: beyond, it would not get smaller but run out of memory.
 */
#define VIRTIO_MEM_RESERVE		SZ_64M

/*
 * Where a chunk stands.  Only the device's thread moves it, see
 * virtio_mem_chunk_move().
 */
enum virtio_mem_chunk_state {
	VIRTIO_MEM_CHUNK_ABSENT,	/* nothing plugged, unknown to Linux */
	VIRTIO_MEM_CHUNK_DETACHED,	/* plugged, unknown to Linux */
	VIRTIO_MEM_CHUNK_ADDED,		/* known to Linux, partly plugged */
	VIRTIO_MEM_NR_CHUNK_STATES
};

static const bool virtio_mem_moves[VIRTIO_MEM_NR_CHUNK_STATES]
				  [VIRTIO_MEM_NR_CHUNK_STATES] = {
	[VIRTIO_MEM_CHUNK_ABSENT] = {
		[VIRTIO_MEM_CHUNK_DETACHED] = true,	/* plugged */
	},
	[VIRTIO_MEM_CHUNK_DETACHED] = {
		[VIRTIO_MEM_CHUNK_ABSENT] = true,	/* unplugged */
		[VIRTIO_MEM_CHUNK_ADDED] = true,	/* added */
	},
	[VIRTIO_MEM_CHUNK_ADDED] = {
		[VIRTIO_MEM_CHUNK_DETACHED] = true,	/* removed */
	},
};

struct virtio_mem_chunk {
	u8 state;		/* enum virtio_mem_chunk_state; thread only */
	u32 online;		/* memory blocks online; under vm->pages */
	u32 plugged;		/* blocks; thread only */
};

/*
 * What the thread does.  Whoever wants it to rest waits for that.  But a
 * thread in the kernel's hotplug code waits for a lock that the waiter may
 * hold: then it is left behind, and looks for itself what it may still touch.
 */
enum virtio_mem_phase {
	VIRTIO_MEM_RESTING,		/* touches nothing */
	VIRTIO_MEM_WORKING,		/* may use the device until it rests */
	VIRTIO_MEM_HOTPLUGGING,		/* may touch the maps, not the device */
};

/* Blocks; nr 0: none. */
struct virtio_mem_run {
	unsigned long block;
	unsigned long nr;
};

/* A memory block that goes offline, and how far it has come. */
struct virtio_mem_offlining {
	unsigned long pfn;
	unsigned long nr_pages;
	unsigned long in_use;		/* pages, at the last look */
	struct timer_list timer;
};

/*
 * Block numbers count device blocks from the start of the region, chunk
 * numbers count chunks from first_block.  Sizes are bytes.
 */
struct virtio_mem {
	/* Under virtio_mem_devices_mutex */
	struct virtio_device *vdev;	/* NULL while no driver is bound */
	struct list_head list;		/* in virtio_mem_devices */
	bool gone;			/* from there; about to be freed */
	bool lost;			/* the device itself is gone */

	/* Under virtio_mem_rest_lock */
	enum virtio_mem_phase phase;
	bool detached;			/* no queue to work with */
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
	bool hotplugging;		/* the notifier holds it */
	struct virtio_mem_chunk *chunks;
	unsigned long *plugged;		/* a bit per block */
	unsigned long *taken;		/* ... whose pages we allocated */
	struct notifier_block notifier;

	/* The thread's own */
	u64 requested_size;
	u64 usable_size;
	unsigned long nr_plugged;	/* blocks, with those in requests */
	unsigned long retry;		/* jiffies to the next retry; 0: none */
	int reported;			/* how this resize ended; 1: not yet */
	bool again;			/* another pass has to follow this one */
	bool settled;			/* the device agrees with the map */
	bool kept;			/* left behind, it has the module's reference */
	struct virtio_mem_run doubt;	/* blocks whose response was lost */
	struct task_struct *thread;	/* lives as long as the structure */
	struct virtio_mem_offlining offlining;

	wait_queue_head_t wait;
	atomic_t changed;		/* wakes the thread */

	struct virtqueue *vq;
	bool in_flight;			/* the device has the request */
	struct completion response;
	struct virtio_mem_req req ____cacheline_aligned;
	struct virtio_mem_resp resp ____cacheline_aligned;
};

static LIST_HEAD(virtio_mem_devices);
static DEFINE_MUTEX(virtio_mem_devices_mutex);

static DEFINE_SPINLOCK(virtio_mem_rest_lock);
static DECLARE_WAIT_QUEUE_HEAD(virtio_mem_rested);
static unsigned int virtio_mem_nr_working;	/* threads in that phase */
static bool virtio_mem_asleep;			/* the machine, or about to be */

/* Addresses and numbers */

static unsigned long virtio_mem_block_pages(const struct virtio_mem *vm)
{
	return PHYS_PFN(vm->block_size);
}

static unsigned long virtio_mem_block_pfn(const struct virtio_mem *vm,
					  unsigned long block)
{
	return PHYS_PFN(vm->addr + block * vm->block_size);
}

static unsigned long virtio_mem_chunk_block(const struct virtio_mem *vm,
					    unsigned long chunk)
{
	return vm->first_block + chunk * vm->chunk_blocks;
}

static u64 virtio_mem_chunk_addr(const struct virtio_mem *vm,
				 unsigned long chunk)
{
	return vm->addr + virtio_mem_chunk_block(vm, chunk) * vm->block_size;
}

static unsigned long virtio_mem_nr_blocks(const struct virtio_mem *vm)
{
	return div64_u64(vm->region_size, vm->block_size);
}

static u64 virtio_mem_chunks_end(const struct virtio_mem *vm)
{
	return virtio_mem_chunk_addr(vm, vm->nr_chunks);
}

static unsigned long virtio_mem_chunk_of(const struct virtio_mem *vm, u64 addr)
{
	return div64_u64(addr - virtio_mem_chunk_addr(vm, 0), vm->chunk_size);
}

static unsigned long virtio_mem_chunk_of_block(const struct virtio_mem *vm,
					       unsigned long block)
{
	return (block - vm->first_block) / vm->chunk_blocks;
}

static bool virtio_mem_owns(const struct virtio_mem *vm, u64 addr)
{
	return addr >= virtio_mem_chunk_addr(vm, 0) &&
	       addr < virtio_mem_chunks_end(vm);
}

static unsigned long virtio_mem_usable_blocks(const struct virtio_mem *vm)
{
	return div64_u64(vm->usable_size, vm->block_size);
}

/* How many blocks of a chunk lie in the usable region, from its start. */
static unsigned long virtio_mem_chunk_usable(const struct virtio_mem *vm,
					     unsigned long chunk)
{
	unsigned long first = virtio_mem_chunk_block(vm, chunk);
	unsigned long usable = virtio_mem_usable_blocks(vm);

	return usable <= first ? 0 : min(usable - first, vm->chunk_blocks);
}

/* What the driver aims at: the requested size, in blocks. */
static unsigned long virtio_mem_target(const struct virtio_mem *vm)
{
	return rounddown(div64_u64(vm->requested_size, vm->block_size),
			 vm->unit_blocks);
}

static void virtio_mem_chunk_move(struct virtio_mem *vm, unsigned long chunk,
				  enum virtio_mem_chunk_state state)
{
	struct virtio_mem_chunk *c = &vm->chunks[chunk];

	if (WARN_ON_ONCE(!virtio_mem_moves[c->state][state]))
		return;
	c->state = state;
}

/* Whether Linux knows memory of the device. */
static bool virtio_mem_in_use(const struct virtio_mem *vm)
{
	unsigned long chunk;

	for (chunk = 0; chunk < vm->nr_chunks; chunk++)
		if (vm->chunks[chunk].state == VIRTIO_MEM_CHUNK_ADDED)
			return true;
	return false;
}

/*
 * The thread's rest.  A pass begins awake and ends at rest; while it lasts,
 * the device stays.
 */

static void virtio_mem_wake(struct virtio_mem *vm)
{
	atomic_set(&vm->changed, 1);
	wake_up(&vm->wait);
}

/* Called with virtio_mem_rest_lock held. */
static void virtio_mem_enter(struct virtio_mem *vm, enum virtio_mem_phase phase)
{
	virtio_mem_nr_working += phase == VIRTIO_MEM_WORKING;
	virtio_mem_nr_working -= vm->phase == VIRTIO_MEM_WORKING;
	vm->phase = phase;
	wake_up_all(&virtio_mem_rested);
}

static bool virtio_mem_begin_pass(struct virtio_mem *vm)
{
	bool awake;

	spin_lock(&virtio_mem_rest_lock);
	awake = !vm->detached && !virtio_mem_asleep;
	if (awake) {
		virtio_mem_enter(vm, VIRTIO_MEM_WORKING);
		vm->leave = false;
	}
	spin_unlock(&virtio_mem_rest_lock);
	return awake;
}

static void virtio_mem_end_pass(struct virtio_mem *vm)
{
	spin_lock(&virtio_mem_rest_lock);
	virtio_mem_enter(vm, VIRTIO_MEM_RESTING);
	spin_unlock(&virtio_mem_rest_lock);
}

/* The code that runs afterwards must still be there, so the module stays. */
static bool virtio_mem_begin_hotplug(struct virtio_mem *vm)
{
	bool stay;

	spin_lock(&virtio_mem_rest_lock);
	stay = !vm->leave && try_module_get(THIS_MODULE);
	if (stay)
		virtio_mem_enter(vm, VIRTIO_MEM_HOTPLUGGING);
	spin_unlock(&virtio_mem_rest_lock);
	return stay;
}

/* A thread that was left behind keeps the module until its pass has ended. */
static void virtio_mem_end_hotplug(struct virtio_mem *vm)
{
	bool kept;

	spin_lock(&virtio_mem_rest_lock);
	virtio_mem_enter(vm, VIRTIO_MEM_WORKING);
	kept = vm->leave;
	vm->kept = kept;
	spin_unlock(&virtio_mem_rest_lock);
	if (!kept)
		module_put(THIS_MODULE);
}

static enum virtio_mem_phase virtio_mem_phase(struct virtio_mem *vm)
{
	enum virtio_mem_phase phase;

	spin_lock(&virtio_mem_rest_lock);
	phase = vm->phase;
	spin_unlock(&virtio_mem_rest_lock);
	return phase;
}

/* Afterwards the thread touches the device no more. */
static void virtio_mem_detach(struct virtio_mem *vm)
{
	spin_lock(&virtio_mem_rest_lock);
	vm->detached = true;
	vm->leave = true;
	spin_unlock(&virtio_mem_rest_lock);
	wake_up(&vm->wait);
	wait_event(virtio_mem_rested,
		   virtio_mem_phase(vm) != VIRTIO_MEM_WORKING);
}

static void virtio_mem_attach(struct virtio_mem *vm)
{
	spin_lock(&virtio_mem_rest_lock);
	vm->detached = false;
	spin_unlock(&virtio_mem_rest_lock);
	virtio_mem_wake(vm);
}

/* Requests: the thread sends one at a time and waits for its response. */

static void virtio_mem_response(struct virtqueue *vq)
{
	struct virtio_mem *vm = vq->vdev->priv;

	complete(&vm->response);
}

/* Returns 0, -EIO, or -ETIMEDOUT when the thread must not wait any longer. */
static int virtio_mem_await_response(struct virtio_mem *vm)
{
	unsigned int len, patience = VIRTIO_MEM_PATIENCE;

	while (!virtqueue_get_buf(vm->vq, &len)) {
		if (virtqueue_is_broken(vm->vq))
			return -EIO;
		if (READ_ONCE(vm->leave) && !patience--)
			return -ETIMEDOUT;
		wait_for_completion_timeout(&vm->response, HZ);
	}
	vm->in_flight = false;
	return 0;
}

/* Returns 0, -EINTR when the thread is to rest, or -EAGAIN: nothing was sent. */
static int virtio_mem_send(struct virtio_mem *vm, u16 type,
			   unsigned long block, unsigned long nr)
{
	struct scatterlist req, resp, *sgs[] = { &req, &resp };
	u64 addr = vm->addr + block * vm->block_size;

	if (READ_ONCE(vm->leave))
		return -EINTR;	/* there may be no device any more */
	/* The buffers still belong to a request that no one waited for. */
	if (vm->in_flight && virtio_mem_await_response(vm))
		return -EAGAIN;

	memset(&vm->req, 0, sizeof(vm->req));
	vm->req.type = cpu_to_virtio16(vm->vdev, type);
	if (nr) {	/* the three requests with a range lay it out alike */
		vm->req.u.plug.addr = cpu_to_virtio64(vm->vdev, addr);
		vm->req.u.plug.nb_blocks = cpu_to_virtio16(vm->vdev, nr);
	}
	memset(&vm->resp, 0xff, sizeof(vm->resp));
	sg_init_one(&req, &vm->req, sizeof(vm->req));
	sg_init_one(&resp, &vm->resp, sizeof(vm->resp));
	reinit_completion(&vm->response);

	if (virtqueue_add_sgs(vm->vq, sgs, 1, 1, vm, GFP_KERNEL))
		return -EAGAIN;
	vm->in_flight = true;
	virtqueue_kick(vm->vq);
	return 0;
}

/* @nr is 0 for the request that has no range. */
static int virtio_mem_exchange(struct virtio_mem *vm, u16 type,
			       unsigned long block, unsigned long nr)
{
	int rc = virtio_mem_send(vm, type, block, nr);

	cond_resched();		/* a fast device would never let us sleep */
	if (!rc)
		rc = virtio_mem_await_response(vm);
	if (rc)
		return rc;

	switch (virtio16_to_cpu(vm->vdev, vm->resp.type)) {
	case VIRTIO_MEM_RESP_ACK:
		return 0;
	case VIRTIO_MEM_RESP_NACK:
		return -EAGAIN;
	case VIRTIO_MEM_RESP_BUSY:
		return -ETXTBSY;
	case VIRTIO_MEM_RESP_ERROR:
		return -EINVAL;
	default:
		return -EPROTO;
	}
}

/*
 * Whether a request was refused, so that its blocks are what they were.  After
 * any other failure they may be unplugged: Linux must not use them again.
 */
static bool virtio_mem_refused(int rc)
{
	return rc == -EAGAIN || rc == -ETXTBSY || rc == -EINTR;
}

/* Returns 0, or what a retry later might change. */
static int virtio_mem_request(struct virtio_mem *vm, u16 type,
			      unsigned long block, unsigned long nr)
{
	int rc = virtio_mem_exchange(vm, type, block, nr);

	if (rc && !virtio_mem_refused(rc))
		dev_warn_ratelimited(&vm->vdev->dev,
				     "request %u for %lu blocks from %lu failed: %d\n",
				     type, nr, block, rc);
	return rc;
}

/* What the device did is not known, and the map says unplugged. */
static void virtio_mem_doubt(struct virtio_mem *vm, unsigned long block,
			     unsigned long nr)
{
	vm->doubt = (struct virtio_mem_run) { block, nr };
	vm->settled = false;
}

/* A PLUG or UNPLUG request. */
static int virtio_mem_request_change(struct virtio_mem *vm, u16 type,
				     unsigned long block, unsigned long nr)
{
	int rc = virtio_mem_request(vm, type, block, nr);

	if (rc && !virtio_mem_refused(rc))
		virtio_mem_doubt(vm, block, nr);
	return rc;
}

/* Returns the state of a range of blocks, or a negative error. */
static int virtio_mem_request_state(struct virtio_mem *vm, unsigned long block,
				    unsigned long nr)
{
	int rc = virtio_mem_request(vm, VIRTIO_MEM_REQ_STATE, block, nr);
	u16 state;

	if (rc)
		return rc;
	state = virtio16_to_cpu(vm->vdev, vm->resp.u.state.state);
	return state <= VIRTIO_MEM_STATE_MIXED ? state : -EPROTO;
}

static unsigned long virtio_mem_run_blocks(const struct virtio_mem *vm)
{
	return clamp_t(u64, div64_u64(VIRTIO_MEM_RUN_SIZE, vm->block_size),
		       1, U16_MAX);
}

/*
 * Pages.  A block of an online chunk that is not plugged has its pages marked
 * PageOffline: dumps and others leave them alone, and offlining lets them pass.
 */

static void virtio_mem_mark_offline(unsigned long pfn, unsigned long nr)
{
	page_offline_begin();
	for (; nr--; pfn++)
		__SetPageOffline(pfn_to_page(pfn));
	page_offline_end();
}

static void virtio_mem_clear_offline(unsigned long pfn, unsigned long nr)
{
	page_offline_begin();
	for (; nr--; pfn++)
		__ClearPageOffline(pfn_to_page(pfn));
	page_offline_end();
}

/* Gives pages that onlining kept back to the page allocator. */
static void virtio_mem_expose(unsigned long pfn, unsigned long nr)
{
	while (nr) {
		unsigned int order = min_t(unsigned int, MAX_PAGE_ORDER,
					   min(__ffs(pfn), __fls(nr)));

		generic_online_page(pfn_to_page(pfn), order);
		pfn += 1UL << order;
		nr -= 1UL << order;
	}
}

/* Called with vm->pages held; the block is plugged, its chunk online. */
static void virtio_mem_fake_online(struct virtio_mem *vm, unsigned long block)
{
	unsigned long pfn = virtio_mem_block_pfn(vm, block);
	unsigned long nr = virtio_mem_block_pages(vm);

	if (!test_bit(block, vm->taken)) {
		virtio_mem_expose(pfn, nr);
		return;
	}
	__clear_bit(block, vm->taken);
	virtio_mem_clear_offline(pfn, nr);
	adjust_managed_page_count(pfn_to_page(pfn), nr);
	free_contig_range(pfn, nr);
}

/*
 * Called with vm->pages held; the block's chunk is online.  Moves away what
 * uses the block.  Returns 0, -EBUSY or -ENOMEM.
 */
static int virtio_mem_fake_offline(struct virtio_mem *vm, unsigned long block)
{
	unsigned long pfn = virtio_mem_block_pfn(vm, block);
	unsigned long nr = virtio_mem_block_pages(vm);
	int rc;

	rc = alloc_contig_range(pfn, pfn + nr, MIGRATE_MOVABLE,
				GFP_KERNEL | __GFP_NOWARN);
	if (rc)
		return rc;
	virtio_mem_mark_offline(pfn, nr);
	adjust_managed_page_count(pfn_to_page(pfn), -(long)nr);
	__set_bit(block, vm->taken);
	return 0;
}

/*
 * The memory of all devices comes online here, in pieces of up to the largest
 * order.  What is not plugged stays PageOffline, as the memory map starts.
 */
static void virtio_mem_online_page(struct page *page, unsigned int order)
{
	unsigned long pfn = page_to_pfn(page);
	unsigned long end = pfn + (1UL << order);
	struct virtio_mem *vm;

	/* The notifier holds vm->pages: no device of these pages goes away. */
	rcu_read_lock();
	list_for_each_entry_rcu(vm, &virtio_mem_devices, list) {
		if (virtio_mem_owns(vm, PFN_PHYS(pfn)))
			break;
	}
	rcu_read_unlock();
	if (list_entry_is_head(vm, &virtio_mem_devices, list)) {
		generic_online_page(page, order);
		return;
	}

	while (pfn < end) {
		unsigned long block = div64_u64(PFN_PHYS(pfn) - vm->addr,
						vm->block_size);
		unsigned long next = min(end,
					 virtio_mem_block_pfn(vm, block + 1));

		if (test_bit(block, vm->plugged))
			virtio_mem_expose(pfn, next - pfn);
		pfn = next;
	}
}

/* Lets offlining pass pages that no one uses, or takes that back. */
static void virtio_mem_release_unplugged(struct virtio_mem *vm,
					 const struct memory_notify *mn,
					 bool release)
{
	unsigned long pfn = mn->start_pfn;
	unsigned long end = pfn + mn->nr_pages;

	for (; pfn < end; pfn++) {
		unsigned long block = div64_u64(PFN_PHYS(pfn) - vm->addr,
						vm->block_size);

		if (test_bit(block, vm->plugged)) {
			pfn = min(end, virtio_mem_block_pfn(vm, block + 1)) - 1;
			continue;
		}
		if (release)
			page_ref_dec(pfn_to_page(pfn));
		else
			page_ref_inc(pfn_to_page(pfn));
	}
}

/* The memory map of what went offline is gone, and who took pages of it. */
static void virtio_mem_forget_taken(struct virtio_mem *vm,
				    const struct memory_notify *mn)
{
	u64 offset = PFN_PHYS(mn->start_pfn) - vm->addr;
	unsigned long first = div64_u64(offset, vm->block_size);
	unsigned long end = div64_u64(offset + PFN_PHYS(mn->nr_pages),
				      vm->block_size);

	/* A block larger than a memory block is never taken. */
	bitmap_clear(vm->taken, first, end - first);
}

/* About how many of @nr pages from @pfn somebody uses. */
static unsigned long virtio_mem_pages_in_use(unsigned long pfn,
					     unsigned long nr)
{
	unsigned long stride = DIV_ROUND_UP(nr, VIRTIO_MEM_SAMPLES);
	unsigned long end = pfn + nr, in_use = 0;

	for (; pfn < end; pfn += stride) {
		struct page *page = pfn_to_online_page(pfn);

		if (!page)
			continue;
		page = compound_head(page);
		if (page_ref_count(page) && !PageOffline(page))
			in_use += stride;
	}
	return in_use;
}

static void virtio_mem_offline_look(struct timer_list *timer)
{
	struct virtio_mem_offlining *off =
		container_of(timer, struct virtio_mem_offlining, timer);
	struct virtio_mem *vm = container_of(off, struct virtio_mem, offlining);
	unsigned long in_use = virtio_mem_pages_in_use(off->pfn, off->nr_pages);

	if (in_use >= off->in_use)
		send_sig(SIGALRM, vm->thread, 1);
	off->in_use = in_use;
	mod_timer(timer, jiffies + VIRTIO_MEM_OFFLINE_PERIOD);
}

/* The pages can be looked at from GOING_OFFLINE to OFFLINE or CANCEL. */
static void virtio_mem_watch_offlining(struct virtio_mem *vm,
				       const struct memory_notify *mn)
{
	struct virtio_mem_offlining *off = &vm->offlining;

	if (current != vm->thread)
		return;
	off->pfn = mn->start_pfn;
	off->nr_pages = mn->nr_pages;
	off->in_use = ULONG_MAX;
	mod_timer(&off->timer, jiffies + VIRTIO_MEM_OFFLINE_PERIOD);
}

static void virtio_mem_unwatch_offlining(struct virtio_mem *vm)
{
	if (current != vm->thread)
		return;
	timer_delete_sync(&vm->offlining.timer);
	flush_signals(current);
}

static int virtio_mem_notify(struct notifier_block *nb, unsigned long action,
			     void *arg)
{
	struct virtio_mem *vm = container_of(nb, struct virtio_mem, notifier);
	const struct memory_notify *mn = arg;
	struct virtio_mem_chunk *chunk;

	if (!virtio_mem_owns(vm, PFN_PHYS(mn->start_pfn)))
		return NOTIFY_DONE;
	chunk = &vm->chunks[virtio_mem_chunk_of(vm, PFN_PHYS(mn->start_pfn))];

	switch (action) {
	case MEM_GOING_ONLINE:
	case MEM_GOING_OFFLINE:
		mutex_lock(&vm->pages);
		/* The device took the memory with it. */
		if (action == MEM_GOING_ONLINE && READ_ONCE(vm->lost)) {
			mutex_unlock(&vm->pages);
			return notifier_from_errno(-ENODEV);
		}
		vm->hotplugging = true;
		if (action == MEM_GOING_OFFLINE) {
			virtio_mem_release_unplugged(vm, mn, true);
			virtio_mem_watch_offlining(vm, mn);
		}
		return NOTIFY_OK;
	case MEM_ONLINE:
		chunk->online++;
		break;
	case MEM_OFFLINE:
		chunk->online--;
		virtio_mem_unwatch_offlining(vm);
		virtio_mem_forget_taken(vm, mn);
		break;
	case MEM_CANCEL_ONLINE:
	case MEM_CANCEL_OFFLINE:
		/* Another notifier may have refused before it was our turn. */
		if (!vm->hotplugging)
			return NOTIFY_DONE;
		if (action == MEM_CANCEL_OFFLINE) {
			virtio_mem_unwatch_offlining(vm);
			virtio_mem_release_unplugged(vm, mn, false);
		}
		break;
	default:
		return NOTIFY_DONE;
	}
	vm->hotplugging = false;
	mutex_unlock(&vm->pages);
	/* Memory that came online by hand may be what a shrink waits for. */
	if (current != vm->thread)
		virtio_mem_wake(vm);
	return NOTIFY_OK;
}

/* Blocks: each function moves a run of them one step, and counts it. */

static void virtio_mem_set_plugged(struct virtio_mem *vm, unsigned long block,
				   unsigned long nr, bool plugged)
{
	unsigned long chunk, end, part;

	if (plugged) {
		bitmap_set(vm->plugged, block, nr);
		vm->nr_plugged += nr;
	} else {
		bitmap_clear(vm->plugged, block, nr);
		vm->nr_plugged -= nr;
	}
	for (; nr; nr -= part, block += part) {
		chunk = virtio_mem_chunk_of_block(vm, block);
		end = virtio_mem_chunk_block(vm, chunk + 1);
		part = min(nr, end - block);
		if (plugged)
			vm->chunks[chunk].plugged += part;
		else
			vm->chunks[chunk].plugged -= part;
	}
}

/*
 * The notifier may hold the lock for long, when somebody takes memory offline
 * that is in use.  Returns false when the thread is to rest meanwhile.
 */
static bool virtio_mem_lock_pages(struct virtio_mem *vm)
{
	bool locked;

	wait_event_idle(vm->wait, (locked = mutex_trylock(&vm->pages)) ||
			READ_ONCE(vm->leave));
	return locked;
}

/* Gives plugged blocks of a chunk that is added to Linux. */
static void virtio_mem_give(struct virtio_mem *vm, unsigned long chunk,
			    unsigned long block, unsigned long nr)
{
	unsigned long i;

	if (!virtio_mem_lock_pages(vm)) {
		virtio_mem_doubt(vm, block, nr);
		return;
	}
	virtio_mem_set_plugged(vm, block, nr, true);
	for (i = block; vm->chunks[chunk].online && i < block + nr; i++)
		virtio_mem_fake_online(vm, i);
	mutex_unlock(&vm->pages);
}

static int virtio_mem_plug_added(struct virtio_mem *vm, unsigned long chunk,
				 unsigned long block, unsigned long nr)
{
	int rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_PLUG, block, nr);

	if (!rc)
		virtio_mem_give(vm, chunk, block, nr);
	return rc;
}

/*
 * Takes up to @nr plugged blocks at @block from Linux, whether it is online
 * or not.  Returns how many it took; they count as unplugged.
 */
static unsigned long virtio_mem_take(struct virtio_mem *vm, unsigned long chunk,
				     unsigned long block, unsigned long nr)
{
	unsigned long i;

	if (!virtio_mem_lock_pages(vm))
		return 0;
	for (i = 0; i < nr; i++) {
		if (vm->chunks[chunk].online &&
		    (!READ_ONCE(unplug_online) ||
		     virtio_mem_fake_offline(vm, block + i)))
			break;
		virtio_mem_set_plugged(vm, block + i, 1, false);
	}
	mutex_unlock(&vm->pages);
	return i;
}

/* Unplugs blocks that were taken; Linux gets them back if that is refused. */
static int virtio_mem_unplug_taken(struct virtio_mem *vm, unsigned long chunk,
				   unsigned long block, unsigned long nr)
{
	int rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_UNPLUG, block, nr);

	if (virtio_mem_refused(rc))
		virtio_mem_give(vm, chunk, block, nr);
	return rc;
}

/* Chunks */

static int virtio_mem_add_chunk(struct virtio_mem *vm, unsigned long chunk)
{
	int rc;

	if (!virtio_mem_begin_hotplug(vm))
		return -EINTR;
	rc = add_memory_driver_managed(vm->mgid,
				       virtio_mem_chunk_addr(vm, chunk),
				       vm->chunk_size,
				       "System RAM (virtio_mem)",
				       MHP_MERGE_RESOURCE | MHP_NID_IS_MGID);
	if (!rc) {
		__module_get(THIS_MODULE);
		virtio_mem_chunk_move(vm, chunk, VIRTIO_MEM_CHUNK_ADDED);
	} else {
		pr_warn_ratelimited("cannot add memory at 0x%llx: %d\n",
				    virtio_mem_chunk_addr(vm, chunk), rc);
	}
	virtio_mem_end_hotplug(vm);
	return rc;
}

/*
 * Takes a chunk offline and removes it.  Free pages are not touched, used ones
 * are moved.  Returns 0, -EBUSY, -EINTR when moving them got stuck.
 */
static int virtio_mem_remove_chunk(struct virtio_mem *vm, unsigned long chunk)
{
	int rc;

	if (!virtio_mem_begin_hotplug(vm))
		return -EINTR;
	rc = offline_and_remove_memory(virtio_mem_chunk_addr(vm, chunk),
				       vm->chunk_size);
	if (!rc) {
		virtio_mem_chunk_move(vm, chunk, VIRTIO_MEM_CHUNK_DETACHED);
		module_put(THIS_MODULE);
	}
	virtio_mem_end_hotplug(vm);
	return rc;
}

/* Sends a run of adjacent blocks with one UNPLUG request, and empties it. */
static int virtio_mem_run_unplug(struct virtio_mem *vm,
				 struct virtio_mem_run *run)
{
	int rc = 0;

	if (run->nr) {
		rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_UNPLUG,
					       run->block, run->nr);
		if (!virtio_mem_refused(rc))
			virtio_mem_set_plugged(vm, run->block, run->nr, false);
	}
	run->nr = 0;
	return rc;
}

/* Adds a block below the run; what doesn't fit goes to the device first. */
static int virtio_mem_run_prepend(struct virtio_mem *vm,
				  struct virtio_mem_run *run,
				  unsigned long block)
{
	int rc = 0;

	if (run->nr && (block + 1 != run->block ||
			run->nr >= virtio_mem_run_blocks(vm)))
		rc = virtio_mem_run_unplug(vm, run);
	run->block = block;
	run->nr++;
	return rc;
}

/*
 * Unplugs what Linux doesn't know, or no longer: chunks that were removed, or
 * that could not be added.  Downwards, as they were removed.
 */
static int virtio_mem_unplug_detached(struct virtio_mem *vm)
{
	struct virtio_mem_run run = { };
	unsigned long chunk, block, i;
	int rc = 0;

	for (chunk = vm->nr_chunks; chunk-- && !rc;) {
		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_DETACHED)
			continue;
		block = virtio_mem_chunk_block(vm, chunk);
		for (i = vm->chunk_blocks; i-- && !rc;)
			if (test_bit(block + i, vm->plugged))
				rc = virtio_mem_run_prepend(vm, &run,
							    block + i);
	}
	if (!rc)
		rc = virtio_mem_run_unplug(vm, &run);

	for (chunk = 0; chunk < vm->nr_chunks; chunk++)
		if (vm->chunks[chunk].state == VIRTIO_MEM_CHUNK_DETACHED &&
		    !vm->chunks[chunk].plugged)
			virtio_mem_chunk_move(vm, chunk,
					      VIRTIO_MEM_CHUNK_ABSENT);
	return rc;
}

/* Growing */

static u64 virtio_mem_read_requested_size(const struct virtio_mem *vm)
{
	u64 size;

	virtio_cread_le(vm->vdev, struct virtio_mem_config, requested_size,
			&size);
	/* Of a device that says nonsense, believe what the region allows. */
	return min(size, vm->region_size);
}

/*
 * Whether to leave a pass half-way: to rest, or for another target.  For what
 * else may have changed the pass is repeated.
 */
static bool virtio_mem_changed(struct virtio_mem *vm)
{
	if (READ_ONCE(vm->leave) || virtqueue_is_broken(vm->vq))
		return true;
	if (!atomic_xchg(&vm->changed, 0))
		return false;
	vm->again = true;
	if (virtio_mem_read_requested_size(vm) == vm->requested_size)
		return false;
	atomic_set(&vm->changed, 1);
	return true;
}

/* Plugs up to @nr blocks in the gaps of chunks that are added already. */
static int virtio_mem_grow_added(struct virtio_mem *vm, unsigned long nr)
{
	unsigned long chunk;
	int rc = 0;

	for (chunk = 0; chunk < vm->nr_chunks && nr && !rc; chunk++) {
		unsigned long block = virtio_mem_chunk_block(vm, chunk);
		unsigned long end = block + virtio_mem_chunk_usable(vm, chunk);

		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ADDED)
			continue;
		while (nr && !rc && !virtio_mem_changed(vm)) {
			unsigned long next;

			block = find_next_zero_bit(vm->plugged, end, block);
			if (block >= end)
				break;
			next = find_next_bit(vm->plugged, end, block);
			next = min(next, block + nr);
			rc = virtio_mem_plug_added(vm, chunk, block,
						   next - block);
			if (!rc)
				nr -= next - block;
		}
	}
	return rc;
}

/*
 * Plugs a run of chunks that Linux doesn't know, up to @nr blocks.  Returns 1
 * when there was one, 0 when there is none, or an error.
 */
static int virtio_mem_plug_absent(struct virtio_mem *vm, unsigned long nr)
{
	unsigned long chunk = 0, first, run = 0;
	int rc;

	while (chunk < vm->nr_chunks &&
	       vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ABSENT)
		chunk++;
	first = chunk;
	nr = min(nr, rounddown(max(virtio_mem_run_blocks(vm), vm->unit_blocks),
			       vm->unit_blocks));
	for (; run < nr && chunk < vm->nr_chunks; chunk++) {
		unsigned long usable = virtio_mem_chunk_usable(vm, chunk);

		usable = rounddown(usable, vm->unit_blocks);
		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ABSENT ||
		    !usable)
			break;
		run += min(usable, nr - run);
		if (usable < vm->chunk_blocks) {
			chunk++;
			break;
		}
	}
	if (!run)
		return 0;

	rc = virtio_mem_request_change(vm, VIRTIO_MEM_REQ_PLUG,
				       virtio_mem_chunk_block(vm, first), run);
	if (rc)
		return rc;
	virtio_mem_set_plugged(vm, virtio_mem_chunk_block(vm, first), run,
			       true);
	for (; first < chunk; first++)
		virtio_mem_chunk_move(vm, first, VIRTIO_MEM_CHUNK_DETACHED);
	return 1;
}

/* Adds chunks that are plugged; what can't be added is unplugged again. */
static int virtio_mem_add_detached(struct virtio_mem *vm)
{
	unsigned long chunk;
	int rc = 0;

	for (chunk = 0; chunk < vm->nr_chunks && !rc; chunk++) {
		if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_DETACHED)
			continue;
		if (virtio_mem_changed(vm))
			return 0;
		rc = virtio_mem_add_chunk(vm, chunk);
	}
	if (rc)
		virtio_mem_unplug_detached(vm);
	return rc;
}

static int virtio_mem_grow(struct virtio_mem *vm)
{
	unsigned long target = virtio_mem_target(vm);
	int rc;

	rc = virtio_mem_add_detached(vm);
	if (!rc && vm->nr_plugged < target)
		rc = virtio_mem_grow_added(vm, target - vm->nr_plugged);
	while (!rc && vm->nr_plugged < target && !virtio_mem_changed(vm)) {
		rc = virtio_mem_plug_absent(vm, target - vm->nr_plugged);
		if (rc > 0)
			rc = virtio_mem_add_detached(vm);
		else if (!rc)
			rc = -ENOSPC;
	}
	return rc;
}

/* Shrinking */

/* Whether the guest can do without @size bytes that are online. */
static bool virtio_mem_can_spare(u64 size)
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
static bool virtio_mem_fits_elsewhere(struct virtio_mem *vm,
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
	in_use = virtio_mem_pages_in_use(pfn, PHYS_PFN(vm->chunk_size));
	page = pfn_to_online_page(pfn);
	highest = page ? page_zonenum(page) : ZONE_NORMAL;
	mutex_unlock(&vm->pages);

	for_each_node_state(nid, N_MEMORY)
		if (nid != vm->nid)
			room += virtio_mem_node_room(nid, highest);
	return in_use <= room;
}

static bool virtio_mem_may_remove(struct virtio_mem *vm, unsigned long chunk)
{
	if (vm->chunks[chunk].state != VIRTIO_MEM_CHUNK_ADDED)
		return false;
	return READ_ONCE(unplug_online) ||
	       !READ_ONCE(vm->chunks[chunk].online) ||
	       !vm->chunks[chunk].plugged;
}

static bool virtio_mem_try_remove(struct virtio_mem *vm, unsigned long chunk,
				  unsigned long plugged)
{
	if (READ_ONCE(vm->chunks[chunk].online) &&
	    !(virtio_mem_can_spare(plugged * vm->block_size) &&
	      virtio_mem_fits_elsewhere(vm, chunk)))
		return false;
	return !virtio_mem_remove_chunk(vm, chunk);
}

/*
 * Removes whole chunks, from the top, as long as the target allows.  Unplugs
 * them in long runs, but early when it gets slow: the host waits for them.
 */
static int virtio_mem_shrink_chunks(struct virtio_mem *vm, unsigned long target)
{
	unsigned long chunk, removed = 0, excess = vm->nr_plugged - target;
	int rc = 0;

	for (chunk = vm->nr_chunks; chunk-- && !rc;) {
		unsigned long plugged;
		bool gone;

		if (virtio_mem_changed(vm))
			break;
		if (!virtio_mem_may_remove(vm, chunk))
			continue;
		plugged = vm->chunks[chunk].plugged;
		if (plugged > excess)
			continue;
		gone = virtio_mem_try_remove(vm, chunk, plugged);
		if (gone) {
			excess -= plugged;
			removed += plugged;
		}
		if (removed && (!gone || removed >= virtio_mem_run_blocks(vm))) {
			rc = virtio_mem_unplug_detached(vm);
			removed = 0;
		}
	}
	return rc ?: virtio_mem_unplug_detached(vm);
}

/* Takes blocks of one chunk, from the top; each run is unplugged at once. */
static int virtio_mem_shrink_chunk(struct virtio_mem *vm, unsigned long chunk,
				   unsigned long excess)
{
	unsigned long first = virtio_mem_chunk_block(vm, chunk);
	unsigned long block = first + vm->chunk_blocks;
	struct virtio_mem_run run = { };
	int rc = 0;

	while (block-- > first && excess && !virtio_mem_changed(vm)) {
		if (test_bit(block, vm->plugged) &&
		    virtio_mem_can_spare(vm->block_size) &&
		    virtio_mem_take(vm, chunk, block, 1)) {
			excess--;
			run.block = block;
			run.nr++;
			continue;
		}
		if (run.nr)
			rc = virtio_mem_unplug_taken(vm, chunk, run.block,
						     run.nr);
		if (rc)
			return rc;
		run.nr = 0;
	}
	if (run.nr)
		rc = virtio_mem_unplug_taken(vm, chunk, run.block, run.nr);
	return rc;
}

/*
 * Takes what is left block by block.  Chunks that have the least plugged go
 * first: they are the ones that can be removed soonest.
 */
static int virtio_mem_shrink_blocks(struct virtio_mem *vm, unsigned long target)
{
	unsigned long nr, chunk;
	int rc = 0;

	for (nr = 1; nr <= vm->chunk_blocks; nr++, cond_resched()) {
		for (chunk = vm->nr_chunks; chunk-- && !rc;) {
			if (vm->nr_plugged <= target || virtio_mem_changed(vm))
				return 0;
			if (!virtio_mem_may_remove(vm, chunk) ||
			    vm->chunks[chunk].plugged != nr)
				continue;
			rc = virtio_mem_shrink_chunk(vm, chunk,
						     vm->nr_plugged - target);
		}
	}
	return rc;
}

static int virtio_mem_shrink(struct virtio_mem *vm)
{
	unsigned long target = virtio_mem_target(vm);
	int rc;

	rc = virtio_mem_unplug_detached(vm);
	if (!rc && vm->nr_plugged > target)
		rc = virtio_mem_shrink_chunks(vm, target);
	if (!rc && vm->nr_plugged > target &&
	    vm->unit_blocks < vm->chunk_blocks) {
		rc = virtio_mem_shrink_blocks(vm, target);
		/* Chunks that lost their last block are still added. */
		if (!rc)
			rc = virtio_mem_shrink_chunks(vm, vm->nr_plugged);
	}
	if (!rc && vm->nr_plugged > target)
		rc = virtio_mem_can_spare(vm->block_size) ? -EBUSY : -ENOMEM;
	return rc;
}

/*
 * Settling.  After a lost response, or a time without the device, it and the
 * map may disagree.  The map says what Linux uses, so the device has to follow.
 */

/* All @nr blocks from @block are plugged, or none, as far as the map knows. */
static int virtio_mem_settle_run(struct virtio_mem *vm, unsigned long block,
				 unsigned long nr, bool plugged)
{
	unsigned long part;
	int state, rc;

	for (; nr; nr -= part, block += part) {
		part = nr;
		while ((state = virtio_mem_request_state(vm, block, part)) ==
		       VIRTIO_MEM_STATE_MIXED && part > 1)
			part = DIV_ROUND_UP(part, 2);
		if (state < 0 || state == VIRTIO_MEM_STATE_MIXED)
			return state < 0 ? state : -EPROTO;
		if (state == (plugged ? VIRTIO_MEM_STATE_PLUGGED :
				VIRTIO_MEM_STATE_UNPLUGGED))
			continue;
		if (plugged)
			dev_err_ratelimited(&vm->vdev->dev,
					    "%lu blocks from %lu are in use, but were unplugged: what they held is lost\n",
					    part, block);
		rc = virtio_mem_request(vm, plugged ? VIRTIO_MEM_REQ_PLUG :
					VIRTIO_MEM_REQ_UNPLUG, block, part);
		if (rc)
			return rc;
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

/* Memory that a kernel or driver plugged that is gone belongs to nobody. */
static int virtio_mem_unplug_left_over(struct virtio_mem *vm)
{
	u64 plugged;
	int rc;

	virtio_cread_le(vm->vdev, struct virtio_mem_config, plugged_size,
			&plugged);
	if (plugged) {
		rc = virtio_mem_exchange(vm, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
		if (rc)
			return rc;
		dev_info(&vm->vdev->dev, "unplugged %llu MiB that were left over\n",
			 plugged / SZ_1M);
	}
	virtio_mem_forget_plugged(vm);
	return 0;
}

/* Comes before all other work.  What is in doubt is settled first. */
static int virtio_mem_take_stock(struct virtio_mem *vm)
{
	int rc;

	if (vm->settled)
		return 0;
	if (vm->doubt.nr)
		rc = virtio_mem_settle(vm, vm->doubt.block, vm->doubt.nr);
	else if (virtio_mem_in_use(vm))
		rc = virtio_mem_settle(vm, 0, virtio_mem_nr_blocks(vm));
	else
		rc = virtio_mem_unplug_left_over(vm);
	if (rc)
		return rc;
	vm->doubt.nr = 0;
	vm->settled = true;
	return 0;
}

/* The device's place in Linux */

static int virtio_mem_claim_region(struct virtio_device *vdev,
				   struct virtio_mem *vm)
{
	vm->resource = request_mem_region(vm->addr, vm->region_size,
					  "virtio_mem");
	if (!vm->resource) {
		dev_err(&vdev->dev, "region of 0x%llx at 0x%llx is in use\n",
			vm->region_size, vm->addr);
		return -EBUSY;
	}
	/* Memory will be added inside. */
	vm->resource->flags &= ~IORESOURCE_BUSY;
	return 0;
}

static void virtio_mem_release_region(struct virtio_mem *vm)
{
	/* Only a busy region can be released. */
	vm->resource->flags |= IORESOURCE_BUSY;
	release_mem_region(vm->addr, vm->region_size);
}

static void virtio_mem_free(struct virtio_mem *vm)
{
	vfree(vm->chunks);
	vfree(vm->plugged);
	vfree(vm->taken);
	kfree(vm);
}

/*
 * Shows the device to the memory hotplug code.  Called, as what undoes it, with
 * virtio_mem_devices_mutex held.
 */
static int virtio_mem_publish(struct virtio_mem *vm)
{
	int rc;

	vm->notifier.notifier_call = virtio_mem_notify;
	rc = register_memory_notifier(&vm->notifier);
	if (rc)
		return rc;
	if (list_empty(&virtio_mem_devices))
		rc = set_online_page_callback(virtio_mem_online_page);
	if (rc)
		unregister_memory_notifier(&vm->notifier);
	else
		list_add_rcu(&vm->list, &virtio_mem_devices);
	return rc;
}

static void virtio_mem_unpublish(struct virtio_mem *vm)
{
	list_del_rcu(&vm->list);
	if (list_empty(&virtio_mem_devices))
		restore_online_page_callback(virtio_mem_online_page);
	synchronize_rcu();
	unregister_memory_notifier(&vm->notifier);
}

/* Leaves nothing but the structure and its thread. */
static void virtio_mem_tear_down(struct virtio_mem *vm)
{
	virtio_mem_unpublish(vm);
	virtio_mem_release_region(vm);
	memory_group_unregister(vm->mgid);
	vm->gone = true;
}

/*
 * The device is gone, its thread at rest.  Returns whether nothing but the
 * structure and its thread is left.  What Linux uses keeps its state: without
 * it, memory that is onlined later would expose unplugged blocks.
 */
static bool virtio_mem_abandon(struct virtio_mem *vm)
{
	if (virtio_mem_in_use(vm)) {
		pr_warn("memory at 0x%llx is in use without its device: bind it again to resize it\n",
			vm->addr);
		return false;
	}
	virtio_mem_tear_down(vm);
	return true;
}

/* The thread */

static void virtio_mem_read_sizes(struct virtio_mem *vm)
{
	u64 requested = virtio_mem_read_requested_size(vm);
	u64 usable;

	virtio_cread_le(vm->vdev, struct virtio_mem_config, usable_region_size,
			&usable);
	vm->usable_size = min(usable, vm->region_size);
	if (requested != vm->requested_size)
		vm->reported = 1;
	vm->requested_size = requested;
}

/* Bytes that Linux was given, but that nobody has onlined. */
static u64 virtio_mem_not_online(const struct virtio_mem *vm)
{
	u64 memory_block = memory_block_size_bytes();
	unsigned long chunk;
	u64 size = 0;

	for (chunk = 0; chunk < vm->nr_chunks; chunk++) {
		const struct virtio_mem_chunk *c = &vm->chunks[chunk];

		if (c->state == VIRTIO_MEM_CHUNK_ADDED)
			size += vm->chunk_size -
				READ_ONCE(c->online) * memory_block;
	}
	return size;
}

static const char *virtio_mem_reason(int rc)
{
	switch (rc) {
	case -EBUSY:
		return "memory is in use";
	case -ENOMEM:
		return "too little memory is available";
	case -ETXTBSY:
		return "the host is busy";
	case -ENOSPC:
		return "no room to add memory";
	case -EINVAL:
	case -EPROTO:
		return "the device gave an odd answer";
	default:
		return "not possible now";
	}
}

/* Says once that a target can't be reached yet, and once that it is. */
static void virtio_mem_report(struct virtio_mem *vm, int rc)
{
	u64 plugged = vm->nr_plugged * vm->block_size;
	u64 not_online;

	if (vm->reported == rc || (vm->reported < 0 && rc))
		return;
	vm->reported = rc;
	if (rc)
		dev_info(&vm->vdev->dev,
			 "%llu MiB plugged of %llu MiB requested: %s (%d), trying on\n",
			 plugged / SZ_1M, vm->requested_size / SZ_1M,
			 virtio_mem_reason(rc), rc);
	else
		dev_info(&vm->vdev->dev, "%llu MiB plugged, as requested\n",
			 plugged / SZ_1M);

	not_online = virtio_mem_not_online(vm);
	if (not_online)
		dev_info(&vm->vdev->dev,
			 "%llu MiB wait to be onlined: see auto_online_blocks in /sys/devices/system/memory\n",
			 not_online / SZ_1M);
}

static int virtio_mem_resize(struct virtio_mem *vm)
{
	int rc = 0;

	if (vm->nr_plugged > virtio_mem_target(vm))
		rc = virtio_mem_shrink(vm);
	/* What a busy host did not take back may be more than there was to. */
	if (!rc && vm->nr_plugged <= virtio_mem_target(vm))
		rc = virtio_mem_grow(vm);
	return rc;
}

/* One attempt to reach the target.  Sets when to try again, if at all. */
static void virtio_mem_pass(struct virtio_mem *vm)
{
	int rc;

	if (virtqueue_is_broken(vm->vq))
		return;
	virtio_mem_read_sizes(vm);
	rc = virtio_mem_take_stock(vm);
	if (!rc)
		rc = virtio_mem_resize(vm);

	if (virtio_mem_changed(vm))
		return;
	virtio_mem_report(vm, rc);
	if (rc)
		vm->retry = clamp_t(unsigned long, vm->retry * 2,
				    VIRTIO_MEM_RETRY_MIN, VIRTIO_MEM_RETRY_MAX);
	else
		vm->retry = 0;
}

/*
 * For a thread whose device may have gone while it was in the hotplug code: it
 * frees what nobody else could free.
 */
static void virtio_mem_left_behind(struct virtio_mem *vm)
{
	bool last;

	vm->kept = false;
	mutex_lock(&virtio_mem_devices_mutex);
	last = !vm->vdev && !vm->gone && virtio_mem_abandon(vm);
	mutex_unlock(&virtio_mem_devices_mutex);
	if (last) {
		virtio_mem_free(vm);
		module_put_and_kthread_exit(0);
	}
	module_put(THIS_MODULE);
}

static int virtio_mem_thread(void *data)
{
	struct virtio_mem *vm = data;

	allow_signal(SIGALRM);
	while (!kthread_should_stop()) {
		if (atomic_xchg(&vm->changed, 0) || vm->again)
			vm->retry = 0;
		vm->again = false;
		if (virtio_mem_begin_pass(vm)) {
			virtio_mem_pass(vm);
			virtio_mem_end_pass(vm);
		} else {
			vm->retry = 0;	/* whoever ends the rest wakes us */
		}
		if (vm->kept)
			virtio_mem_left_behind(vm);
		wait_event_idle_timeout(vm->wait, kthread_should_stop() ||
					atomic_read(&vm->changed) || vm->again,
					vm->retry ?: MAX_SCHEDULE_TIMEOUT);
	}
	return 0;
}

static void virtio_mem_config_changed(struct virtio_device *vdev)
{
	virtio_mem_wake(vdev->priv);
}

/* From probe to remove */

static int virtio_mem_read_region(struct virtio_device *vdev,
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

/* Cuts the region into chunks.  All that depends on the device's word. */
static int virtio_mem_layout(struct virtio_device *vdev, struct virtio_mem *vm)
{
	u64 start, end = vm->addr + vm->region_size;

	vm->chunk_size = max_t(u64, memory_block_size_bytes(), vm->block_size);
	vm->chunk_blocks = div64_u64(vm->chunk_size, vm->block_size);
	if (vm->chunk_blocks > U16_MAX) {
		dev_err(&vdev->dev,
			"block size 0x%llx: a request for a memory block of 0x%llx can't name more than %u blocks\n",
			vm->block_size, vm->chunk_size, U16_MAX);
		return -EINVAL;
	}
	vm->unit_blocks = force_bbm ? vm->chunk_blocks : 1;

	start = ALIGN(vm->addr, vm->chunk_size);
	if (start < vm->addr || start >= end ||
	    end - start < vm->chunk_size) {
		dev_err(&vdev->dev,
			"region of 0x%llx at 0x%llx holds no memory block of 0x%llx\n",
			vm->region_size, vm->addr, vm->chunk_size);
		return -EINVAL;
	}
	vm->first_block = div64_u64(start - vm->addr, vm->block_size);
	vm->nr_chunks = div64_u64(end - start, vm->chunk_size);
	return 0;
}

static int virtio_mem_node(struct virtio_device *vdev, struct virtio_mem *vm)
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

static int virtio_mem_alloc_maps(struct virtio_device *vdev,
				 struct virtio_mem *vm)
{
	size_t size = BITS_TO_LONGS(virtio_mem_nr_blocks(vm)) * sizeof(long);

	/* What a device says must not make the driver take all memory. */
	if (size > PFN_PHYS(totalram_pages()) / 64) {
		dev_err(&vdev->dev,
			"block size 0x%llx is too small for a region of 0x%llx\n",
			vm->block_size, vm->region_size);
		return -E2BIG;
	}
	vm->chunks = vzalloc(array_size(vm->nr_chunks, sizeof(*vm->chunks)));
	vm->plugged = vzalloc(size);
	vm->taken = vzalloc(size);
	return vm->chunks && vm->plugged && vm->taken ? 0 : -ENOMEM;
}

/* The thread rests until a device is attached. */
static int virtio_mem_create_thread(struct virtio_device *vdev,
				    struct virtio_mem *vm)
{
	vm->detached = true;
	vm->thread = kthread_run(virtio_mem_thread, vm, "virtio_mem/%d",
				 vdev->index);
	return PTR_ERR_OR_ZERO(vm->thread);
}

static int virtio_mem_set_up(struct virtio_device *vdev, struct virtio_mem *vm)
{
	int rc;

	rc = virtio_mem_layout(vdev, vm);
	if (rc)
		return rc;
	rc = virtio_mem_alloc_maps(vdev, vm);
	if (rc)
		return rc;
	vm->nid = virtio_mem_node(vdev, vm);
	vm->mgid = memory_group_register_dynamic(vm->nid,
						 PHYS_PFN(vm->chunk_size));
	if (vm->mgid < 0)
		return vm->mgid;
	rc = virtio_mem_claim_region(vdev, vm);
	if (rc)
		goto err_group;
	rc = virtio_mem_create_thread(vdev, vm);
	if (rc)
		goto err_region;
	rc = virtio_mem_publish(vm);
	if (rc)
		goto err_thread;
	return 0;

err_thread:
	kthread_stop(vm->thread);
err_region:
	virtio_mem_release_region(vm);
err_group:
	memory_group_unregister(vm->mgid);
	return rc;
}

/*
 * A device that was unbound while Linux used its memory left its state behind.
 * Finds it again; everything the device says about itself must be the same.
 */
static struct virtio_mem *virtio_mem_find_orphan(struct virtio_device *vdev,
						 const struct virtio_mem *like)
{
	struct virtio_mem *vm;

	list_for_each_entry(vm, &virtio_mem_devices, list) {
		if (like->addr >= vm->addr + vm->region_size ||
		    vm->addr >= like->addr + like->region_size)
			continue;
		if (!vm->vdev && vm->addr == like->addr &&
		    vm->region_size == like->region_size &&
		    vm->block_size == like->block_size)
			return vm;
		dev_err(&vdev->dev,
			"region of 0x%llx at 0x%llx overlaps that of another device\n",
			like->region_size, like->addr);
		return ERR_PTR(-EBUSY);
	}
	return NULL;
}

static struct virtio_mem *virtio_mem_create(struct virtio_device *vdev)
{
	struct virtio_mem *vm = kzalloc(sizeof(*vm), GFP_KERNEL);
	struct virtio_mem *orphan;
	int rc;

	if (!vm)
		return ERR_PTR(-ENOMEM);
	mutex_init(&vm->pages);
	init_waitqueue_head(&vm->wait);
	init_completion(&vm->response);
	timer_setup(&vm->offlining.timer, virtio_mem_offline_look, 0);

	rc = virtio_mem_read_region(vdev, vm);
	if (rc)
		goto err_free;
	orphan = virtio_mem_find_orphan(vdev, vm);
	if (orphan) {
		kfree(vm);
		return orphan;
	}
	rc = virtio_mem_set_up(vdev, vm);
	if (rc)
		goto err_free;
	return vm;

err_free:
	virtio_mem_free(vm);
	return ERR_PTR(rc);
}

static int virtio_mem_start(struct virtio_mem *vm)
{
	struct virtio_device *vdev = vm->vdev;
	struct virtqueue *vq;

	vq = virtio_find_single_vq(vdev, virtio_mem_response, "guest-request");
	if (IS_ERR(vq))
		return PTR_ERR(vq);
	if (virtqueue_get_vring_size(vq) < 2 &&
	    !virtio_has_feature(vdev, VIRTIO_RING_F_INDIRECT_DESC)) {
		dev_err(&vdev->dev, "a request does not fit into the queue\n");
		vdev->config->del_vqs(vdev);
		return -EINVAL;
	}
	virtio_device_ready(vdev);

	vm->vq = vq;
	vm->in_flight = false;
	vm->settled = false;
	vm->doubt.nr = 0;
	vm->reported = 1;
	virtio_mem_attach(vm);
	return 0;
}

static void virtio_mem_stop(struct virtio_mem *vm)
{
	struct virtio_device *vdev = vm->vdev;

	virtio_mem_detach(vm);
	if (!vm->vq)
		return;
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
	vm->vq = NULL;
}

/* A thread that was left in the hotplug code does it later. */
static void virtio_mem_let_go(struct virtio_mem *vm)
{
	bool last;

	mutex_lock(&virtio_mem_devices_mutex);
	vm->vdev = NULL;
	last = virtio_mem_phase(vm) == VIRTIO_MEM_RESTING &&
	       virtio_mem_abandon(vm);
	mutex_unlock(&virtio_mem_devices_mutex);
	if (last) {
		kthread_stop(vm->thread);
		virtio_mem_free(vm);
	}
}

static int virtio_mem_probe(struct virtio_device *vdev)
{
	struct virtio_mem *vm;
	int rc;

	/* What a crashed kernel left plugged is what the dump is about. */
	if (is_kdump_kernel()) {
		dev_warn(&vdev->dev, "left alone in the dump kernel\n");
		return -EBUSY;
	}
	mutex_lock(&virtio_mem_devices_mutex);
	vm = virtio_mem_create(vdev);
	if (!IS_ERR(vm)) {
		vm->vdev = vdev;
		vm->lost = false;
	}
	mutex_unlock(&virtio_mem_devices_mutex);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	vdev->priv = vm;
	rc = virtio_mem_start(vm);
	if (rc)
		virtio_mem_let_go(vm);
	return rc;
}

static void virtio_mem_remove(struct virtio_device *vdev)
{
	struct virtio_mem *vm = vdev->priv;

	virtio_mem_stop(vm);
	vdev->priv = NULL;
	virtio_mem_let_go(vm);
}

#ifdef CONFIG_PM_SLEEP
static int virtio_mem_freeze(struct virtio_device *vdev)
{
	struct virtio_mem *vm = vdev->priv;

	virtio_mem_detach(vm);
	if (!virtio_has_feature(vdev, VIRTIO_MEM_F_PERSISTENT_SUSPEND) &&
	    vm->nr_plugged) {
		dev_err(&vdev->dev, "cannot suspend: memory is plugged\n");
		virtio_mem_attach(vm);
		return -EPERM;
	}
	virtio_mem_stop(vm);
	return 0;
}

static int virtio_mem_restore(struct virtio_device *vdev)
{
	return virtio_mem_start(vdev->priv);
}
#endif

static const unsigned int virtio_mem_features[] = {
#ifdef CONFIG_ACPI_NUMA
	VIRTIO_MEM_F_ACPI_PXM,
#endif
	VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE,
	VIRTIO_MEM_F_PERSISTENT_SUSPEND,
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
 * No thread works while the machine sleeps.  They stop before the hibernation
 * code takes the lock that they may wait for.
 */
static void virtio_mem_sleep(void)
{
	struct virtio_mem *vm;

	rcu_read_lock();
	spin_lock(&virtio_mem_rest_lock);
	virtio_mem_asleep = true;
	list_for_each_entry_rcu(vm, &virtio_mem_devices, list) {
		vm->leave = true;
		wake_up(&vm->wait);
	}
	spin_unlock(&virtio_mem_rest_lock);
	rcu_read_unlock();
	wait_event(virtio_mem_rested, !READ_ONCE(virtio_mem_nr_working));
}

static void virtio_mem_wake_up(void)
{
	struct virtio_mem *vm;

	spin_lock(&virtio_mem_rest_lock);
	virtio_mem_asleep = false;
	spin_unlock(&virtio_mem_rest_lock);

	rcu_read_lock();
	list_for_each_entry_rcu(vm, &virtio_mem_devices, list)
		virtio_mem_wake(vm);
	rcu_read_unlock();
}

/* The kernel that wakes up can't know what the device still has plugged. */
static int virtio_mem_check_hibernation(void)
{
	struct virtio_mem *vm;
	int rc = 0;

	rcu_read_lock();
	list_for_each_entry_rcu(vm, &virtio_mem_devices, list) {
		if (!vm->nr_plugged)
			continue;
		pr_err("cannot hibernate: %llu MiB are plugged at 0x%llx\n",
		       vm->nr_plugged * vm->block_size / SZ_1M, vm->addr);
		rc = -EBUSY;
	}
	rcu_read_unlock();
	return rc;
}

static int virtio_mem_pm_notify(struct notifier_block *nb, unsigned long action,
				void *data)
{
	int rc = 0;

	switch (action) {
	case PM_SUSPEND_PREPARE:
		virtio_mem_sleep();
		return NOTIFY_OK;
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		virtio_mem_sleep();
		rc = virtio_mem_check_hibernation();
		if (rc)
			virtio_mem_wake_up();
		return notifier_from_errno(rc);
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		virtio_mem_wake_up();
		return NOTIFY_OK;
	default:
		return NOTIFY_DONE;
	}
}

static struct notifier_block virtio_mem_pm_notifier = {
	.notifier_call = virtio_mem_pm_notify,
};

/*
 * Tells a device that goes from a driver that does: only the first takes the
 * memory along, so that it must not come online any more.
 */
static int virtio_mem_bus_notify(struct notifier_block *nb,
				 unsigned long action, void *data)
{
	struct virtio_mem *vm;

	if (action != BUS_NOTIFY_DEL_DEVICE)
		return NOTIFY_DONE;
	mutex_lock(&virtio_mem_devices_mutex);
	list_for_each_entry(vm, &virtio_mem_devices, list)
		if (vm->vdev && data == &vm->vdev->dev)
			WRITE_ONCE(vm->lost, true);
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
	unregister_pm_notifier(&virtio_mem_pm_notifier);
	return rc;
}
module_init(virtio_mem_init);

static void __exit virtio_mem_exit(void)
{
	bus_unregister_notifier(virtio_mem_driver.driver.bus,
				&virtio_mem_bus_notifier);
	unregister_virtio_driver(&virtio_mem_driver);
	unregister_pm_notifier(&virtio_mem_pm_notifier);
}
module_exit(virtio_mem_exit);

MODULE_DESCRIPTION("Memory that the hypervisor resizes");
MODULE_LICENSE("GPL");
