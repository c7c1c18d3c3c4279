/*
 * virtio-mem: what HMP commands share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VIRTIO_MEM_HMP_H
#define HW_VIRTIO_MEM_HMP_H

#include "monitor/monitor.h"
#include "qapi/qapi-types-machine.h"

void virtio_mem_print_protection(Monitor *mon,
                                 const VirtioMEMProtectionInfo *info);

#endif
