// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A model of the virtio-mem device: see virtio-mem-model.h.  Rules of the
 * specification are named Dnn.  Everything is looked up block by block.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_mem.h"
#include "virtio-mem-model.h"

/* Wide enough for any address plus any size that a request can name */
typedef unsigned __int128 Wide;

#define LEAST_SLACK (256ull * 1024 * 1024)

/* Blocks from @first on, @behind is not one of them. */
typedef struct Range {
    uint64_t first;
    uint64_t behind;
} Range;

/*
 * The usable region has room for the requested size, and 256 MiB or two blocks
 * more, whichever is larger, as far as the region goes.  D04, D06.
 */
static uint64_t needed_usable_size(const Model *model)
{
    uint64_t slack_blocks = 2;
    uint64_t blocks;

    while (slack_blocks * model->block_size < LEAST_SLACK) {
        slack_blocks++;
    }
    blocks = model->requested_size / model->block_size + slack_blocks;
    if (blocks > model->nb_blocks) {
        blocks = model->nb_blocks;
    }
    return blocks * model->block_size;
}

void model_init(Model *model, uint64_t addr, uint64_t region_size,
                uint64_t block_size, uint64_t requested_size)
{
    *model = (Model) {
        .addr = addr,
        .region_size = region_size,
        .block_size = block_size,
        .nb_blocks = region_size / block_size,
        .requested_size = requested_size,
    };
    model->plugged = calloc(model->nb_blocks, sizeof(bool));
    model->usable_size = needed_usable_size(model);
}

void model_destroy(Model *model)
{
    free(model->plugged);
    model->plugged = NULL;
}

uint64_t model_plugged_size(const Model *model)
{
    uint64_t size = 0;

    for (uint64_t block = 0; block < model->nb_blocks; block++) {
        size += model->plugged[block] ? model->block_size : 0;
    }
    return size;
}

uint64_t model_nb_usable(const Model *model)
{
    return model->usable_size / model->block_size;
}

uint64_t model_run_end(const Model *model, uint64_t block)
{
    bool plugged = model->plugged[block];

    while (block < model_nb_usable(model) && model->plugged[block] == plugged) {
        block++;
    }
    return block;
}

char *model_map(const Model *model)
{
    uint64_t nb_usable = model_nb_usable(model);
    char *map = calloc(nb_usable + 1, 1);

    for (uint64_t block = 0; block < nb_usable; block++) {
        map[block] = model->plugged[block] ? '#' : '.';
    }
    return map;
}

/* D25, D32, D45 */
static bool find_range(const Model *model, uint64_t addr, uint16_t nb_blocks,
                       Range *range)
{
    Wide start = model->addr, end = start + model->usable_size;
    Wide first = addr, behind = first + (Wide)nb_blocks * model->block_size;

    if (nb_blocks == 0 || addr % model->block_size != 0 ||
        first < start || behind > end) {
        return false;
    }
    range->first = (uint64_t)(first - start) / model->block_size;
    range->behind = range->first + nb_blocks;
    return true;
}

static uint64_t count_plugged(const Model *model, Range range)
{
    uint64_t count = 0;

    for (uint64_t block = range.first; block < range.behind; block++) {
        count += model->plugged[block];
    }
    return count;
}

static void set_plugged(Model *model, Range range, bool plugged)
{
    for (uint64_t block = range.first; block < range.behind; block++) {
        model->plugged[block] = plugged;
    }
}

/* D26, D50; ERROR wins over NACK, and NACK over BUSY. */
static uint16_t plug(Model *model, uint64_t addr, uint16_t nb_blocks)
{
    uint64_t size = nb_blocks * model->block_size;
    Range range;

    if (!find_range(model, addr, nb_blocks, &range) ||
        count_plugged(model, range) != 0) {
        return VIRTIO_MEM_RESP_ERROR;
    }
    if (model_plugged_size(model) + size > model->requested_size) {
        return VIRTIO_MEM_RESP_NACK;
    }
    if (model->migrating) {
        return VIRTIO_MEM_RESP_BUSY;
    }
    set_plugged(model, range, true);
    return VIRTIO_MEM_RESP_ACK;
}

/* D33, and the same order of answers */
static uint16_t unplug(Model *model, uint64_t addr, uint16_t nb_blocks)
{
    uint64_t size = nb_blocks * model->block_size;
    Range range;

    if (!find_range(model, addr, nb_blocks, &range) ||
        count_plugged(model, range) != nb_blocks) {
        return VIRTIO_MEM_RESP_ERROR;
    }
    if (model->refuses_unrequested &&
        model_plugged_size(model) < model->requested_size + size) {
        return VIRTIO_MEM_RESP_NACK;
    }
    if (model->migrating) {
        return VIRTIO_MEM_RESP_BUSY;
    }
    set_plugged(model, range, false);
    return VIRTIO_MEM_RESP_ACK;
}

/* D08, D40 to D42: the usable region shrinks to what is needed. */
static uint16_t unplug_all(Model *model)
{
    Range all = { .first = 0, .behind = model->nb_blocks };

    if (model->migrating) {
        return VIRTIO_MEM_RESP_BUSY;
    }
    set_plugged(model, all, false);
    model->usable_size = needed_usable_size(model);
    return VIRTIO_MEM_RESP_ACK;
}

/* D46 to D49 */
static ModelAnswer state(const Model *model, uint64_t addr, uint16_t nb_blocks)
{
    ModelAnswer answer = { .type = VIRTIO_MEM_RESP_ERROR };
    uint64_t nb_plugged;
    Range range;

    if (!find_range(model, addr, nb_blocks, &range)) {
        return answer;
    }
    answer.type = VIRTIO_MEM_RESP_ACK;
    nb_plugged = count_plugged(model, range);
    if (nb_plugged == nb_blocks) {
        answer.state = VIRTIO_MEM_STATE_PLUGGED;
    } else if (nb_plugged == 0) {
        answer.state = VIRTIO_MEM_STATE_UNPLUGGED;
    } else {
        answer.state = VIRTIO_MEM_STATE_MIXED;
    }
    return answer;
}

ModelAnswer model_request(Model *model, uint16_t type, uint64_t addr,
                          uint16_t nb_blocks)
{
    ModelAnswer answer = { };

    switch (type) {
    case VIRTIO_MEM_REQ_PLUG:
        answer.type = plug(model, addr, nb_blocks);
        break;
    case VIRTIO_MEM_REQ_UNPLUG:
        answer.type = unplug(model, addr, nb_blocks);
        break;
    case VIRTIO_MEM_REQ_UNPLUG_ALL:
        answer.type = unplug_all(model);
        break;
    case VIRTIO_MEM_REQ_STATE:
        answer = state(model, addr, nb_blocks);
        break;
    default:
        answer.type = VIRTIO_MEM_RESP_ERROR;
        break;
    }
    return answer;
}

/* D08: here the usable region only grows. */
bool model_resize(Model *model, uint64_t requested_size)
{
    uint64_t needed;

    if (requested_size % model->block_size != 0 ||
        requested_size > model->region_size) {
        return false;
    }
    model->requested_size = requested_size;
    needed = needed_usable_size(model);
    if (needed > model->usable_size) {
        model->usable_size = needed;
    }
    return true;
}

/* D16; a reboot does not disturb a migration. */
void model_system_reset(Model *model)
{
    unplug_all(model);
}
