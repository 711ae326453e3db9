# What a person types. Everything else hangs on these.
CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test bench fmt lint

help: ## List the targets.
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: ## Jira, relay and agent on this machine; a few calls; stays up until Ctrl-C.
	@$(CARGO) build --release --locked --bins --example jira-stand-in --example demo
	@exec "$${CARGO_TARGET_DIR:-target}/release/examples/demo"

test: ## Everything that must hold, part by part; ONLY=part,part runs some.
	@exec tests/run

bench: ## Speed, CPU and memory beside nginx, and which bars hold. QUICK=1 for a short run.
	@exec benches/compare/run

fmt: ## Format the code.
	$(CARGO) fmt

lint: ## Format check and clippy, warnings denied.
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
