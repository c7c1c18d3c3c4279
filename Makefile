# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds, shows and checks virtio-mem: the QEMU device and the Linux driver.
# Everything made stands under build/.  `make help` lists the targets.

include versions.mk

SHELL        := /bin/sh
.DELETE_ON_ERROR:
.SUFFIXES:

# What the user may set
QEMU_SRC     ?=
KDIR         ?=
LINUX_SRC    ?=
ACCEL        ?= tcg
JOBS         ?= $(shell nproc)
TESTS        ?= tests
GUEST_TESTS  ?= tests/guest
GUEST_SKIP   ?=
DEMO         ?=
BENCH        ?=
FUZZ_S       ?= 600
export ACCEL

# Mistakes are told before anything is built.
$(foreach dir,QEMU_SRC KDIR LINUX_SRC,$(if $($(dir)),$(if \
	$(wildcard $($(dir))/.),,$(error $(dir)=$($(dir)): no such directory))))
$(foreach name,JOBS FUZZ_S $(if $(SOAK_S),SOAK_S) $(if $(STEPS),STEPS),$(if \
	$(shell echo '$($(name))' | grep -x '[1-9][0-9]*'),,$(error \
	$(name)=$($(name)): not a number from 1 on)))
$(if $(SEED),$(if $(shell echo '$(SEED)' | grep -x '[0-9]*'),,$(error \
	SEED=$(SEED): not a number)))
$(if $(filter $(ACCEL),tcg kvm),,$(error ACCEL=$(ACCEL): only tcg and kvm work))
$(if $(PROTECTION),$(if $(filter $(PROTECTION),off audit write full),,$(error \
	PROTECTION=$(PROTECTION): only off, audit, write and full exist)))

PYTHON       := /usr/bin/python3
GCC          := $(strip $(shell command -v ccache) gcc)
B            := build
FETCH        := $(B)/fetch
APT          := tools/apt-private $(CURDIR)/$(B)/apt
STAMP        := $(B)/stamps

QEMU_TREE    := $(B)/qemu-src
QEMU_BUILD   := $(B)/qemu
QEMU         := $(QEMU_BUILD)/qemu-system-x86_64
COV_BUILD    := $(B)/qemu-coverage
ASAN_BUILD   := $(B)/qemu-asan
MUTATE_TREE  := $(B)/qemu-mutate-src
MUTATE_BUILD := $(B)/qemu-mutate
STOCK_TREE   := $(B)/qemu-stock-src
STOCK_BUILD  := $(B)/qemu-stock
FUZZ_BUILD   := $(B)/qemu-fuzz
FUZZERS      := $(FUZZ_BUILD)/qemu-fuzz-x86_64
QEMU_OURS    := $(wildcard hw/virtio/*.c hw/misc/*.c include/hw/virtio/*.h \
                           tests/qtest/*.[ch] tests/qtest/libqos/*.[ch] \
                           tests/qtest/fuzz/*.c configs/devices/*/*.mak)
QEMU_WIRE    := $(QEMU_TREE)/include/standard-headers/linux/virtio_mem.h
QEMU_PATCHES := $(sort $(wildcard patches/qemu/*.patch))
PYTOOLS      := $(CURDIR)/$(B)/pytools/usr
FIRMWARE     := /usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu

LINUX        := $(B)/linux
LINUX_TREE   := $(B)/linux-src
MODULE       := $(B)/module/virtio_mem.ko
DRIVER_DIR   := drivers/virtio/virtio_mem
DRIVER_CODE  := $(wildcard $(DRIVER_DIR)/*.[ch])
DRIVER       := $(DRIVER_CODE) $(DRIVER_DIR)/Makefile \
                include/uapi/linux/virtio_mem.h
TEST_MODULES := $(wildcard guest/modules/*.c)
DEB          := $(B)/deb/virtio-mem-dkms_$(VERSION)_all.deb
DEB_TREE     := $(B)/deb/tree
LINUX_PATCHES := $(sort $(wildcard patches/linux/*.patch))

# Debian packages, by what needs them
PKG_QEMU     := gcc make patch xz-utils pkg-config ninja-build python3-venv \
                debian-archive-keyring libglib2.0-dev zlib1g-dev libfdt-dev \
                libnuma-dev libslirp-dev libseccomp-dev seabios \
                qemu-system-data ipxe-qemu
PKG_MODULE   := gcc make xz-utils libelf-dev dwarves
PKG_DEB      := dpkg-dev debhelper dh-dkms
PKG_GUEST    := gcc libc6-dev cpio gzip xz-utils
PKG_RUN      := python3
PKG_DEMO     := python3-rich
PKG_BENCH    := e2fsprogs
PKG_COVERAGE := gcovr
PKG_DOCS     := python3-sphinx python3-myst-parser python3-sphinx-rtd-theme
PKG_FUZZ     := clang libclang-rt-dev llvm
PKG_CHECK    := python3-pytest python3-pytest-xdist python3-rich makedumpfile \
                python3-pyelftools qemu-system-x86 perl git flex bison bc \
                mmdebstrap e2fsprogs strace util-linux libvirt-daemon \
                libvirt-daemon-driver-qemu libvirt-clients python3-libvirt

export PYTHONPATH := $(CURDIR)/$(QEMU_TREE)/python:$(CURDIR)/tools

.PHONY: help
help: ## this list (also plain `make`)
	@echo 'virtio-mem: resize the memory of running virtual machines'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
		column -t -s '|'
	@echo
	@echo 'Variables: QEMU_SRC=DIR KDIR=DIR LINUX_SRC=DIR trees of your own;'
	@echo '           ACCEL=kvm where it works (default tcg); JOBS=N;'
	@echo '           TESTS="PATH... -k NAME" what to check; DEMO=--help;'
	@echo '           GUEST_TESTS=PATH the same in guests with other kernels,'
	@echo '           GUEST_SKIP="WORD..." without tests that have these words;'
	@echo '           FUZZ_S=N seconds to fuzz (default 600);'
	@echo '           SOAK_S=N seconds of `make soak-driver` (default 1800);'
	@echo '           PROTECTION=MODE of our devices in tests with a guest;'
	@echo '           BENCH=--help; QUICK=1 a short `make bench`;'
	@echo '           FAULTS=WORD; SEED=N repeats what was random; STEPS=N'
	@echo '           how much of that'

# Remembers the value of a variable, so that another one rebuilds.
.PHONY: force
$(STAMP)/value-%: force
	@mkdir -p $(@D)
	@echo '$($*)' | cmp -s - $@ || echo '$($*)' >$@

# --- QEMU ---------------------------------------------------------------

# What tests and benchmarks run
TEST_PROGRAMS := qemu-system-x86_64 tests/qtest/qos-test \
                 tests/qtest/virtio-mem-model-test tests/qtest/virtio-mem-bench

.PHONY: qemu
qemu: $(QEMU_BUILD)/build.ninja $(QEMU_WIRE) ## the device: build/qemu/qemu-system-x86_64
	@tools/link-tree $(QEMU_TREE) $(QEMU_OURS)
	@$(PYENV) tools/ninja-build QEMU $(B)/qemu.log $(QEMU_BUILD) -j $(JOBS) \
		$(TEST_PROGRAMS) qemu-img storage-daemon/qemu-storage-daemon

$(STAMP)/packages-%: Makefile
	@tools/need-packages $(PKG_$(shell echo $* | tr a-z A-Z))
	@mkdir -p $(@D) && touch $@

$(FETCH)/qemu.stamp: versions.mk | $(STAMP)/packages-qemu
	@echo 'fetching QEMU $(QEMU_SERIES) ...'
	@rm -rf $(FETCH)/qemu && mkdir -p $(FETCH)/qemu
	@cd $(FETCH)/qemu && for verb in 'source qemu' 'download meson' \
		'download python3-pycotap'; do \
		$(CURDIR)/$(APT) $(QEMU_SUITE) $$verb >fetch.log 2>&1 || \
			{ cat fetch.log >&2; exit 1; }; done
	@touch $@

$(STAMP)/pytools: $(FETCH)/qemu.stamp
	@rm -rf $(B)/pytools && mkdir -p $(B)/pytools
	@for deb in $(FETCH)/qemu/*.deb; do dpkg-deb -x $$deb $(B)/pytools; done
	@touch $@

$(STAMP)/qemu-tree: $(QEMU_PATCHES) tools/unpack-tree $(STAMP)/value-QEMU_SRC \
		$(if $(QEMU_SRC),,$(FETCH)/qemu.stamp)
	@echo 'unpacking QEMU ...'
	@tools/unpack-tree $(or $(QEMU_SRC),$(FETCH)/qemu/qemu_*.orig.tar.xz) \
		$(QEMU_TREE) $(QEMU_SERIES)
	@tools/patch-tree $(QEMU_TREE) $(QEMU_PATCHES)
	@mkdir -p $(@D) && touch $@

# QEMU's own spelling of the wire format: its fixed-width types and include paths.
$(QEMU_WIRE): include/uapi/linux/virtio_mem.h $(STAMP)/qemu-tree
	@sed -e 's|<linux/\(.*\)>|"standard-headers/linux/\1"|' \
	     -e 's/__\(u\|le\)\([0-9][0-9]*\) /uint\2_t /' -e 's/__u8 /uint8_t /' \
		$< >$@

PYENV = PATH=$(PYTOOLS)/bin:$$PATH PYTHONPATH=$(PYTOOLS)/lib/python3/dist-packages

QEMU_OPTIONS := --target-list=x86_64-softmmu --without-default-features \
                --enable-system --enable-tools --enable-kvm --enable-tcg \
                --enable-numa --enable-slirp --enable-vhost-user \
                --enable-vhost-user-blk-server --enable-vhost-kernel \
                --enable-vhost-net --enable-seccomp --enable-fdt=system \
                --enable-trace-backends=log --disable-docs \
                --disable-download --disable-install-blobs \
                --firmwarepath=$(FIRMWARE)

# Little else than the device, as clang takes long, and what finds its mistakes.
FUZZ_OPTIONS := --target-list=x86_64-softmmu --without-default-features \
                --without-default-devices \
                --with-devices-x86_64=virtio-mem-fuzz --enable-system \
                --enable-kvm --disable-tcg --enable-fuzzing --enable-asan \
                --enable-ubsan --enable-trace-backends=nop --disable-docs \
                --disable-download --disable-install-blobs \
                --firmwarepath=$(FIRMWARE)

# $(call configure,TREE,BUILD,COMPILER,OPTIONS), by default QEMU_OPTIONS
configure = mkdir -p $(2) && cd $(2) && $(PYENV) CC='$(3)' \
		$(CURDIR)/$(1)/configure --python=$(PYTHON) \
		$(or $(4),$(QEMU_OPTIONS)) >configure.log 2>&1 || \
		{ tail -n 20 configure.log >&2; exit 1; }

# In its build tree QEMU looks for firmware below qemu-bundle only.
# $(call link-firmware,BUILD)
link-firmware = for dir in $(subst :, ,$(FIRMWARE)); do \
		mkdir -p $(1)/qemu-bundle$$(dirname $$dir); \
		ln -sfn $$dir $(1)/qemu-bundle$$dir; done

# A released tree of the user's brings its own Meson; Debian's archive does not.
QEMU_PYTOOLS = $(if $(wildcard $(QEMU_SRC)/python/wheels/meson*),,$(STAMP)/pytools)

$(QEMU_BUILD)/build.ninja: $(STAMP)/qemu-tree $(QEMU_PYTOOLS) \
		$(STAMP)/value-QEMU_OPTIONS | $(STAMP)/packages-qemu
	@tools/link-tree $(QEMU_TREE) $(QEMU_OURS)
	@echo 'configuring QEMU ...'
	@$(call configure,$(QEMU_TREE),$(QEMU_BUILD),$(GCC))
	@$(call link-firmware,$(QEMU_BUILD))
	@touch $@

# The stock tree, with its own device, to compare with and to migrate to.  Only
# the patch that lets Debian's archive build is applied.
$(STAMP)/qemu-stock-tree: tools/unpack-tree $(FETCH)/qemu.stamp
	@echo 'unpacking stock QEMU ...'
	@tools/unpack-tree --stock $(FETCH)/qemu/qemu_*.orig.tar.xz \
		$(STOCK_TREE) $(QEMU_SERIES)
	@tools/patch-tree $(STOCK_TREE) $(firstword $(QEMU_PATCHES))
	@touch $@

$(STOCK_BUILD)/build.ninja: $(STAMP)/qemu-stock-tree $(STAMP)/pytools \
		$(STAMP)/value-QEMU_OPTIONS | $(STAMP)/packages-qemu
	@echo 'configuring stock QEMU ...'
	@$(call configure,$(STOCK_TREE),$(STOCK_BUILD),$(GCC))
	@$(call link-firmware,$(STOCK_BUILD))
	@touch $@

.PHONY: qemu-stock
qemu-stock: $(STOCK_BUILD)/qemu-system-x86_64 ## the untouched tree, to compare with: build/qemu-stock/
$(STOCK_BUILD)/qemu-system-x86_64: $(STOCK_BUILD)/build.ninja
	@$(PYENV) tools/ninja-build 'stock QEMU' $(B)/qemu-stock.log $(STOCK_BUILD) \
		-j $(JOBS) qemu-system-x86_64

# --- Linux --------------------------------------------------------------

$(STAMP)/linux: versions.mk tools/fetch-linux | $(STAMP)/packages-module
	@echo 'fetching Linux $(LINUX_SERIES) ...'
	@tools/fetch-linux $(LINUX_SERIES) $(LINUX) $(FETCH)/linux
	@mkdir -p $(@D) && touch $@

$(STAMP)/linux-%: versions.mk tools/fetch-linux | $(STAMP)/packages-module
	@echo 'fetching Linux $* ...'
	@tools/fetch-linux $* $(LINUX)-$* $(FETCH)/linux
	@mkdir -p $(@D) && touch $@

# Our own build of the source, with all that finds mistakes
$(STAMP)/linux-debug: tools/build-linux configs/linux/debug.config $(STAMP)/linux-tree
	@echo 'building the debug kernel ...'
	@tools/build-linux $(LINUX_TREE) configs/linux/debug.config $(LINUX)-debug $(JOBS)
	@touch $@

.PHONY: module
module: $(MODULE) ## the driver: build/module/virtio_mem.ko (for the test guest, or KDIR)

# $(call build-module,DIR,KDIR,KBUILD,SOURCES)
build-module = mkdir -p $(1) && cp $(3) $(1)/Kbuild && \
	find $(1) -type l -delete && ln -s $(addprefix $(CURDIR)/,$(4)) $(1)/ && \
	{ MAKEFLAGS= $(MAKE) -s -C $(2) M=$(CURDIR)/$(1) VIRTIO_MEM=$(CURDIR) \
		VIRTIO_MEM_VERSION=$(VERSION) W=1 modules >$(1).log 2>&1 || \
		{ cat $(1).log >&2; exit 1; }; } && \
	! grep -n 'warning:' $(1).log >&2

$(MODULE): $(DRIVER) $(STAMP)/value-KDIR tools/module.kbuild \
		$(if $(KDIR),,$(STAMP)/linux) | $(STAMP)/packages-module
	@$(if $(KDIR),tools/check-kernel $(KDIR) $(LINUX_MIN))
	@$(call build-module,$(@D),$(or $(KDIR),$(CURDIR)/$(LINUX)/headers),tools/module.kbuild,$(DRIVER_CODE))

$(B)/module-%/virtio_mem.ko: $(DRIVER) tools/module.kbuild $(STAMP)/linux-%
	@$(call build-module,$(@D),$(CURDIR)/$(LINUX)-$*/headers,tools/module.kbuild,$(DRIVER_CODE))

.PHONY: deb
deb: $(DEB) ## the driver as a DKMS package: build/deb/virtio-mem-dkms_VERSION_all.deb

$(DEB): $(DRIVER) tools/module.kbuild versions.mk docs/driver.md \
		$(wildcard packaging/debian/* packaging/debian/source/*) \
		| $(STAMP)/packages-deb
	@rm -rf $(@D) && mkdir -p $(DEB_TREE)
	@cp -r packaging/debian docs/driver.md $(DEB_TREE)/
	@cp --parents $(DRIVER) $(DEB_TREE)/
	@cp tools/module.kbuild $(DEB_TREE)/$(DRIVER_DIR)/Kbuild
	@sed -i 's/#LINUX_MIN#/$(LINUX_MIN)/' $(DEB_TREE)/debian/*.dkms
	@cd $(DEB_TREE) && dpkg-buildpackage -b -us -uc >../deb.log 2>&1 || \
		{ cat ../deb.log >&2; exit 1; }
	@echo '$@'

.PHONY: docs
docs: | $(STAMP)/packages-docs ## the documentation: build/docs/html/index.html, manual pages in build/docs/man
	@$(PYTHON) -m sphinx -W --keep-going -q -b html -d $(B)/docs/doctrees docs $(B)/docs/html
	@$(PYTHON) -m sphinx -W --keep-going -q -b man -d $(B)/docs/doctrees docs $(B)/docs/man
	@echo '$(B)/docs/html/index.html'

.PHONY: linux-src
linux-src: $(STAMP)/linux-tree ## the kernel's source, for its checkpatch and in-tree builds
$(STAMP)/linux-tree: versions.mk tools/unpack-tree $(LINUX_PATCHES) $(STAMP)/value-LINUX_SRC | $(STAMP)/packages-module
	@echo 'unpacking the source of Linux $(LINUX_SERIES) ...'
	@mkdir -p $(FETCH)/linux-source
	@$(if $(LINUX_SRC),true,cd $(FETCH)/linux-source && \
		ls linux-source-*.deb >/dev/null 2>&1 || \
		apt-get download -q linux-source-$(LINUX_SERIES) >fetch.log 2>&1 || \
		{ cat fetch.log >&2; exit 1; })
	@$(if $(LINUX_SRC),true,cd $(FETCH)/linux-source && \
		dpkg-deb -x linux-source-*.deb .)
	@tools/unpack-tree $(or $(LINUX_SRC),$(FETCH)/linux-source/usr/src/linux-source-$(LINUX_SERIES).tar.xz) \
		$(LINUX_TREE) $(LINUX_SERIES)
	@tools/patch-tree $(LINUX_TREE) $(LINUX_PATCHES)
	@ln -sfn $(CURDIR)/$(DRIVER_DIR) $(LINUX_TREE)/drivers/virtio/virtio_mem
	@ln -sf $(CURDIR)/include/uapi/linux/virtio_mem.h $(LINUX_TREE)/include/uapi/linux/
	@rm -rf $(FETCH)/linux-source/usr
	@mkdir -p $(@D) && touch $@

# --- Test guest ---------------------------------------------------------

.PHONY: guest
guest: $(B)/guest/vmlinuz $(B)/guest/initrd ## the test guest: build/guest/vmlinuz and initrd

$(B)/guest/vmlinuz: $(STAMP)/linux
	@mkdir -p $(@D) && cp -L $(LINUX)/vmlinuz $@

$(B)/guest/init: $(wildcard guest/*.c guest/*.h) | $(STAMP)/packages-guest
	@mkdir -p $(@D)
	@gcc -static -O2 -Wall -Wextra -Werror -Wno-format-zero-length -o $@ $(filter %.c,$^)

# What else a test may load, for the usual kernel and for others
$(B)/test-modules/modules.order: $(TEST_MODULES) guest/modules/Kbuild $(STAMP)/linux | $(STAMP)/packages-module
	@$(call build-module,$(@D),$(CURDIR)/$(LINUX)/headers,guest/modules/Kbuild,$(TEST_MODULES))

$(B)/test-modules-%/modules.order: $(TEST_MODULES) guest/modules/Kbuild $(STAMP)/linux-%
	@$(call build-module,$(@D),$(CURDIR)/$(LINUX)-$*/headers,guest/modules/Kbuild,$(TEST_MODULES))

$(B)/guest/initrd: $(B)/guest/init $(MODULE) $(B)/test-modules/modules.order tools/make-initrd $(STAMP)/linux | $(STAMP)/packages-guest
	@tools/make-initrd $@ $(B)/guest/init $(MODULE) $(B)/test-modules $(LINUX)/modules

$(B)/guest-%/vmlinuz: $(STAMP)/linux-%
	@mkdir -p $(@D) && cp -L $(LINUX)-$*/vmlinuz $@

$(B)/guest-%/initrd: $(B)/guest/init $(B)/module-%/virtio_mem.ko $(B)/test-modules-%/modules.order tools/make-initrd | $(STAMP)/packages-guest
	@tools/make-initrd $@ $(B)/guest/init $(B)/module-$*/virtio_mem.ko $(B)/test-modules-$* $(LINUX)-$*/modules

.SECONDARY:

# What looks into a dump of the guest
$(STAMP)/crash: versions.mk tools/fetch-crash $(STAMP)/linux | $(STAMP)/packages-check
	@echo 'fetching crash, and symbols of Linux $(LINUX_SERIES) ...'
	@tools/fetch-crash $(LINUX) $(B)/crash $(FETCH)/linux $(CRASH_SUITE) $(B)/apt
	@touch $@

$(STAMP)/libvirt: versions.mk tools/fetch-libvirt | $(STAMP)/packages-check
	@echo 'fetching libvirt of $(LIBVIRT_SUITE) ...'
	@tools/fetch-libvirt $(LIBVIRT_SUITE) $(B)/libvirt $(B)/apt
	@touch $@

# --- Demo and checks ----------------------------------------------------

.PHONY: demo
demo: qemu guest | $(STAMP)/packages-demo ## watch a guest grow and shrink
	@$(PYTHON) -m demo $(DEMO)

.PHONY: demo-rogue
demo-rogue: qemu guest | $(STAMP)/packages-demo ## watch a guest use what it gave back, with and without protection
	@$(PYTHON) -m demo.rogue

.PHONY: check
check: qemu qemu-stock guest linux-src deb $(STAMP)/crash | $(STAMP)/packages-check $(STAMP)/packages-docs ## all tests; the last line counts them
	@$(PYTHON) -m pytest -qq -p no:cacheprovider -n $(JOBS) --dist loadgroup $(TESTS)

.PHONY: check-others
check-others: $(addprefix check-,$(LINUX_OTHERS)) ## the tests of the driver in guests with other kernels: Linux 6.1

.PHONY: check-libvirt
check-libvirt: qemu guest $(STAMP)/libvirt | $(STAMP)/packages-check ## the tests with libvirt, in the newer one of the backports
	@LIBVIRT_SYSTEM=$(CURDIR)/$(B)/libvirt/system $(PYTHON) -m pytest -qq \
		-p no:cacheprovider -n $(JOBS) tests/libvirt

check-debug: ## the tests with a guest, on a kernel with KASAN, lockdep and the like

# What is about our device alone needs no other kernel.
check-%: qemu qemu-stock $(B)/guest-%/vmlinuz $(B)/guest-%/initrd | $(STAMP)/packages-check
	@GUEST_KERNEL=$* $(PYTHON) -m pytest -qq -p no:cacheprovider -n $(JOBS) \
		--dist loadgroup $(GUEST_TESTS) \
		-k 'not stock-driver and not rogue$(addprefix $() and not ,$(GUEST_SKIP))'

$(COV_BUILD)/build.ninja: $(STAMP)/qemu-tree $(QEMU_PYTOOLS) \
		$(STAMP)/value-QEMU_OPTIONS tools/cc-coverage
	@echo 'configuring QEMU for coverage ...'
	@$(call configure,$(QEMU_TREE),$(COV_BUILD),$(CURDIR)/tools/cc-coverage)
	@$(call link-firmware,$(COV_BUILD))
	@touch $@

.PHONY: coverage
coverage: qemu qemu-stock guest linux-src deb $(COV_BUILD)/build.ninja | $(STAMP)/packages-check $(STAMP)/packages-coverage ## which lines and branches of the device `make check` runs
	@$(PYENV) tools/ninja-build 'QEMU for coverage' $(B)/qemu-coverage.log $(COV_BUILD) \
		-j $(JOBS) $(TEST_PROGRAMS) storage-daemon/qemu-storage-daemon
	@tools/coverage $(COV_BUILD) $(TESTS)

$(ASAN_BUILD)/build.ninja: $(STAMP)/qemu-tree $(QEMU_PYTOOLS) \
		$(STAMP)/value-QEMU_OPTIONS | $(STAMP)/packages-qemu
	@echo 'configuring QEMU with sanitizers ...'
	@$(call configure,$(QEMU_TREE),$(ASAN_BUILD),$(GCC),$(QEMU_OPTIONS) \
		--enable-asan --enable-ubsan)
	@$(call link-firmware,$(ASAN_BUILD))
	@touch $@

.PHONY: check-asan
check-asan: qemu $(ASAN_BUILD)/build.ninja | $(STAMP)/packages-check ## the tests of the device without a guest, with AddressSanitizer and UBSan
	@$(PYENV) tools/ninja-build 'QEMU with sanitizers' $(B)/qemu-asan.log $(ASAN_BUILD) \
		-j $(JOBS) $(TEST_PROGRAMS) storage-daemon/qemu-storage-daemon
	@QEMU_BUILD=$(ASAN_BUILD) ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 \
		UBSAN_OPTIONS=halt_on_error=1 $(PYTHON) -m pytest -qq -p no:cacheprovider -n $(JOBS) \
		tests/qtest/test_qtest.py

$(MUTATE_BUILD)/build.ninja: $(STAMP)/qemu-tree $(QEMU_PYTOOLS) $(STAMP)/value-QEMU_OPTIONS
	@echo 'configuring QEMU for faults ...'
	@rm -rf $(MUTATE_TREE) && cp -a $(QEMU_TREE) $(MUTATE_TREE)
	@tools/link-tree $(MUTATE_TREE) $(QEMU_OURS)
	@$(call configure,$(MUTATE_TREE),$(MUTATE_BUILD),$(GCC))
	@$(call link-firmware,$(MUTATE_BUILD))
	@touch $@

.PHONY: mutate
mutate: qemu qemu-stock guest $(MUTATE_BUILD)/build.ninja | $(STAMP)/packages-check ## which tests find each of the faults in tests/faults/
	@tools/link-tree $(MUTATE_TREE) $(QEMU_OURS)
	@rm -f $(MUTATE_BUILD)/*.p/hw_virtio_virtio-*.o # a run that was killed left a fault
	@$(PYENV) tools/ninja-build 'QEMU for faults' $(B)/qemu-mutate.log $(MUTATE_BUILD) \
		-j $(JOBS) $(TEST_PROGRAMS)
	@PATH=$(PYTOOLS)/bin:$$PATH \
		PYTHONPATH=$(PYTOOLS)/lib/python3/dist-packages:$$PYTHONPATH \
		tools/mutate device $(MUTATE_TREE) $(MUTATE_BUILD) $(FAULTS)

# Guests whose driver has a fault
$(STAMP)/linux-mutate: $(STAMP)/linux
	@ln -sfn linux $(LINUX)-mutate && touch $@

$(STAMP)/linux-mutate-debug: $(STAMP)/linux-debug
	@ln -sfn linux-debug $(LINUX)-mutate-debug && touch $@

.PHONY: mutate-driver
mutate-driver: qemu qemu-stock $(STAMP)/linux-mutate $(STAMP)/linux-mutate-debug | $(STAMP)/packages-check ## the same for the driver
	@rm -rf $(B)/driver-mutate && cp -r $(DRIVER_DIR) $(B)/driver-mutate
	@tools/mutate driver $(B)/driver-mutate . $(FAULTS)

$(FUZZ_BUILD)/build.ninja: $(STAMP)/qemu-tree $(QEMU_PYTOOLS) tools/cc-fuzz \
		$(STAMP)/value-FUZZ_OPTIONS | $(STAMP)/packages-qemu $(STAMP)/packages-fuzz
	@tools/link-tree $(QEMU_TREE) $(QEMU_OURS)
	@echo 'configuring the fuzzers ...'
	@$(call configure,$(QEMU_TREE),$(FUZZ_BUILD),$(CURDIR)/tools/cc-fuzz,$(FUZZ_OPTIONS))
	@$(call link-firmware,$(FUZZ_BUILD))
	@touch $@

.PHONY: fuzzers
fuzzers: $(FUZZ_BUILD)/build.ninja $(QEMU_WIRE)
	@tools/link-tree $(QEMU_TREE) $(QEMU_OURS)
	@$(PYENV) tools/ninja-build 'the fuzzers' $(B)/qemu-fuzz.log $(FUZZ_BUILD) \
		-j $(JOBS) $(notdir $(FUZZERS))

.PHONY: fuzz
fuzz: fuzzers ## hostile input for FUZZ_S seconds; the last line sums it up
	@tools/fuzz $(FUZZERS) $(B)/fuzz --seconds $(FUZZ_S) --jobs $(JOBS)

.PHONY: fuzz-keep
fuzz-keep: fuzzers ## the kept inputs: as few as reach all that was reached
	@tools/fuzz $(FUZZERS) $(B)/fuzz --keep

.PHONY: soak soak-device soak-driver
soak: soak-device soak-driver ## the next two

soak-device: qemu ## a million random steps of the device and a model of it
	@$(PYTHON) -m soak $(JOBS)

soak-driver: qemu guest | $(STAMP)/packages-bench ## half an hour of a guest that is never left in peace
	@$(PYTHON) -m soak_driver

.PHONY: bench
bench: qemu guest | $(STAMP)/packages-demo $(STAMP)/packages-bench ## the driver's speed beside the stock one's; QUICK=1: in 3 minutes
	@$(PYTHON) -m bench $(BENCH)

.PHONY: bench-device
bench-device: qemu qemu-stock | $(STAMP)/packages-demo ## the device's speed beside the stock one's
	@tools/bench-device $(BENCH)

.PHONY: bench-protection
bench-protection: qemu qemu-stock guest | $(STAMP)/packages-demo ## what the protection of unplugged memory costs
	@tools/bench-protection $(BENCH)

.PHONY: clean
clean: ## remove what was built, keep what was fetched
	@[ ! -d $(B) ] || find $(B) -mindepth 1 -maxdepth 1 ! -name fetch ! -name apt -exec rm -rf {} +
