# Every target does its own set-up: a virtual environment in .venv, made once, with the versions in constraints.txt.
# Needed: make, and Python 3.11 or newer. Another Python than the first one found: make demo PYTHON=/path/to/python3

VENV := .venv
BIN := $(VENV)/bin
PINS := pyproject.toml constraints.txt
DEMO_OUTPUT := demo-output
# Tests are dealt out to the cores, file by file, the longest first; each process then has a core to itself.
SHARED_OUT := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
COMPILED := tests/export tests/compile
ONE_THREAD := OMP_NUM_THREADS=1

CHECK_PYTHON := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
FIND_PHOTO := from importlib.util import find_spec; from pathlib import Path; \
  print(Path(find_spec("sklearn").origin).parent / "datasets" / "images" / "china.jpg")

.PHONY: help demo test lint format clean

help:
	@echo "make demo    segment a photograph with the bundled model"
	@echo "make test    run the tests (those marked slow and gpu left out)"
	@echo "make lint    check style and types"
	@echo "make format  bring the code into the project's style"
	@echo "make clean   remove what these made, $(VENV) included"

demo: $(VENV)/.demo
	@photo=$$($(BIN)/python -c '$(FIND_PHOTO)'); \
	echo "== segmenting $$photo"; \
	echo "   (photograph: Daniel Büchele, CC BY 2.0; comes with scikit-learn)"; \
	$(BIN)/yoso predict "$$photo" --model facades-mnv2 --output $(DEMO_OUTPUT)
	@echo
	@echo "your own picture:  $(BIN)/yoso predict PICTURE.jpg --model facades-mnv2 --output $(DEMO_OUTPUT)"
	@echo "a whole folder:    $(BIN)/yoso predict FOLDER --model facades-mnv2 --output $(DEMO_OUTPUT)"
	@echo "your own data:     $(BIN)/yoso data check DATASET.yaml"
	@echo "                   $(BIN)/yoso train facades_mnv2 --data DATASET.yaml --start facades-mnv2 --output runs/mine"
	@echo "                   $(BIN)/yoso predict PICTURE.jpg --model runs/mine/model"

test: $(VENV)/.dev
	@echo "== tests, with the shape checker"
	$(ONE_THREAD) $(BIN)/python -m pytest $(SHARED_OUT) -m "not slow and not gpu and not compiled" \
	  --jaxtyping-packages=yoso,beartype.beartype tests/training tests
	@echo "== tests of compiled and exported networks, without it"
	$(ONE_THREAD) $(BIN)/python -m pytest $(SHARED_OUT) -m "compiled and not slow and not gpu" $(COMPILED)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO_OUTPUT) .pytest_cache .ruff_cache .hypothesis

# A name on the path is not yet a Python that runs: pyenv leaves such names behind. So each one is tried.
$(VENV)/.uv:
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if $$python -c '$(CHECK_PYTHON)' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "error: no Python 3.11 or newer that can make virtual environments was found; install one" \
	    "(on Debian: python3 and python3-venv), or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "== making $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv
	@touch $@

$(VENV)/.demo: $(VENV)/.uv $(PINS)
	@echo "== installing the package and what it needs (once; some hundred MB to a few GB, PyTorch is large)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.uv $(PINS)
	@echo "== installing the package, what it needs, and the tools for development (once)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@
