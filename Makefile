# SPDX-License-Identifier: GPL-2.0
# The user's commands; `make help` lists them. KERNEL=7.3: with this series of kernels. What the module is linked from is
# in Kbuild, what the programs are built from in userspace/Cargo.toml.

MANIFEST := userspace/Cargo.toml
CHECKER := cargo run --quiet --release --locked --manifest-path $(MANIFEST) --package pagemove-check --
XTASK := cargo run --quiet --locked --manifest-path $(MANIFEST) --package xtask -- \
	$(if $(KERNEL),--series "$(KERNEL)")

# What cargo makes on its way outlives the checkout: most of it is the crates of others.
# Each path of a checkout has its own: in one directory cargo takes the crates of two
# checkouts for each other, and runs what the other one has built. A new one begins with the crates of
# others that the last one had (userspace/seed.sh).
# (Cargo 1.91; older ones keep it in the checkout.)
ifndef CARGO_BUILD_BUILD_DIR
SEED := userspace/seed.sh
export CARGO_BUILD_BUILD_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pagemove/cargo/$(shell pwd -P | sha256sum | cut -c1-16)
endif

# As `make programs` builds it: with nothing to be installed beside it.
TOOL ?= $(or $(CARGO_TARGET_DIR),userspace/target)/x86_64-unknown-linux-gnu/release/pagemove
PREFIX ?= /usr/local
PACKED := $(or $(KO),$(if $(KDIR),pagemove.ko,build/pagemove.ko))
INSTALL := DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" TOOL="$(TOOL)" KO="$(PACKED)" packaging/install.sh

.DEFAULT_GOAL := module
.PHONY: module build-root programs tool install uninstall deb sign fmt clippy check check-list check-deep check-debug check-kcsan sabotage \
	model mutants bench bench-page bench-mg bench-engine plot demo storm clean help cargo

module: cargo ## build/pagemove.ko for the stock kernel; KDIR=TREE: pagemove.ko for that kernel tree
	@$(XTASK) module $(if $(KDIR),--kdir "$(KDIR)")

build-root: cargo ## root file system with toolchain, kernel and QEMU, in the cache; MIRROR=URL; KERNEL=7.2: this series
	@$(XTASK) build-root $(if $(MIRROR),--mirror "$(MIRROR)")

programs: cargo ## the command line tool `pagemove` and the test programs, static
	@$(XTASK) programs

tool: cargo ## the command line tool alone, static
	@RUSTFLAGS="$(strip $(RUSTFLAGS) -C target-feature=+crt-static)" cargo build --quiet --release --locked \
		--manifest-path $(MANIFEST) --target x86_64-unknown-linux-gnu --package pagemove
	@echo $(TOOL)

# Builds nothing, so that root needs no compiler.
install: ## tool, header, manuals, completion, rules, module (KO=FILE, or with KDIR the one built there; KO=none); PREFIX, DESTDIR
	@$(INSTALL) install

uninstall: ## take away what `make install` has put there, with the same PREFIX and DESTDIR
	@$(INSTALL) uninstall

deb: ## build/deb: packages for Debian of the tool, of the module KO=FILE, and of its source for dkms; VERSION=
	@TOOL="$(TOOL)" KO="$(PACKED)" VERSION="$(VERSION)" packaging/deb.sh build/deb

sign: cargo ## sign build/pagemove.ko with KEY=FILE CERT=FILE; KDIR=TREE: pagemove.ko, by that tree's program; KO=FILE: this one
	@$(if $(and $(KEY),$(CERT)),,echo "usage: make sign KEY=key.pem CERT=cert.pem [KDIR=tree] [KO=file.ko]" >&2; exit 1)
	@$(XTASK) sign --key "$(KEY)" --cert "$(CERT)" $(if $(KDIR),--kdir "$(KDIR)") $(if $(KO),--ko "$(KO)")

fmt: cargo ## format every source file, with the build root's rustfmt and clang-format
	@$(XTASK) fmt

clippy: cargo ## clippy's lints, of the build root's compiler, on all programs and tests
	@$(XTASK) check host-clippy

check: cargo ## every test but the long ones; T=PATTERN: those alone whose name matches; JOBS=N; KERNEL=7.2
	@$(XTASK) check $(if $(JOBS),--jobs $(JOBS)) $(if $(T),"$(T)")

check-list: cargo ## every test, with one line on what it shows
	@$(XTASK) check --list

check-deep: cargo ## the long ones, too (the storm and what needs other kernels apart)
	@$(XTASK) check --deep

check-debug: cargo ## tests in a VM on a kernel with KASAN, lockdep, kmemleak, fault injection; T=PATTERN; JOBS=N
	@$(XTASK) check --kernel kasan $(if $(JOBS),--jobs $(JOBS)) $(if $(T),"$(T)")

check-kcsan: cargo ## tests of two CPUs at once on a kernel with KCSAN; T=PATTERN; JOBS=N
	@$(XTASK) check --kernel kcsan $(if $(JOBS),--jobs $(JOBS)) $(if $(T),"$(T)")

sabotage: cargo ## leave out one step at a time: is it noticed?
	@$(XTASK) sabotage

model: cargo ## every state of the protocol, on a machine that is as bad as hardware may be; ONLY=PART of a name
	@$(CHECKER) model $(if $(ONLY),--only "$(ONLY)")
	@$(if $(ONLY),,$(CHECKER) resize)

mutants: cargo ## leave out one step of the protocol: does the model notice? ONLY=PART; traces: build/traces
	@$(CHECKER) mutants --traces build/traces $(if $(ONLY),--only "$(ONLY)")
	@$(if $(ONLY),,$(CHECKER) resize --mutants)

bench: cargo ## what a move costs, beside VFIO's unmap and map, move_pages and a plain copy: a VM, minutes; JSON and SVG in build/bench
	@$(XTASK) bench

bench-page: cargo ## make Documentation/benchmarks.md of what `make bench` has measured last
	@$(XTASK) bench --page

bench-mg: cargo ## what messages and a move cost a program on 2 to 8 ranks (multigrid); minutes, without the module
	@$(XTASK) build-root
	@PAGEMOVE_BUILD_ROOT="$(or $(PAGEMOVE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pagemove)/build-root" \
		cargo bench --quiet --locked --manifest-path $(MANIFEST) --package pagemove-app --bench mg

bench-engine: cargo ## what the engine's own work costs: polls of the clock, pages of a batch
	@cargo bench --quiet --locked --manifest-path $(MANIFEST) --package pagemove-bench --bench costs

plot: cargo ## draw Documentation/controller.svg: the controller of rtm against fixed schedules
	@cargo run --quiet --release --locked --manifest-path $(MANIFEST) --package pagemove-sim \
		--bin controller -- --svg Documentation/controller.svg

demo: cargo ## move a guest's memory under live DMA, and watch; ENGINE=rtm: by emulated transactions; HOSTS=2: to another host
	@$(XTASK) demo $(if $(ENGINE),--engine "$(ENGINE)") $(if $(HOSTS),--hosts "$(HOSTS)")

storm: cargo ## a million blocks of NVMe devices whose memory is moved the whole time, by both engines, and watch
	@$(XTASK) storm

# What KDIR= leaves in the tree.
KBUILD_MADE := -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name '*.rmeta' -o -name '.*.cmd' \
	-o -name '.*.d' -o -name modules.order -o -name Module.symvers

clean: ## remove all that was built of this checkout, here and in the cache (the build root stays)
	@[ ! -x userspace/target/debug/xtask ] || userspace/target/debug/xtask clean
	@find . -maxdepth 1 -type f \( $(KBUILD_MADE) \) -exec rm -f {} +
	@find src -type f \( $(KBUILD_MADE) \) -exec rm -f {} +
	rm -rf build third_party userspace/migrate/fuzz/target
	@! command -v cargo >/dev/null || cargo clean --quiet --manifest-path $(MANIFEST)
	rm -rf userspace/target

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1@\2/p' Makefile | \
		while IFS=@ read -r name text; do printf '%-18s %s\n' "$$name" "$$text"; done

cargo:
	@command -v cargo >/dev/null || { \
		echo "cargo is missing: install Rust 1.85 or newer, with rustup or from your distribution" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "cc is missing: install gcc" >&2; exit 1; }
	@$(if $(SEED),$(SEED) "$(CARGO_BUILD_BUILD_DIR)")
