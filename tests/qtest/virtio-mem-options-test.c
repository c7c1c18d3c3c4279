// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the options of the virtio-mem device change for its driver: prealloc,
 * dynamic-memslots, refuse-unrequested-unplug.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

/* A region of three slots, the last one smaller than the others */
#define SLOT         (1 * GiB)
#define SLOT_NB      (SLOT / BLOCK)
#define SLOTS_SIZE   "2560M"
#define SLOTS_REGION (2560 * MiB)
#define SLOTS_BACKEND \
    "-object memory-backend-ram,id=mem1,size=" SLOTS_SIZE ",reserve=off"

/* prealloc */

/* This test checks that plugged memory is there before anybody uses it. */
static void test_prealloc(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    assert_pattern(mem);
    g_assert_cmphex(host_resident(mem), ==, plugged_size(mem));
    assert_ack(unplug(mem, 9, 2));
    g_assert_cmphex(host_resident(mem), ==, plugged_size(mem));
    assert_ack(unplug_all(mem));
    g_assert_cmphex(host_resident(mem), ==, 0);
}

/* This test checks that a refused PLUG takes no memory. */
static void test_prealloc_of_nothing(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 2, 1));
    assert_error(plug(mem, 1, 2));
    assert_nack(plug(mem, 3, REQUESTED_NB));
    g_assert_cmphex(host_resident(mem), ==, BLOCK);
}

/* This test checks that requests behind a long one are answered in turn. */
static void test_prealloc_in_turn(QVirtioMem *mem, const void *row)
{
    struct virtio_mem_req plug_all, state_all;
    QVirtioMemPending first, second;
    struct virtio_mem_resp resp;

    set_requested(mem, REGION);
    plug_all = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG, mem->addr, REGION_NB);
    state_all = qvirtio_mem_req(VIRTIO_MEM_REQ_STATE, mem->addr, REGION_NB);
    qvirtqueue_reset_pool(mem->vq);
    first = qvirtio_mem_offer(mem, &plug_all, &qvirtio_mem_plain);
    second = qvirtio_mem_offer(mem, &state_all, &qvirtio_mem_plain);
    qvirtio_mem_kick(mem);
    assert_ack(qvirtio_mem_finish(mem, &first).type);
    resp = qvirtio_mem_finish(mem, &second);
    assert_ack(resp.type);
    g_assert_cmpuint(resp.u.state.state, ==, VIRTIO_MEM_STATE_PLUGGED);
    g_assert_cmphex(host_resident(mem), ==, REGION);
}

/* This test checks that a reset in a long PLUG leaves all of it, or nothing. */
static void test_prealloc_reset(QVirtioMem *mem, const void *row)
{
    void (*reset)(QVirtioMem *) = row;
    struct virtio_mem_req req;
    QVirtioMemPending pending;

    set_requested(mem, REGION);
    req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG, mem->addr, REGION_NB);
    qvirtqueue_reset_pool(mem->vq);
    pending = qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
    qvirtio_mem_kick(mem);
    wait_until_host_is_stuck();
    reset(mem);
    let_host_go_on();
    qvirtio_mem_forget(mem, &pending);
    g_assert_true(plugged_size(mem) == 0 || plugged_size(mem) == REGION);
    /* The answer to another request comes when that one has ended. */
    assert_consistent(mem);
    g_assert_cmphex(host_resident(mem), ==, plugged_size(mem));
    assert_ack(unplug_all(mem));
    assert_ack(plug(mem, 0, 1));
    g_assert_cmphex(host_resident(mem), ==, BLOCK);
}

/* This test checks that an answer does not wait for a long PLUG behind it. */
static void test_prealloc_behind_another(QVirtioMem *mem, const void *row)
{
    struct virtio_mem_req req;
    QVirtioMemPending first, second;

    set_requested(mem, REGION);
    qvirtqueue_reset_pool(mem->vq);
    req = qvirtio_mem_req(VIRTIO_MEM_REQ_STATE, mem->addr, REGION_NB);
    first = qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
    req = qvirtio_mem_req(VIRTIO_MEM_REQ_PLUG, mem->addr, REGION_NB);
    second = qvirtio_mem_offer(mem, &req, &qvirtio_mem_plain);
    qvirtio_mem_take_irq(mem, QVIRTIO_MEM_QUEUE_IRQ);
    qvirtio_mem_kick(mem);
    wait_until_host_is_stuck();
    assert_ack(qvirtio_mem_finish(mem, &first).type);
    g_assert_true(qvirtio_mem_take_irq(mem, QVIRTIO_MEM_QUEUE_IRQ));
    let_host_go_on();
    assert_ack(qvirtio_mem_finish(mem, &second).type);
    g_assert_cmphex(host_resident(mem), ==, REGION);
}

/* This test checks that a PLUG that waits for a thread changes nothing. */
static void test_prealloc_without_thread(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    if (host_begins("no-thread")) {
        assert_busy(plug(mem, 0, REGION_NB));
        assert_unplugged(mem, 0, REGION_NB);
        g_assert_cmphex(host_resident(mem), ==, 0);
        host_ends("no-thread");
    }
    assert_ack(plug(mem, 0, REGION_NB));
    g_assert_cmphex(host_resident(mem), ==, REGION);
}

/* dynamic-memslots */

/* Which slots the guest can reach, a digit for each, named as tools read it */
static char *mapped_slots(QVirtioMem *mem)
{
    g_autofree char *tree = qtest_hmp(qvirtio_mem_qts(mem), "info mtree");
    GString *slots = g_string_new(NULL);
    int slot;

    for (slot = 0; slot < 3; slot++) {
        g_autofree char *name = g_strdup_printf("alias memslot-%d @", slot);

        if (strstr(tree, name)) {
            g_string_append_printf(slots, "%d", slot);
        }
    }
    return g_string_free(slots, false);
}

static void assert_slots(QVirtioMem *mem, const char *expected)
{
    g_autofree char *slots = mapped_slots(mem);
    int64_t i;

    g_assert_cmpstr(slots, ==, expected);
    for (i = 0; i < 3; i++) {
        g_assert_cmpint(is_ram(mem, block_addr(mem, i * SLOT_NB)), ==,
                        strchr(expected, '0' + i) != NULL);
    }
}

/* This test checks that the guest reaches slots with something plugged only. */
static void test_memslots(QVirtioMem *mem, const void *row)
{
    int64_t last = SLOTS_REGION / BLOCK - 1;

    g_assert_cmphex(mem->region_size, ==, SLOTS_REGION);
    assert_slots(mem, "");
    assert_ack(plug(mem, 0, 1));
    assert_slots(mem, "0");
    assert_ack(plug(mem, last, 1));
    assert_slots(mem, "02");
    /* Across the border of two slots */
    assert_ack(plug(mem, SLOT_NB - 1, 2));
    assert_slots(mem, "012");
    stamp(mem, SLOT_NB - 1, 1);
    stamp(mem, SLOT_NB, 2);
    assert_stamp(mem, SLOT_NB - 1, 1);
    assert_ack(unplug(mem, SLOT_NB - 1, 2));
    assert_slots(mem, "02");
    assert_ack(unplug(mem, 0, 1));
    assert_slots(mem, "2");
    assert_ack(unplug_all(mem));
    assert_slots(mem, "");
}

/* This test checks that what is refused, or reset, maps and unmaps right. */
static void test_memslots_refused(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, SLOT_NB, 1));
    assert_error(plug(mem, SLOT_NB, 2));
    assert_error(unplug(mem, 0, SLOT_NB + 1));
    set_requested(mem, 0);
    assert_nack(plug(mem, 0, 1));
    assert_slots(mem, "1");
    device_reset(mem);
    assert_slots(mem, "1");
    system_reset(mem);
    assert_slots(mem, "");
}

/* This test checks that a small region is one slot, and a hidden one. */
static void test_memslots_small(QVirtioMem *mem, const void *row)
{
    g_assert_false(is_ram(mem, block_addr(mem, 0)));
    assert_ack(plug(mem, REQUESTED_NB, 1));
    g_assert_true(is_ram(mem, block_addr(mem, 0)));
    assert_ack(unplug(mem, REQUESTED_NB, 1));
    g_assert_false(is_ram(mem, block_addr(mem, 0)));
}

/* refuse-unrequested-unplug */

/* This test checks that only what the host wants back can be unplugged. */
static void test_refuse_unplug(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, REQUESTED_NB));
    assert_nack(unplug(mem, 0, 1));
    set_requested(mem, REQUESTED - 3 * BLOCK);
    assert_nack(unplug(mem, 0, 4));
    assert_ack(unplug(mem, 0, 2));
    assert_ack(unplug(mem, 5, 1));
    assert_nack(unplug(mem, 6, 1));
    g_assert_cmphex(plugged_size(mem), ==, REQUESTED - 3 * BLOCK);
    assert_plugged(mem, 6, 1);
}

/* This test checks what else it does not change: errors, and UNPLUG_ALL. */
static void test_refuse_unplug_only(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 2));
    assert_error(unplug(mem, 0, 3));
    assert_error(unplug(mem, -1, 1));
    assert_ack(unplug_all(mem));
    assert_ack(plug(mem, 0, 2));
}

#define SLOTS_DEVICE \
    "memdev=mem1,block-size=2M,requested-size=" SLOTS_SIZE \
    ",dynamic-memslots=on"

static const Case option_cases[] = {
    { "prealloc-takes-memory-before-the-answer", test_prealloc,
      .device = DEFAULT_DEVICE ",prealloc=on" },
    { "prealloc-of-what-is-refused-takes-nothing", test_prealloc_of_nothing,
      .device = DEFAULT_DEVICE ",prealloc=on" },
    { "prealloc-keeps-requests-in-turn", test_prealloc_in_turn,
      .device = DEFAULT_DEVICE ",prealloc=on" },
    { "prealloc-and-a-device-reset-in-the-middle", test_prealloc_reset,
      .device = DEFAULT_DEVICE ",prealloc=on", .row = device_reset },
    { "prealloc-and-a-system-reset-in-the-middle", test_prealloc_reset,
      .device = DEFAULT_DEVICE ",prealloc=on", .row = system_reset },
    { "prealloc-behind-another-request", test_prealloc_behind_another,
      .device = DEFAULT_DEVICE ",prealloc=on" },
    { "prealloc-waits-for-a-thread", test_prealloc_without_thread,
      .device = DEFAULT_DEVICE ",prealloc=on" },
    { "prealloc-with-dynamic-memslots", test_prealloc,
      .device = DEFAULT_DEVICE ",prealloc=on,dynamic-memslots=on" },
    { "memslots-follow-what-is-plugged", test_memslots,
      .device = SLOTS_DEVICE, .machine = SLOTS_BACKEND },
    { "memslots-follow-nothing-else", test_memslots_refused,
      .device = SLOTS_DEVICE, .machine = SLOTS_BACKEND },
    { "memslots-of-a-small-region", test_memslots_small,
      .device = DEFAULT_DEVICE ",dynamic-memslots=on" },
    { "unrequested-unplug-is-refused", test_refuse_unplug,
      .device = DEFAULT_DEVICE ",refuse-unrequested-unplug=on" },
    { "unrequested-unplug-refused-changes-no-other-answer",
      test_refuse_unplug_only,
      .device = DEFAULT_DEVICE ",refuse-unrequested-unplug=on" },
};

static void register_option_cases(void)
{
    ADD_CASES("virtio-mem-options", option_cases);
}

libqos_init(register_option_cases);
