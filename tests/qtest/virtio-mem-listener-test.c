// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the virtio-mem device tells those in QEMU that follow which memory is
 * there, as VFIO does.  In its place ram-discard-testdev listens, which also
 * counts what breaks the promises made to listeners.  What a migration brings
 * stands in tests/device/test_listener.py.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qemu/module.h"
#include "virtio-mem-test.h"

#define LISTENER(id, options) \
    " -device ram-discard-testdev,id=" id ",memdev=mem0" options
#define PATH(id) "/machine/peripheral/" id

#define NEVER UINT32_MAX

/* Properties of listeners */

static char *get_text(QVirtioMem *mem, const char *path, const char *property)
{
    g_autoptr(QDict) answer = query_property(mem, path, property);

    return g_strdup(qdict_get_str(answer, "return"));
}

static bool get_flag(QVirtioMem *mem, const char *path, const char *property)
{
    g_autoptr(QDict) answer = query_property(mem, path, property);

    return qdict_get_bool(answer, "return");
}

static void set_listening(QVirtioMem *mem, const char *path, bool value)
{
    qtest_qmp_assert_success(qvirtio_mem_qts(mem),
                             "{ 'execute': 'qom-set', 'arguments': {"
                             "  'path': %s, 'property': 'listening',"
                             "  'value': %i } }", path, value);
}

/* The listener objects once it has let @after populates pass, or NEVER. */
static void set_refuse(QVirtioMem *mem, const char *path, uint32_t after)
{
    qtest_qmp_assert_success(qvirtio_mem_qts(mem),
                             "{ 'execute': 'qom-set', 'arguments': {"
                             "  'path': %s, 'property': 'refuse',"
                             "  'value': %u } }", path, after);
}

/* What is expected of them */

/*
 * The extents of a listener's section that STATE says to be plugged (#), or
 * unplugged (.), as the listener writes them.
 */
static char *extents(QVirtioMem *mem, const char *path, char kind)
{
    g_autofree char *map = block_map(mem);
    uint64_t start = get_property(mem, path, "offset");
    uint64_t end = start + get_property(mem, path, "size");
    uint64_t nb_known = strlen(map), offset, from = start;
    uint64_t block = mem->block_size;
    GString *text = g_string_new(NULL);

    for (offset = start; offset < end; offset += block - offset % block) {
        uint64_t i = offset / block;
        uint64_t next = MIN((i + 1) * block, end);
        bool here = (i < nb_known ? map[i] : '.') == kind;
        bool goes_on = (i + 1 < nb_known ? map[i + 1] : '.') == kind &&
                       next < end;

        if (here && !goes_on) {
            g_string_append_printf(text, "%s0x%" PRIx64 "+0x%" PRIx64,
                                   text->len ? "," : "", from, next - from);
        }
        from = here && goes_on ? from : next;
    }
    return g_string_free(text, false);
}

static void assert_text(QVirtioMem *mem, const char *path,
                        const char *property, const char *expected)
{
    g_autofree char *text = get_text(mem, path, property);

    g_assert_cmpstr(text, ==, expected);
}

static void assert_all_right(QVirtioMem *mem, const char *path)
{
    g_assert_cmpuint(get_property(mem, path, "nb-wrong"), ==, 0);
}

/* Replays tell what STATE does, whether anybody listens or not. */
static void assert_replays(QVirtioMem *mem, const char *path)
{
    g_autofree char *plugged = extents(mem, path, '#');
    g_autofree char *unplugged = extents(mem, path, '.');

    assert_text(mem, path, "replay-populated", plugged);
    assert_text(mem, path, "replay-discarded", unplugged);
    g_assert_cmpint(get_flag(mem, path, "is-populated"), ==, !*unplugged);
}

/* The listener was told all that STATE tells, and nothing else. */
static void assert_told(QVirtioMem *mem, const char *path)
{
    g_autofree char *plugged = extents(mem, path, '#');

    assert_text(mem, path, "populated", plugged);
    assert_all_right(mem, path);
    assert_replays(mem, path);
}

static void assert_counts(QVirtioMem *mem, const char *path,
                          uint64_t nb_populate, uint64_t nb_discard)
{
    g_assert_cmpuint(get_property(mem, path, "nb-populate"), ==, nb_populate);
    g_assert_cmpuint(get_property(mem, path, "nb-discard"), ==, nb_discard);
}

/* Changes */

/* This test checks that a listener is told of each change in its section. */
static void test_changes(QVirtioMem *mem, const void *row)
{
    const char *path = PATH("one");

    assert_told(mem, path);
    plug_pattern(mem);
    assert_told(mem, path);
    assert_ack(unplug(mem, 5, 2));
    assert_told(mem, path);
    assert_ack(plug(mem, 5, 1));
    assert_told(mem, path);
    assert_ack(unplug(mem, 9, 2));
    assert_told(mem, path);
    assert_ack(plug(mem, 0, 4));
    assert_ack(plug(mem, 8, 4));
    assert_told(mem, path);
    assert_ack(unplug_all(mem));
    assert_told(mem, path);
    assert_text(mem, path, "populated", "");
}

/* This test checks that nothing is told twice, and what is refused not once. */
static void test_counts(QVirtioMem *mem, const void *row)
{
    const char *path = PATH("one");

    plug_pattern(mem);
    assert_counts(mem, path, 3, 0);
    assert_error(plug(mem, 3, 2));
    assert_nack(plug(mem, 20, REQUESTED_NB));
    assert_error(unplug(mem, 7, 2));
    assert_counts(mem, path, 3, 0);
    assert_ack(unplug(mem, 4, 4));
    assert_counts(mem, path, 3, 1);
    assert_ack(plug(mem, 2, 7));
    assert_counts(mem, path, 4, 1);
    device_reset(mem);
    assert_counts(mem, path, 4, 1);
    assert_told(mem, path);
}

/* This test checks how a listener is told that all is gone: just once. */
static void test_unplug_all(QVirtioMem *mem, const void *row)
{
    const uint64_t *nb_discard = row;

    plug_pattern(mem);
    assert_counts(mem, PATH("one"), 3, 0);
    assert_ack(unplug_all(mem));
    assert_counts(mem, PATH("one"), 3, *nb_discard);
    assert_told(mem, PATH("one"));
    assert_ack(unplug_all(mem));
    assert_counts(mem, PATH("one"), 3, *nb_discard);
    plug_pattern(mem);
    system_reset(mem);
    assert_counts(mem, PATH("one"), 6, 2 * *nb_discard);
    assert_told(mem, PATH("one"));
}

/* This test checks that the first and the last block are told. */
static void test_ends(QVirtioMem *mem, const void *row)
{
    set_requested(mem, REGION);
    assert_ack(plug(mem, 0, 1));
    assert_ack(plug(mem, REGION_NB - 1, 1));
    assert_told(mem, PATH("one"));
    assert_ack(plug(mem, 1, REGION_NB - 2));
    assert_told(mem, PATH("one"));
    g_assert_true(get_flag(mem, PATH("one"), "is-populated"));
    assert_ack(unplug(mem, REGION_NB - 1, 1));
    assert_told(mem, PATH("one"));
    g_assert_false(get_flag(mem, PATH("one"), "is-populated"));
}

/* This test checks that a listener that comes later is told what there is. */
static void test_listening(QVirtioMem *mem, const void *row)
{
    plug_pattern(mem);
    set_listening(mem, PATH("one"), false);
    assert_text(mem, PATH("one"), "populated", "");
    assert_ack(unplug(mem, 5, 2));
    assert_ack(plug(mem, 20, 3));
    assert_text(mem, PATH("one"), "populated", "");
    assert_replays(mem, PATH("one"));
    assert_told(mem, PATH("two"));
    set_listening(mem, PATH("one"), true);
    assert_told(mem, PATH("one"));
    assert_ack(plug(mem, 5, 1));
    assert_told(mem, PATH("one"));
    assert_told(mem, PATH("two"));
    set_listening(mem, PATH("two"), false);
    assert_all_right(mem, PATH("two"));
    assert_told(mem, PATH("one"));
}

/* Objections */

#define THREE LISTENER("one", "") LISTENER("two", "") LISTENER("three", "")

static const char *const three[] = { PATH("one"), PATH("two"), PATH("three") };

static uint64_t sum(QVirtioMem *mem, const char *property)
{
    uint64_t total = 0;
    int i;

    for (i = 0; i < ARRAY_SIZE(three); i++) {
        total += get_property(mem, three[i], property);
    }
    return total;
}

static void assert_three_told(QVirtioMem *mem)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(three); i++) {
        assert_told(mem, three[i]);
    }
}

/* This test checks that a PLUG that somebody objects to leaves no trace. */
static void test_refused(QVirtioMem *mem, const void *row)
{
    g_autofree char *before = NULL;
    uint64_t resident;
    int i;

    plug_pattern(mem);
    before = picture(mem);
    resident = host_resident(mem);
    for (i = 0; i < ARRAY_SIZE(three); i++) {
        set_refuse(mem, three[i], 0);
        assert_busy(plug(mem, 8, 1));
        assert_busy(plug(mem, 16, 8));
        set_refuse(mem, three[i], NEVER);
        assert_unplugged(mem, 8, 1);
        assert_unplugged(mem, 16, 8);
        assert_unchanged(mem, before);
        assert_three_told(mem);
        g_assert_cmphex(host_resident(mem), ==, resident);
    }
    assert_ack(plug(mem, 8, 1));
    assert_ack(plug(mem, 16, 8));
    assert_three_told(mem);
}

/*
 * This test checks that just those who agreed are told to forget it: one, two
 * or none, by turns, whatever the order in which they are asked.
 */
static void test_forgotten(QVirtioMem *mem, const void *row)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(three); i++) {
        set_refuse(mem, three[i], 0);
        assert_busy(plug(mem, 3, 2));
        set_refuse(mem, three[i], NEVER);
    }
    /* All three objected, and 0 + 1 + 2 agreed before. */
    g_assert_cmpuint(sum(mem, "nb-populate"), ==, 3 + 3);
    g_assert_cmpuint(sum(mem, "nb-discard"), ==, 3);
    assert_three_told(mem);
}

/* This test checks that only those are asked whose section it is about. */
static void test_elsewhere(QVirtioMem *mem, const void *row)
{
    set_refuse(mem, PATH("two"), 0);
    assert_ack(plug(mem, 0, 4));
    assert_ack(plug(mem, 6, 1));
    assert_busy(plug(mem, 4, 1));
    assert_busy(plug(mem, 5, 1));
    assert_counts(mem, PATH("two"), 2, 0);
    /* Nor told to forget what they were not asked about. */
    assert_counts(mem, PATH("three"), 0, 0);
    assert_three_told(mem);
}

/* This test checks that the guest can't reach what was objected to. */
static void test_refused_memslots(QVirtioMem *mem, const void *row)
{
    set_refuse(mem, PATH("two"), 0);
    assert_busy(plug(mem, 0, 2));
    g_assert_false(is_ram(mem, block_addr(mem, 0)));
    assert_unplugged(mem, 0, 2);
    set_refuse(mem, PATH("two"), 1);
    assert_ack(plug(mem, 4, 1));
    stamp(mem, 4, 1);
    assert_busy(plug(mem, 0, 2));
    g_assert_true(is_ram(mem, block_addr(mem, 4)));
    assert_stamp(mem, 4, 1);
    assert_three_told(mem);
}

/* What the host keeps, if it is one that does so: see tests/host.c */

/*
 * This test checks that a listener maps anew what may have been given back in
 * part, the only extent of a slot as well as several.
 */
static void test_kept(QVirtioMem *mem, const void *row)
{
    const char *path = PATH("one");
    bool keeps;
    uint16_t answer;

    assert_ack(plug(mem, 4, 4));
    keeps = host_begins("keeps-memory");
    answer = keeps ? VIRTIO_MEM_RESP_BUSY : VIRTIO_MEM_RESP_ACK;
    g_assert_cmpuint(unplug(mem, 4, 4), ==, answer);
    assert_counts(mem, path, keeps ? 2 : 1, 1);
    assert_told(mem, path);

    assert_ack(plug(mem, 9, 2));
    assert_ack(plug(mem, 12, 1));
    g_assert_cmpuint(unplug_all(mem), ==, answer);
    assert_counts(mem, path, keeps ? 7 : 3, keeps ? 4 : 3);
    assert_told(mem, path);
    host_ends("keeps-memory");
    assert_ack(unplug_all(mem));
    assert_told(mem, path);
}

/* This test checks that it is whole blocks, also where less was tried. */
static void test_kept_part(QVirtioMem *mem, const void *row)
{
    assert_ack(plug(mem, 1, 2));
    stamp(mem, 1, 1);
    if (host_begins("keeps-memory")) {
        assert_busy(unplug(mem, 1, 2));
        assert_counts(mem, PATH("one"), 2, 1);
        assert_told(mem, PATH("one"));
        host_ends("keeps-memory");
    }
    assert_ack(unplug(mem, 1, 2));
    assert_told(mem, PATH("one"));
}

/*
 * This test checks that one that can't map anew leaves others theirs, and that
 * who has another part of the memory hears of none of it.
 */
static void test_kept_and_refused(QVirtioMem *mem, const void *row)
{
    int i;

    plug_pattern(mem);
    if (!host_begins("keeps-memory")) {
        return;
    }
    set_refuse(mem, PATH("two"), 0);
    assert_busy(unplug(mem, 4, 4));
    assert_busy(unplug_all(mem));
    assert_text(mem, PATH("two"), "populated", "");
    assert_told(mem, PATH("one"));
    assert_told(mem, PATH("three"));
    assert_counts(mem, PATH("far"), 0, 0);
    set_refuse(mem, PATH("two"), NEVER);
    assert_busy(unplug_all(mem));
    host_ends("keeps-memory");
    assert_ack(unplug_all(mem));
    for (i = 0; i < ARRAY_SIZE(three); i++) {
        assert_text(mem, three[i], "populated", "");
    }
}

/*
 * This test checks that objecting at the start ends what is told then, and
 * that the device works on; the listener is told to forget what it never knew.
 */
static void test_refused_start(QVirtioMem *mem, const void *row)
{
    set_listening(mem, PATH("one"), false);
    plug_pattern(mem);
    set_refuse(mem, PATH("one"), 1);
    set_listening(mem, PATH("one"), true);
    assert_text(mem, PATH("one"), "populated", "0x800000+0x800000");
    assert_counts(mem, PATH("one"), 2, 1);
    assert_pattern(mem);
    assert_busy(plug(mem, 20, 1));
    set_listening(mem, PATH("one"), false);
    assert_ack(plug(mem, 20, 1));
    set_refuse(mem, PATH("one"), NEVER);
    set_listening(mem, PATH("one"), true);
    assert_told(mem, PATH("one"));
}

/* Slots of memory */

static void unplug_two(QVirtioMem *mem)
{
    assert_ack(unplug(mem, 0, 2));
}

static void ask_unplug_all(QVirtioMem *mem)
{
    assert_ack(unplug_all(mem));
}

/* This test checks that the guest can't fill what is about to be discarded. */
static void test_hidden_first(QVirtioMem *mem, const void *row)
{
    void (*unplug_in_some_way)(QVirtioMem *) = row;
    uint64_t nb_hidden;

    assert_ack(plug(mem, 0, 2));
    stamp(mem, 0, 0x5555555555555555);
    nb_hidden = get_property(mem, PATH("one"), "nb-hidden");
    unplug_in_some_way(mem);
    g_assert_cmpuint(get_property(mem, PATH("one"), "nb-hidden"), ==,
                     nb_hidden + 1);
    g_assert_cmpuint(get_property(mem, PATH("one"), "nb-hidden-empty"), ==, 0);
}

/* This test checks it with one who listens where the guest has memory only. */
static void test_mapped_only(QVirtioMem *mem, const void *row)
{
    const char *path = PATH("one");

    g_assert_false(get_flag(mem, path, "listening"));
    plug_pattern(mem);
    g_assert_true(get_flag(mem, path, "listening"));
    assert_told(mem, path);
    assert_ack(unplug(mem, 4, 4));
    assert_told(mem, path);
    assert_ack(unplug(mem, 9, 2));
    assert_ack(unplug(mem, 12, 1));
    g_assert_false(get_flag(mem, path, "listening"));
    assert_told(mem, path);
    set_refuse(mem, path, 0);
    assert_busy(plug(mem, 4, 1));
    g_assert_false(get_flag(mem, path, "listening"));
    set_refuse(mem, path, NEVER);
    plug_pattern(mem);
    assert_ack(unplug_all(mem));
    g_assert_false(get_flag(mem, path, "listening"));
    assert_told(mem, path);
}

#define SLOTS DEFAULT_DEVICE ",dynamic-memslots=on"

static const uint64_t each_extent = 3, at_once = 1;

static const Case listener_cases[] = {
    { "listener-of-the-whole-region", test_changes,
      .machine = LISTENER("one", "") },
    { "listener-of-parts-of-what-is-plugged", test_changes,
      .machine = LISTENER("one", ",offset=10M,size=10M") },
    { "listener-of-half-blocks", test_changes,
      .machine = LISTENER("one", ",offset=9M,size=10M") },
    { "listener-inside-a-block", test_changes,
      .machine = LISTENER("one", ",offset=10496K,size=512K") },
    { "listener-of-the-start", test_changes,
      .machine = LISTENER("one", ",size=12M") },
    { "listener-that-takes-double-discards", test_changes,
      .machine = LISTENER("one", ",offset=10M,size=10M,double-discard=on") },
    { "listener-is-told-once", test_counts,
      .machine = LISTENER("one", "") },
    { "listener-forgets-each-extent-in-an-unplug-all", test_unplug_all,
      .machine = LISTENER("one", ""), .row = &each_extent },
    { "listener-forgets-its-section-in-an-unplug-all", test_unplug_all,
      .machine = LISTENER("one", ",double-discard=on"), .row = &at_once },
    { "listener-of-what-the-host-keeps", test_kept,
      .machine = LISTENER("one", "") },
    { "listener-of-slots-that-the-host-keeps", test_kept,
      .device = SLOTS, .machine = LISTENER("one", ",mapped-only=on") },
    { "listener-of-large-blocks-that-the-host-keeps", test_kept_part,
      .device = "block-size=128M,requested-size=256M",
      .machine = LISTENER("one", "") },
    { "listener-that-can-not-map-again", test_kept_and_refused,
      .machine = LISTENER("far", ",offset=512M") THREE },
    { "listener-of-first-and-last-block", test_ends,
      .machine = LISTENER("one", "") },
    { "listener-of-the-end", test_ends,
      .machine = LISTENER("one", ",offset=1021M") },
    { "listeners-come-and-go", test_listening,
      .machine = LISTENER("one", ",offset=10M,size=36M")
                 LISTENER("two", "") },
    { "listeners-that-take-double-discards-come-and-go", test_listening,
      .machine = LISTENER("one", ",offset=10M,size=36M,double-discard=on")
                 LISTENER("two", ",double-discard=on") },
    { "D27-busy-when-a-listener-objects", test_refused, .machine = THREE },
    { "D27-busy-when-a-listener-objects-to-preallocated-memory", test_refused,
      .device = DEFAULT_DEVICE ",prealloc=on", .machine = THREE },
    { "listeners-that-agreed-forget-what-another-objects-to", test_forgotten,
      .machine = THREE },
    { "listeners-of-other-sections-are-not-asked", test_elsewhere,
      .machine = LISTENER("one", "") LISTENER("two", ",offset=9M,size=3M")
                 LISTENER("three", ",offset=40M,size=10M") },
    { "listener-that-objects-keeps-slots-hidden", test_refused_memslots,
      .device = SLOTS, .machine = THREE },
    { "listener-that-objects-at-its-start", test_refused_start,
      .machine = LISTENER("one", ",double-discard=on") },
    { "listener-sees-a-slot-go-before-an-unplug", test_hidden_first,
      .device = SLOTS, .machine = LISTENER("one", ""), .row = unplug_two },
    { "listener-sees-a-slot-go-before-an-unplug-all", test_hidden_first,
      .device = SLOTS, .machine = LISTENER("one", ""), .row = ask_unplug_all },
    { "listener-sees-a-slot-go-before-a-system-reset", test_hidden_first,
      .device = SLOTS, .machine = LISTENER("one", ""), .row = system_reset },
    { "listener-follows-a-slot", test_mapped_only,
      .device = SLOTS, .machine = LISTENER("one", ",mapped-only=on") },
    { "listener-that-takes-double-discards-follows-a-slot", test_mapped_only,
      .device = SLOTS,
      .machine = LISTENER("one", ",mapped-only=on,double-discard=on") },
};

static void register_listener_cases(void)
{
    ADD_CASES("virtio-mem-listener", listener_cases);
}

libqos_init(register_listener_cases);
