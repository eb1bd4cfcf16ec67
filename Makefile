# make demo, make test: all that is needed is Python 3.11 or newer with its venv module.

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
JOBS    ?= auto
DATA    ?= .
VERSION  = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# The newest Python that starts, is new enough and can make virtual environments.
PYTHON  ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && echo $$python && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo serve test test-exact lint format types check conformance conformance-suites
.PHONY: clients bench image lock clean

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

demo: $(STAMP)  ## make a small data set, serve it, print commands to try
	$(BIN)/htsgate demo

serve: $(STAMP)  ## serve the files below DATA (default: this directory) on 127.0.0.1:8080
	$(BIN)/htsgate serve "$(DATA)"

test: $(STAMP)  ## the tests, exactness on a sample of regions
	$(BIN)/python -m pytest -q -n $(JOBS)

test-exact: $(STAMP)  ## exactness on every region: long
	EXACT=full $(BIN)/python -m pytest -q -n $(JOBS) -m exact \
		--timeout=0 -o faulthandler_timeout=0

lint: $(STAMP)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

# The tests hold those of the layers (tests/test_layers.py) and of the documents.
check: lint types test  ## what must be green before a commit lands

# In an environment of their own. The suite of htsget and the newest of refget are on git only: name
# checkouts of them, or the one that is on the package index is run, which asks what version 1 of
# refget promised. What cannot be installed is said, and not run.
SUITES := .venv-conformance
REFGET_COMPLIANCE_SUITE ?= refget-compliance==1.2.6
HTSGET_COMPLIANCE_SUITE ?=
conformance-suites: $(STAMP)
	$(BIN)/python -m venv $(SUITES)
	@for suite in 'refget==0.12.*' '$(REFGET_COMPLIANCE_SUITE)' \
	$(if $(HTSGET_COMPLIANCE_SUITE),crypt4gh '$(HTSGET_COMPLIANCE_SUITE)'); do \
	$(SUITES)/bin/pip install --quiet "$$suite" || echo "not installed: $$suite" >&2; done

conformance: conformance-suites  ## our suite against the demo, then the public ones (docs/conformance.md)
	$(BIN)/python -m conformance.demo
	$(BIN)/python -m conformance.official --suites $(SUITES)/bin/python

# What the tests of clients drive and Debian does not have. The environment is the client's own.
CLIENTS := .venv-clients
NODE_CLIENTS := tests/clients/node
NODE_CLIENTS_LOCK := $(NODE_CLIENTS)/node_modules/.package-lock.json
clients: $(CLIENTS)/bin/htsget $(NODE_CLIENTS_LOCK)  ## for tests: igv.js, @gmod/bam, htsget of Python

$(CLIENTS)/bin/htsget: | $(STAMP)
	$(BIN)/python -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet htsget==0.2.6

$(NODE_CLIENTS_LOCK): $(NODE_CLIENTS)/package-lock.json
	cd $(NODE_CLIENTS) && npm ci --loglevel=error --ignore-scripts --no-audit --no-fund
	@touch $@

bench: $(STAMP)  ## measure; a table, and JSON in benchmarks/results
	$(BIN)/python -m benchmarks

image:  ## the container image
	docker build --tag htsgate:$(VERSION) .

LOCKED := --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate
lock: $(STAMP)  ## pin the newest versions that pyproject.toml allows
	$(BIN)/pip install --quiet uv==0.13.9
	$(BIN)/uv pip compile $(LOCKED) -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCKED) -o requirements-dev.lock \
		--constraint requirements.lock --group test --group dev pyproject.toml
	! grep -n '://' requirements.lock requirements-dev.lock

clean:  ## remove what was made, the virtual environment too
	rm -rf $(VENV) $(SUITES) $(CLIENTS) $(NODE_CLIENTS)/node_modules build dist demo-data \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): requirements-dev.lock pyproject.toml
	$(if $(PYTHON),,$(error No Python 3.11 or newer with the venv module found (on Debian: \
	apt-get install python3 python3-venv); name one with make PYTHON=...))
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
