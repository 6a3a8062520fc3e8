# `make search` runs the embedded default, `make test` the tests, `make test-all` the slow ones too.
# All set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Three processes on two cores, for searches wait a lot; each takes tests from the others when it has none left.
TESTS := -m pytest -n 3 --dist worksteal
# Modules are compiled once, not by each of the hundreds of processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: search test test-all lint docs clean

search: $(VENV)/installed
	$(BIN)/python -m salt_tune.search $(ARGS)

test: $(VENV)/installed-dev lint
	$(BIN)/python $(TESTS) -m "not slow" $(ARGS)

test-all: $(VENV)/installed-dev lint
	$(BIN)/python $(TESTS) --hypothesis-profile=all --cov --cov-report=term:skip-covered $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers auto
	$(BIN)/lint-imports

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; name a newer one with PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

# A plain torch comes with CUDA: the first installation takes some minutes and 6 GB.
$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV): 6 GB, some minutes the first time."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The pages of docs/, strict: a broken link is an error.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

$(VENV)/installed-docs: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
