# `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

test: ## every test (root; installs what it needs)
	cargo test --workspace --locked

.PHONY: help test
