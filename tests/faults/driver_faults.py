# SPDX-License-Identifier: GPL-2.0-or-later
"""
Small faults that the tests of the driver must find, as in faults.py: `make
mutate-driver`.  Most were in some driver once.
"""

from faults import Fault

GUEST = "tests/guest"
ODD = f"{GUEST}/test_odd_device.py"
RULES = f"{GUEST}/test_conformance.py"
REASONS = f"{GUEST}/test_reasons.py"
RESIZE = f"{GUEST}/test_resize.py"
DEBUG = f"{GUEST}/debug"


FAULTS = [
    # Never stuck
    Fault("offlining waits for a pinned page for ever", "notify.c",
          "if (in_use >= off->in_use)", "if (false)",
          f"{REASONS} -k pinned"),
    Fault("chunks are removed after the target changed", "shrink.c",
          "if (virtio_mem_must_leave(vm))\n\t\t\t\tgoto out;", "",
          f"{RULES} -k turn"),
    Fault("chunks are added after the target changed", "grow.c",
          "if (virtio_mem_must_leave(vm))\n\t\t\treturn 0;", "",
          f"{RULES} -k turn"),
    Fault("blocks are taken after the target changed", "shrink.c",
          "while (end > first && excess && !rc && !virtio_mem_must_leave(vm)) {",
          "while (end > first && excess && !rc) {", f"{RULES} -k turn"),
    Fault("no attempt follows an odd answer", "thread.c",
          "vm->retry = rc ?", "vm->retry = rc && rc != -EPROTO ?",
          f"{ODD} -k plug-unknown"),
    Fault("a device that is stuck is left alone", "thread.c",
          "\t\tvirtio_mem_reset_later(vm);\n", "", f"{ODD} -k ring"),
    Fault("a request that can't be queued is waited for", "request.c",
          "if (virtqueue_add_sgs(vm->vq, sgs, 1, 1, vm, GFP_KERNEL))\n"
          "\t\treturn -ENOMEM;",
          "virtqueue_add_sgs(vm->vq, sgs, 1, 1, vm, GFP_KERNEL);",
          f"{DEBUG} -k resize", "debug"),
    Fault("what can't be added stays plugged", "grow.c",
          "unplugged = virtio_mem_unplug_detached(vm);", "unplugged = 0;",
          f"{RULES} -k cannot_be_added"),
    Fault("what the device keeps plugged is not used", "settle.c",
          "if (rc == -EAGAIN && !plugged)", "if (false)", f"{ODD} -k kept"),
    Fault("an interrupt for nothing ends the patience", "thread.c",
          "\t\tatomic_set(&vm->changed, 0);\n\t\tvm->again",
          "\t\tif (atomic_xchg(&vm->changed, 0))\n\t\t\tvm->retry = 0;\n"
          "\t\tvm->again", f"{ODD} -k spurious"),
    Fault("a broken page keeps a chunk", "obstacle.c",
          "if (*kind > harmless)", "if (*kind > VIRTIO_MEM_PAGE_MOVABLE)",
          f"{REASONS} -k broken"),
    Fault("cached files are moved", "shrink.c",
          "\t\tvirtio_mem_drop_cache(vm, chunk);", "\t\tcond_resched();",
          f"{GUEST}/test_cache.py"),
    Fault("cached files in use are dropped", "cache.c",
          "!folio_test_workingset(folio) &&", "true &&",
          f"{GUEST}/test_cache.py"),
    Fault("chunks go one by one", "shrink.c",
          "s.limit ? 1 : together, &s);",
          "s.limit ? 1 : min(together, 1), &s);", f"{REASONS} -k work"),
    Fault("a dump waits for a silent device for ever", "vmcore.c",
          "dump->vm.hurried = true;", "", f"{GUEST}/test_kdump.py -k silent"),
    Fault("a silent device is asked for each part of a dump", "vmcore.c",
          "if (state == -ETIMEDOUT) {", "if (false) {",
          f"{GUEST}/test_kdump.py -k silent"),
    Fault("a chunk that can't be added keeps others from it", "grow.c",
          "\t\t\trc = 0;\n", "", f"{RULES} -k cannot_be_added"),
    Fault("what could not come online stays offline", "chunk.c",
          "if (!rc && vm->online_failed &&", "if (false &&",
          f"{DEBUG} -k onlining", "debug"),
    Fault("the lock of pages is held while memory is removed", "chunk.c",
          "\trc = offline_and_remove_memory(",
          "\tguard(mutex)(&vm->pages);\n\trc = offline_and_remove_memory(",
          f"{RESIZE} -k grow_and_shrink"),

    # Binding
    Fault("a probe that fails leaves its queue", "device.c",
          "a request does not fit into the queue\\n\");\n"
          "\t\tvirtio_mem_drop_queue(vm);",
          "a request does not fit into the queue\\n\");",
          f"{ODD} -k refused"),
    Fault("unbinding does not wait for the thread", "rest.c",
          """	wait_event(virtio_mem_rested,
		   virtio_mem_phase(vm) != VIRTIO_MEM_WORKING);""", "",
          f"{ODD} -k owe"),
    Fault("a map is too short", "region.c",
          "vm->plugged = vzalloc(size);", "vm->plugged = vzalloc(size / 2);",
          f"{REASONS} -k few_requests", "debug"),
    Fault("maps are used without being there", "region.c",
          "return vm->chunks && vm->plugged && vm->taken ? 0 : -ENOMEM;",
          "return 0;", f"{DEBUG} -k bind", "debug"),
    Fault("the maps of a device are never freed", "region.c",
          "\tvfree(vm->taken);\n", "", f"{DEBUG} -k leaks", "debug"),

    # Lies
    Fault("any block size is believed", "region.c",
          "!is_power_of_2(vm->block_size) || vm->block_size < PAGE_SIZE ||",
          "vm->block_size < PAGE_SIZE ||", f"{ODD} -k refused"),
    Fault("any address is believed", "region.c",
          "if (vm->addr < range.start || end > range.end) {", "if (false) {",
          f"{ODD} -k refused"),
    Fault("any usable size is believed", "region.c",
          "vm->usable_size = min(size, vm->region_size);",
          "vm->usable_size = size;", f"{ODD} -k usable"),
    Fault("any requested size is believed", "thread.c",
          "return min(size, vm->region_size);", "return size;",
          f"{ODD} -k sizes"),

    Fault("a device that is gone is reset", "reset.c",
          "if (virtio_mem_is_gone(vm->vdev)) {", "if (false) {",
          f"{ODD} -k not_there"),
    Fault("what somebody reset is waited for", "request.c",
          "else if (!(status & VIRTIO_CONFIG_S_DRIVER_OK))",
          "else if (false)", f"{ODD} -k by_others"),
    Fault("a device fills the log", "report.c",
          "\tif (!virtio_mem_may_tell(vm))\n\t\treturn;\n", "",
          f"{ODD} -k log_is_not"),
    Fault("unplugged memory can be read by /dev/mem", "region.c",
          "\tvm->resource->flags |= IORESOURCE_SYSTEM_RAM | "
          "IORESOURCE_EXCLUSIVE;\n", "", f"{RULES} -k dev_mem"),
    Fault("a request without an answer is left behind", "device.c",
          "while (virtqueue_detach_unused_buf(vm->vq))", "while (false)",
          f"{DEBUG}/test_leaks.py -k owed", "debug"),

    # Memory
    Fault("unplugged blocks come online", "pages.c",
          "bool plugged = test_bit(block, vm->plugged);",
          "bool plugged = true;", RESIZE),
    Fault("pages taken are not marked", "pages.c",
          "\tvirtio_mem_mark_offline(pfn, nr_pages);\n", "",
          f"{RESIZE} {GUEST}/test_dump.py"),
    Fault("pages taken still count as memory", "pages.c",
          "\tadjust_managed_page_count(pfn_to_page(pfn), -(long)nr_pages);\n",
          "", RESIZE),
    Fault("blocks of an offline chunk get pages", "chunk.c",
          "if (pfn_to_online_page(virtio_mem_block_pfn(vm, i)))",
          "if (true)", RESIZE),
    Fault("blocks of a half offline chunk get pages", "chunk.c",
          "if (pfn_to_online_page(virtio_mem_block_pfn(vm, i)))",
          "if (vm->chunks[virtio_mem_chunk_of_block(vm, i)].online)",
          f"{ODD} -k half_online"),
    Fault("unplugged blocks stand in the way of others", "pages.c",
          "\tvirtio_mem_pass_unplugged(vm, pageblock_start_pfn(pfn), pfn, "
          "pass);\n"
          "\tvirtio_mem_pass_unplugged(vm, end, pageblock_align(end), pass);\n",
          "", f"{GUEST}/test_fragmented.py -k pageblock"),
    Fault("a device that came back is trusted", "main.c",
          "cmpxchg(&vm->presence, VIRTIO_MEM_LOST, VIRTIO_MEM_BACK)",
          "cmpxchg(&vm->presence, VIRTIO_MEM_LOST, VIRTIO_MEM_PRESENT)",
          f"{ODD} -k in_its_place"),
    Fault("what nobody used is said to be lost", "settle.c",
          "used = vm->chunks[chunk].online;", "used = true;",
          f"{ODD} -k in_its_place"),
    Fault("chunks without a plugged block stay", "thread.c",
          "rc_empty = virtio_mem_remove_empty(vm);", "rc_empty = 0;",
          f"{ODD} -k in_its_place"),

    # Big blocks
    Fault("the target is not rounded to big blocks", "virtio_mem.h",
          "rounddown(div64_u64(vm->requested_size, vm->block_size),\n"
          "\t\t\t vm->unit_blocks)",
          "div64_u64(vm->requested_size, vm->block_size)",
          f"{RESIZE} -k force_bbm"),
    Fault("big blocks have the usual size", "region.c",
          "if (is_power_of_2(wanted) && wanted >= least)", "if (false)",
          f"{RESIZE} -k bbm_block_size"),

    # Failures
    Fault("a map that was not allocated is used", "region.c",
          "return vm->chunks && vm->plugged && vm->taken ? 0 : -ENOMEM;",
          "return 0;", f"{DEBUG} -k bind", "debug"),
    Fault("what did not come online stays", "chunk.c",
          "if (!rc && vm->online_failed &&", "if (false &&",
          f"{DEBUG} -k onlining_refused", "debug"),
    Fault("a refused offlining keeps the pages locked", "notify.c",
          "\tcase MEM_CANCEL_ONLINE:\n\tcase MEM_CANCEL_OFFLINE:\n",
          "\tcase MEM_CANCEL_OFFLINE:\n\t\treturn NOTIFY_OK;\n"
          "\tcase MEM_CANCEL_ONLINE:\n",
          f"{DEBUG} -k offlining_refused", "debug"),

    # What is told
    Fault("chunks that are full count as partly plugged", "stats.c",
          "partly += c->state == VIRTIO_MEM_CHUNK_ADDED &&",
          "partly += c->state == VIRTIO_MEM_CHUNK_ADDED ||",
          f"{REASONS} -k test_status"),
    Fault("resizes are not told apart", "stats.c",
          "stats->resize = (stats->resize + 1) % "
          "ARRAY_SIZE(stats->resizes);", "", f"{REASONS} -k test_resizes"),

    # What stands in the way
    Fault("nothing goes but whole chunks", "shrink.c",
          "vm->unit_blocks < vm->chunk_blocks)", "false)",
          f"{GUEST}/test_fragmented.py -k online_movable"),
    Fault("what can't be moved is tried to", "obstacle.c",
          "if (READ_ONCE(c->online) && !found &&", "if (false &&",
          f"{GUEST}/test_reasons.py -k not_tried"),

    # Sleep, and what comes after this kernel
    Fault("a guest sleeps whose device forgets", "main.c",
          "if (!virtio_has_feature(vdev, VIRTIO_MEM_F_PERSISTENT_SUSPEND) &&\n"
          "\t    (vm->nr_plugged || virtio_mem_read_plugged_size(vm))) {",
          "if (false) {",
          f"{RULES} -k no_sleep"),
    Fault("what another kernel left plugged is believed to be free",
          "settle.c", "\tif (plugged) {\n\t\trc = virtio_mem_exchange",
          "\tif (false) {\n\t\trc = virtio_mem_exchange",
          f"{GUEST}/test_peers.py -k left_over"),
    Fault("unplugged blocks are dumped", "vmcore.c",
          "dump->plugged = state == VIRTIO_MEM_STATE_PLUGGED;",
          "dump->plugged = true;", f"{GUEST}/test_kdump.py"),
]
