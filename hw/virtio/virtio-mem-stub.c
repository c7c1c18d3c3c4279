/*
 * virtio-mem: QMP commands of a QEMU that has no such device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-machine.h"

void qmp_memory_device_resize(const char *id, uint64_t size, Error **errp)
{
    error_setg(errp, "there is no device '%s': this QEMU has no virtio-mem",
               id);
}

VirtioMEMStatusList *qmp_query_virtio_mem(const char *id, bool has_pieces,
                                          uint16_t pieces, Error **errp)
{
    if (id) {
        error_setg(errp, "there is no device '%s': this QEMU has no "
                   "virtio-mem", id);
    }
    return NULL;
}
