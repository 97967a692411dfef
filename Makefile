# Everything a person needs starts here; `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
ALBUM ?= samples
# What the whole of Fathom on one machine needs: the groups of pyproject.toml.
ROLES := api,worker,model,embedded

# Many processes import the same code; they compile it once, whatever the shell has set.
unexport PYTHONDONTWRITEBYTECODE

# torch comes from PyTorch's own CPU index where it can be reached: on Linux, PyPI's
# build brings several gigabytes of CUDA that no part of Fathom uses.
TORCH := torch==2.13.0 torchvision==0.28.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' \
		| awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

$(VENV)/.ready: pyproject.toml fathom/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing; the first time takes a few minutes."
	$(BIN)/python -m pip install -q --timeout 5 --retries 0 --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null \
		|| $(BIN)/python -m pip install -q $(TORCH)
	$(BIN)/python -m pip install -q -e ./fathom -e '.[$(ROLES)]'
	@$(BIN)/fathom model fetch --quiet || true
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install -q -e '.[$(ROLES),training,tracing,dev]'
	@touch $@

# The page's linters, which bring no code into the page; node itself comes with the venv.
node_modules/.ready: package.json $(VENV)/.ready-dev
	PATH="$(abspath $(BIN)):$$PATH" npm install --loglevel=error
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Make .venv and install everything in it

.PHONY: demo
demo: setup ## Turn the sample album (or ALBUM=dir) into heatmaps in demo-output/
	@rm -rf demo-output
	$(BIN)/python -m fathom.demo --album '$(ALBUM)' --out demo-output

.PHONY: run
run: setup ## Run the whole service at PORT (8080) until Ctrl-C
	$(BIN)/fathom up --port $(PORT)

# Three processes for two cores, since many tests wait; each with servers of its own; the tests of a file stay together.
SIDE_BY_SIDE := -n 3 --dist loadscope --no-loadscope-reorder

.PHONY: test
test: $(VENV)/.ready-dev ## Run the tests; the servers they need are started by them
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

.PHONY: test-all
test-all: $(VENV)/.ready-dev ## Run the slow tests too
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m ""

.PHONY: test-unit
test-unit: $(VENV)/.ready-dev ## Run the fast tests alone, which need no server
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/unit

.PHONY: lint
lint: $(VENV)/.ready-dev node_modules/.ready ## Check format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/node node_modules/.bin/biome lint --error-on-warnings
	$(BIN)/node node_modules/.bin/tsc
	@if command -v luacheck > /dev/null; then $(BIN)/python .ci/lint_lua.py; \
		elif [ -z "$$CI" ]; then echo "Lua was not linted: there is no luacheck here (Debian: apt-get install lua-check)."; \
		else echo "Lua cannot be linted: there is no luacheck here." >&2; exit 1; fi

.PHONY: format
format: $(VENV)/.ready-dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: setup ## Measure the pipeline against the usual script, and the system against the pipeline
	$(BIN)/python -m bench.pipeline
	$(BIN)/python -m bench.system

.PHONY: docs
docs: $(VENV)/.ready-dev ## Make docs/settings.md and the pictures of the documentation again
	$(BIN)/python -m docs.settings_table
	$(BIN)/python -m docs.take_pictures

.PHONY: starter
starter: setup ## Make the starter weights from nothing: render, train, judge (many hours; resumable)
	$(BIN)/python -m pip install -q -e '.[$(ROLES),training]'
	$(BIN)/python -m training.starter --seed 0

.PHONY: clean
clean: ## Remove what the demo and the tests leave behind
	rm -rf build demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
