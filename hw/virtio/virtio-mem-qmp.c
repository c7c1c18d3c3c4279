/*
 * virtio-mem: QMP commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-machine.h"
#include "qapi/util.h"
#include "hw/virtio/virtio-mem.h"

/* How many pieces a map has, at most */
#define MAX_PIECES 4096

/* Finding a device */

static VirtIOMEM *device_of(const Object *proxy)
{
    VirtIOMEM *vmem = virtio_mem_next(NULL);

    while (vmem && OBJECT(virtio_mem_proxy(vmem)) != proxy) {
        vmem = virtio_mem_next(vmem);
    }
    return vmem;
}

/* By the ID, which a memory backend may have, too; or else by a QOM path. */
static VirtIOMEM *find_device(const char *id, Error **errp)
{
    VirtIOMEM *vmem = virtio_mem_next(NULL);
    bool ambiguous = false;
    Object *object;

    while (vmem && g_strcmp0(virtio_mem_proxy(vmem)->id, id)) {
        vmem = virtio_mem_next(vmem);
    }
    if (vmem) {
        return vmem;
    }
    object = *id ? object_resolve_path(id, &ambiguous) : NULL;
    if (!object) {
        error_setg(errp, ambiguous ? "'%s' is more than one object, and no "
                   "virtio-mem device" : "there is no device '%s'", id);
        return NULL;
    }
    vmem = device_of(object);
    if (!vmem) {
        error_setg(errp, "'%s' is a %s, not a virtio-mem device", id,
                   object_get_typename(object));
    }
    return vmem;
}

void qmp_memory_device_resize(const char *id, uint64_t size, Error **errp)
{
    VirtIOMEM *vmem = find_device(id, errp);

    if (vmem) {
        object_property_set_uint(OBJECT(vmem), VIRTIO_MEM_REQUESTED_SIZE_PROP,
                                 size, errp);
    }
}

/* The map */

static VirtioMEMPiece piece_at(const VirtIOMEM *vmem, uint64_t offset,
                               uint64_t size)
{
    size = MIN(size, virtio_mem_region_size(vmem) - offset);
    if (virtio_mem_blocks_test(&vmem->blocks, offset, size, true)) {
        return VIRTIO_MEM_PIECE_PLUGGED;
    }
    if (!virtio_mem_blocks_test(&vmem->blocks, offset, size, false)) {
        return VIRTIO_MEM_PIECE_MIXED;
    }
    return offset < vmem->usable_region_size ? VIRTIO_MEM_PIECE_UNPLUGGED
                                             : VIRTIO_MEM_PIECE_UNUSABLE;
}

static VirtioMEMMap *map_of(const VirtIOMEM *vmem, uint16_t nb_pieces)
{
    uint64_t nb_blocks = DIV_ROUND_UP(vmem->blocks.nb_blocks, nb_pieces);
    VirtioMEMMap *map = g_new0(VirtioMEMMap, 1);
    VirtioMEMPieceList **tail = &map->pieces;
    uint64_t offset;

    map->piece_size = nb_blocks * vmem->block_size;
    for (offset = 0; offset < virtio_mem_region_size(vmem);
         offset += map->piece_size) {
        QAPI_LIST_APPEND(tail, piece_at(vmem, offset, map->piece_size));
    }
    return map;
}

/* All that is known */

/* @nb_pieces: 0 for no map */
static VirtioMEMStatus *status_of(VirtIOMEM *vmem, uint16_t nb_pieces)
{
    VirtioMEMStatus *status = g_new0(VirtioMEMStatus, 1);

    status->id = g_strdup(virtio_mem_proxy(vmem)->id);
    virtio_mem_fill_status(vmem, status);
    if (nb_pieces) {
        status->map = map_of(vmem, nb_pieces);
    }
    return status;
}

VirtioMEMStatusList *qmp_query_virtio_mem(const char *id, bool has_pieces,
                                          uint16_t pieces, Error **errp)
{
    VirtioMEMStatusList *list = NULL, **tail = &list;
    VirtIOMEM *vmem;

    if (has_pieces && (!pieces || pieces > MAX_PIECES)) {
        error_setg(errp, "parameter 'pieces': %u is not from 1 to %d", pieces,
                   MAX_PIECES);
        return NULL;
    }
    if (id) {
        vmem = find_device(id, errp);
        if (vmem) {
            QAPI_LIST_APPEND(tail, status_of(vmem, pieces));
        }
        return list;
    }
    for (vmem = virtio_mem_next(NULL); vmem; vmem = virtio_mem_next(vmem)) {
        QAPI_LIST_APPEND(tail, status_of(vmem, pieces));
    }
    return list;
}
