# Two commands do everything on a machine that has Python and its venv module: `make bench` and `make test`.
#   make bench ARGS="model=vit_s16 batch_size=8"     passes overrides on
#   make test PYTHON=python3.12                      chooses the interpreter
PYTHON ?= python3
ARGS ?= model=resnet50 precision=bf16
# A machine with an accelerator: `make bench EXTRAS=cuda`, `make bench EXTRAS=tpu`.
EXTRAS ?=
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))

BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt
empty :=
space := $(empty) $(empty)
comma := ,

.PHONY: bench test lint parity test-torch test-slow test-tensorflow test-accelerator test-browser test-forecast test-slurm test-mpi clean

bench: $(VENV)/.installed-run-$(EXTRAS)
	$(BIN)/python -m trainbench $(ARGS)

test: $(VENV)/.installed-dev-$(EXTRAS)
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -rs
	@echo "not run here: make parity (PyTorch, Hugging Face), make test-torch (runs and races in PyTorch), make test-slow (minutes of compiling and training), make test-tensorflow, make test-browser (Chromium), make test-forecast (the TPU compiler), make test-slurm, make test-mpi, make test-accelerator (GPU, TPU)"

lint: $(VENV)/.installed-dev-$(EXTRAS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

parity: $(VENV)/.installed-parity
	$(BIN)/python -m pytest tests/parity -m parity

test-torch: $(VENV)/.installed-parity
	$(BIN)/python -m pytest tests/pytorch -m torch -rs

test-slow: $(VENV)/.installed-dev-$(EXTRAS)
	$(BIN)/python -m pytest -m slow

test-tensorflow: $(VENV)/.installed-prepare
	$(BIN)/python -m pytest -m tensorflow -rs

test-accelerator: $(VENV)/.installed-dev-$(EXTRAS)
	$(BIN)/python -m pytest -m accelerator -rs

# Playwright drives the Chromium that is on the PATH; without one the tests are skipped, and say how to get it.
test-browser: $(VENV)/.installed-browser
	$(BIN)/python -m pytest -m browser -rs

# Compiles for TPUs on any machine, and for GPUs where the extra forecast-gpu (4 GB) is installed too; the
# compilers take all cores, so one test at a time.
test-forecast: $(VENV)/.installed-forecast
	$(BIN)/python -m pytest -m forecast -rs

# Starts a Slurm of its own, of one node, from the programs that are installed (Debian: apt-get install slurmctld
# slurmd slurm-client munge); without them the tests are skipped, and say so.
test-slurm: $(VENV)/.installed-dev-$(EXTRAS)
	$(BIN)/python -m pytest -m slurm -rs

# Skipped without Open MPI (Debian: apt-get install openmpi-bin).
test-mpi: $(VENV)/.installed-dev-$(EXTRAS)
	$(BIN)/python -m pytest -m mpi -rs

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed-run-$(EXTRAS): pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[image,text$(if $(EXTRAS),$(comma)$(EXTRAS))]"
	touch $@

$(VENV)/.installed-dev-$(EXTRAS): pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[dev$(if $(EXTRAS),$(comma)$(EXTRAS))]"
	touch $@

$(VENV)/.installed-prepare: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[dev,prepare]"
	touch $@

$(VENV)/.installed-browser: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[dev,browser]"
	touch $@

$(VENV)/.installed-forecast: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[dev,forecast]"
	touch $@

$(VENV)/.installed-parity: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[dev,parity,torch]"
	touch $@

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache
