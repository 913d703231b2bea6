# lutlab. `make` lists the targets; they need only make and Python 3.11 or newer, and put everything into .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BOARD_TOOLS := tests/conformance:tests/integration/virtual_board
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$p"; break; fi; done)

.DEFAULT_GOAL := help
.PHONY: full-chip conformance-sdk bench-stream boards help demo up test tools check clean sim sim-mutants chaos fuzz-gateware fuzz-api conformance-board bench-board bench-bus \
	bench-bus-faults bench-ledger bench-api bench-sse bench-verify

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/make \1#\2/p' $(MAKEFILE_LIST) | awk -F'#' '{ printf "  %-22s %s\n", $$1, $$2 }'

demo: $(STAMP) ## start a lab with two virtual boards, build two designs, run them, show what happened
	@$(BIN)/lutlab demo

up: $(STAMP) ## start a lab with two virtual boards on http://127.0.0.1:8000 and keep it running
	@$(BIN)/lutlab up

test: check ## run every check and every test
	@$(BIN)/python -m lutlab_verify.get_tools || echo "going on without; tests that need it are skipped" >&2
	$(BIN)/python -m pytest

check: $(STAMP) ## lint, formatting, types, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tools: $(STAMP) ## get what no wheel has (Icarus Verilog, lz4 headers) into the user's cache folder, without root
	@$(BIN)/python -m lutlab_verify.get_tools

sim: $(STAMP) ## simulate the lab: SEEDS=n seeds (10000), or SEED=n, one of them with its story
	@PYTHONPATH=tests/sim PYTHONHASHSEED=0 $(BIN)/python -m lutlab_sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),10000))

sim-mutants: $(STAMP) ## plant known bugs and see that the simulation notices each, and in how many of LOOKS=n seeds (50)
	@PYTHONPATH=tests/sim PYTHONHASHSEED=0 $(BIN)/python -m lutlab_sim --mutants --seeds 1000 --looks $(or $(LOOKS),50)

chaos: $(STAMP) ## kill the processes of a whole lab under load, KILLS=n times (200) among COMMANDS=n (200000), and look at it
	@$(BIN)/python tests/chaos/chaos.py --kills $(or $(KILLS),200) --commands $(or $(COMMANDS),200000)

bench-ledger: $(STAMP) ## measure the ledger beside the eventsourcing library, on one Postgres, in one run
	@$(BIN)/python -c 'import eventsourcing' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[bench]'
	@$(BIN)/python benchmarks/ledger/bench_ledger.py

fuzz-gateware: $(STAMP) ## a million random frames, many of them damaged, through the gateware as native code (needs g++)
	LUTLAB_SIM_FRAMES=$${LUTLAB_SIM_FRAMES:-1000000} $(BIN)/python -m pytest --timeout 7200 tests/gateware/test_gateware_random.py

bench-bus: $(STAMP) ## compare the serial bus with LiteX, Manta and the reference codec over pseudo-terminals (needs gcc; AWAKE=1: no core may idle)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	$(BIN)/python benchmarks/bus/bench.py $(if $(AWAKE),--awake)

bench-bus-faults: $(STAMP) ## 110 million words over damaged lines: nothing wrong, nothing twice (needs gcc, takes minutes)
	$(BIN)/python benchmarks/bus/faults.py --json bench-bus-faults.json
	$(BIN)/python benchmarks/bus/malformed.py

fuzz-api: $(STAMP) ## send 20,000 requests made from the OpenAPI document to the shipped API (about half an hour)
	$(BIN)/python -m pytest -s tests/conformance/fuzz_api.py

bench-api: $(STAMP) ## measure the API: 64 clients mixing status polls, submits and runs
	$(BIN)/python -m pytest -s tests/conformance/bench_api.py

bench-sse: $(STAMP) ## measure 1,000 followers of the log: each sees every event once, in order
	$(BIN)/python benchmarks/sse.py

bench-stream: $(STAMP) ## words through a whole lab's public stream with the reference's frames: median of a read, words/s
	$(BIN)/python benchmarks/stream/bench.py

bench-verify: tools ## measure verification jobs through a lab beside the bare tools run by hand: ROUNDS=n (5)
	@$(BIN)/python benchmarks/verify/bench.py --rounds $(or $(ROUNDS),5)

conformance-board: $(STAMP) ## hold the virtual board against its oracles: 68 designs, a million cycles each (half an hour)
	PYTHONPATH=$(BOARD_TOOLS) $(BIN)/python tests/conformance/board.py

conformance-sdk: $(STAMP) ## the reference SDK's SAT solver and transformer layer, unmodified, through a whole lab (minutes)
	$(BIN)/python -m pytest -p no:cacheprovider --timeout 1800 tests/conformance/sdk_accelerators.py

bench-board: $(STAMP) ## speed of the virtual board beside CXXRTL and Verilator on the same designs (some minutes)
	PYTHONPATH=$(BOARD_TOOLS) $(BIN)/python benchmarks/board/bench.py

full-chip: $(STAMP) ## build the design that fills an 85F, for bench-board and conformance-board (a quarter of an hour)
	PYTHONPATH=$(BOARD_TOOLS) $(BIN)/python benchmarks/board/full_chip.py

boards: $(STAMP) ## build a design for every board model and read its pins back (some minutes)
	LUTLAB_ALL_BOARDS=1 $(BIN)/python -m pytest tests/integration/builder/test_builder_board_models.py

clean: ## delete the environment and every cache in this folder
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "lutlab needs Python 3.11 or newer, and none was found as python3.13, python3.12, python3.11 or python3." >&2; \
		echo "Install one, or say where it is: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@if ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo "$(PYTHON) is no Python 3.11 or newer. Say where one is: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 11))' 2>/dev/null; then \
		echo "$(VENV) has $$($(BIN)/python --version), lutlab needs 3.11 or newer: delete it with make clean, then try again." >&2; \
		exit 1; fi
	@if [ "$$(uname -sm)" != "Linux x86_64" ]; then \
		echo "warning: lutlab was tried on Linux x86_64 only, this is $$(uname -sm); pip may not find all wheels." >&2; fi
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "making $(VENV) with $(PYTHON) ..."; \
		"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu install its python3-venv package." >&2; \
		exit 1; }; fi
	@echo "installing lutlab and its tools into $(VENV) (about 900 MB, first time and when pyproject.toml changed) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)
