// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a guest finds in the memory of the virtio-mem device (D18 to D22):
 * plugged blocks keep what is written to them, and lose it when unplugged.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

/* This test checks that every byte of a plugged block reads back. */
static void test_plugged_is_usable(QVirtioMem *mem, const void *row)
{
    g_autofree uint8_t *wrote = g_malloc(BLOCK);
    g_autofree uint8_t *read = g_malloc0(BLOCK);
    int i;

    for (i = 0; i < BLOCK; i++) {
        wrote[i] = (i * 31) ^ (i >> 12);
    }
    assert_ack(plug(mem, 5, 1));
    qtest_bufwrite(qvirtio_mem_qts(mem), block_addr(mem, 5), wrote, BLOCK);
    qtest_bufread(qvirtio_mem_qts(mem), block_addr(mem, 5), read, BLOCK);
    g_assert_cmpmem(read, BLOCK, wrote, BLOCK);
}

/* This test checks that the region has no dead end and no block is two. */
static void test_whole_region_is_usable(QVirtioMem *mem, const void *row)
{
    int i;

    set_requested(mem, REGION);
    assert_ack(plug(mem, 0, REGION_NB));
    g_assert_cmphex(plugged_size(mem), ==, REGION);
    for (i = 0; i < REGION_NB; i++) {
        stamp(mem, i, i);
    }
    for (i = 0; i < REGION_NB; i++) {
        assert_stamp(mem, i, i);
    }
}

/* This test checks that requests leave other blocks' contents alone. */
static void test_neighbours_keep_bytes(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 4, 1));
    assert_ack(plug(mem, 7, 1));
    stamp(mem, 4, 44);
    stamp(mem, 7, 77);
    assert_ack(plug(mem, 5, 2));
    assert_stamp(mem, 4, 44);
    assert_stamp(mem, 7, 77);
    assert_ack(unplug(mem, 5, 2));
    assert_stamp(mem, 4, 44);
    assert_stamp(mem, 7, 77);
    assert_error(plug(mem, 4, 4));
    assert_error(unplug(mem, 4, 4));
    assert_stamp(mem, 4, 44);
    assert_stamp(mem, 7, 77);
}

/* This test checks that a target below the plugged size takes nothing away. */
static void test_target_takes_nothing(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    stamp(mem, 12, 12);
    set_requested(mem, 0);
    assert_pattern(mem);
    assert_stamp(mem, 12, 12);
}

/* This test checks that a plugged block is RAM, as any other. */
static void test_plugged_is_ram(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 2));
    g_assert_true(is_ram(mem, block_addr(mem, 0)));
    g_assert_true(is_ram(mem, last_word(mem, 1)));
}

/* This test checks that drivers without the promise may read what is usable. */
static void test_unplugged_is_readable(QVirtioMem *mem, const void *row)
{
    g_assert_false(mem->vdev->features &
                   (1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE));
    assert_ack(plug(mem, 1, 1));
    g_assert_true(is_ram(mem, block_addr(mem, 0)));
    g_assert_true(is_ram(mem, block_addr(mem, 2)));
    g_assert_true(is_ram(mem, last_word(mem, usable_nb(mem) - 1)));
    assert_ack(unplug(mem, 1, 1));
    g_assert_true(is_ram(mem, block_addr(mem, 1)));
    assert_zero(mem, 1);
}

/* This test checks that a block that comes back does so without its past. */
static void test_unplug_discards(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 0, 4));
    stamp(mem, 1, 0x1111111111111111);
    stamp(mem, 2, 0x2222222222222222);
    assert_ack(unplug(mem, 1, 2));
    assert_ack(plug(mem, 1, 2));
    assert_zero(mem, 1);
    assert_zero(mem, 2);
}

/* This test checks that UNPLUG_ALL discards what each block held. */
static void test_unplug_all_discards(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    stamp(mem, 4, 0x4444444444444444);
    stamp(mem, 12, 0x1212121212121212);
    assert_ack(unplug_all(mem));
    plug_pattern(mem);
    assert_zero(mem, 4);
    assert_zero(mem, 12);
}

/* This test checks that UNPLUG_ALL leaves nothing where no guest may write. */
static void test_unplug_all_discards_region(QVirtioMem *mem, const void *row)
{
    stamp(mem, REGION_NB - 1, 0x0123456789abcdef);
    assert_stamp(mem, REGION_NB - 1, 0x0123456789abcdef);
    assert_ack(unplug_all(mem));
    assert_zero(mem, REGION_NB - 1);
}

/* The list */

#define SHARED_BACKEND \
    "-object memory-backend-memfd,id=shared,size=1G,reserve=off"

static const Case memory_cases[] = {
    { "D18-a-plugged-block-is-ram", test_plugged_is_ram },
    { "D19-unplug-discards-contents", test_unplug_discards },
    { "D19-unplug-discards-contents-of-shared-memory", test_unplug_discards,
      DEFAULT_DEVICE ",memdev=shared", SHARED_BACKEND },
    { "D19-unplug-all-discards-contents", test_unplug_all_discards },
    { "D19-unplug-all-discards-what-no-guest-may-use",
      test_unplug_all_discards_region },
    { "D19-unplug-all-discards-contents-of-shared-memory",
      test_unplug_all_discards, DEFAULT_DEVICE ",memdev=shared",
      SHARED_BACKEND },
    { "D20-requests-keep-contents-of-other-blocks",
      test_neighbours_keep_bytes },
    { "D20-a-lower-target-takes-nothing-away", test_target_takes_nothing },
    { "D21-every-byte-of-a-plugged-block-reads-back",
      test_plugged_is_usable },
    { "D21-every-block-of-the-region-reads-back",
      test_whole_region_is_usable },
    { "D22-unplugged-memory-can-be-read-without-UNPLUGGED_INACCESSIBLE",
      test_unplugged_is_readable,
      DEFAULT_DEVICE ",unplugged-inaccessible=off" },
};

static void register_virtio_mem_memory_test(void)
{
    ADD_CASES("virtio-mem", memory_cases);
}

libqos_init(register_virtio_mem_memory_test);
