/*
 * virtio-mem: the device's state in a migration stream
 *
 * The stream is the one of stock QEMU.  From machine type 8.0 on, the layout
 * and which blocks are plugged go ahead of all RAM, in a section of their own:
 * a target knows early which memory it will need.  Older machine types send
 * them with the rest of the device.
 *
 * What arrives is kept apart until it was checked: a stream is as little to be
 * trusted as a guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "hw/virtio/virtio-mem.h"
#include "migration/misc.h"
#include "migration/vmstate.h"

/* Forgets what an unfinished load left. */
static void virtio_mem_stream_free(VirtIOMEM *vmem)
{
    g_free(vmem->stream.plugged);
    vmem->stream = (VirtIOMEMStream) { };
}

bool virtio_mem_is_migrating(void)
{
    return migration_is_running() || migration_in_incoming_postcopy();
}

/* Saving */

static int virtio_mem_stream_pre_save(void *opaque)
{
    VirtIOMEM *vmem = opaque;
    const VirtIOMEMBlocks *blocks = &vmem->blocks;
    unsigned long *plugged = bitmap_new(blocks->nb_blocks);

    bitmap_copy(plugged, blocks->plugged, blocks->nb_blocks);
    vmem->stream = (VirtIOMEMStream) {
        .addr = vmem->addr,
        .region_size = virtio_mem_region_size(vmem),
        .block_size = vmem->block_size,
        .node = vmem->node,
        .usable_region_size = vmem->usable_region_size,
        .requested_size = vmem->requested_size,
        .size = virtio_mem_get_plugged_size(vmem),
        .nb_blocks = blocks->nb_blocks,
        .plugged = plugged,
    };
    return 0;
}

static int virtio_mem_stream_post_save(void *opaque)
{
    virtio_mem_stream_free(opaque);
    return 0;
}

/* Loading */

static int virtio_mem_stream_pre_load(void *opaque)
{
    VirtIOMEM *vmem = opaque;

    virtio_mem_stream_free(vmem);
    vmem->stream.nb_blocks = vmem->blocks.nb_blocks;
    vmem->stream.plugged = bitmap_new(vmem->blocks.nb_blocks);
    return 0;
}

/* Says what is wrong with the stream; the device stays as it is. */
static int G_GNUC_PRINTF(2, 3)
virtio_mem_stream_error(const VirtIOMEM *vmem, const char *fmt, ...)
{
    g_autofree char *what = NULL;
    va_list ap;

    va_start(ap, fmt);
    what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_report("virtio-mem '%s': cannot take over the migrated state: %s",
                 virtio_mem_name(vmem), what);
    return -EINVAL;
}

static int virtio_mem_check_same(const VirtIOMEM *vmem, const char *property,
                                 uint64_t from, uint64_t to)
{
    if (from == to) {
        return 0;
    }
    return virtio_mem_stream_error(vmem, "property '%s' is 0x%" PRIx64 " on the"
                                   " source, but 0x%" PRIx64 " here",
                                   property, from, to);
}

/* What has to be the same on both sides. */
static int virtio_mem_check_layout(const VirtIOMEM *vmem)
{
    const VirtIOMEMStream *stream = &vmem->stream;
    const struct {
        const char *property;
        uint64_t from;
        uint64_t to;
    } fields[] = {
        { VIRTIO_MEM_ADDR_PROP, stream->addr, vmem->addr },
        /* The user knows the region's size as that of the backend. */
        { VIRTIO_MEM_MEMDEV_PROP ".size", stream->region_size,
          virtio_mem_region_size(vmem) },
        { VIRTIO_MEM_BLOCK_SIZE_PROP, stream->block_size, vmem->block_size },
        { VIRTIO_MEM_NODE_PROP, stream->node, vmem->node },
    };
    int ret = 0;

    for (size_t i = 0; !ret && i < ARRAY_SIZE(fields); i++) {
        ret = virtio_mem_check_same(vmem, fields[i].property, fields[i].from,
                                    fields[i].to);
    }
    return ret;
}

static int virtio_mem_check_blocks(const VirtIOMEM *vmem)
{
    const VirtIOMEMStream *stream = &vmem->stream;
    uint64_t nb_blocks = vmem->blocks.nb_blocks;
    /* Bits travel, and are kept, in whole words. */
    uint64_t nb_bits = BITS_TO_LONGS(nb_blocks) * BITS_PER_LONG;
    uint64_t nb_plugged = bitmap_count_one(stream->plugged, nb_blocks);

    if (find_next_bit(stream->plugged, nb_bits, nb_blocks) < nb_bits) {
        return virtio_mem_stream_error(vmem, "blocks are plugged behind the end"
                                       " of the region");
    }
    if (nb_plugged * vmem->block_size != stream->size) {
        return virtio_mem_stream_error(vmem, "0x%" PRIx64 " bytes are plugged,"
                                       " but the size is 0x%" PRIx64,
                                       nb_plugged * vmem->block_size,
                                       stream->size);
    }
    return 0;
}

static int virtio_mem_check_targets(const VirtIOMEM *vmem)
{
    const VirtIOMEMStream *stream = &vmem->stream;
    uint64_t region_size = virtio_mem_region_size(vmem);
    uint64_t offset = stream->usable_region_size;

    if (stream->requested_size > stream->usable_region_size ||
        stream->usable_region_size > region_size ||
        !QEMU_IS_ALIGNED(stream->requested_size, vmem->block_size)) {
        return virtio_mem_stream_error(vmem, "0x%" PRIx64 " bytes are requested"
                                       " in blocks of 0x%" PRIx64 ", and 0x%"
                                       PRIx64 " usable, of 0x%" PRIx64,
                                       stream->requested_size, vmem->block_size,
                                       stream->usable_region_size, region_size);
    }
    if (virtio_mem_blocks_next(&vmem->blocks, &offset, region_size, true)) {
        return virtio_mem_stream_error(vmem, "the block at 0x%" PRIx64 " is"
                                       " plugged, but 0x%" PRIx64 " bytes are"
                                       " usable", offset,
                                       stream->usable_region_size);
    }
    return 0;
}

/* Gives back what was plugged here and is not plugged in the stream. */
static void virtio_mem_discard_difference(VirtIOMEM *vmem,
                                          const VirtIOMEMBlocks *old)
{
    uint64_t region_size = virtio_mem_region_size(vmem);
    uint64_t offset = 0, size, end;

    while ((size = virtio_mem_blocks_next(&vmem->blocks, &offset, region_size,
                                          false))) {
        for (end = offset + size;
             (size = virtio_mem_blocks_next(old, &offset, end, true));
             offset += size) {
            virtio_mem_discard(vmem, offset, size);
        }
        offset = end;
    }
}

/*
 * Makes the stream's blocks the plugged ones.  A running machine that loads a
 * snapshot has others plugged already.  Listeners, some of which come and go
 * with their slot, forget all; they are told anew when the whole device is
 * there.
 */
static void virtio_mem_replace_blocks(VirtIOMEM *vmem)
{
    VirtIOMEMBlocks old = vmem->blocks;

    virtio_mem_memslots_hide(vmem, 0, virtio_mem_region_size(vmem));
    if (old.nb_plugged) {
        virtio_mem_notify_discard_all(vmem);
    }
    virtio_mem_blocks_init(&vmem->blocks, virtio_mem_region_size(vmem),
                           vmem->block_size);
    virtio_mem_blocks_load(&vmem->blocks, vmem->stream.plugged);
    virtio_mem_discard_difference(vmem, &old);
    virtio_mem_blocks_destroy(&old);
    virtio_mem_protect_loaded(vmem);
}

/*
 * With prealloc=on memory is taken now, as long as nothing but a message is
 * lost when there is not enough.  Pages that postcopy brings later must not
 * be there before.
 */
static int virtio_mem_prealloc_stream(VirtIOMEM *vmem)
{
    if (!vmem->prealloc || migration_in_incoming_postcopy()) {
        return 0;
    }
    if (virtio_mem_prealloc_plugged(vmem)) {
        return virtio_mem_stream_error(vmem, "there is not enough memory for"
                                       " the 0x%" PRIx64 " bytes plugged",
                                       vmem->stream.size);
    }
    return 0;
}

static int virtio_mem_take_blocks(VirtIOMEM *vmem)
{
    int ret = virtio_mem_check_layout(vmem);

    if (!ret) {
        ret = virtio_mem_check_blocks(vmem);
    }
    if (!ret) {
        virtio_mem_replace_blocks(vmem);
        ret = virtio_mem_prealloc_stream(vmem);
    }
    return ret;
}

static int virtio_mem_early_post_load(void *opaque, int version_id)
{
    VirtIOMEM *vmem = opaque;
    int ret;

    if (vmem->loaded) {
        ret = virtio_mem_stream_error(vmem, "its blocks come once more, after"
                                      " its sizes");
    } else {
        ret = virtio_mem_take_blocks(vmem);
    }
    virtio_mem_stream_free(vmem);
    return ret;
}

static int virtio_mem_post_load(void *opaque, int version_id)
{
    VirtIOMEM *vmem = opaque;
    int ret = vmem->early_migration ? 0 : virtio_mem_take_blocks(vmem);

    if (!ret) {
        ret = virtio_mem_check_targets(vmem);
    }
    if (!ret) {
        vmem->requested_size = vmem->stream.requested_size;
        /* Others were seen to send a size that ends inside a block. */
        vmem->usable_region_size = ROUND_UP(vmem->stream.usable_region_size,
                                            vmem->block_size);
        ret = virtio_mem_notify_populate_all(vmem);
    }
    if (!ret) {
        /* Who comes with a slot hears of it now, and only now. */
        virtio_mem_memslots_update(vmem);
        virtio_mem_tell_plugged_size(vmem);
        virtio_mem_resize_begins(vmem);
        vmem->loaded = true;
    }
    virtio_mem_stream_free(vmem);
    return ret;
}

static bool virtio_mem_migrates_late(void *opaque, int version_id)
{
    return !VIRTIO_MEM(opaque)->early_migration;
}

/* Ahead of RAM */
static const VMStateDescription vmstate_virtio_mem_early = {
    .name = "virtio-mem-device-early",
    .version_id = 1,
    .minimum_version_id = 1,
    .early_setup = true,
    .pre_save = virtio_mem_stream_pre_save,
    .post_save = virtio_mem_stream_post_save,
    .pre_load = virtio_mem_stream_pre_load,
    .post_load = virtio_mem_early_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(stream.addr, VirtIOMEM),
        VMSTATE_UINT64(stream.region_size, VirtIOMEM),
        VMSTATE_UINT64(stream.block_size, VirtIOMEM),
        VMSTATE_UINT32(stream.node, VirtIOMEM),
        VMSTATE_UINT64(stream.size, VirtIOMEM),
        VMSTATE_BITMAP(stream.plugged, VirtIOMEM, 0, stream.nb_blocks),
        VMSTATE_END_OF_LIST()
    },
};

const VMStateDescription vmstate_virtio_mem_device = {
    .name = "virtio-mem-device",
    .version_id = 1,
    .minimum_version_id = 1,
    .priority = MIG_PRI_VIRTIO_MEM,
    .pre_save = virtio_mem_stream_pre_save,
    .post_save = virtio_mem_stream_post_save,
    .pre_load = virtio_mem_stream_pre_load,
    .post_load = virtio_mem_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64_TEST(stream.addr, VirtIOMEM, virtio_mem_migrates_late),
        VMSTATE_UINT64_TEST(stream.region_size, VirtIOMEM,
                            virtio_mem_migrates_late),
        VMSTATE_UINT64_TEST(stream.block_size, VirtIOMEM,
                            virtio_mem_migrates_late),
        VMSTATE_UINT32_TEST(stream.node, VirtIOMEM, virtio_mem_migrates_late),
        VMSTATE_UINT64(stream.usable_region_size, VirtIOMEM),
        VMSTATE_UINT64_TEST(stream.size, VirtIOMEM, virtio_mem_migrates_late),
        VMSTATE_UINT64(stream.requested_size, VirtIOMEM),
        VMSTATE_BITMAP_TEST(stream.plugged, VirtIOMEM, virtio_mem_migrates_late,
                            0, stream.nb_blocks),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription *const[]) {
        &vmstate_virtio_mem_report,
        NULL
    },
};

const VMStateDescription vmstate_virtio_mem = {
    .name = "virtio-mem",
    .version_id = 1,
    .minimum_version_id = 1,
    .priority = MIG_PRI_VIRTIO_MEM,
    .fields = (const VMStateField[]) {
        VMSTATE_VIRTIO_DEVICE,
        VMSTATE_END_OF_LIST()
    },
};

/* What a migration sends about the blocks must not change any more. */
static int virtio_mem_migration_changed(NotifierWithReturn *notifier,
                                        MigrationEvent *event, Error **errp)
{
    VirtIOMEM *vmem = container_of(notifier, VirtIOMEM, migration_notifier);

    if (event->type == MIG_EVENT_PRECOPY_SETUP) {
        virtio_mem_job_settle(vmem, true);
    }
    virtio_mem_protect_update(vmem);
    return 0;
}

void virtio_mem_migration_register(VirtIOMEM *vmem)
{
    migration_add_notifier(&vmem->migration_notifier,
                           virtio_mem_migration_changed);
    vmstate_register_ram(&vmem->memdev->mr, DEVICE(vmem));
    if (vmem->early_migration) {
        vmstate_register_any(VMSTATE_IF(vmem), &vmstate_virtio_mem_early, vmem);
    }
}

void virtio_mem_migration_unregister(VirtIOMEM *vmem)
{
    migration_remove_notifier(&vmem->migration_notifier);
    vmstate_unregister_ram(&vmem->memdev->mr, DEVICE(vmem));
    if (vmem->early_migration) {
        vmstate_unregister(VMSTATE_IF(vmem), &vmstate_virtio_mem_early, vmem);
    }
    virtio_mem_stream_free(vmem);
}
