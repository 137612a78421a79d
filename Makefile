# Darkroom: one verb each. Needs Python 3.11+, make and the package registries; everything lands in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
N      ?= 200
SEED   ?= 1
MINUTES ?= 15
# Test processes: they wait for servers more than they compute.
JOBS   ?= 4
# --tell: a known vulnerability of a pin does not fail lint.
AUDIT  ?=

.PHONY: install reference samples demo test lint audit up down chaos soak bench clean

install: $(VENV)/.base

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Darkroom needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt setup.py gpu_worker/engines/kernels/winograd.c | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/.demo: $(VENV)/.base
	$(PIP) -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.base
	$(PIP) -e '.[test]'
	touch $@

# The official code, for the parity tests: some minutes to install, in CI always.
$(VENV)/.reference: $(VENV)/.test
	$(PIP) -e '.[reference]'
	touch $@

reference: $(VENV)/.reference

# The malformed files that Pillow ships in its source package, for one more test of the decoder: in CI always.
samples: $(VENV)/samples

$(VENV)/samples: | $(BIN)/python
	rm -rf $@.part && mkdir $@.part
	$(PIP:install=download) --no-deps --no-binary pillow --dest $@.part pillow
	tar -xf $@.part/*.tar.gz -C $@.part && mv $@.part $@

demo: $(VENV)/.demo
	$(BIN)/darkroom demo

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: $(VENV)/.test $(VENV)/audit/bin/pip-audit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.audit $(VENV)/audit/bin/pip-audit $(AUDIT)

# A seeded run under every fault; prints its ledger and fails if anything is lost or done twice.
chaos: $(VENV)/.test
	$(BIN)/python -m tests.chaos --uploads $(N) --seed $(SEED) $(if $(FAULTS),--faults $(FAULTS))

# A fault each fifteen seconds for so long; memory and open files of every process are printed, and may not grow.
soak: $(VENV)/.test
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED)

# Known vulnerabilities of every pinned version. In lint a vulnerability fails, and a service that cannot be reached is
# told; here, that fails too.
audit: $(VENV)/.test $(VENV)/audit/bin/pip-audit
	$(BIN)/python -m tests.audit $(VENV)/audit/bin/pip-audit --complete

$(VENV)/audit/bin/pip-audit: | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1

up: install
	$(BIN)/darkroom up

down: install
	$(BIN)/darkroom down

bench: install
	$(BIN)/darkroom bench pipeline

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
