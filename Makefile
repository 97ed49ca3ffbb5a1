# Every task of the project. `make help` lists them; .ci/run and git hooks call these targets and nothing else.
# Stamps in .venv tell what is up to date: a second `make serve` starts at once.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
# Given to `serve`, `bench`, `bench-proxy` and to pytest under `test`: make serve ARGS="--port 9000"
ARGS ?=
# How long `make fuzz` runs, in seconds for each target.
SECONDS ?= 600
# thin LTO: nearly the speed of `release`, in a third of its build time.
PROFILE ?= dev-release

CORE_SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find rust/src -name '*.rs')
PYTHON_DIRS := python tests benches

# The first interpreter that is new enough; `make PYTHON=/path/to/python setup` chooses another.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)

.PHONY: setup
setup: $(VENV)/.core ## Make .venv, build the core, install the pinned tools; does nothing when nothing changed

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "dispatch needs Python 3.11 or newer: no python3.11, python3.12, python3.13 or python3 of that age in PATH. Try make PYTHON=/path/to/python setup" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) has no ensurepip; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Hashes are required, so that what is installed is what was reviewed.
$(VENV)/.packages: requirements-dev.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@touch $@

$(VENV)/.core: $(CORE_SOURCES) $(VENV)/.packages
	@command -v cargo >/dev/null || { echo "dispatch needs a Rust toolchain (cargo) in PATH: https://rustup.rs" >&2; exit 1; }
	@echo "building the core"
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . \
		--config-settings build-args="--locked --profile $(PROFILE)"
	@touch $@

.PHONY: serve
serve: setup ## Start the sidecar, setting up what is missing: make serve ARGS="--port 9000"
	@exec $(BIN)/dispatch serve $(ARGS)

.PHONY: format
format: setup ## Format all sources, mend what the linters can mend
	$(BIN)/ruff format $(PYTHON_DIRS)
	$(BIN)/ruff check --fix $(PYTHON_DIRS)
	cargo fmt

.PHONY: check
check: setup check-pages check-python check-rust docs ## Formatting, lints, types, stub against binary, floors, clippy, links of the docs

.PHONY: check-python
check-python: setup
	$(BIN)/ruff format --check $(PYTHON_DIRS)
	$(BIN)/ruff check $(PYTHON_DIRS)
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest dispatch._core --allowlist tests/typing/stubtest-allowlist.txt --mypy-config-file pyproject.toml
	$(BIN)/lint-imports

# Before `docs`, which would mend them.
.PHONY: check-pages
check-pages: setup
	$(BIN)/python -m dispatch.config.reference | diff -u docs/configuration.md -
	$(BIN)/python -m dispatch.failures | diff -u docs/failures.md -
	$(BIN)/python -m dispatch.telemetry.reference | diff -u docs/metrics.md -

.PHONY: check-rust
check-rust:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	PYO3_PYTHON=$(abspath $(BIN)/python) cargo clippy --locked --all-targets --features python -- -D warnings

.PHONY: test
test: setup ## cargo test without Python, then pytest: make test ARGS="-k retry"
	cargo test --locked --quiet
	$(BIN)/pytest $(ARGS)

.PHONY: conformance
conformance: setup ## docs/conformance.md: recorded traffic of each provider, passed and failed; DISPATCH_WIRE_DIR names the recordings
	$(BIN)/python -m tests.contract.conformance docs/conformance.md

.PHONY: bench
bench: setup ## Micro-benchmarks of the core's face: make bench ARGS="-k acquire"
	$(BIN)/pytest benches/micro --benchmark-only --benchmark-group-by=group $(ARGS)

.PHONY: simulate
simulate: setup ## The simulator's goals and scenarios, some minutes; numbers are the same everywhere: make simulate ARGS="--save"
	$(BIN)/python -m benches.simulation $(ARGS)

.PHONY: bench-proxy
bench-proxy: setup ## CPU per request beside nginx's proxy_pass; needs nginx and wrk: make bench-proxy ARGS="--runs 7"
	$(BIN)/python -m benches.proxy $(ARGS)

.PHONY: bench-translated
bench-translated: setup ## CPU per event and per answer of an OpenAI client in front of Anthropic's API, beside passing through; needs nginx and wrk
	$(BIN)/python -m benches.translated $(ARGS)

.PHONY: bench-in-process
bench-in-process: setup ## Requests per second of the library on one core; needs nginx: make bench-in-process ARGS="--runs 9"
	$(BIN)/python -m benches.in_process $(ARGS)

.PHONY: bench-capacity
bench-capacity: setup ## Streams and memory of one worker, start, a second worker; needs nginx and wrk: make bench-capacity ARGS="--streams 9000"
	$(BIN)/python -m benches.capacity $(ARGS)

# Not in the lock: nothing here imports them, and only this target needs them.
REAL_PACKAGES := xllamacpp==2026.10.11549 gguf==0.19.0

.PHONY: real
real: setup ## OpenAI's SDK, a sidecar and llama.cpp's own server (from PyPI, 40 MB) on random weights
	test -x $(VENV)/real/bin/python || $(BIN)/python -m venv $(VENV)/real
	$(VENV)/real/bin/python -m pip install --quiet --disable-pip-version-check $(REAL_PACKAGES)
	DISPATCH_REAL_PYTHON=$(abspath $(VENV))/real/bin/python $(BIN)/pytest tests/contract/test_real_*.py $(ARGS)

EXTRA_PACKAGES := lancedb==0.40.0

.PHONY: extras
extras: setup ## LanceDB, which is too large for every run (75 MB, and pyarrow): its tests with it installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/extras $(EXTRA_PACKAGES)
	PYTHONPATH=$(abspath $(VENV))/extras $(BIN)/pytest tests/integration/test_retrieval_lance.py $(ARGS)

# Not in the lock either: each client has an environment of its own, made by uv of what its script names.
.PHONY: clients
clients: setup ## LangChain, LlamaIndex, pydantic-ai, instructor, DSPy, ... at a sidecar, from the registries: make clients ARGS="dspy"
	test -x $(VENV)/clients/bin/uv || { $(BIN)/python -m venv $(VENV)/clients && $(VENV)/clients/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'; }
	UV=$(abspath $(VENV))/clients/bin/uv UV_CACHE_DIR=$(abspath $(VENV))/clients/cache $(BIN)/python examples/clients/run.py $(ARGS)

.PHONY: aimock
aimock: setup ## SDKs, a sidecar and aimock (npm), a simulated provider that others wrote: seven dialects, tools, errors, chaos
	$(BIN)/python examples/clients/at_aimock.py

.PHONY: fuzz
fuzz: setup ## Feed hostile bytes to the parsers: make fuzz SECONDS=600
	DISPATCH_FUZZ_SECONDS=$(SECONDS) HYPOTHESIS_PROFILE=slow $(BIN)/pytest tests/fuzz --timeout=0 $(ARGS)

.PHONY: crashtest
crashtest: setup ## Every fault against the real sidecar with 200 clients at once; writes docs/faults.md: make crashtest ARGS="--only cut"
	$(BIN)/python -m tests.crash $(ARGS)

.PHONY: soak
soak: setup ## Mixed traffic, faults, reloads and killed workers; memory flat, nothing lost: make soak SECONDS=300 (default: an hour)
	$(BIN)/python -m tests.crash.soak --seconds $(if $(filter command\ line environment,$(origin SECONDS)),$(SECONDS),3600) $(ARGS)

.PHONY: wheel
wheel: $(VENV)/.packages ## A wheel in dist/ that installs without Rust
	$(BIN)/maturin build --release --locked --interpreter $(BIN)/python --out dist

.PHONY: docs
docs: setup ## The pages that are made from the code, in docs; the core's documentation, private items included, in target/doc
	$(BIN)/python -m dispatch.config.reference > docs/configuration.md
	$(BIN)/python -m dispatch.failures > docs/failures.md
	$(BIN)/python -m dispatch.telemetry.reference > docs/metrics.md
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --quiet --locked --no-deps --document-private-items

.PHONY: lock
lock: $(BIN)/python ## Pin the newest versions that pyproject.toml allows, with hashes, for every platform
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(BIN)/uv pip compile pyproject.toml --quiet --group dev --extra openai --universal --python-version 3.11 \
		--generate-hashes --upgrade --no-emit-index-url --custom-compile-command "make lock" --output-file requirements-dev.lock
	cargo update --quiet

.PHONY: changelog
changelog: setup ## Show what the next release's changelog will say
	$(BIN)/towncrier build --draft --version "$$($(BIN)/python -c 'import dispatch._core as core; print(core.__version__)')"

.PHONY: hooks
hooks: ## Run `make check` before each commit of this clone
	printf '#!/bin/sh\nexec make check\n' > "$$(git rev-parse --git-path hooks)/pre-commit"
	chmod +x "$$(git rev-parse --git-path hooks)/pre-commit"

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf $(VENV) target dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	rm -f python/dispatch/_core*.so

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
