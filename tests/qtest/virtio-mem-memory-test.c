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

/* Large regions, of which little is in use */

#define HUGE_NB         ((int)(160 * GiB / BLOCK))
#define MANY            32767           /* blocks of a request */

static void plug_huge(QVirtioMem *mem)
{
    assert_ack(plug(mem, 0, MANY));
    assert_ack(plug(mem, MANY, MANY));
    assert_ack(plug(mem, 2 * MANY, HUGE_NB - 2 * MANY));
}

static void unplug_huge(QVirtioMem *mem)
{
    assert_ack(unplug(mem, 0, MANY));
    assert_ack(unplug(mem, MANY, MANY));
    assert_ack(unplug(mem, 2 * MANY, HUGE_NB - 2 * MANY));
}

static void unplug_all_at_once(QVirtioMem *mem)
{
    assert_ack(unplug_all(mem));
}

/* This test checks that nothing stays, wherever in a large range it was. */
static void check_all_is_found(QVirtioMem *mem, void (*unplug_it)(QVirtioMem *))
{
    /* At both ends of requests, of 32 MiB, 2 GiB, 64 GiB, and alone */
    static const int used[] = {
        0, 1, 15, 16, 17, 128, 1023, 1024, 5000, MANY - 1, MANY, MANY + 1,
        40000, 2 * MANY - 1, 2 * MANY, 2 * MANY + 1, HUGE_NB - 1,
    };
    int from, i;

    for (from = 0; from < ARRAY_SIZE(used); from += 5) {
        plug_huge(mem);
        for (i = from; i < ARRAY_SIZE(used); i++) {
            stamp(mem, used[i], 1 + i);
        }
        unplug_it(mem);
        for (i = from; i < ARRAY_SIZE(used); i++) {
            assert_zero(mem, used[i]);
        }
    }
}

static void test_unplug_finds_all(QVirtioMem *mem, const void *row)
{
    check_all_is_found(mem, unplug_huge);
}

static void test_unplug_all_finds_all(QVirtioMem *mem, const void *row)
{
    check_all_is_found(mem, unplug_all_at_once);
}

/*
 * This test checks that nothing is asked of the host where nothing is in use;
 * one that keeps what it has can't refuse, but where something is.
 */
static void test_nothing_in_use(QVirtioMem *mem, const void *row)
{
    bool keeps;

    plug_huge(mem);
    keeps = host_begins("keeps-memory");
    unplug_huge(mem);
    assert_ack(unplug_all(mem));
    plug_huge(mem);
    stamp(mem, 70000, 7);
    assert_ack(unplug(mem, 0, MANY));
    if (keeps) {
        assert_busy(unplug_all(mem));
        assert_busy(unplug(mem, 2 * MANY, HUGE_NB - 2 * MANY));
        host_ends("keeps-memory");
    }
    assert_ack(unplug_all(mem));
    assert_zero(mem, 70000);
}

/*
 * This test checks that an UNPLUG can wait for a thread, which leaves all
 * blocks plugged, and alone what it did not come to.
 */
static void test_unplug_without_thread(QVirtioMem *mem, const void *row)
{
    int i;

    set_requested(mem, REGION);
    assert_ack(plug(mem, 0, REGION_NB));
    for (i = 0; i < REGION_NB; i++) {
        stamp(mem, i, i);
    }
    if (host_begins("loaded") && host_begins("no-thread")) {
        assert_busy(unplug(mem, 0, REGION_NB));
        assert_busy(unplug_all(mem));
        assert_plugged(mem, 0, REGION_NB);
        assert_stamp(mem, REGION_NB - 1, REGION_NB - 1);
        host_ends("no-thread");
    }
    assert_ack(unplug(mem, 0, REGION_NB));
    g_assert_cmphex(host_resident(mem), ==, 0);
}

/* The memory of a memfd, as one sees it that QEMU shares it with */
static int open_memfd(QVirtioMem *mem)
{
    g_autofree char *fds = g_strdup_printf("/proc/%d/fd",
                                           qtest_pid(qvirtio_mem_qts(mem)));
    g_autoptr(GDir) dir = g_dir_open(fds, 0, NULL);
    const char *name;

    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(fds, name, NULL);
        g_autofree char *target = g_file_read_link(path, NULL);

        if (target && strstr(target, "memory-backend-memfd")) {
            return open(path, O_RDWR);
        }
    }
    return -1;
}

/* This test checks that what others wrote goes, too: QEMU never touched it. */
static void test_shared_finds_all(QVirtioMem *mem, const void *row)
{
    static const off_t used[] = {
        0, 40 * MiB, 3 * GiB + 17, 70 * GiB, 160 * GiB - 1,
    };
    int memfd = open_memfd(mem);
    int i;

    g_assert_cmpint(memfd, >=, 0);
    plug_huge(mem);
    for (i = 0; i < ARRAY_SIZE(used); i++) {
        g_assert_cmpint(pwrite(memfd, "x", 1, used[i]), ==, 1);
    }
    unplug_huge(mem);
    for (i = 0; i < ARRAY_SIZE(used); i++) {
        char byte = 'y';

        g_assert_cmpint(pread(memfd, &byte, 1, used[i]), ==, 1);
        g_assert_cmpint(byte, ==, 0);
    }
    close(memfd);
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
    { "D19-unplug-finds-all-that-is-in-use", test_unplug_finds_all,
      HUGE_DEVICE, HUGE_BACKEND("ram") },
    { "D19-unplug-all-finds-all-that-is-in-use", test_unplug_all_finds_all,
      HUGE_DEVICE, HUGE_BACKEND("ram") },
    { "D19-unplug-finds-all-that-is-in-use-of-a-memfd", test_unplug_finds_all,
      HUGE_DEVICE, HUGE_BACKEND("memfd") },
    { "D19-unplug-finds-all-that-is-in-use-of-shared-memory",
      test_unplug_finds_all, HUGE_DEVICE,
      HUGE_BACKEND("ram") ",share=on" },
    { "D19-unplug-finds-all-that-others-wrote", test_shared_finds_all,
      HUGE_DEVICE, HUGE_BACKEND("memfd") },
    { "unplug-asks-no-host-for-what-is-empty", test_nothing_in_use,
      HUGE_DEVICE, HUGE_BACKEND("ram") },
    { "unplug-waits-for-a-thread", test_unplug_without_thread },
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
