# Every target sets up what it lacks; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Stamps: what has been installed into .venv, and is not installed again until pyproject.toml changes.
RUNTIME := $(VENV)/.runtime
TOOLS := $(VENV)/.tools

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint seeds seeds-quick faults bench bench-quick check-extras clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: $(TOOLS) ## create .venv with senn, the tests and the linters

demo: $(RUNTIME) ## watch a network grow on handwritten digits
	$(BIN)/senn train digits --max-units 40

test: $(TOOLS) ## run the tests
	$(BIN)/python -m pytest

lint: $(TOOLS) ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

seeds: $(RUNTIME) ## digits and moons over five seeds: accuracy and size of each
	$(BIN)/python experiments/seeds.py digits --hidden-sizes 4 --max-units 40
	$(BIN)/python experiments/seeds.py moons

seeds-quick: $(RUNTIME) ## the same for one seed of moons
	$(BIN)/python experiments/seeds.py moons --seeds 1

faults: $(RUNTIME) ## kill, starve and damage runs, resume them, and write docs/reliability.md
	$(BIN)/python experiments/faults.py

BENCHMARKS := mnist overhead search optimizers scaling tables export

bench: $(TOOLS) ## all benchmarks, their tables and benchmarks/results/*.json (an hour)
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-quick: $(TOOLS) ## a small form of each, only to see them work (3 minutes)
	for name in $(BENCHMARKS); do \
	  $(BIN)/python benchmarks/$$name.py --quick --out build/bench/$$name.json || exit 1; done

check-extras: $(TOOLS) ## install senn afresh, alone and with each extra (minutes)
	$(BIN)/python .ci/check_extras.py

clean: ## remove .venv and what tools leave behind
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
	find src tests experiments benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# As little as a first run needs; without byte code, which Python makes of what it imports.
$(RUNTIME): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	@touch $@

# pip knows dependency groups from version 25.1 on.
$(TOOLS): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[completion,onnx,plot,tables,tensorboard]' --group bench --group lint
	@touch $@ $(RUNTIME)
