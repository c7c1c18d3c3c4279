/*
 * ram-discard-testdev: a listener to a RamDiscardManager, for qtests
 *
 * It watches a section of a memory backend that belongs to a memory device,
 * such as virtio-mem, in place of VFIO.  It keeps what it is told, so that a
 * test can compare; it objects when a test wants it to; and it counts the
 * notifications that break the promises of RamDiscardListener.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "hw/qdev-core.h"
#include "hw/qdev-properties.h"
#include "system/hostmem.h"

#define TYPE_RAM_DISCARD_TESTDEV "ram-discard-testdev"
OBJECT_DECLARE_SIMPLE_TYPE(RamDiscardTestDev, RAM_DISCARD_TESTDEV)

/* Where the section seems to be: not where it is in the region. */
#define SECTION_ADDRESS (1 * TiB)

struct RamDiscardTestDev {
    DeviceState parent_obj;

    /* Configuration */
    HostMemoryBackend *memdev;
    uint64_t offset;            /* bytes of the backend's region to leave out */
    uint64_t size;              /* bytes to watch; 0: all that follow */
    bool double_discard;
    bool mapped_only;           /* listen where and while the guest has it */

    /* What it listens to, or would */
    MemoryRegionSection section;
    RamDiscardListener listener;
    MemoryListener memory_listener;
    bool listening;             /* before realize: whether it shall */
    uint32_t refuse;            /* populates until it objects; max.: never */

    /* What it was told; a bit for each granule of the region */
    uint64_t granularity;       /* bytes */
    unsigned long *populated;
    uint32_t nb_populate;
    uint32_t nb_discard;
    uint32_t nb_wrong;
    uint32_t nb_hidden;         /* sections that the guest lost */
    uint32_t nb_hidden_empty;   /* of these, with 0 as their first byte */
};

static uint64_t section_end(const MemoryRegionSection *section)
{
    return section->offset_within_region + int128_get64(section->size);
}

static RamDiscardManager *testdev_manager(const RamDiscardTestDev *s)
{
    return memory_region_get_ram_discard_manager(s->section.mr);
}

/* Notifications */

static void report_wrong(RamDiscardTestDev *s, const MemoryRegionSection *part,
                         const char *what)
{
    error_report("ram-discard-testdev '%s': 0x%" HWADDR_PRIx "+0x%" PRIx64
                 ": %s", DEVICE(s)->id, part->offset_within_region,
                 int128_get64(part->size), what);
    s->nb_wrong++;
}

static unsigned long first_granule(const RamDiscardTestDev *s,
                                   const MemoryRegionSection *part)
{
    return part->offset_within_region / s->granularity;
}

static unsigned long end_granule(const RamDiscardTestDev *s,
                                 const MemoryRegionSection *part)
{
    return DIV_ROUND_UP(section_end(part), s->granularity);
}

/* Whether it was told that any of this is populated, or is not. */
static bool is_any(const RamDiscardTestDev *s, const MemoryRegionSection *part,
                   bool populated)
{
    unsigned long first = first_granule(s, part);
    unsigned long end = end_granule(s, part);

    return (populated ? find_next_bit(s->populated, end, first)
                      : find_next_zero_bit(s->populated, end, first)) < end;
}

static void forget(RamDiscardTestDev *s, const MemoryRegionSection *part)
{
    unsigned long first = first_granule(s, part);

    bitmap_clear(s->populated, first, end_granule(s, part) - first);
}

/* Only the ends of the section may be inside a granule. */
static bool is_aligned(const RamDiscardTestDev *s, uint64_t offset)
{
    return QEMU_IS_ALIGNED(offset, s->granularity) ||
           offset == s->section.offset_within_region ||
           offset == section_end(&s->section);
}

/* What is wrong with a notification, or NULL */
static const char *find_fault(const RamDiscardTestDev *s,
                              const MemoryRegionSection *part, bool populate)
{
    const MemoryRegionSection *section = &s->section;
    uint64_t start = part->offset_within_region;
    uint64_t end = section_end(part);

    if (!s->listening) {
        return "told, but does not listen";
    }
    if (part->mr != section->mr || start >= end ||
        start < section->offset_within_region || end > section_end(section)) {
        return "told of what is not inside the section";
    }
    if (part->offset_within_address_space - start !=
        section->offset_within_address_space - section->offset_within_region) {
        return "told with another address";
    }
    if (!is_aligned(s, start) || !is_aligned(s, end)) {
        return "told of a part of a block";
    }
    if (populate && is_any(s, part, true)) {
        return "populated twice";
    }
    if (!populate && !s->double_discard && is_any(s, part, false)) {
        return "discarded twice";
    }
    return NULL;
}

static int testdev_notify_populate(RamDiscardListener *listener,
                                   MemoryRegionSection *part)
{
    RamDiscardTestDev *s = container_of(listener, RamDiscardTestDev, listener);
    const char *fault = find_fault(s, part, true);
    unsigned long first = first_granule(s, part);
    uint8_t *host;

    s->nb_populate++;
    if (fault) {
        report_wrong(s, part, fault);
        return 0;
    }
    if (!s->refuse) {
        return -EBUSY;
    }
    if (s->refuse != UINT32_MAX) {
        s->refuse--;
    }
    bitmap_set(s->populated, first, end_granule(s, part) - first);
    /* Who pins memory takes it of the host, whoever objects later. */
    host = memory_region_get_ram_ptr(part->mr);
    host += part->offset_within_region;
    qatomic_set(host, qatomic_read(host));
    return 0;
}

static void testdev_notify_discard(RamDiscardListener *listener,
                                   MemoryRegionSection *part)
{
    RamDiscardTestDev *s = container_of(listener, RamDiscardTestDev, listener);
    const char *fault = find_fault(s, part, false);

    s->nb_discard++;
    if (fault) {
        report_wrong(s, part, fault);
    } else {
        forget(s, part);
    }
}

static void testdev_start(RamDiscardTestDev *s)
{
    s->listening = true;
    ram_discard_listener_init(&s->listener, testdev_notify_populate,
                              testdev_notify_discard, s->double_discard);
    ram_discard_manager_register_listener(testdev_manager(s), &s->listener,
                                          &s->section);
}

static void testdev_stop(RamDiscardTestDev *s)
{
    ram_discard_manager_unregister_listener(testdev_manager(s), &s->listener);
    s->listening = false;
    if (is_any(s, &s->section, true)) {
        report_wrong(s, &s->section, "not all discarded at the end");
        forget(s, &s->section);
    }
}

/* What the guest can reach */

static void testdev_region_add(MemoryListener *listener,
                               MemoryRegionSection *section)
{
    RamDiscardTestDev *s = container_of(listener, RamDiscardTestDev,
                                        memory_listener);

    if (s->mapped_only && section->mr == s->section.mr && !s->listening) {
        s->section = *section;
        testdev_start(s);
    }
}

static void testdev_region_del(MemoryListener *listener,
                               MemoryRegionSection *section)
{
    RamDiscardTestDev *s = container_of(listener, RamDiscardTestDev,
                                        memory_listener);
    const uint8_t *host;

    if (section->mr != s->section.mr) {
        return;
    }
    host = memory_region_get_ram_ptr(section->mr);
    s->nb_hidden++;
    s->nb_hidden_empty += !host[section->offset_within_region];
    if (s->mapped_only && s->listening &&
        section->offset_within_region == s->section.offset_within_region) {
        testdev_stop(s);
    }
}

/* Properties for tests */

static bool testdev_get_listening(Object *obj, Error **errp)
{
    return RAM_DISCARD_TESTDEV(obj)->listening;
}

static void testdev_set_listening(Object *obj, bool value, Error **errp)
{
    RamDiscardTestDev *s = RAM_DISCARD_TESTDEV(obj);

    if (!DEVICE(s)->realized) {
        s->listening = value;
    } else if (value && !s->listening) {
        testdev_start(s);
    } else if (!value && s->listening) {
        testdev_stop(s);
    }
}

static void append_extent(GString *text, uint64_t offset, uint64_t size)
{
    g_string_append_printf(text, "%s0x%" PRIx64 "+0x%" PRIx64,
                           text->len ? "," : "", offset, size);
}

static char *testdev_get_populated(Object *obj, Error **errp)
{
    const RamDiscardTestDev *s = RAM_DISCARD_TESTDEV(obj);
    const MemoryRegionSection *section = &s->section;
    unsigned long first = first_granule(s, section);
    unsigned long behind = end_granule(s, section), end;
    GString *text = g_string_new(NULL);

    while ((first = find_next_bit(s->populated, behind, first)) < behind) {
        uint64_t offset = MAX(first * s->granularity,
                              section->offset_within_region);

        end = find_next_zero_bit(s->populated, behind, first);
        append_extent(text, offset, MIN(end * s->granularity,
                                        section_end(section)) - offset);
        first = end;
    }
    return g_string_free(text, false);
}

static void replay_discarded(MemoryRegionSection *part, void *opaque)
{
    append_extent(opaque, part->offset_within_region, int128_get64(part->size));
}

static int replay_populated(MemoryRegionSection *part, void *opaque)
{
    replay_discarded(part, opaque);
    return 0;
}

static char *testdev_get_replay_populated(Object *obj, Error **errp)
{
    RamDiscardTestDev *s = RAM_DISCARD_TESTDEV(obj);
    GString *text = g_string_new(NULL);

    ram_discard_manager_replay_populated(testdev_manager(s), &s->section,
                                         replay_populated, text);
    return g_string_free(text, false);
}

static char *testdev_get_replay_discarded(Object *obj, Error **errp)
{
    RamDiscardTestDev *s = RAM_DISCARD_TESTDEV(obj);
    GString *text = g_string_new(NULL);

    ram_discard_manager_replay_discarded(testdev_manager(s), &s->section,
                                         replay_discarded, text);
    return g_string_free(text, false);
}

static bool testdev_get_is_populated(Object *obj, Error **errp)
{
    const RamDiscardTestDev *s = RAM_DISCARD_TESTDEV(obj);

    return ram_discard_manager_is_populated(testdev_manager(s), &s->section);
}

/* The device */

static bool testdev_check(RamDiscardTestDev *s, Error **errp)
{
    uint64_t region_size;

    if (!s->memdev) {
        error_setg(errp, "property 'memdev' must name a memory backend");
        return false;
    }
    if (!memory_region_has_ram_discard_manager(&s->memdev->mr)) {
        error_setg(errp, "property 'memdev': no memory device, such as "
                   "virtio-mem, that comes before this one manages it");
        return false;
    }
    region_size = memory_region_size(&s->memdev->mr);
    if (s->offset >= region_size || s->size > region_size - s->offset) {
        error_setg(errp, "properties 'offset' and 'size': 0x%" PRIx64 "+0x%"
                   PRIx64 " is not inside 0x%" PRIx64 " bytes", s->offset,
                   s->size, region_size);
        return false;
    }
    return true;
}

static void testdev_realize(DeviceState *dev, Error **errp)
{
    RamDiscardTestDev *s = RAM_DISCARD_TESTDEV(dev);
    bool listen = s->listening && !s->mapped_only;
    MemoryRegion *mr;

    if (!testdev_check(s, errp)) {
        return;
    }
    mr = &s->memdev->mr;
    s->size = s->size ?: memory_region_size(mr) - s->offset;
    s->section = (MemoryRegionSection) {
        .mr = mr,
        .offset_within_region = s->offset,
        .offset_within_address_space = SECTION_ADDRESS,
        .size = int128_make64(s->size),
    };
    s->granularity =
        ram_discard_manager_get_min_granularity(testdev_manager(s), mr);
    s->populated = bitmap_new(DIV_ROUND_UP(memory_region_size(mr),
                                           s->granularity));
    s->listening = false;
    if (listen) {
        testdev_start(s);
    }
    s->memory_listener = (MemoryListener) {
        .name = TYPE_RAM_DISCARD_TESTDEV,
        .region_add = testdev_region_add,
        .region_del = testdev_region_del,
    };
    memory_listener_register(&s->memory_listener, &address_space_memory);
}

static void testdev_instance_init(Object *obj)
{
    RamDiscardTestDev *s = RAM_DISCARD_TESTDEV(obj);
    const ObjectPropertyFlags read = OBJ_PROP_FLAG_READ;

    s->listening = true;
    s->refuse = UINT32_MAX;
    object_property_add_uint32_ptr(obj, "refuse", &s->refuse,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "nb-populate", &s->nb_populate, read);
    object_property_add_uint32_ptr(obj, "nb-discard", &s->nb_discard, read);
    object_property_add_uint32_ptr(obj, "nb-wrong", &s->nb_wrong, read);
    object_property_add_uint32_ptr(obj, "nb-hidden", &s->nb_hidden, read);
    object_property_add_uint32_ptr(obj, "nb-hidden-empty", &s->nb_hidden_empty,
                                   read);
}

static const Property testdev_properties[] = {
    DEFINE_PROP_LINK("memdev", RamDiscardTestDev, memdev, TYPE_MEMORY_BACKEND,
                     HostMemoryBackend *),
    DEFINE_PROP_SIZE("offset", RamDiscardTestDev, offset, 0),
    DEFINE_PROP_SIZE("size", RamDiscardTestDev, size, 0),
    DEFINE_PROP_BOOL("double-discard", RamDiscardTestDev, double_discard,
                     false),
    DEFINE_PROP_BOOL("mapped-only", RamDiscardTestDev, mapped_only, false),
};

static void testdev_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    dc->desc = "Listener to discards of RAM, for tests";
    dc->realize = testdev_realize;
    dc->user_creatable = true;
    dc->hotpluggable = false;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, testdev_properties);
    object_class_property_add_bool(klass, "listening", testdev_get_listening,
                                   testdev_set_listening);
    object_class_property_add_bool(klass, "is-populated",
                                   testdev_get_is_populated, NULL);
    object_class_property_add_str(klass, "populated", testdev_get_populated,
                                  NULL);
    object_class_property_add_str(klass, "replay-populated",
                                  testdev_get_replay_populated, NULL);
    object_class_property_add_str(klass, "replay-discarded",
                                  testdev_get_replay_discarded, NULL);
}

static const TypeInfo testdev_types[] = {
    {
        .name = TYPE_RAM_DISCARD_TESTDEV,
        .parent = TYPE_DEVICE,
        .class_init = testdev_class_init,
        .instance_size = sizeof(RamDiscardTestDev),
        .instance_init = testdev_instance_init,
    },
};

DEFINE_TYPES(testdev_types)
