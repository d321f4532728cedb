# Every target sets itself up in .venv, and analysers that pin libraries of their own in .tools; nothing else on the
# machine is touched.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# merkletools demands a package that does not build; its code does not need it.
MERKLETOOLS := merkletools==1.0.3

# The last release that ships ONNX's own tests of its operators; read as files, never installed.
NODE_TESTS := .tools/onnx-node-tests

# The last release of Compose on PyPI, which ships the schema of its files; read as a file, never installed.
COMPOSE_SCHEMA := .tools/compose/compose_spec.json

.PHONY: help demo test check analysis proofs analysers bench determinism chaos node-tests zk artifacts format clean

help:
	@echo "make demo       the main job on an embedded dev chain: five operators, a lying majority refuted, a supplier paid"
	@echo "make test       every test that the tools on this machine allow; prints what it skipped"
	@echo "make check      format, lint, types, import floors, stale artifacts"
	@echo "make bench      measure everything in benchmarks/; writes benchmarks/results.md; an hour or two"
	@echo "make analysis   static analysis of the contracts, held against the answers in docs/security.md"
	@echo "make proofs     prove the contracts' solvency for all amounts and addresses; minutes"
	@echo "make determinism every model on every emulated processor and setting, resumable; writes docs/determinism.md"
	@echo "make chaos      every kind of fault at every moment of a job, on real processes, resumable; writes docs/chaos.md; an hour or two"
	@echo "make zk         install ezkl beside the project, which 'make bench' then compares with"
	@echo "make node-tests download ONNX's own tests of its operators, which 'make test' then passes too"
	@echo "make compose-schema download the schema of Compose files, which docker-compose.yml is then held to"
	@echo "make artifacts  recompile the contracts"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Quorate needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 …" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[zoo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	$(PIP) install --no-deps $(MERKLETOOLS)
	@touch $@

demo: $(VENV)/.core
	$(BIN)/quorate demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m contracts.compiler --check || { [ $$? -eq 2 ] && [ -z "$$QUORATE_REQUIRE_ALL" ]; }
	$(BIN)/python -m tests.solidity.build --check || { [ $$? -eq 2 ] && [ -z "$$QUORATE_REQUIRE_ALL" ]; }

.tools/%/.done: tests/analysis/%.txt
	$(PYTHON) -m venv .tools/$*
	.tools/$*/bin/python -m pip --disable-pip-version-check --quiet install --requirement $<
	@touch $@

analysers: .tools/slither/.done .tools/halmos/.done

analysis: $(VENV)/.dev .tools/slither/.done
	$(BIN)/python -m tests.analysis.findings

proofs: $(VENV)/.dev .tools/halmos/.done
	$(BIN)/python -m tests.analysis.proofs

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks --write benchmarks/results.md

determinism: $(VENV)/.dev
	$(BIN)/python -m tests.determinism --write docs/determinism.md

chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos --write docs/chaos.md $(ARGS)

zk: .tools/ezkl/.installed

.tools/ezkl/.installed:
	$(PYTHON) -m venv .tools/ezkl
	.tools/ezkl/bin/python -m pip --disable-pip-version-check --quiet install ezkl==23.0.5
	@touch $@

node-tests: $(NODE_TESTS)/.unpacked

$(NODE_TESTS)/.unpacked: | $(VENV)/bin/python
	$(PIP) download --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux2014_x86_64 \
		--dest $(NODE_TESTS) onnx==1.19.1
	$(BIN)/python -m zipfile -e $(NODE_TESTS)/onnx-1.19.1-*.whl $(NODE_TESTS)
	@touch $@

compose-schema: $(COMPOSE_SCHEMA)

$(COMPOSE_SCHEMA): | $(VENV)/bin/python
	$(PIP) download --no-deps --only-binary=:all: --dest $(@D) docker-compose==1.29.2
	$(BIN)/python -m zipfile -e $(@D)/docker_compose-1.29.2-*.whl $(@D)/wheel
	@cp $(@D)/wheel/compose/config/$(@F) $@

artifacts: $(VENV)/.dev
	$(BIN)/python -m contracts.compiler
	$(BIN)/python -m tests.solidity.build

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .tools/slither .tools/halmos build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
