# lutlab. `make` lists the targets; they need only make and Python 3.11 or newer, and put everything into .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BOARD_TOOLS := tests/conformance:tests/integration/virtual_board
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$p"; break; fi; done)

.DEFAULT_GOAL := help
.PHONY: help demo up test check conformance-board bench-board clean

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/make \1#\2/p' $(MAKEFILE_LIST) | awk -F'#' '{ printf "  %-18s %s\n", $$1, $$2 }'

demo: $(STAMP) ## start a lab with two virtual boards, build two designs, run them, show what happened
	@$(BIN)/lutlab demo

up: $(STAMP) ## start a lab with two virtual boards on http://127.0.0.1:8000 and keep it running
	@$(BIN)/lutlab up

test: check ## run every check and every test
	$(BIN)/python -m pytest

check: $(STAMP) ## lint, formatting, types, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

conformance-board: $(STAMP) ## hold the virtual board against its oracles: 30 designs, a million cycles each (half an hour)
	PYTHONPATH=$(BOARD_TOOLS) $(BIN)/python tests/conformance/board.py

bench-board: $(STAMP) ## speed of the virtual board beside CXXRTL and Verilator on the same designs (some minutes)
	PYTHONPATH=$(BOARD_TOOLS) $(BIN)/python benchmarks/board/bench.py

clean: ## delete the environment and every cache in this folder
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "lutlab needs Python 3.11 or newer, and none was found as python3.13, python3.12, python3.11 or python3." >&2; \
		echo "Install one, or say where it is: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "making $(VENV) with $(PYTHON) ..."; \
		"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu install its python3-venv package." >&2; \
		exit 1; }; fi
	@echo "installing lutlab and its tools into $(VENV) (about 600 MB, first time and when pyproject.toml changed) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)
