// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio-mem device, alone: every rule of the protocol that shows without
 * a guest, named by its rule (D01 to D50), and what monitors and hostile
 * drivers may ask of it.  Each case, or row of a table, gets a QEMU of its own:
 * this file sees to that.  The cases stand in virtio-mem-*-test.c, a file for
 * each thing that they are about, with their list at its end.  Left out:
 * migration, mistakes on the command line.  The driver that sends the requests
 * is libqos/virtio-mem.c.
 */

#include "qemu/osdep.h"
#include "virtio-mem-test.h"

/* Completes the command line; as the target outlives a reset, QEMU must not. */
static void *before_case(GString *cmd_line, void *arg)
{
    const Case *c = arg;

    qos_invalidate_command_line();
    if (c->machine) {
        g_string_append_printf(cmd_line, " %s", c->machine);
    }
    return arg;
}

static void run_case(void *obj, void *arg, QGuestAllocator *alloc)
{
    const Case *c = arg;

    c->run(obj, c->row);
}

void add_case(const char *area, const Case *c)
{
    QOSGraphTestOptions opts = {
        .edge.extra_device_opts = c->device ?: DEFAULT_DEVICE,
        .before = before_case,
        .arg = (void *)c,
    };

    qos_add_test(c->name, area, run_case, &opts);
}

void add_row_for(const char *area, const char *name, CaseFunc *run,
                 const char *device, const void *row)
{
    Case *c = g_new0(Case, 1);

    c->name = name;
    c->run = run;
    c->device = device;
    c->row = row;
    add_case(area, c);
}

void add_row(const char *area, const char *name, CaseFunc *run, const void *row)
{
    add_row_for(area, name, run, NULL, row);
}
