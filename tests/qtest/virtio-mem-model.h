/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A model of the virtio-mem device: what it has to answer, and what it looks
 * like, by the rules of the virtio specification and by our decisions where
 * these leave room (docs/architecture.md).  Plain C, slow and simple on
 * purpose: it shares nothing with the device but the wire format's numbers,
 * and knows nothing of QEMU.
 */

#ifndef TESTS_VIRTIO_MEM_MODEL_H
#define TESTS_VIRTIO_MEM_MODEL_H

/* Sizes are bytes. */
typedef struct Model {
    /* These never change. */
    uint64_t addr;
    uint64_t region_size;
    uint64_t block_size;
    uint64_t nb_blocks;
    bool refuses_unrequested;   /* UNPLUG only down to requested_size */

    uint64_t requested_size;
    uint64_t usable_size;
    bool *plugged;          /* one for each block of the region */
    bool migrating;         /* blocks must stay as they are */
} Model;

typedef struct ModelAnswer {
    uint16_t type;
    uint16_t state;         /* only when a STATE was acknowledged */
} ModelAnswer;

/*
 * A device with nothing plugged, and all options off; the block size divides
 * the region.
 */
void model_init(Model *model, uint64_t addr, uint64_t region_size,
                uint64_t block_size, uint64_t requested_size);
void model_destroy(Model *model);

/* What the driver does; @nb_blocks and @addr are ignored by UNPLUG_ALL. */
ModelAnswer model_request(Model *model, uint16_t type, uint64_t addr,
                          uint16_t nb_blocks);

/*
 * What the user does: returns false when the size is refused.  When it is not
 * the driver is notified, also of the same size as before.
 */
bool model_resize(Model *model, uint64_t requested_size);

/*
 * What the machine does.  There is nothing to model in a reset of the device,
 * a sleep or the end of a migration: these change nothing.
 */
void model_system_reset(Model *model);

uint64_t model_plugged_size(const Model *model);

/* Blocks that are usable */
uint64_t model_nb_usable(const Model *model);

/* The block behind the run of blocks in the same state that @block begins. */
uint64_t model_run_end(const Model *model, uint64_t block);

/* A character for each usable block, # where it is plugged, to be freed */
char *model_map(const Model *model);

#endif
