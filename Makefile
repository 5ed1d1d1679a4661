# `make demo` runs the main job, `make test` checks everything; both set up .venv first. `make quick` is for in between.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

# Idle OpenMP threads that spin cost other processes on the same cores dearly.
export OMP_WAIT_POLICY := passive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test quick check docs setup clean

demo: $(VENV)/.ready
	$(BIN)/holdfast demo --out runs/demo

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Lint, types, and a few tests of every room (tests/quick.py); well under a minute on two cores.
quick: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $$($(BIN)/python -m tests.quick)

# The docs site in site/: strict, and built without asking anything of a network.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

setup: $(VENV)/.dev

$(VENV)/.ready: pyproject.toml scripts/install
	PYTHON=$(PYTHON) sh scripts/install $(VENV)
	touch $@

$(VENV)/.dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

$(VENV)/.docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --group docs
	touch $@

clean:
	rm -rf $(VENV) runs site
