# Every target does its own set-up: a virtual environment in .venv, made once, with the versions in constraints.txt.
# It needs make and Python 3.11 or newer. To choose another Python than the first one found:
# make demo PYTHON=/path/to/python3

VENV := .venv
BIN := $(VENV)/bin
PINS := pyproject.toml constraints.txt
DEMO_IMAGE := examples/building.jpg
DEMO_OUTPUT := demo-output
START := $(shell date +%s)
# Test files are distributed over the cores, the longest first; each process has a core to itself.
DISTRIBUTED := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
COMPILED := tests/export tests/compile
ONE_THREAD := OMP_NUM_THREADS=1
UV := --quiet --no-compile -c constraints.txt uv

CHECK_PYTHON := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.PHONY: help demo test fuzz lint format docs audit clean

help:
	@echo "make demo    segment an image with the bundled model"
	@echo "make test    run the tests, except those marked slow or gpu"
	@echo "make fuzz    feed 10,000 hostile inputs to every reader, and kill commands (about 20 minutes)"
	@echo "make lint    check style and types"
	@echo "make format  format the code"
	@echo "make docs    build the documentation into site/"
	@echo "make audit   compare the pinned packages with the list of known vulnerabilities (needs a network)"
	@echo "make clean   remove everything that these commands created, $(VENV) included"

demo: $(VENV)/.light
	@echo "== segmenting $(DEMO_IMAGE) (photograph: Daniel Büchele, CC BY 2.0)"
	@$(BIN)/yoso predict $(DEMO_IMAGE) --model facades-mnv2 --output $(DEMO_OUTPUT)
	@echo "== done in $$(( $$(date +%s) - $(START) )) seconds"
	@echo
	@echo "your own image:  $(BIN)/yoso predict IMAGE.jpg --output $(DEMO_OUTPUT)"
	@echo "a whole folder:  $(BIN)/yoso predict FOLDER --output $(DEMO_OUTPUT)"
	@echo "your own data:   $(BIN)/yoso data check DATASET.yaml"
	@echo "to train, install more first (PyTorch is large):"
	@echo "                 $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[train]'"
	@echo "                 $(BIN)/yoso train facades_mnv2 --data DATASET.yaml --start facades-mnv2 --output runs/mine"

test: $(VENV)/.dev
	@echo "== tests with the shape checker"
	$(ONE_THREAD) $(BIN)/python -m pytest $(DISTRIBUTED) -m "not slow and not gpu and not compiled" \
	  --jaxtyping-packages=yoso,beartype.beartype tests/training tests
	@echo "== tests of compiled and exported networks, without it"
	$(ONE_THREAD) $(BIN)/python -m pytest $(DISTRIBUTED) -m "compiled and not slow and not gpu" $(COMPILED)

fuzz: $(VENV)/.dev
	$(ONE_THREAD) PYTHONPATH=tests $(BIN)/python -m hardening.fuzz --inputs 10000 --kills 10 \
	  --output benchmarks/results/hardening.json

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs
	$(BIN)/zensical build --clean --strict

audit: $(VENV)/.uv
	$(BIN)/uv tool run pip-audit --requirement constraints.txt --no-deps --disable-pip

clean:
	rm -rf $(VENV) $(DEMO_OUTPUT) dist site .pytest_cache .ruff_cache .hypothesis

# A name on the path need not be a Python that runs: pyenv leaves such names behind. So each one is tried.
# Setting up pip takes longer than all the rest, so Python's own pip is used where there is one, and uv installs another.
$(VENV)/.uv:
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if $$python -c '$(CHECK_PYTHON)' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "error: no Python 3.11 or newer that can make virtual environments was found; install one" \
	    "(on Debian: python3 and python3-venv), or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "== making $(VENV) with $$($$found --version)"; \
	$$found -m venv --without-pip $(VENV) && \
	  { $$found -m pip --python $(BIN)/python install $(UV) 2>/dev/null || \
	    { $(BIN)/python -m ensurepip && $(BIN)/python -m pip install $(UV); }; } && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python pip
	@touch $@

$(VENV)/.light: $(VENV)/.uv $(PINS)
	@echo "== installing the package without PyTorch (once; less than 250 MB)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.uv $(PINS)
	@echo "== installing the package, PyTorch and the development tools (once; several GB)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.uv $(PINS)
	@echo "== installing what builds the documentation (once)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[docs]'
	@touch $@
