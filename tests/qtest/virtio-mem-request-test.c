// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fields of a request to the virtio-mem device: what it looks at, and
 * which ranges of blocks are an error (D23 to D26, D30 to D33, D37 and D38,
 * D43 to D45).  What good requests do is left to virtio-mem-blocks-test.c.
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

/* What the device looks at */

typedef struct Dressed {
    const char *name;
    uint16_t type;
    /* Random padding in the request, or else garbage around it */
    bool random_padding;
} Dressed;

static const Dressed plug_dressed[] = {
    { "D23-plug-looks-at-nothing-else", VIRTIO_MEM_REQ_PLUG, false },
    { "D24-plug-ignores-padding", VIRTIO_MEM_REQ_PLUG, true },
};

static const Dressed unplug_dressed[] = {
    { "D30-unplug-looks-at-nothing-else", VIRTIO_MEM_REQ_UNPLUG, false },
    { "D31-unplug-ignores-padding", VIRTIO_MEM_REQ_UNPLUG, true },
    { "D37-unplug-all-looks-at-nothing-else",
      VIRTIO_MEM_REQ_UNPLUG_ALL, false },
    { "D38-unplug-all-ignores-padding-and-other-fields",
      VIRTIO_MEM_REQ_UNPLUG_ALL, true },
};

static const Dressed state_dressed[] = {
    { "D43-state-looks-at-nothing-else", VIRTIO_MEM_REQ_STATE, false },
    { "D44-state-ignores-padding", VIRTIO_MEM_REQ_STATE, true },
};

/* This test checks that garbage in and around a request is not looked at. */
static void test_dressed(QVirtioMem *mem, const void *row)
{
    const Dressed *dressed = row;
    const QVirtioMemShape amid_garbage = { 200, 200, 100, 100 };
    int i;

    for (i = 0; i < 16; i++) {
        assert_obeyed(mem, dressed->type, dressed->random_padding ?
                      &qvirtio_mem_plain : &amid_garbage,
                      dressed->random_padding);
    }
}

/* PLUG, UNPLUG and STATE: ranges that no request can be about */

typedef enum Origin {
    REGION_START,
    USABLE_END,
    REGION_END,
    ADDRESS_ZERO,
} Origin;

typedef struct BadRange {
    const char *name;
    /* Where the range starts: an offset in blocks and bytes from there */
    Origin from;
    int64_t blocks;
    int64_t bytes;
    uint16_t nb_blocks;
} BadRange;

/* Where these touch the usable region, a request can be about what is in it */
static const BadRange bad_ranges[] = {
    { "of-no-blocks", REGION_START, 0, 0, 0 },
    { "one-byte-above-a-block", REGION_START, 0, 1, 1 },
    { "half-a-block-above-a-block", REGION_START, 0, BLOCK / 2, 1 },
    { "one-byte-below-a-block", REGION_START, 1, -1, 1 },
    { "just-below-the-region", REGION_START, -1, 0, 1 },
    { "from-below-into-the-region", REGION_START, -1, 0, 2 },
    { "of-boot-memory", ADDRESS_ZERO, 0, 0, 1 },
    { "from-address-zero-into-the-region", ADDRESS_ZERO, 0, 0, UINT16_MAX },
    { "last-block-past-usable-region", USABLE_END, -1, 0, 2 },
    { "just-past-the-usable-region", USABLE_END, 0, 0, 1 },
    { "of-the-regions-last-block-while-not-usable", REGION_END, -1, 0, 1 },
    { "just-past-the-region", REGION_END, 0, 0, 1 },
    { "far-past-the-region", REGION_END, 1 << 30, 0, 1 },
    { "of-as-many-blocks-as-fit-the-field", REGION_START, 0, 0, UINT16_MAX },
    { "whose-end-is-the-end-of-all-addresses", ADDRESS_ZERO, -1, 0, 1 },
    { "whose-end-wraps-around-to-address-zero", ADDRESS_ZERO, -1, 0, 2 },
    { "whose-end-wraps-around-into-the-region",
      REGION_START, 1 - (int64_t)UINT16_MAX, 0, UINT16_MAX },
};

/* A bad range, and the type of request that asks about it */
typedef struct BadRequest {
    const BadRange *range;
    uint16_t type;
} BadRequest;

static uint64_t bad_addr(QVirtioMem *mem, const BadRange *range)
{
    uint64_t addr = 0;

    switch (range->from) {
    case REGION_START:
        addr = mem->addr;
        break;
    case USABLE_END:
        addr = mem->addr + usable_size(mem);
        break;
    case REGION_END:
        addr = mem->addr + mem->region_size;
        break;
    case ADDRESS_ZERO:
        break;
    }
    return addr + range->blocks * BLOCK + range->bytes;
}

/* This test checks that such a range is an error and has no effect. */
static void test_bad_range(QVirtioMem *mem, const void *row)
{
    const BadRequest *bad = row;
    int64_t last = usable_nb(mem) - 1;
    g_autofree char *before = NULL;

    g_assert_cmphex(usable_size(mem), <, REGION);
    if (bad->type != VIRTIO_MEM_REQ_PLUG) {
        assert_ack(plug(mem, 0, 3));
        assert_ack(plug(mem, last, 1));
    }
    before = picture(mem);
    assert_error(ask(mem, bad->type, bad_addr(mem, bad->range),
                     bad->range->nb_blocks));
    assert_unchanged(mem, before);

    /* ... while the blocks next to it are fine */
    assert_ack(ask(mem, bad->type, block_addr(mem, 0), 3));
    assert_ack(ask(mem, bad->type, block_addr(mem, last), 1));
    assert_usable_after_reset(mem);
}

/* PLUG, UNPLUG and STATE, which must all see that the range is bad */
static void assert_bad_for_all(QVirtioMem *mem, uint64_t addr,
                               uint16_t nb_blocks)
{
    g_autofree char *before = picture(mem);

    assert_error(ask(mem, VIRTIO_MEM_REQ_PLUG, addr, nb_blocks));
    assert_error(ask(mem, VIRTIO_MEM_REQ_UNPLUG, addr, nb_blocks));
    assert_error(ask(mem, VIRTIO_MEM_REQ_STATE, addr, nb_blocks));
    assert_unchanged(mem, before);
}

/* This test checks the end of the region, where no unusable part follows. */
static void test_past_region(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    assert_bad_for_all(mem, block_addr(mem, REGION_NB), 1);
    assert_bad_for_all(mem, block_addr(mem, REGION_NB - 1), 2);
    assert_ack(plug(mem, 0, REGION_NB));
    assert_bad_for_all(mem, block_addr(mem, REGION_NB), 1);
    assert_bad_for_all(mem, block_addr(mem, REGION_NB - 1), 2);
    assert_bad_for_all(mem, block_addr(mem, 0), REGION_NB + 1);
    assert_usable_after_reset(mem);
}

/* This test checks that the smallest blocks have to be aligned as well. */
static void test_off_small_blocks(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 4, 4));
    assert_bad_for_all(mem, block_addr(mem, 4) + MiB / 2, 1);
    assert_bad_for_all(mem, block_addr(mem, 4) + 4 * KiB, 1);
    assert_bad_for_all(mem, block_addr(mem, 4) + 1, 1);
    assert_bad_for_all(mem, block_addr(mem, 9) + MiB / 2, 1);
    assert_ack(plug(mem, 9, 1));
    assert_usable_after_reset(mem);
}

/* PLUG of plugged and UNPLUG of unplugged blocks, over the pattern */

typedef struct Overlap {
    const char *name;
    uint16_t type;
    int64_t first;
    uint16_t nb_blocks;
} Overlap;

static const Overlap plug_overlaps[] = {
    { "D26-plug-of-plugged-blocks-is-an-error", VIRTIO_MEM_REQ_PLUG, 4, 4 },
    { "D26-plug-of-one-plugged-block-is-an-error",
      VIRTIO_MEM_REQ_PLUG, 12, 1 },
    { "D26-plug-whose-first-block-is-plugged-is-an-error",
      VIRTIO_MEM_REQ_PLUG, 7, 2 },
    { "D26-plug-whose-last-block-is-plugged-is-an-error",
      VIRTIO_MEM_REQ_PLUG, 2, 3 },
    { "D26-plug-with-a-plugged-block-inside-is-an-error",
      VIRTIO_MEM_REQ_PLUG, 11, 3 },
};

static const Overlap unplug_overlaps[] = {
    { "D33-unplug-of-unplugged-blocks-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 0, 4 },
    { "D33-unplug-of-one-unplugged-block-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 8, 1 },
    { "D33-unplug-whose-first-block-is-unplugged-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 3, 2 },
    { "D33-unplug-whose-last-block-is-unplugged-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 6, 3 },
    { "D33-unplug-with-an-unplugged-block-inside-is-an-error",
      VIRTIO_MEM_REQ_UNPLUG, 7, 3 },
};

/* This test checks that such a range is an error and has no effect. */
static void test_overlap(QVirtioMem *mem, const void *row)
{
    const Overlap *overlap = row;

    plug_pattern(mem);
    assert_error(ask(mem, overlap->type, block_addr(mem, overlap->first),
                     overlap->nb_blocks));
    assert_pattern(mem);
    assert_usable_after_reset(mem);
}

/* What -d guest_errors writes down */

static char *log_path;

static void assert_logged(const char *words)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(log_path, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, words));
}

/* This test checks that each mistake of a driver is told with its numbers. */
static void test_mistakes_are_logged(QVirtioMem *mem, const void *row)
{
    assert_error(ask(mem, VIRTIO_MEM_REQ_STATE, 0x1234, 3));
    assert_logged("3 blocks at 0x1234: not aligned blocks of 0x200000 within");
    assert_ack(plug(mem, 0, 1));
    assert_error(plug(mem, 0, 2));
    assert_logged(": not all are unplugged\n");
    assert_error(unplug(mem, 0, 2));
    assert_logged(": not all are plugged\n");
    assert_error(ask(mem, 77, 0, 0));
    assert_logged("request type 77: only 0 to 3 exist\n");
    g_assert_cmpint(unlink(log_path), ==, 0);
}

static void add_log_case(const char *area)
{
    static Case c = {
        "mistakes-of-a-driver-are-written-to-the-log", test_mistakes_are_logged,
    };

    log_path = g_strdup_printf("%s/virtio-mem-qtest-%d.log", g_get_tmp_dir(),
                               getpid());
    c.machine = g_strdup_printf("-d guest_errors -D %s", log_path);
    add_case(area, &c);
}

/* The lists */

static const Case range_cases[] = {
    { "D25-no-request-reaches-past-the-region-when-all-is-usable",
      test_past_region },
    { "D25-no-request-may-be-off-a-1M-block", test_off_small_blocks,
      "block-size=1M,requested-size=64M" },
};

static void add_bad_ranges(const char *area, const char *prefix, uint16_t type)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(bad_ranges); i++) {
        BadRequest *row = g_new0(BadRequest, 1);

        row->range = &bad_ranges[i];
        row->type = type;
        add_row(area, g_strdup_printf("%s-%s-is-an-error", prefix,
                                      bad_ranges[i].name),
                test_bad_range, row);
    }
}

static void register_virtio_mem_request_test(void)
{
    ADD_CASES("virtio-mem-plug", range_cases);
    ADD_ROWS("virtio-mem-plug", plug_dressed, test_dressed);
    ADD_ROWS("virtio-mem-plug", plug_overlaps, test_overlap);
    add_bad_ranges("virtio-mem-plug", "D25-plug", VIRTIO_MEM_REQ_PLUG);
    ADD_ROWS("virtio-mem-unplug", unplug_dressed, test_dressed);
    ADD_ROWS("virtio-mem-unplug", unplug_overlaps, test_overlap);
    add_bad_ranges("virtio-mem-unplug", "D32-unplug", VIRTIO_MEM_REQ_UNPLUG);
    ADD_ROWS("virtio-mem-state", state_dressed, test_dressed);
    add_bad_ranges("virtio-mem-state", "D45-state", VIRTIO_MEM_REQ_STATE);
    add_log_case("virtio-mem-state");
}

libqos_init(register_virtio_mem_request_test);
