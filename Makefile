# The README's two commands are `make demo` and `make test`; each prepares .venv first, where it must.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test axe lint types check pictures clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(INSTALLED) ## the whole job on generated phantoms; open out/demo/report/index.html
	$(BIN)/robaudit demo --out out/demo

test: $(INSTALLED) ## run the tests
	$(BIN)/python -m pytest

axe: ## fetch the accessibility rules for the browser tests; needs npm
	npm install --prefix tests/report/axe --no-package-lock --no-audit --no-fund

lint: $(INSTALLED) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## check types
	$(BIN)/mypy

check: lint types test ## everything that CI checks

pictures: $(INSTALLED) ## run the demo afresh and take the pictures of the README; needs Chromium
	$(BIN)/robaudit demo --out out/demo --restart
	$(BIN)/python docs/pictures/take.py

clean: ## remove what was built and measured; .venv stays
	rm -rf out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find robaudit tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Rebuilt only when the dependencies may have changed.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
