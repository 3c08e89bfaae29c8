# make demo    environment, install, quick experiment; ends with the path of a report
# make test    environment, install, tests
# make test-full   what the tests leave out: simulations at full size (some ten minutes)
# make check   formatter, linter, type checker
#
# PYTHON chooses the interpreter (3.11 or newer), VENV the folder of the environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-full check clean

demo: $(VENV)/.installed
	@$(BIN)/ropebench run quick

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest

test-full: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -m full --timeout 1800

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("ropebench needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; try: make PYTHON=python3.11")'
	@echo "making an environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# A stamp file is newer than what it was installed from, so a second call installs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ropebench and what it needs (about two minutes the first time)"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ropebench, what it needs and pytest (about two minutes the first time)"
	@$(INSTALL) -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ropebench and the tools for working on it (about two minutes the first time)"
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test
