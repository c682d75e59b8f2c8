# Two commands matter: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK_RUNTIME := requirements/runtime.lock
LOCK_DEV := requirements/dev.lock
ARGS ?=

.PHONY: help install install-dev run test check format bench lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/bin/pip:
	@bash .ci/venv $(PYTHON) $(VENV)

$(VENV)/.runtime: $(LOCK_RUNTIME) pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r $(LOCK_RUNTIME)
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(LOCK_DEV) $(VENV)/.runtime
	$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r $(LOCK_DEV)
	@touch $@

install: $(VENV)/.runtime ## what the service needs, into .venv

install-dev: $(VENV)/.dev ## what tests and checks need, into .venv

run: install ## migrate and start the service with embedded stores and the demo province (ARGS=--no-demo for an empty one)
	$(BIN)/cem serve $(ARGS)

test: install-dev ## every test, on real stores and in a real browser
	@bash .ci/system-packages
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: install-dev ## format, lint, types, import directions, migrations in step
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cem migrate --check

format: install-dev ## apply the format and the safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install-dev ## measured figures, each beside a named limit or peer of the same run
	$(BIN)/python -m tests.benchmarks $(ARGS)

lock: install-dev ## resolve the dependencies anew into the lock files
	$(BIN)/uv pip compile pyproject.toml --extra build --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --quiet -o $(LOCK_RUNTIME)
	$(BIN)/uv pip compile pyproject.toml --extra build --extra dev -c $(LOCK_RUNTIME) --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --quiet -o $(LOCK_DEV)

clean: ## remove what can be made again (not the data in var/)
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache tests/e2e/node_modules
