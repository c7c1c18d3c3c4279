// SPDX-License-Identifier: GPL-2.0-only
/*
 * racer: a driver of a virtio-mem device, for tests, that goes on writing to a
 * block on one CPU while another CPU plugs and unplugs it.  It looks at each
 * plugged block for what was written before, which the device must have thrown
 * away, and at the blocks next to it, which it must have left alone.
 */

#include <linux/delay.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <uapi/linux/virtio_mem.h>

static ulong rounds = 1;
module_param(rounds, ulong, 0444);
MODULE_PARM_DESC(rounds, "How often to plug and unplug");

static uint cpu = 1;
module_param(cpu, uint, 0444);
MODULE_PARM_DESC(cpu, "The CPU that writes");

static ulong page;
module_param(page, ulong, 0444);
MODULE_PARM_DESC(page, "The page of the block to write to");

static ulong ran;
module_param(ran, ulong, 0444);
MODULE_PARM_DESC(ran, "Out: rounds that were run");

static ulong stale;
module_param(stale, ulong, 0444);
MODULE_PARM_DESC(stale, "Out: rounds in which old contents were there");

static ulong refused;
module_param(refused, ulong, 0444);
MODULE_PARM_DESC(refused, "Out: requests that were not acknowledged");

static ulong damaged;
module_param(damaged, ulong, 0444);
MODULE_PARM_DESC(damaged, "Out: words next to the block that changed");

/* Blocks of the region */
enum { BELOW, BLOCK, ABOVE, NB_BLOCKS };

#define STAMP 0x7261636572000000ull

struct racer {
	struct virtio_device *vdev;
	struct virtqueue *vq;
	struct virtio_mem_req req;
	struct virtio_mem_resp resp;
	u64 addr;		/* of the region, physical */
	u64 block_size;
	void *blocks;		/* NB_BLOCKS of them, mapped */
	u64 begun;		/* the value last written, or just about to be */
};

static u64 *racer_word(struct racer *racer, int block, u64 offset)
{
	return racer->blocks + block * racer->block_size + offset;
}

static u64 *racer_written(struct racer *racer)
{
	return racer_word(racer, BLOCK, page * PAGE_SIZE);
}

static void racer_ask(struct racer *racer, u16 type, int block)
{
	struct scatterlist out, in, *lists[] = { &out, &in };
	unsigned int length;

	memset(&racer->req, 0, sizeof(racer->req));
	racer->req.type = cpu_to_virtio16(racer->vdev, type);
	/* Those of UNPLUG are in the same place. */
	racer->req.u.plug.addr = cpu_to_virtio64(racer->vdev, racer->addr +
						 block * racer->block_size);
	racer->req.u.plug.nb_blocks = cpu_to_virtio16(racer->vdev, 1);
	racer->resp.type = cpu_to_virtio16(racer->vdev, VIRTIO_MEM_RESP_ERROR);
	sg_init_one(&out, &racer->req, sizeof(racer->req));
	sg_init_one(&in, &racer->resp, sizeof(racer->resp));
	if (virtqueue_add_sgs(racer->vq, lists, 1, 1, racer, GFP_KERNEL)) {
		refused++;
		return;
	}
	virtqueue_kick(racer->vq);
	while (!virtqueue_get_buf(racer->vq, &length))
		cpu_relax();
	refused += racer->resp.type !=
		   cpu_to_virtio16(racer->vdev, VIRTIO_MEM_RESP_ACK);
}

static int racer_write(void *opaque)
{
	struct racer *racer = opaque;

	while (!kthread_should_stop()) {
		WRITE_ONCE(racer->begun, racer->begun + 1);
		/* Who sees the value in the block finds it begun. */
		smp_wmb();
		WRITE_ONCE(*racer_written(racer), racer->begun);
		cond_resched();
	}
	return 0;
}

/* Returns the value that is being written, once that is another one. */
static u64 racer_wait(struct racer *racer)
{
	u64 value, last = READ_ONCE(racer->begun);

	while ((value = READ_ONCE(racer->begun)) == last)
		usleep_range(10, 20);
	return value;
}

/* With the block plugged before and after */
static void racer_run_round(struct racer *racer)
{
	u64 value, last;

	racer_wait(racer);
	racer_ask(racer, VIRTIO_MEM_REQ_UNPLUG, BLOCK);
	last = racer_wait(racer);
	racer_ask(racer, VIRTIO_MEM_REQ_PLUG, BLOCK);
	value = READ_ONCE(*racer_written(racer));
	stale += value && value < last;
	ran++;
	cond_resched();
}

static void racer_stamp(struct racer *racer, int block)
{
	racer_ask(racer, VIRTIO_MEM_REQ_PLUG, block);
	*racer_word(racer, block, 0) = STAMP + block;
	*racer_word(racer, block, racer->block_size - 8) = STAMP + block;
}

static void racer_check(struct racer *racer, int block)
{
	damaged += *racer_word(racer, block, 0) != STAMP + block;
	damaged += *racer_word(racer, block, racer->block_size - 8) !=
		   STAMP + block;
}

static int racer_run(struct racer *racer)
{
	struct task_struct *thread;
	unsigned long i;

	for (i = 0; i < NB_BLOCKS; i++)
		racer_stamp(racer, i);
	thread = kthread_create_on_cpu(racer_write, racer, cpu, "racer/%u");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	wake_up_process(thread);
	for (i = 0; i < rounds; i++)
		racer_run_round(racer);
	/* It writes to what is unplugged, to the end. */
	racer_ask(racer, VIRTIO_MEM_REQ_UNPLUG, BLOCK);
	racer_wait(racer);
	kthread_stop(thread);
	racer_check(racer, BELOW);
	racer_check(racer, ABOVE);
	return 0;
}

static void racer_done(struct virtqueue *vq)
{
	/* Answers are waited for without it. */
}

static void racer_end(struct racer *racer)
{
	virtio_reset_device(racer->vdev);
	racer->vdev->config->del_vqs(racer->vdev);
	if (racer->blocks)
		memunmap(racer->blocks);
}

static int racer_probe(struct virtio_device *vdev)
{
	struct racer *racer;
	int rc;

	racer = devm_kzalloc(&vdev->dev, sizeof(*racer), GFP_KERNEL);
	if (!racer)
		return -ENOMEM;
	racer->vdev = vdev;
	vdev->priv = racer;
	virtio_cread_le(vdev, struct virtio_mem_config, addr, &racer->addr);
	virtio_cread_le(vdev, struct virtio_mem_config, block_size,
			&racer->block_size);
	racer->vq = virtio_find_single_vq(vdev, racer_done, "requests");
	if (IS_ERR(racer->vq))
		return PTR_ERR(racer->vq);
	racer->blocks = memremap(racer->addr, NB_BLOCKS * racer->block_size,
				 MEMREMAP_WB);
	if (racer->blocks) {
		virtio_device_ready(vdev);
		rc = racer_run(racer);
	} else {
		rc = -ENXIO;
	}
	if (rc)
		racer_end(racer);
	return rc;
}

static void racer_remove(struct virtio_device *vdev)
{
	racer_end(vdev->priv);
}

static unsigned int racer_features[] = {
	VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE,
};

static const struct virtio_device_id racer_ids[] = {
	{ VIRTIO_ID_MEM, VIRTIO_DEV_ANY_ID },
	{ },
};

static struct virtio_driver racer_driver = {
	.feature_table = racer_features,
	.feature_table_size = ARRAY_SIZE(racer_features),
	.driver.name = KBUILD_MODNAME,
	.id_table = racer_ids,
	.probe = racer_probe,
	.remove = racer_remove,
};
module_virtio_driver(racer_driver);

MODULE_DESCRIPTION("A race for memory that is being unplugged");
MODULE_LICENSE("GPL");
