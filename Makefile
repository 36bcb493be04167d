# Two commands for a newcomer: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo
REAL_OUT ?= real
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: help setup demo test check real clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready  ## build .venv with the tested versions of everything

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## the whole path on a synthetic season (FRESH=1 starts over)
	$(BIN)/hmtas demo $(OUT) $(if $(FRESH),--fresh)

test: setup  ## run the tests that defend the code line by line, a real Ray included
	$(PYTEST) -m "not slow"

check: setup  ## format, lint, types and every test: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

real: setup  ## the whole path on real labels and commentary (HMTAS_REAL names their folder)
	$(BIN)/python benchmarks/real.py $(REAL_OUT)

clean:  ## remove .venv and what the demo wrote
	rm -rf $(VENV) $(OUT) *.egg-info build
