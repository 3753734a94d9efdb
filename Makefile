# The README's two commands are `make demo` and `make test`; each prepares .venv first, where it must.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Files go to processes as a whole: what one of them has trained, its tests share. They go in their own order: by number
# of tests, those with a few long ones would be last, and leave processes idle.
PYTEST := -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Made from what pyproject.toml states, whatever the indexes and caches of this machine: no address gets into the files.
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --no-config --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
EXTRAS := dicom nifti parquet onnx huggingface monai ray remote

.DEFAULT_GOAL := help
.PHONY: help demo test axe lint types check pictures clean lock locked test-minimum test-newest package sbom

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(INSTALLED) ## the whole job on generated phantoms; open out/demo/report/index.html
	$(BIN)/robaudit demo --out out/demo

test: $(INSTALLED) ## run the tests
	$(BIN)/python $(PYTEST)

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

lock: $(INSTALLED) ## resolve anew: requirements/dev.lock (hashed, any platform), requirements/minimum.txt (this one)
	$(COMPILE) --upgrade --universal --extra dev --generate-hashes --output-file requirements/dev.lock
	$(COMPILE) --upgrade $(EXTRAS:%=--extra %) --resolution lowest-direct --no-annotate --output-file requirements/minimum.txt

locked: ## make .venv from requirements/dev.lock, every file checked against its hash
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)

test-minimum: $(INSTALLED) ## run the tests with the oldest versions that pyproject.toml allows, in .venv-minimum
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-minimum
	$(BIN)/uv pip install --quiet --python $(VENV)-minimum/bin/python --constraint requirements/minimum.txt --editable '.[dev]'
	$(VENV)-minimum/bin/python $(PYTEST)

test-newest: $(INSTALLED) ## run the tests with the newest versions there are, in .venv-newest
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-newest
	$(BIN)/uv pip install --quiet --python $(VENV)-newest/bin/python --upgrade --editable '.[dev]'
	$(VENV)-newest/bin/python $(PYTEST)

package: $(INSTALLED) ## build wheel and sdist into dist/, and check what they say of themselves
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

sbom: $(INSTALLED) ## write dist/sbom.cdx.json: what requirements/dev.lock installs, as CycloneDX
	mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements/dev.lock --pyproject pyproject.toml --output-reproducible \
		--of JSON --output-file dist/sbom.cdx.json

clean: ## remove what was built and measured; .venv stays
	rm -rf out dist build .venv-minimum .venv-newest .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find robaudit tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Rebuilt only when the dependencies may have changed. Not compiled: most of these thousands of files are never imported,
# and Python compiles the others as it imports them.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	touch $@
