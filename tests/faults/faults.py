# SPDX-License-Identifier: GPL-2.0-or-later
"""
Small faults that the tests of the device must find: `make mutate` builds the
device with one at a time.  Each is a piece of our source, and what it becomes;
the piece stands in its file just once.  Those of the driver are in
driver_faults.py.
"""

from dataclasses import dataclass


# The model finds most of them, and soon.
QTEST = "tests/qtest/test_model.py tests/qtest"


@dataclass(frozen=True)
class Fault:
    """
    `tests` are pytest's arguments: where a test is expected to fail.  `kernel`
    is "debug" where only that guest notices.
    """
    name: str
    file: str
    old: str
    new: str
    tests: str = QTEST
    kernel: str = ""


def request(name, old, new, tests=QTEST):
    return Fault(name, "virtio-mem-request.c", old, new, tests)


def device(name, old, new, tests=QTEST):
    return Fault(name, "virtio-mem.c", old, new, tests)


def migration(name, old, new, tests="tests/device/test_streams.py"):
    return Fault(name, "virtio-mem-migration.c", old, new, tests)


def config(name, old, new, tests="tests/device/test_options.py"):
    return Fault(name, "virtio-mem-config.c", old, new, tests)


def listeners(name, old, new, tests=QTEST):
    return Fault(name, "virtio-mem-discard.c", old, new, tests)


def memslots(name, old, new):
    return Fault(name, "virtio-mem-memslots.c", old, new)


def qtest(part, name, old, new, case):
    """`case` is what test finds it: a part of its name."""
    return Fault(name, f"virtio-mem-{part}.c", old, new,
                 f"tests/qtest/test_qtest.py -k {case}")


def rogue(part, name, old, new, case):
    return Fault(name, f"virtio-mem-{part}.c", old, new,
                 f"tests/guest/test_rogue.py -k {case}")


PREALLOC = "tests/guest/test_prealloc.py"
LISTENER = "tests/device/test_listener.py"
# Tests that put the host in trouble
HOST = "tests/qtest/test_qtest.py -k host"
D19 = "tests/qtest/test_qtest.py -k D19"
SNAPSHOT = "tests/guest/test_snapshot.py"

FAULTS = [
    # Ranges
    request("a range's end compared as a sum that overflows",
            """addr < vmem->addr || size > vmem->usable_region_size ||
        offset > vmem->usable_region_size - size""",
            """addr < vmem->addr ||
        addr + size > vmem->addr + vmem->usable_region_size"""),
    request("no lower end of a range",
            """addr < vmem->addr || size > vmem->usable_region_size ||
        offset > vmem->usable_region_size - size""",
            "addr + size > vmem->addr + vmem->usable_region_size"),
    request("the last block is out of reach",
            "offset > vmem->usable_region_size - size",
            "offset >= vmem->usable_region_size - size"),
    request("the region is taken for the usable region",
            "offset > vmem->usable_region_size - size",
            "offset > virtio_mem_region_size(vmem) - size"),
    request("no blocks at all are a range", "if (!nb_blocks || ", "if ("),
    request("addresses inside a block are taken",
            "addr & (vmem->block_size - 1) ||", "false ||"),
    request("counts of blocks are cut to 8 bits",
            "uint64_t size = nb_blocks * vmem->block_size;",
            "uint64_t size = (uint8_t)nb_blocks * vmem->block_size;"),
    request("nobody looks whether all blocks are as they should be",
            """if (!virtio_mem_blocks_test(&vmem->blocks, range->offset, range->size,
                                plugged)) {""",
            "if (false) {"),

    # Requests
    request("an unknown type stops the device",
            "outcome = answered(&request, VIRTIO_MEM_RESP_ERROR);",
            "return false;"),
    request("types above STATE are not noticed",
            "return type < ARRAY_SIZE(request_types) ?",
            "return type <= ARRAY_SIZE(request_types) ?"),
    request("a short response buffer is written to",
            "iov_size(elem->in_sg, elem->in_num) < sizeof(request.resp)",
            "false"),
    request("larger buffers are refused",
            "iov_size(elem->in_sg, elem->in_num) < sizeof(request.resp)",
            "iov_size(elem->in_sg, elem->in_num) != sizeof(request.resp)"),
    request("requests in pieces are refused",
            "if (size < REQUEST_HEADER_SIZE ||",
            "if (elem->out_num != 1 || size < REQUEST_HEADER_SIZE ||"),
    request("requests cut short are believed",
            "} else if (iov_size(elem->out_sg, elem->out_num) < known->size) {",
            "} else if (false) {"),
    request("NACK goes before ERROR",
            """    if (!virtio_mem_range_is_all(vmem, addr, nb_blocks, false, &range)) {
        return answered(request, VIRTIO_MEM_RESP_ERROR);
    }
    if (virtio_mem_get_plugged_size(vmem) + range.size > vmem->requested_size) {
        return answered(request, VIRTIO_MEM_RESP_NACK);     /* D50 */
    }""",
            """    if (virtio_mem_get_plugged_size(vmem) + nb_blocks * vmem->block_size >
        vmem->requested_size) {
        return answered(request, VIRTIO_MEM_RESP_NACK);
    }
    if (!virtio_mem_range_is_all(vmem, addr, nb_blocks, false, &range)) {
        return answered(request, VIRTIO_MEM_RESP_ERROR);
    }"""),
    request("one block may be plugged past the target",
            "range.size > vmem->requested_size) {",
            "range.size > vmem->requested_size + vmem->block_size) {"),
    request("PLUG does not look for a migration",
            """    if (virtio_mem_is_migrating()) {
        return answered(request, VIRTIO_MEM_RESP_BUSY);
    }
    virtio_mem_unprotect(""",
            "    virtio_mem_unprotect("),
    request("MIXED is told as UNPLUGGED",
            "state = VIRTIO_MEM_STATE_MIXED;",
            "state = VIRTIO_MEM_STATE_UNPLUGGED;"),
    request("STATE is answered in the wrong byte order",
            "request->resp.u.state.state = cpu_to_le16(state);",
            "request->resp.u.state.state = cpu_to_be16(state);"),
    request("an unplug leaves the memory as it was",
            "    .work = virtio_mem_discard,\n    .finish = virtio_mem_unplug_finish,",
            "    .work = virtio_mem_prealloc,\n"
            "    .finish = virtio_mem_unplug_finish,"),
    request("UNPLUG_ALL leaves the usable region large",
            "    virtio_mem_shrink_usable_region(vmem);              /* D42 */\n",
            ""),
    request("a request is read again when it is carried out",
            """    return virtio_mem_job_start(vmem, type, offset, size, request->elem,
                                &request->resp.type) ? ANSWERED : LEFT_TO_JOB;""",
            """    iov_to_buf(request->elem->out_sg, request->elem->out_num, 0,
               &request->req, sizeof(request->req));
    offset = le64_to_cpu(request->req.u.plug.addr) - vmem->addr;
    return virtio_mem_job_start(vmem, type, offset, size, request->elem,
                                &request->resp.type) ? ANSWERED : LEFT_TO_JOB;"""),
    request("a failed preallocation leaves the block counted",
            "    if (ret) {\n        /* All that was to be plugged",
            "    if (false) {\n        /* All that was to be plugged", PREALLOC),
    request("a failed preallocation keeps its memory",
            "    .undo = virtio_mem_discard,\n", "", PREALLOC),
    request("unrequested UNPLUGs are told from the target alone",
            "return virtio_mem_get_plugged_size(vmem) >= "
            "vmem->requested_size + size;",
            "return virtio_mem_get_plugged_size(vmem) > vmem->requested_size;"),

    # The device
    device("an element is not detached from the queue after a bad request",
           "        virtqueue_detach_element(vmem->vq, elem, 0);\n", ""),
    device("a target set before the driver is ready is lost",
           "    trace_virtio_mem_requested_size(old_size, size);\n",
           "    if (!(VIRTIO_DEVICE(vmem)->status & 4)) {\n"
           "        return;\n    }\n"),
    device("the usable region shrinks with the target",
           """virtio_mem_set_usable_size(vmem, MAX(vmem->usable_region_size,
                                         virtio_mem_usable_size(vmem)));""",
           "virtio_mem_set_usable_size(vmem, virtio_mem_usable_size(vmem));"),
    device("an unchanged target tells nobody",
           "    virtio_notify_config(VIRTIO_DEVICE(vmem));\n",
           "    if (size != virtio_mem_get_plugged_size(vmem)) {\n"
           "        virtio_notify_config(VIRTIO_DEVICE(vmem));\n    }\n"),
    device("the usable region ends inside a large block",
           "uint64_t slack = MAX(VIRTIO_MEM_USABLE_SLACK, 2 * vmem->block_size);",
           "uint64_t slack = VIRTIO_MEM_USABLE_SLACK + 4096;"),
    device("a device reset is taken for a system reset",
           "    virtio_mem_job_forsake(VIRTIO_MEM(vdev));\n",
           "    virtio_mem_job_forsake(VIRTIO_MEM(vdev));\n"
           "    virtio_mem_unplug_all(VIRTIO_MEM(vdev));\n"),
    device("a wake-up is taken for a system reset",
           "if (type == RESET_TYPE_WAKEUP || type == "
           "RESET_TYPE_SNAPSHOT_LOAD ||",
           "if (type == RESET_TYPE_SNAPSHOT_LOAD ||"),
    device("a system reset keeps blocks",
           "            virtio_mem_unplug_all(vmem);\n        }",
           "        }"),
    device("a reboot in a migration unplugs",
           "        if (!virtio_mem_is_migrating()) {", "        if (true) {"),
    device("an incoming migration loses what is shared with it",
           "    if (runstate_check(RUN_STATE_INMIGRATE)) {\n        return true;",
           "    if (false) {\n        return true;",
           "tests/guest/test_template.py"),
    device("drivers that may read unplugged memory are taken",
           "? -EINVAL : 0;", "? 0 : 0;"),
    device("a feature is not offered",
           "[VIRTIO_MEM_F_PERSISTENT_SUSPEND] = qemu_wakeup_suspend_enabled(),",
           "[VIRTIO_MEM_F_PERSISTENT_SUSPEND] = false,"),
    device("a device takes address 0",
           "if (!vmem->addr || !MACHINE(qdev_get_machine())->device_memory) {",
           "if (false) {", "tests/device/test_options.py"),
    device("a target that lets a device go discards what it shares",
           "    if (!virtio_mem_guest_is_elsewhere()) {\n"
           "        virtio_mem_unplug_all(vmem);",
           "    if (true) {\n        virtio_mem_unplug_all(vmem);",
           "tests/device/test_options.py"),
    device("a source discards what it shares with its target",
           " ||\n           runstate_check(RUN_STATE_POSTMIGRATE)", "",
           "tests/guest/test_migration.py -k shared"),
    device("a device that goes leaves slots mapped",
           "    virtio_mem_memslots_hide(vmem, 0, virtio_mem_region_size(vmem));\n",
           "", "tests/guest/test_lifecycle.py"),
    Fault("a reset waits for what a failed preallocation gives back",
          "virtio-mem-job.c",
          "job->ret && job->type->undo ? VIRTIO_MEM_JOB_STOPS",
          "false ? VIRTIO_MEM_JOB_STOPS",
          "tests/qtest/test_qtest.py -k waits_for_nothing"),
    device("a machine that stops leaves a job",
           "        virtio_mem_job_settle(vmem, true);\n", "", PREALLOC),
    device("a machine that stops does not tell of its last blocks",
           "        virtio_mem_tell_at_once(vmem);\n", ""),
    device("a size that follows another one soon is not told",
           "timer_mod(vmem->tell_timer, qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) +",
           "timer_mod(vmem->tell_timer, INT64_MAX / 2 +"),

    # What QMP tells (bugs of stock QEMU that a patch of ours ends)
    Fault("features have each other's names", "virtio-qmp.c",
          "FEATURE_ENTRY(VIRTIO_MEM_F_ACPI_PXM,",
          "FEATURE_ENTRY(VIRTIO_MEM_F_PERSISTENT_SUSPEND + 3,",
          "tests/device/test_options.py"),

    # Requests that take long
    device("requests are carried out while the machine is stopped",
           "    if (!runstate_is_live(runstate_get())) {", "    if (false) {"),
    config("a device may go while it works",
           "    if (virtio_mem_job_is_running(vmem)) {\n        error_setg",
           "    if (false) {\n        error_setg", PREALLOC),
    Fault("a reset leaves a long request in the queue", "virtio-mem-job.c",
          "        virtqueue_detach_element(vmem->vq, elem, 0);\n", ""),
    Fault("a stopped preallocation is plugged", "virtio-mem-job.c",
          "        job->ret = -ECANCELED;\n", "        ;\n", PREALLOC),
    Fault("the next request does not wait for a long one", "virtio-mem.c",
          "while (!virtio_mem_job_is_running(vmem) && virtio_mem_handle_one(vmem))",
          "while (virtio_mem_handle_one(vmem))"),

    Fault("a large range that is empty is given back all the same",
          "virtio-mem-job.c",
          "    if (!job->type->empty_size || left <= piece) {",
          "    if (true) {", HOST),
    Fault("the piece with the first page in use is passed by",
          "virtio-mem-job.c", "QEMU_ALIGN_DOWN(empty, piece)",
          "QEMU_ALIGN_UP(empty, piece)", D19),
    Fault("pages in memory are not in use", "virtio-mem-pagemap.c",
          "1,\n        .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED",
          "1,\n        .category_anyof_mask = PAGE_SWAPPED", D19),
    Fault("pages that others wrote are not in use", "virtio-mem-pagemap.c",
          "return qemu_ram_get_fd(rb) < 0 && !qemu_ram_is_shared(rb);",
          "return true;", D19),
    Fault("pages that are swapped out are not in use", "virtio-mem-pagemap.c",
          "1,\n        .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED",
          "1,\n        .category_anyof_mask = PAGE_PRESENT", HOST),
    device("a device that goes leaves the pagemap open",
           "    virtio_mem_pagemap_close(vmem);\n", "",
           "tests/guest/test_hotplug.py"),
    Fault("a kernel without PAGEMAP_SCAN has nothing in use",
          "virtio-mem-pagemap.c",
          "if (ioctl(fd, IOCTL_PAGEMAP_SCAN, &scan) < 0) {\n"
          "        return false;",
          "if (ioctl(fd, IOCTL_PAGEMAP_SCAN, &scan) < -1) {\n"
          "        return false;", HOST),
    request("listeners map a part of a block anew",
            "ROUND_UP(size, vmem->block_size));", "size);",
            "tests/qtest/test_qtest.py -k keeps"),
    Fault("what no thread could do counts as done", "virtio-mem-job.c",
          "        job->ret = -EAGAIN;\n",
          "        job->done = job->size;\n", HOST),
    Fault("a device that goes leaves its thread", "virtio-mem-job.c",
          """        qemu_sem_post(&job->begin);
        g_thread_join""", """        g_thread_unref""",
          "tests/guest/test_hotplug.py"),
    device("the guest is not notified of answers that go before a job",
           "    if (handled > virtio_mem_job_is_running(vmem)) {",
           "    if (handled && !virtio_mem_job_is_running(vmem)) {",
           "tests/qtest/test_qtest.py -k does_not_wait"),
    device("a turn that answered nothing notifies the guest",
           "    if (handled > virtio_mem_job_is_running(vmem)) {",
           "    if (true) {", "tests/qtest/test_qtest.py -k storm"),

    # Blocks
    Fault("UNPLUG_ALL counts blocks in 16 bits", "virtio-mem-blocks.c",
          "bitmap_zero(blocks->plugged, blocks->nb_blocks);",
          "bitmap_clear(blocks->plugged, 0, (uint16_t)blocks->nb_blocks);"),
    Fault("the bitmap is counted in huge pages", "virtio-mem-blocks.c",
          "return offset >> ctz64(blocks->block_size);",
          "return offset >> 21;"),
    Fault("the count of plugged blocks is wrong after an UNPLUG",
          "virtio-mem-blocks.c",
          "blocks->nb_plugged -= nb;", "blocks->nb_plugged -= 1;"),
    Fault("listeners hear of more than is plugged", "virtio-mem-discard.c",
          "        int ret = fn(&part, opaque);",
          "        int ret = fn((MemoryRegionSection *)section, opaque);",
          "tests/guest/test_dump.py"),
    listeners("parts of a section lie elsewhere",
              "part.offset_within_region = offset;",
              "part.offset_within_region = offset +\n"
              "                                section->offset_within_region;"),

    # Listeners
    listeners("those that agreed keep what another objected to",
              "            asked->notify_discard(asked, &part);\n",
              "            continue;\n"),
    listeners("those that were not asked are told to forget",
              "        if (asked == rdl) {\n            break;",
              "        if (asked == rdl) {\n            continue;"),
    listeners("others are told to forget what was objected to",
              "        if (section_cut(asked->section, offset, size, &part)) {",
              "        section_cut(asked->section, offset, size, &part);\n"
              "        {"),
    listeners("listeners hear of what is behind their section",
              "uint64_t end = MIN(offset + size, section_end(section));",
              "uint64_t end = offset + size;"),
    listeners("a section's size is taken for its end",
              "return section->offset_within_region + "
              "int128_get64(section->size);",
              "return int128_get64(section->size);"),
    listeners("double discards reach those that take none",
              "    if (rdl->double_discard_supported) {",
              "    if (!rdl->double_discard_supported) {"),
    listeners("who stops listening keeps its memory",
              "    listener_discard_all(VIRTIO_MEM(rdm), rdl);\n    QLIST_REMOVE",
              "    QLIST_REMOVE"),
    listeners("who begins to listen is not told what there is",
              "    ret = for_each_extent(vmem, rdl->section, true, "
              "populate_extent, rdl);\n    report_unmapped(",
              "    ret = 0;\n    report_unmapped("),
    listeners("an objection to what there is goes unsaid",
              "    if (ret) {\n        error_report(",
              "    if (false) {\n        error_report(", LISTENER),
    request("listeners keep what was given back in part",
            "    virtio_mem_notify_replaced(vmem, offset,\n"
            "                               ROUND_UP(size, vmem->block_size));\n",
            "", HOST),
    request("listeners hear twice of what was not given back",
            """    virtio_mem_notify_replaced(vmem, offset,
                               ROUND_UP(size, vmem->block_size));
    virtio_mem_memslots_update(vmem);
""",
            """    virtio_mem_memslots_update(vmem);
    virtio_mem_notify_replaced(vmem, offset,
                               ROUND_UP(size, vmem->block_size));
""", HOST),
    listeners("who can't map again keeps others from it",
              "    report_unmapped(part, rdl->notify_populate(rdl, part));\n"
              "    return 0;",
              "    return rdl->notify_populate(rdl, part);", HOST),
    request("an objecting listener is ignored",
            "if (virtio_mem_notify_populate(vmem, offset, size)) {",
            "if (virtio_mem_notify_populate(vmem, offset, size) && false) {"),
    request("blocks are plugged before listeners are asked",
            """    if (virtio_mem_notify_populate(vmem, offset, size)) {
        virtio_mem_memslots_hide(vmem, offset, size);
        virtio_mem_protect_soon(vmem, offset, size);
        /* A listener that agreed may have filled the memory. */
        virtio_mem_discard(vmem, offset, size);
        virtio_mem_protect(vmem, offset, size);
        return VIRTIO_MEM_RESP_BUSY;
    }
    set_blocks(vmem, offset, size, true);
""",
            """    set_blocks(vmem, offset, size, true);
    if (virtio_mem_notify_populate(vmem, offset, size)) {
        virtio_mem_memslots_hide(vmem, offset, size);
        virtio_mem_discard(vmem, offset, size);
        return VIRTIO_MEM_RESP_BUSY;
    }
"""),
    request("listeners are asked before the guest has the slot",
            """    virtio_mem_memslots_show(vmem, offset, size);
    if (virtio_mem_notify_populate(vmem, offset, size)) {
        virtio_mem_memslots_hide(vmem, offset, size);
        virtio_mem_protect_soon(vmem, offset, size);
        /* A listener that agreed may have filled the memory. */
        virtio_mem_discard(vmem, offset, size);
        virtio_mem_protect(vmem, offset, size);
        return VIRTIO_MEM_RESP_BUSY;
    }
""",
            """    if (virtio_mem_notify_populate(vmem, offset, size)) {
        virtio_mem_discard(vmem, offset, size);
        return VIRTIO_MEM_RESP_BUSY;
    }
    virtio_mem_memslots_show(vmem, offset, size);
"""),
    request("what a listener objects to stays filled",
            "        virtio_mem_discard(vmem, offset, size);\n"
            "        virtio_mem_protect(",
            "        virtio_mem_protect("),
    request("what a listener objects to stays in reach",
            "        virtio_mem_memslots_hide(vmem, offset, size);\n"
            "        virtio_mem_protect_soon", "        virtio_mem_protect_soon"),
    request("listeners are not told of an UNPLUG",
            "    virtio_mem_notify_discard(vmem, offset, size);\n", ""),
    request("memory is discarded before its slot is hidden",
            "    virtio_mem_memslots_hide(vmem, offset, size);\n"
            "    virtio_mem_protect_soon(vmem, offset, size);\n"
            "    return start_job(",
            "    virtio_mem_discard(vmem, offset, size);\n"
            "    virtio_mem_memslots_hide(vmem, offset, size);\n"
            "    return start_job("),
    Fault("a target's listeners are not told", "virtio-mem-migration.c",
          "        ret = virtio_mem_notify_populate_all(vmem);\n", "",
          LISTENER),
    Fault("an objection on the target is ignored", "virtio-mem-migration.c",
          "        ret = virtio_mem_notify_populate_all(vmem);\n",
          "        virtio_mem_notify_populate_all(vmem);\n", LISTENER),

    # Memory slots
    memslots("a slot's last part stays mapped",
             "behind = DIV_ROUND_UP(offset + size, vmem->memslots.slot_size);",
             "behind = MAX(slot + 1, (offset + size) /"
             " vmem->memslots.slot_size);"),
    memslots("slots are hidden with something plugged",
             "return virtio_mem_blocks_next(&vmem->blocks, &start, "
             "MIN(end, offset),\n                                  true) ||\n"
             "           virtio_mem_blocks_next(",
             "return virtio_mem_blocks_next("),
    memslots("an option that is off divides by zero",
             "    if (!vmem->dynamic_memslots) {\n        return;\n    }\n"
             "    slot = offset",
             "    slot = offset"),

    # Migration
    migration("the count of blocks is believed",
              "if (nb_plugged * vmem->block_size != stream->size) {",
              "if (false) {"),
    migration("bits behind the end are believed",
              "if (find_next_bit(stream->plugged, nb_bits, nb_blocks) < nb_bits) {",
              "if (false) {"),
    migration("a target beyond the region is believed",
              "if (stream->requested_size > stream->usable_region_size ||",
              "if ("),
    migration("another address is taken",
              "{ VIRTIO_MEM_ADDR_PROP, stream->addr, vmem->addr },",
              "{ VIRTIO_MEM_ADDR_PROP, vmem->addr, vmem->addr },"),
    migration("blocks that are not usable are taken",
              "if (virtio_mem_blocks_next(&vmem->blocks, &offset, region_size, "
              "true)) {",
              "if (false) {"),
    migration("blocks may come when sizes were checked",
              "    if (vmem->loaded) {", "    if (false) {"),
    migration("a snapshot discards the blocks that it brings",
              """    while ((size = virtio_mem_blocks_next(&vmem->blocks, &offset, region_size,
                                          false))) {""",
              """    while ((size = virtio_mem_blocks_next(&vmem->blocks, &offset, region_size,
                                          true))) {""", SNAPSHOT),
    migration("a snapshot leaves memory behind",
              "    virtio_mem_discard_difference(vmem, &old);\n", "", SNAPSHOT),
    migration("the bitmap does not travel",
              "virtio_mem_blocks_load(&vmem->blocks, vmem->stream.plugged);\n",
              ";\n"),

    # Options
    config("a target above the backend's size is taken",
           "if (value > region_size) {", "if (false) {"),
    config("a warning is all for a small block",
           "if (!QEMU_IS_ALIGNED(value, block_size)) {",
           "if (block_size >= 2 * MiB && !QEMU_IS_ALIGNED(value, block_size)) {",
           "tests/device/test_options.py tests/qtest"),
    config("targets are cut to 32 bits",
           "        vmem->requested_size = value;   /* checked by realize */",
           "        vmem->requested_size = (uint32_t)value;"),
    config("a backend may have two devices",
           "if (host_memory_backend_is_mapped(vmem->memdev)) {", "if (false) {"),
    config("slots without the driver's promise",
           "    if (!vmem->dynamic_memslots ||\n",
           "    if (vmem->dynamic_memslots || !vmem->dynamic_memslots ||\n"),

    # The protection of unplugged memory
    qtest("guard", "nothing is guarded",
          "} else if (guard_register(vmem, offset, size, &ioctls)) {",
          "} else if (true) {", "caught"),
    qtest("guard", "plugged blocks stay guarded",
          "    while (next_run(vmem, from, run.end, &part)) {\n"
          "        remove_run(vmem, &part);",
          "    while (false) {\n        remove_run(vmem, &part);",
          "follows-requests"),
    qtest("guard", "there may be any number of extents",
          "if (guard->nb_extents > allowed_extents(vmem)) {", "if (false) {",
          "extents-beyond"),
    qtest("guard", "the longer side of a hole is dropped",
          "run_size(vmem, &below) < run_size(vmem, &above)",
          "run_size(vmem, &below) > run_size(vmem, &above)",
          "extents-beyond"),
    qtest("loan", "what is lent is never taken back",
          "ns = MAX(nth_loan(loans, 0)->end_ns - get_clock(), 0);",
          "ns = SCALE_MS;", "caught"),
    qtest("loan", "a page that was read may be written",
          "set_write_protection(vmem, page, true);", "0;", "was-read"),
    qtest("fault", "what a host reads is a violation",
          "} else if (is_write ||", "} else if (true || is_write ||",
          "host-may-read"),
    rogue("fault", "what a vCPU reads is no violation",
          "(cpu && qatomic_read(&vmem->protection.guard.forbids_reads))",
          "false", "full"),
    rogue("fault", "nobody knows which vCPU it was",
          "if (cpu->thread_id == thread_id &&",
          "if (false && cpu->thread_id == thread_id &&", "test_write"),
    qtest("audit", "nothing is found", "return found->size;",
          "return false;", "memory-is-found"),
    qtest("audit", "nothing is found in files",
          "if (data < 0 || data >= rb->fd_offset + end) {", "if (true) {",
          "memory-is-found-in-memfd"),
    qtest("audit", "plugged blocks are looked through",
          "bitmap_clear(blocks, first, nb);", "", "not-looked-through"),
    qtest("audit", "zeroes are a violation",
          "virtio_mem_holds_data(vmem, found->offset, found->size);",
          "!virtio_mem_holds_data(vmem, found->offset, found->size);",
          "memory-is-found"),
    rogue("audit", "what is lent has stayed",
          "    if (!virtio_mem_is_any_lent(vmem, found->offset, found->size)) {",
          "    if (true) {", "test_race"),
    rogue("audit", "old kernels find nothing", "return entry >> 62 &&",
          "return false &&", "old"),
    qtest("violation", "each violation is told at once",
          "(timer_pending(violations->timer) && !stops) || ", "",
          "gains-nothing"),
    qtest("violation", "what is discarded is told, too",
          "&& !stops) || !is_told(vmem)) {", "&& !stops)) {", "silent"),
    qtest("violation", "nothing stops the machine",
          "qemu_system_vmstop_request(RUN_STATE_PAUSED);", "", "pause"),
    qtest("violation", "nothing ends the machine",
          "qemu_system_shutdown_request(SHUTDOWN_CAUSE_HOST_ERROR);", "",
          "shutdown-ends"),
    qtest("protect", "a stopped machine is guarded",
          "return runstate_is_running() &&", "return true ||",
          "leaves-it-protected"),
    qtest("request", "unplugged blocks are not guarded again",
          "    virtio_mem_protect_soon(vmem, offset, size);\n"
          "    return start_job",
          "    return start_job", "follows-requests"),
    qtest("guard", "each device may have all mappings",
          "others = qatomic_read(&nb_extents_of_all) - guard->nb_extents;",
          "others = 0;", "few_mappings"),
    qtest("fault", "what the kernel fetches is a write",
          "is_write && !is_thread_of_qemu(thread_id)", "false",
          "of-the-kernel"),
    qtest("loan", "what the kernel writes is a read",
          "is_write = virtio_mem_holds_data(vmem, page, page_size(vmem));",
          "is_write = false;",
          "of-the-kernel"),
    qtest("loan", "a page that is busy is given up",
          " || ret == -ENOENT || ret == -EAGAIN;", " || ret == -ENOENT;",
          "is_busy"),
    qtest("loan", "what was given up is never guarded again",
          "vmem->protection.guard.has_hole = true;", "", "in_protection"),
    qtest("protect", "a job is not waited for",
          "(aside || !virtio_mem_job_is_running(vmem))", "true",
          "in_protection"),
    qtest("guard", "those of a length are guarded all or none",
          "if (shortest > 1) {", "if (false) {", "after-a-stop"),
    qtest("pagemap", "the pagemap tells where pages are",
          "changed = !syscall(SYS_capset, &version, fewer);",
          "changed = false;", "tells-no-frames"),
    qtest("audit", "another user finds nothing",
          "if (virtio_mem_pagemap_scan(vmem, vmem->protection.audit.fd,",
          "if (virtio_mem_pagemap_scan(vmem, virtio_mem_open_pagemap(NULL)"
          ",", "other_user"),
    rogue("audit", "old kernels find nothing on hugetlb",
          "qemu_ram_is_shared(virtio_mem_ram_block(vmem))", "false",
          "test_hugetlb"),
    rogue("guard", "what was lent is there when it is plugged",
          "    virtio_mem_end_loans_of(vmem, run_offset(vmem, run), "
          "run_size(vmem, run));\n", "", "test_race"),
    rogue("protect", "blocks are guarded after they were discarded",
          "    if (is_guarding(vmem)) {\n        guard(vmem, offset, size);\n"
          "    }\n}\n\n"
          "void virtio_mem_protect(VirtIOMEM *vmem, uint64_t offset, "
          "uint64_t size)\n{\n",
          "}\n\n"
          "void virtio_mem_protect(VirtIOMEM *vmem, uint64_t offset, "
          "uint64_t size)\n{\n"
          "    if (is_guarding(vmem)) {\n        guard(vmem, offset, size);\n"
          "    }\n", "test_race"),

    # What users are told
    qtest("violation", "a machine stops without an event",
          "if ((timer_pending(violations->timer) && !stops) ||",
          "if (timer_pending(violations->timer) ||", "pause"),
    qtest("protect", "full is full without a driver",
          "return qatomic_read(&protection->guard.forbids_reads) ?",
          "return true ?", "without-a-driver"),
    qtest("protect", "a stopped machine is protected",
          "        return MEMORY_DEVICE_PROTECTION_OFF;\n",
          "        return protection->mode;\n", "while-stopped"),
    qtest("stats", "all UNPLUG_ALL count as UNPLUG",
          "return VIRTIO_MEM_REQUEST_TYPE_UNPLUG_ALL;",
          "return VIRTIO_MEM_REQUEST_TYPE_UNPLUG;", "counts-requests"),
    qtest("stats", "a resize is done when it begins",
          "if (!resize->is_done && virtio_mem_get_plugged_size(vmem) == "
          "resize->to) {", "if (!resize->is_done) {", "last-resize"),
    qtest("stats", "the time of a resize never stops",
          "resize->is_done ? resize->end_ms : now_ms()", "now_ms()",
          "takes-the-time"),
    qtest("stats", "there is always a driver",
          "status->driver = VIRTIO_DEVICE(vmem)->status & "
          "VIRTIO_CONFIG_S_DRIVER_OK;", "status->driver = true;",
          "driver-is-there"),
    qtest("stats", "what the host keeps counts as given back",
          "    if (done) {", "    if (true) {", "host_failures"),
    qtest("memory", "a host without memory does not count",
          "stat64_add(&vmem->stats.prealloc_failures, 1);", "",
          "host_failures"),
    qtest("request", "UNPLUG_ALL unplugs no bytes",
          "virtio_mem_resize_goes_on(vmem, 0, plugged);", "", "counts-bytes"),
    device("a restart goes on with the resize before",
           "        virtio_mem_resize_begins(vmem);\n    }\n}\n\n"
           "static void virtio_mem_system_reset_class_init",
           "    }\n}\n\nstatic void virtio_mem_system_reset_class_init",
           "tests/qtest/test_qtest.py -k resize-after"),
    qtest("qmp", "the map shows the first block of a piece",
          "size = MIN(size, virtio_mem_region_size(vmem) - offset);",
          "size = vmem->block_size;", "map-of"),
    qtest("qmp", "the map calls all of the region usable",
          "offset < vmem->usable_region_size ?", "true ?", "map-of"),
    qtest("qmp", "a map of no pieces is none",
          "has_pieces && (!pieces || pieces > MAX_PIECES)",
          "pieces > MAX_PIECES", "so-many-pieces"),
    qtest("hmp", "the map is wider than a terminal",
          "#define MAP_COLUMNS 64", "#define MAP_COLUMNS 128", "hmp-info"),
    qtest("report", "what can't be is taken",
          "if (!is_possible(vmem, &report)) {", "if (false) {", "report-of"),
    qtest("report", "each attempt is an event", "    if (news) {",
          "    if (true) {", "news-is-an-event"),
    device("what a driver told outlives it",
           "    vmem->report.is_there = false;\n", "",
           "tests/qtest/test_qtest.py -k forgotten-by-resets"),
    qtest("request", "who did not negotiate it may report",
          "if (type == VIRTIO_MEM_REQ_X_REPORT &&\n        "
          "virtio_vdev_has_feature(VIRTIO_DEVICE(vmem), "
          "VIRTIO_MEM_F_X_REPORT)) {",
          "if (type == VIRTIO_MEM_REQ_X_REPORT) {", "needs-its-feature"),
    Fault("what was told does not migrate", "virtio-mem-report.c",
          "return VIRTIO_MEM(opaque)->report.is_there;", "return false;",
          "tests/guest/test_reports.py -k migrates"),
]
