// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the driver counts, and shows in debugfs: a folder for each device that is
 * bound, virtio_mem/virtioN/, with a file for each table.  docs/driver.md
 * explains them.
 */

#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/virtio.h>
#include <linux/virtio_mem.h>

#include "virtio_mem.h"

static struct dentry *virtio_mem_debugfs;

/* Counting; by the thread, so that only readers need the lock. */

void virtio_mem_count_request(struct virtio_mem *vm, u16 type,
			      enum virtio_mem_answer answer)
{
	if (type == VIRTIO_MEM_REQ_X_REPORT)
		type = VIRTIO_MEM_NR_REQUESTS - 1;
	vm->stats.requests[type][answer]++;
}

void virtio_mem_count_work(struct virtio_mem *vm, enum virtio_mem_work work,
			   ktime_t since, bool done)
{
	struct virtio_mem_work_stats *stats = &vm->stats.work[work];
	s64 ns = ktime_to_ns(ktime_sub(ktime_get(), since));

	stats->nr++;
	stats->failed += !done;
	stats->ns += ns;
	stats->longest_ns = max(stats->longest_ns, ns);
}

/*
 * A page that was noted before is counted once a round, any other takes the
 * oldest's place.
 */
void virtio_mem_note_obstacle(struct virtio_mem *vm, unsigned long pfn,
			      enum virtio_mem_kind kind)
{
	struct virtio_mem_stats *stats = &vm->stats;
	struct virtio_mem_obstacle *o, *oldest = stats->obstacles;

	spin_lock(&stats->lock);
	for (o = stats->obstacles; o < stats->obstacles +
	     ARRAY_SIZE(stats->obstacles); o++) {
		if (o->nr && o->pfn == pfn && o->kind == kind)
			break;
		if (ktime_before(o->last, oldest->last))
			oldest = o;
	}
	if (o == stats->obstacles + ARRAY_SIZE(stats->obstacles)) {
		o = oldest;
		*o = (struct virtio_mem_obstacle) { .pfn = pfn, .kind = kind };
	}
	o->nr += o->round != vm->round;
	o->round = vm->round;
	o->last = ktime_get();
	stats->latest = o;
	spin_unlock(&stats->lock);
}

void virtio_mem_resize_begins(struct virtio_mem *vm)
{
	struct virtio_mem_stats *stats = &vm->stats;

	spin_lock(&stats->lock);
	stats->resize = (stats->resize + 1) % ARRAY_SIZE(stats->resizes);
	stats->resizes[stats->resize] = (struct virtio_mem_resize) {
		.from = vm->nr_plugged * vm->block_size,
		.to = vm->requested_size,
		.begin = ktime_get(),
		.rc = 1,
	};
	stats->latest = NULL;
	spin_unlock(&stats->lock);
}

void virtio_mem_resize_attempted(struct virtio_mem *vm, int rc)
{
	struct virtio_mem_resize *r = &vm->stats.resizes[vm->stats.resize];

	spin_lock(&vm->stats.lock);
	if (r->rc) {
		r->rc = rc;
		r->attempts++;
		r->ns = ktime_to_ns(ktime_sub(ktime_get(), r->begin));
	}
	spin_unlock(&vm->stats.lock);
}

unsigned int virtio_mem_resize_attempts(const struct virtio_mem *vm)
{
	return vm->stats.resizes[vm->stats.resize].attempts;
}

u64 virtio_mem_resize_ms(const struct virtio_mem *vm)
{
	return div_u64(vm->stats.resizes[vm->stats.resize].ns, NSEC_PER_MSEC);
}

/* Showing */

static int virtio_mem_status_show(struct seq_file *seq, void *data)
{
	struct virtio_mem *vm = seq->private;
	unsigned long nr[VIRTIO_MEM_NR_CHUNK_STATES] = { }, partly = 0, online = 0;
	unsigned long chunk;

	for (chunk = 0; chunk < vm->nr_chunks; chunk++) {
		const struct virtio_mem_chunk *c = &vm->chunks[chunk];

		nr[READ_ONCE(c->state)]++;
		online += READ_ONCE(c->online);
		partly += c->state == VIRTIO_MEM_CHUNK_ADDED &&
			  READ_ONCE(c->plugged) < vm->chunk_blocks;
	}
	seq_printf(seq, "address:           0x%llx\n", vm->addr);
	seq_printf(seq, "region_size:       %llu\n", vm->region_size);
	seq_printf(seq, "usable_size:       %llu\n", vm->usable_size);
	seq_printf(seq, "requested_size:    %llu\n", vm->requested_size);
	seq_printf(seq, "plugged_size:      %llu\n",
		   vm->nr_plugged * vm->block_size);
	seq_printf(seq, "block_size:        %llu\n", vm->block_size);
	seq_printf(seq, "unit_size:         %llu\n",
		   vm->unit_blocks * vm->block_size);
	seq_printf(seq, "chunk_size:        %llu\n", vm->chunk_size);
	seq_printf(seq, "chunks_absent:     %lu\n",
		   nr[VIRTIO_MEM_CHUNK_ABSENT]);
	seq_printf(seq, "chunks_detached:   %lu\n",
		   nr[VIRTIO_MEM_CHUNK_DETACHED]);
	seq_printf(seq, "chunks_added:      %lu\n", nr[VIRTIO_MEM_CHUNK_ADDED]);
	seq_printf(seq, "chunks_partly:     %lu\n", partly);
	seq_printf(seq, "memory_blocks_online: %lu\n", online);
	seq_printf(seq, "blocks_in_doubt:   %lu\n", vm->doubt.nr);
	seq_printf(seq, "node:              %d\n", vm->nid);
	seq_printf(seq, "resets:            %u\n", vm->stats.resets);
	seq_printf(seq, "next_retry_ms:     %u\n",
		   jiffies_to_msecs(READ_ONCE(vm->retry)));
	seq_printf(seq, "result:            %s\n",
		   virtio_mem_reason(READ_ONCE(vm->result)));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(virtio_mem_status);

static int virtio_mem_requests_show(struct seq_file *seq, void *data)
{
	static const char * const names[VIRTIO_MEM_NR_REQUESTS] = {
		[VIRTIO_MEM_REQ_PLUG] = "plug",
		[VIRTIO_MEM_REQ_UNPLUG] = "unplug",
		[VIRTIO_MEM_REQ_UNPLUG_ALL] = "unplug-all",
		[VIRTIO_MEM_REQ_STATE] = "state",
		[VIRTIO_MEM_NR_REQUESTS - 1] = "x-report",
	};
	struct virtio_mem *vm = seq->private;
	unsigned int type, answer;

	seq_puts(seq, "request           ack       nack       busy      error        odd       none\n");
	for (type = 0; type < VIRTIO_MEM_NR_REQUESTS; type++) {
		seq_printf(seq, "%-10s", names[type]);
		for (answer = 0; answer < VIRTIO_MEM_NR_ANSWERS; answer++)
			seq_printf(seq, " %10llu",
				   vm->stats.requests[type][answer]);
		seq_putc(seq, '\n');
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(virtio_mem_requests);

static int virtio_mem_work_show(struct seq_file *seq, void *data)
{
	static const char * const names[] = {
		[VIRTIO_MEM_WORK_REQUEST] = "request",
		[VIRTIO_MEM_WORK_ADD] = "add",
		[VIRTIO_MEM_WORK_REMOVE] = "remove",
		[VIRTIO_MEM_WORK_TAKE] = "take",
		[VIRTIO_MEM_WORK_GIVE] = "give",
		[VIRTIO_MEM_WORK_LOOK] = "look",
		[VIRTIO_MEM_WORK_DROP] = "drop",
	};
	struct virtio_mem *vm = seq->private;
	unsigned int work;

	seq_puts(seq, "work             times     failed         us longest_us\n");
	for (work = 0; work < VIRTIO_MEM_NR_WORKS; work++) {
		const struct virtio_mem_work_stats *s = &vm->stats.work[work];

		seq_printf(seq, "%-10s %10llu %10llu %10llu %10llu\n",
			   names[work], s->nr, s->failed,
			   div_u64(s->ns, NSEC_PER_USEC),
			   div_u64(s->longest_ns, NSEC_PER_USEC));
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(virtio_mem_work);

static void virtio_mem_obstacle_print(struct seq_file *seq,
				      const struct virtio_mem *vm,
				      const struct virtio_mem_obstacle *o)
{
	s64 ms = ktime_to_ms(ktime_sub(ktime_get(), o->last));

	seq_printf(seq, "%10lu 0x%016llx %-10s %10llu %10lld\n",
		   virtio_mem_block_of(vm, o->pfn),
		   (u64)PFN_PHYS(o->pfn), virtio_mem_kind_name(o->kind), o->nr,
		   ms);
}

static int virtio_mem_obstacles_show(struct seq_file *seq, void *data)
{
	struct virtio_mem *vm = seq->private;
	struct virtio_mem_stats *stats = &vm->stats;
	unsigned int i;

	seq_puts(seq, "     block page               kind            times     ms_ago\n");
	spin_lock(&stats->lock);
	for (i = 0; i < ARRAY_SIZE(stats->obstacles); i++)
		if (stats->obstacles[i].nr)
			virtio_mem_obstacle_print(seq, vm,
						  &stats->obstacles[i]);
	spin_unlock(&stats->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(virtio_mem_obstacles);

static int virtio_mem_resizes_show(struct seq_file *seq, void *data)
{
	struct virtio_mem *vm = seq->private;
	struct virtio_mem_stats *stats = &vm->stats;
	unsigned int i, n = ARRAY_SIZE(stats->resizes);

	seq_puts(seq, "           from              to   attempts         us result\n");
	spin_lock(&stats->lock);
	for (i = 1; i <= n; i++) {
		const struct virtio_mem_resize *r =
			&stats->resizes[(stats->resize + i) % n];

		if (r->begin)
			seq_printf(seq, "%15llu %15llu %10u %10llu %s\n",
				   r->from, r->to, r->attempts,
				   div_u64(r->ns, NSEC_PER_USEC),
				   virtio_mem_reason(r->rc));
	}
	spin_unlock(&stats->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(virtio_mem_resizes);

/* Where it is shown; without debugfs, all of this does nothing. */

void virtio_mem_stats_show(struct virtio_mem *vm)
{
	struct dentry *dir = debugfs_create_dir(dev_name(&vm->vdev->dev),
						virtio_mem_debugfs);

	debugfs_create_file("status", 0444, dir, vm, &virtio_mem_status_fops);
	debugfs_create_file("requests", 0444, dir, vm,
			    &virtio_mem_requests_fops);
	debugfs_create_file("work", 0444, dir, vm, &virtio_mem_work_fops);
	debugfs_create_file("obstacles", 0444, dir, vm,
			    &virtio_mem_obstacles_fops);
	debugfs_create_file("resizes", 0444, dir, vm,
			    &virtio_mem_resizes_fops);
	vm->stats.dir = dir;
}

/* Returns once nobody reads any more. */
void virtio_mem_stats_hide(struct virtio_mem *vm)
{
	debugfs_remove(vm->stats.dir);
	vm->stats.dir = NULL;
}

void __init virtio_mem_stats_init(void)
{
	virtio_mem_debugfs = debugfs_create_dir(KBUILD_MODNAME, NULL);
}

void virtio_mem_stats_exit(void)
{
	debugfs_remove(virtio_mem_debugfs);
}
