# Everything runs from a virtual environment in .venv that these targets create themselves.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help install serve test test-slow fuzz bench check format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## create .venv with wsctl and the development tools

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[voice,whisper,llm]' --group dev
	@touch $@

serve: $(STAMP) ## start the server with its defaults
	@$(BIN)/wsctl serve

test: $(STAMP) ## run the tests, in parallel on all cores
	$(BIN)/python -m pytest -n auto -m 'not slow'

test-slow: $(STAMP) ## run the tests that take long or load the machine
	$(BIN)/python -m pytest -m slow

fuzz: $(STAMP) ## fuzz the decoders for a minute, e.g. FUZZ="--seconds 600 --target token"
	@$(BIN)/python -m pip install --quiet --group fuzz || echo 'going on without atheris' >&2
	@$(BIN)/python -m tests.fuzz.run $(FUZZ)

bench: $(STAMP) ## compare with Node's ws and Bun, e.g. BENCH="--only ping --seconds 5"
	@$(BIN)/python -m tests.bench.run $(BENCH)

check: $(STAMP) ## format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove .venv and all caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
