# `make` alone lists what there is. Everything here needs root and a Rust toolchain on Debian 12 or later.
SHELL := /bin/bash
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## coordinator, agent, one real build, in one folder
	@deploy/demo/run.sh

test: ## every test; installs what it needs
	deploy/tools/install.sh test
	cargo build --workspace --bins --locked
	cargo test --workspace --locked --no-fail-fast

chaos: ## builds while daemons, networks and disks fail; SEED= repeats a run, MINUTES= sets its length
	deploy/tools/install.sh test
	cargo build --workspace --bins --locked
	IMGCTL_CHAOS_SEED=$(SEED) IMGCTL_CHAOS_MINUTES=$(MINUTES) cargo test -p tests --test chaos --locked -- --nocapture

medium: ## a small install medium like Enterprise Linux 9, made of Debian packages, in the install root DIR; ARCH=ppc64le is one more
	deploy/tools/install.sh test
	cargo run -q -p tests --example medium --locked -- $(DIR) $(ARCH)

dist: ## packages of a release, .deb and .rpm, for x86_64 and ppc64le in target/dist-packages; ARCH=ppc64le makes those of one
	PROFILE=release QUICK= deploy/dist/dist.sh target/dist-packages $(ARCH)

emulated: ## of the tests, ppc64le under qemu-user: by an agent of this machine, and by one that is a ppc64le program itself
	deploy/tools/install.sh test
	cargo build --workspace --bins --locked
	cargo test --workspace --test nodes --locked -- emulated --nocapture

lab-parts:
	deploy/tools/install.sh lab
	QUICK=1 PROFILE=quick deploy/dist/dist.sh target/lab-packages ppc64le
	cargo build --workspace --bins --example lab --locked

lab: lab-parts ## nodes with x86_64 and ppc64le kernels under emulation, /install over NFS; STAGE= repeats one stage; resumes in LAB_STATE
	STAGE=$(STAGE) $${CARGO_TARGET_DIR:-target}/debug/examples/lab lab

lab-faults: lab-parts ## exports that squash root or are read-only, a server that is gone for good, the packaged units under systemd
	STAGE=$(STAGE) $${CARGO_TARGET_DIR:-target}/debug/examples/lab faults

lab-rpm: lab-parts ## an image like Enterprise Linux's, made by dnf on the lab's ppc64le node
	STAGE=$(STAGE) $${CARGO_TARGET_DIR:-target}/debug/examples/lab rpm

lab-bench: ## local scratch beside NFS on the lab's x86_64 node, publishing and uploading beside dd; figures of a release
	deploy/tools/install.sh lab
	cargo build --release --workspace --bins --example lab --locked
	STAGE=$(STAGE) $${CARGO_TARGET_DIR:-target}/release/examples/lab bench

lab-site: ## two bare nodes with a release's packages, to follow docs/INSTALL.md on
	deploy/tools/install.sh lab
	$(MAKE) dist ARCH=
	cargo build --workspace --bins --example lab --locked
	$${CARGO_TARGET_DIR:-target}/debug/examples/lab site

lint: ## formatting and lints, as a change should pass them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

bench: ## the figures of docs/PERFORMANCE.md, beside those of peers; SECTION= picks one of start, lines, genimage, el9, fleet, pack
	deploy/tools/install.sh test
	cargo build --release --workspace --bins --locked
	[ "$(SECTION)" = pack ] || cargo bench -p tests --bench system --locked -- $(SECTION)
	[ -n "$(filter-out pack,$(SECTION))" ] || tests/benches/pack.sh "$$(find $${DEMO_STATE:-/var/tmp/imgctl-demo}/install/netboot -maxdepth 4 -path "*/compute/rootimg" -print -quit)/"

.PHONY: help demo test chaos medium dist emulated lab-parts lab lab-faults lab-rpm lab-bench lab-site lint bench
