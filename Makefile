# A fresh clone needs only Python >= 3.10: every target makes .venv and installs into it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: figures notebooks lint test test-tl4 test-all clean

# Two workers: on two cores they train the quick models nearly twice as fast as one.
# What is drawn goes to results/, and nothing that came with the repository is changed.
# Options for the script go in ARGS: make figures ARGS="--seeds 3"
figures: $(INSTALLED)
	$(BIN)/python analyses/make_figures.py --scale quick --workers 2 $(ARGS)

# Notebooks are shipped executed, as a test checks: after a change, execute them anew.
notebooks: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python analyses/execute_notebooks.py $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# Two workers of one thread each: the models are tiny.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

test: $(INSTALLED)
	$(PYTEST) $(ARGS)

# What touches TransformerLens, with the newest one that is supported put before the one that constraints.txt pins.
TL4 := $(VENV)/transformer-lens-4.3.0

test-tl4: $(INSTALLED) $(TL4)
	PYTHONPATH=$(CURDIR)/$(TL4)$${PYTHONPATH:+:$$PYTHONPATH} $(PYTEST) tests/models tests/analysis tests/notebooks -k 'not notebooks or 2_probe' $(ARGS)

$(TL4): | $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-deps --target $@ transformer-lens==$(TL4:$(VENV)/transformer-lens-%=%)

test-all: $(INSTALLED)
	$(PYTEST) -m "" $(ARGS)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("rtinterp needs Python 3.10 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

clean:
	rm -rf $(VENV)
