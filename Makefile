# The commands of Studio. `make run` starts it; `make test` runs everything that has to hold.

SHELL := /bin/sh
OWN := .venv/bin/python
PIP := $(OWN) -m pip install --quiet --disable-pip-version-check
.DEFAULT_GOAL := run
.PHONY: run test test-fast lint bench

run: .venv/installed
	@exec $(OWN) manage.py up

test: .venv/installed-for-tests
	@sh tests/install.sh
	@exec $(OWN) -m tests.run

test-fast: .venv/installed-for-tests
	@exec $(OWN) -m pytest -q -n 2 tests/unit tests/domain tests/pages tests/api

lint: .venv/installed-for-tests
	@exec $(OWN) -m tests.run --only-checks

bench: .venv/installed-for-tests
	@sh tests/install.sh
	@exec $(OWN) -m bench

# Any Python from 3.11 on will do; the newest that has a name of its own is taken, or `make run PYTHON=…`.
PYTHON := python3.13 python3.12 python3.11 python3
$(OWN):
	@for name in $(PYTHON); do \
	    command -v $$name >/dev/null || continue; \
	    $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    $$name -c 'import ensurepip, venv' 2>/dev/null || { missing=$$name; continue; }; \
	    echo "studio: making .venv with $$($$name --version)"; \
	    exec $$name -m venv --clear .venv; \
	done; \
	if [ -n "$$missing" ]; then \
	    echo "studio: $$missing cannot make virtual environments; on Debian: apt install python3-venv" >&2; \
	else \
	    echo "studio: Python 3.11 or newer is needed, and none was found ($(PYTHON))" >&2; \
	fi; exit 1

# A .venv without its interpreter is made anew and empty, whatever had been installed into it.
EMPTY := $(shell [ -x $(OWN) ] || echo empty)
.PHONY: empty

.venv/installed: requirements.txt $(EMPTY) | $(OWN)
	@echo "studio: installing requirements.txt"
	@$(PIP) -r requirements.txt
	@touch $@

.venv/installed-for-tests: requirements-dev.txt requirements.txt $(EMPTY) | $(OWN)
	@echo "studio: installing requirements-dev.txt"
	@$(PIP) -r requirements-dev.txt
	@touch $@ .venv/installed
