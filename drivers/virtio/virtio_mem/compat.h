/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What kernels name differently, or don't declare: the only place that asks for
 * the version of one.
 */

#ifndef _VIRTIO_MEM_COMPAT_H
#define _VIRTIO_MEM_COMPAT_H

/* Exported to modules, but declared in kernel/rcu/rcu.h only */
void rcu_expedite_gp(void);
void rcu_unexpedite_gp(void);

#endif
