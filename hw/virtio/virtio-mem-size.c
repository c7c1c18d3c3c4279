/*
 * virtio-mem: sizes for people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "hw/virtio/virtio-mem.h"

char *virtio_mem_size_str(uint64_t size)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    unsigned int i;

    for (i = 0; i + 1 < ARRAY_SIZE(units) && size && size % KiB == 0; i++) {
        size /= KiB;
    }
    return g_strdup_printf("%" PRIu64 " %s", size, units[i]);
}
