# `make demo` runs the main job, `make test` checks everything; both set up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

# Idle OpenMP threads that spin cost other processes on the same cores dearly.
export OMP_WAIT_POLICY := passive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check setup clean

demo: $(VENV)/.ready
	$(BIN)/holdfast demo --out runs/demo

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(VENV)/.dev

$(VENV)/.ready: pyproject.toml scripts/install
	PYTHON=$(PYTHON) sh scripts/install $(VENV)
	touch $@

$(VENV)/.dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

clean:
	rm -rf $(VENV) runs
