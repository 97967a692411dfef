# The commands of this repository; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
ALBUM ?= samples
# The groups of pyproject.toml that all of Fathom needs on one machine.
ROLES := api,worker,clips,model,embedded

# Many processes import the same code, so they must be able to cache its bytecode.
unexport PYTHONDONTWRITEBYTECODE

# torch comes from PyTorch's own CPU index if that can be reached: on Linux, the build on PyPI brings several
# gigabytes of CUDA, which Fathom never uses.
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

# The linters of the page, and what opens meshes in the tests. They add no code to the page, and the venv
# already contains node.
node_modules/.ready: package.json $(VENV)/.ready-dev
	PATH="$(abspath $(BIN)):$$PATH" npm install --loglevel=error
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Make .venv and install everything in it

.PHONY: demo
demo: setup ## Turn the sample album (or ALBUM=DIR) into heatmaps in demo-output/
	@rm -rf demo-output
	$(BIN)/python -m fathom.demo --album '$(ALBUM)' --out demo-output

.PHONY: run
run: setup ## Run all of Fathom at PORT (8080) until Ctrl-C
	$(BIN)/fathom up --port $(PORT)

# Four processes on two cores, because many tests wait. Each starts its own servers, and runs whole files.
SIDE_BY_SIDE := -n 4 --dist loadscope --no-loadscope-reorder --max-worker-restart 4

.PHONY: test
test: $(VENV)/.ready-dev ## Run the tests; they start the servers that they need
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

.PHONY: test-all
test-all: $(VENV)/.ready-dev ## Run the slow tests too
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m ""

.PHONY: test-unit
test-unit: $(VENV)/.ready-dev ## Run the fast tests only: no server, and no network in PyTorch
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not torch" tests/unit

.PHONY: lint
lint: $(VENV)/.ready-dev node_modules/.ready ## Check format, style, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/node node_modules/.bin/biome lint --error-on-warnings
	$(BIN)/node node_modules/.bin/tsc
	@if command -v luacheck > /dev/null; then $(BIN)/python .ci/lint_lua.py; \
		elif [ -z "$$CI" ]; then echo "Lua was not linted: luacheck is not installed (Debian: apt-get install lua-check)."; \
		else echo "Lua cannot be linted: luacheck is not installed." >&2; exit 1; fi

.PHONY: format
format: $(VENV)/.ready-dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: setup ## Compare the pipeline with the usual script, and the system with the pipeline
	$(BIN)/python -m bench.pipeline
	$(BIN)/python -m bench.system

.PHONY: docs
docs: $(VENV)/.ready-dev ## Regenerate the tables and the pictures of the documentation
	$(BIN)/python -m docs.settings_table
	$(BIN)/python -m docs.options_table
	$(BIN)/python -m docs.take_output_pictures
	$(BIN)/python -m docs.take_pictures

.PHONY: starter
starter: setup ## Make the starter weights from scratch: render, train, evaluate (many hours; resumable)
	$(BIN)/python -m pip install -q -e '.[$(ROLES),training]'
	$(BIN)/python -m training.starter --seed 0

.PHONY: clean
clean: ## Remove what the demo and the tests leave behind
	rm -rf build demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
