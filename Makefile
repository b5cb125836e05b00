# `make` alone lists what there is. Everything here needs root and a Rust toolchain on Debian 12 or later.
SHELL := /bin/bash
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## coordinator, agent, one real build, in one folder
	@deploy/demo/run.sh

test: ## every test; installs what it needs
	deploy/tools/install.sh test
	cargo build --workspace --bins --locked
	cargo test --workspace --locked --no-fail-fast

lint: ## formatting and lints, as a change should pass them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: help demo test lint
