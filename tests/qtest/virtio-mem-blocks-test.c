// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which blocks are plugged, and how many that makes: what PLUG, UNPLUG,
 * UNPLUG_ALL and STATE do to or tell of the blocks of the virtio-mem device,
 * up to the target and no further (D03, D28 and D29, D35 and D36, D40 to D42,
 * D46 to D50).
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

/* PLUG */

/* This test checks that exactly the blocks asked for are plugged. */
static void test_plug_acks(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    assert_pattern(mem);
}

/* This test checks the two ends of what can be plugged. */
static void test_plug_ends(QVirtioMem *mem, const void *row)
{
    int64_t last = usable_nb(mem) - 1;

    assert_ack(plug(mem, 0, 1));
    assert_ack(plug(mem, last, 1));
    assert_plugged(mem, 0, 1);
    assert_unplugged(mem, 1, last - 1);
    assert_plugged(mem, last, 1);
}

/* This test checks that the size is right when the answer arrives. */
static void test_plug_counts(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 1));
    g_assert_cmphex(plugged_size(mem), ==, 1 * BLOCK);
    assert_ack(plug(mem, 10, 7));
    g_assert_cmphex(plugged_size(mem), ==, 8 * BLOCK);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "size"), ==, 8 * BLOCK);
}

/* This test checks that a driver can get all that was requested. */
static void test_plug_reaches_target(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, REQUESTED_NB - 1));
    assert_ack(plug(mem, REQUESTED_NB + 1, 1));
    g_assert_cmphex(plugged_size(mem), ==, REQUESTED);
}

/* This test checks that one block more than requested is rejected. */
static void test_plug_past_target(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = picture(mem);

    assert_nack(plug(mem, 0, REQUESTED_NB + 1));
    assert_unchanged(mem, before);
    assert_usable_after_reset(mem);
}

/* This test checks that nothing can be plugged once the target is reached. */
static void test_plug_at_target(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;

    assert_ack(plug(mem, 0, REQUESTED_NB));
    before = picture(mem);
    assert_nack(plug(mem, REQUESTED_NB, 1));
    assert_unchanged(mem, before);
    set_requested(mem, REQUESTED + BLOCK);
    assert_ack(plug(mem, REQUESTED_NB, 1));
    assert_usable_after_reset(mem);
}

/* This test checks that a target below the plugged size rejects PLUG. */
static void test_plug_above_target(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    set_requested(mem, 2 * BLOCK);
    assert_nack(plug(mem, 0, 1));
    assert_pattern(mem);
    assert_usable_after_reset(mem);
}

/* This test checks that nothing can be plugged while nothing is requested. */
static void test_plug_without_target(QVirtioMem *mem, const void *row)
{
    request_nothing(mem);
    assert_nack(plug(mem, 0, 1));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_usable_after_reset(mem);
}

/* This test checks that a bad range past the target is told to be bad. */
static void test_error_before_nack(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;

    assert_ack(plug(mem, 0, REQUESTED_NB));
    before = picture(mem);
    assert_nack(plug(mem, REQUESTED_NB, 1));
    assert_error(plug(mem, 0, 1));
    assert_error(plug(mem, REQUESTED_NB - 1, 2));
    assert_error(plug(mem, usable_nb(mem), 1));
    assert_error(plug(mem, REQUESTED_NB, 0));
    assert_error(ask(mem, VIRTIO_MEM_REQ_PLUG,
                     block_addr(mem, REQUESTED_NB) + 1, 1));
    assert_unchanged(mem, before);
    assert_usable_after_reset(mem);
}

/* UNPLUG */

/* This test checks that a range is cut out of the middle of another. */
static void test_unplug_acks(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 4, 9));
    assert_ack(unplug(mem, 8, 1));
    assert_ack(unplug(mem, 11, 1));
    assert_pattern(mem);
}

/* This test checks the two ends of what can be unplugged. */
static void test_unplug_ends(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    assert_ack(plug(mem, 0, REGION_NB));
    assert_ack(unplug(mem, 0, 1));
    assert_ack(unplug(mem, REGION_NB - 1, 1));
    assert_unplugged(mem, 0, 1);
    assert_plugged(mem, 1, REGION_NB - 2);
    assert_unplugged(mem, REGION_NB - 1, 1);
}

/* This test checks that the size is right when the answer arrives. */
static void test_unplug_counts(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 8));
    assert_ack(unplug(mem, 2, 5));
    g_assert_cmphex(plugged_size(mem), ==, 3 * BLOCK);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "size"), ==, 3 * BLOCK);
    assert_ack(unplug(mem, 7, 1));
    g_assert_cmphex(plugged_size(mem), ==, 2 * BLOCK);
}

/* This test checks that a driver may give back more than it was asked to. */
static void test_unplug_below_target(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, REQUESTED_NB));
    assert_ack(unplug(mem, 0, REQUESTED_NB));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_ack(plug(mem, 0, REQUESTED_NB));
}

/* UNPLUG_ALL */

/* This test checks that scattered blocks all go, and can come back. */
static void test_unplug_all_acks(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    assert_ack(plug(mem, 0, 1));
    assert_ack(plug(mem, usable_nb(mem) - 1, 1));
    assert_ack(unplug_all(mem));
    assert_unplugged(mem, 0, usable_nb(mem));
    plug_pattern(mem);
    assert_pattern(mem);
}

/* This test checks that there may be nothing to unplug. */
static void test_unplug_all_of_nothing(QVirtioMem *mem, const void *row)
{
    assert_ack(unplug_all(mem));
    assert_ack(unplug_all(mem));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_ack(plug(mem, 0, 1));
}

/* This test checks that UNPLUG_ALL needs no more than its header. */
static void test_short_unplug_all(QVirtioMem *mem, const void *row)
{
    const QVirtioMemShape header_only = { 8, 8, 10, 10 };

    assert_obeyed(mem, VIRTIO_MEM_REQ_UNPLUG_ALL, &header_only, false);
}

/* This test checks that no size remains when the answer arrives. */
static void test_unplug_all_counts(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    assert_ack(unplug_all(mem));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    g_assert_cmphex(get_property(mem, VMEM_PATH, "size"), ==, 0);
}

/* This test checks that the region may have more blocks than 16 bits count. */
static void test_unplug_all_of_many(QVirtioMem *mem, const void *row)
{
    int64_t nb_blocks = mem->region_size / mem->block_size;
    int64_t rest = nb_blocks - UINT16_MAX;

    g_assert_cmpint(rest, >, 1);
    assert_ack(plug(mem, 0, UINT16_MAX));
    assert_ack(plug(mem, UINT16_MAX, rest));
    g_assert_cmphex(plugged_size(mem), ==, mem->region_size);
    stamp(mem, 0, 1);
    stamp(mem, nb_blocks - 1, 2);
    assert_stamp(mem, 0, 1);
    assert_stamp(mem, nb_blocks - 1, 2);

    assert_ack(unplug_all(mem));
    g_assert_cmphex(plugged_size(mem), ==, 0);
    assert_unplugged(mem, 0, UINT16_MAX);
    assert_unplugged(mem, UINT16_MAX, rest);
    assert_ack(plug(mem, nb_blocks - 1, 1));
    assert_zero(mem, nb_blocks - 1);
}

/* This test checks that UNPLUG_ALL fits the usable region to the target. */
static void test_unplug_all_fits_usable(QVirtioMem *mem, const void *row)
{
    uint64_t at_start = usable_size(mem);

    g_assert_cmphex(at_start, <, REGION);
    set_requested(mem, REGION);
    set_requested(mem, REQUESTED);
    assert_ack(unplug_all(mem));
    g_assert_cmphex(usable_size(mem), ==, at_start);
    assert_error(plug(mem, REGION_NB - 1, 1));
}

/* STATE, over the pattern */

typedef struct Look {
    const char *name;
    int64_t first;
    uint16_t nb_blocks;
    uint16_t expected;
} Look;

static const Look looks[] = {
    { "D47-state-of-plugged-blocks-is-plugged",
      4, 4, VIRTIO_MEM_STATE_PLUGGED },
    { "D47-state-of-one-plugged-block-is-plugged",
      12, 1, VIRTIO_MEM_STATE_PLUGGED },
    { "D47-state-of-some-of-the-plugged-blocks-is-plugged",
      5, 2, VIRTIO_MEM_STATE_PLUGGED },
    { "D48-state-of-unplugged-blocks-is-unplugged",
      13, 100, VIRTIO_MEM_STATE_UNPLUGGED },
    { "D48-state-of-the-first-block-is-unplugged",
      0, 1, VIRTIO_MEM_STATE_UNPLUGGED },
    { "D48-state-of-a-hole-of-one-block-is-unplugged",
      8, 1, VIRTIO_MEM_STATE_UNPLUGGED },
    { "D49-state-is-mixed-by-the-first-block",
      3, 5, VIRTIO_MEM_STATE_MIXED },
    { "D49-state-is-mixed-by-the-last-block",
      4, 5, VIRTIO_MEM_STATE_MIXED },
    { "D49-state-is-mixed-by-an-unplugged-block-inside",
      7, 3, VIRTIO_MEM_STATE_MIXED },
    { "D49-state-is-mixed-by-a-plugged-block-inside",
      11, 3, VIRTIO_MEM_STATE_MIXED },
    { "D49-state-of-one-block-each-is-mixed", 12, 2, VIRTIO_MEM_STATE_MIXED },
};

/* This test checks the state that is told of such a range. */
static void test_look(QVirtioMem *mem, const void *row)
{
    const Look *look = row;

    plug_pattern(mem);
    g_assert_cmpuint(state(mem, look->first, look->nb_blocks), ==,
                     look->expected);
    assert_pattern(mem);
}

/* This test checks STATE of the whole region, in all three states. */
static void test_state_of_region(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    assert_unplugged(mem, 0, REGION_NB);
    assert_ack(plug(mem, REGION_NB - 1, 1));
    g_assert_cmpuint(state(mem, 0, REGION_NB), ==, VIRTIO_MEM_STATE_MIXED);
    assert_plugged(mem, REGION_NB - 1, 1);
    assert_ack(plug(mem, 0, REGION_NB - 1));
    assert_plugged(mem, 0, REGION_NB);
}

/* This test checks that STATE is answered when there is nothing to plug. */
static void test_state_always_acks(QVirtioMem *mem, const void *row)
{
    int64_t last = usable_nb(mem) - 1;

    plug_pattern(mem);
    set_requested(mem, 0);
    assert_unplugged(mem, 0, 1);
    assert_unplugged(mem, last, 1);
    assert_plugged(mem, 4, 4);
    g_assert_cmpuint(state(mem, 0, last + 1), ==, VIRTIO_MEM_STATE_MIXED);
    assert_pattern(mem);
}

/* Any requests in any order, against a model: a map as block_map() draws it */

static uint16_t expected_answer(const char *model, uint16_t type,
                                int64_t first, int64_t nb_blocks)
{
    int64_t usable = strlen(model);
    char from = type == VIRTIO_MEM_REQ_PLUG ? '.' : '#';
    int64_t plugged = 0;
    int64_t i;

    if (!nb_blocks || first < 0 || first + nb_blocks > usable) {
        return VIRTIO_MEM_RESP_ERROR;
    }
    for (i = first; i < first + nb_blocks; i++) {
        if (model[i] != from) {
            return VIRTIO_MEM_RESP_ERROR;
        }
    }
    for (i = 0; i < usable; i++) {
        plugged += model[i] == '#';
    }
    if (type == VIRTIO_MEM_REQ_PLUG && plugged + nb_blocks > REQUESTED_NB) {
        return VIRTIO_MEM_RESP_NACK;
    }
    return VIRTIO_MEM_RESP_ACK;
}

/* This test checks a thousand random requests against the model. */
static void test_random_walk(QVirtioMem *mem, const void *row)
{
    g_autofree char *model = g_strnfill(usable_nb(mem), '.');
    g_autofree char *map = NULL;
    uint64_t plugged = 0;
    int i;

    for (i = 0; i < 1000; i++) {
        bool in = g_test_rand_int_range(0, 3);
        uint16_t type = in ? VIRTIO_MEM_REQ_PLUG : VIRTIO_MEM_REQ_UNPLUG;
        int64_t nb_blocks = g_test_rand_int_range(0, 6);
        int64_t first = g_test_rand_int_range(-1, 60);
        uint16_t expected = expected_answer(model, type, first, nb_blocks);

        g_assert_cmpuint(ask(mem, type, block_addr(mem, first), nb_blocks), ==,
                         expected);
        if (expected == VIRTIO_MEM_RESP_ACK) {
            memset(model + first, in ? '#' : '.', nb_blocks);
            plugged += (in ? nb_blocks : -nb_blocks) * BLOCK;
        }
        g_assert_cmphex(plugged_size(mem), ==, plugged);
    }
    map = block_map(mem);
    g_assert_cmpstr(map, ==, model);
}

/* The lists */

static const Case model_cases[] = {
    { "D03-plugged-size-is-that-of-the-plugged-blocks", test_random_walk },
};

static const Case plug_cases[] = {
    { "D28-plug-plugs-exactly-its-blocks", test_plug_acks },
    { "D28-plug-reaches-both-ends-of-the-usable-region", test_plug_ends },
    { "D29-plugged-size-has-grown-when-plug-is-acked", test_plug_counts },
    { "D50-plug-up-to-the-target-is-acked", test_plug_reaches_target },
    { "D50-plug-past-the-target-is-nacked", test_plug_past_target },
    { "D50-plug-at-the-target-is-nacked", test_plug_at_target },
    { "D50-plug-above-a-lowered-target-is-nacked", test_plug_above_target },
    { "D50-plug-without-a-target-is-nacked", test_plug_without_target,
      "block-size=2M" },
    { "D50-an-error-goes-before-a-nack", test_error_before_nack },
};

static const Case unplug_cases[] = {
    { "D35-unplug-unplugs-exactly-its-blocks", test_unplug_acks },
    { "D35-unplug-reaches-both-ends-of-the-region", test_unplug_ends },
    { "D35-unplug-below-the-target-is-allowed", test_unplug_below_target },
    { "D36-plugged-size-has-shrunk-when-unplug-is-acked",
      test_unplug_counts },
    { "D40-unplug-all-unplugs-scattered-blocks", test_unplug_all_acks },
    { "D40-unplug-all-of-nothing-is-acked", test_unplug_all_of_nothing },
    { "D40-unplug-all-needs-no-more-than-a-header", test_short_unplug_all },
    { "D41-plugged-size-is-zero-when-unplug-all-is-acked",
      test_unplug_all_counts },
    { "D41-unplug-all-unplugs-more-blocks-than-16-bits-count",
      test_unplug_all_of_many,
      HUGE_DEVICE, HUGE_BACKEND("ram") },
    { "D42-unplug-all-fits-the-usable-region-to-the-target",
      test_unplug_all_fits_usable },
};

static const Case state_cases[] = {
    { "D46-state-is-always-acked", test_state_always_acks },
    { "D47-state-of-the-whole-region", test_state_of_region },
};

static void register_virtio_mem_blocks_test(void)
{
    ADD_CASES("virtio-mem", model_cases);
    ADD_CASES("virtio-mem-plug", plug_cases);
    ADD_CASES("virtio-mem-unplug", unplug_cases);
    ADD_CASES("virtio-mem-state", state_cases);
    ADD_ROWS("virtio-mem-state", looks, test_look);
}

libqos_init(register_virtio_mem_blocks_test);
