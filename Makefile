# Each of these makes and fills .venv itself and is quick the second time.
#   make demo   train, explain and audit on a generated cohort; ends with one HTML page
#   make lab    open JupyterLab on the start notebook
#   make test   run every test
#   make lint   style, types and the floors
#   make bench  measure speed, beside the peers

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo lab test lint bench browser clean

demo: $(VENV)/.installed
	$(BIN)/workbench demo

lab: $(VENV)/.installed
	$(BIN)/workbench lab

test: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	for script in benchmarks/*/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# A Chromium that is there is used; else Playwright fetches its own; else the tests that need one are skipped.
browser: $(VENV)/.installed-dev
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	  command -v $$name >/dev/null && exit 0; \
	done; $(BIN)/playwright install chromium \
	  || echo "No browser found and none could be fetched: the tests that click are skipped."

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Workbench needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.11")'
	@echo "Setting up $(VENV); the first time takes a few minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@$(BIN)/python -m workbench.audit.engine.warm  # compiles the bootstrap's loops, so that the first audit need not
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed tests/reference/peers.txt
	$(PIP) -e '.[dev]'
	@$(PIP) --no-deps -r tests/reference/peers.txt \
	  || echo "Not all other implementations could be had: the tests that compare with them are skipped."
	@touch $@

clean:
	rm -rf $(VENV) workbench-demo test-artefacts
