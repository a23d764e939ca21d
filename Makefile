# Penstock. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# uv writes its cache beside everyone else's; the environment itself is this folder's alone, and is named in
# each call: else uv would take, and empty, whatever environment happens to be active.
UV := $(BIN)/uv
STAMP := .venv/.installed
JOBS ?= 2
# What the container image has to hold.
SERVICES := ingest inference monitor governor trainer registry

.PHONY: help demo test prove lint contracts bench lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements.lock infra/bootstrap.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Penstock needs Python 3.11 or later; set PYTHON=…" >&2; exit 1; }
	@echo "Installing the environment in .venv …" >&2
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/bootstrap.lock
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## real flights through Kafka and all services, with a report
	@$(BIN)/penstock demo

test: lint ## everything CI runs
	@$(BIN)/python -m tests.run

prove: $(STAMP) ## the same proofs at full length (many kills)
	@PENSTOCK_PROVE=1 $(BIN)/python -m tests.run

lint: $(STAMP) ## ruff, mypy strict, the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

contracts: $(STAMP) ## generate services/penstock/contracts from schemas/ and proto/
	@$(BIN)/python -m schemas.generate
	@$(BIN)/python -m proto.generate
	@$(BIN)/ruff format -q services/penstock/contracts

bench: $(STAMP) ## the benchmarks, each as a line of JSON
	@$(BIN)/python -m benchmarks.path --json
	@$(BIN)/python -m benchmarks.loop --json
	@$(BIN)/python -m benchmarks.ingest --json
	@$(BIN)/python -m benchmarks.inference --json

lock: $(STAMP) ## pin every dependency by hash, without index addresses
	@$(UV) pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	@$(UV) pip compile pyproject.toml $(SERVICES:%=--extra %) --universal --python-version 3.11 -c requirements.lock \
	  --generate-hashes --no-emit-index-url --no-header -q -o infra/services.lock

clean: ## remove the environment and caches of this folder
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
