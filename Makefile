# Everything runs from a virtual environment in .venv that these targets create themselves.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SERVING := .venv/.serving

.PHONY: help install serve test test-slow chaos fuzz bench bench-broker bench-workers bench-ops check man images release-check format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## create .venv with wsctl, its voice backends and the development tools

# What every command but the voice backends needs. It names no extra: those are eight tenths of the whole.
$(SERVING): pyproject.toml
	@echo 'installing wsctl and what it needs into .venv: about 140 MB, half a minute' >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMP): pyproject.toml
	@echo 'installing wsctl, its voice backends and the tools of the tests into .venv: about 940 MB, some minutes' >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[voice,whisper,llm]' --group dev
	@touch $(SERVING) $@

serve: $(SERVING) ## start the server with its defaults
	@$(BIN)/wsctl serve

test: $(STAMP) ## run the tests, in parallel on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not slow'

test-slow: $(STAMP) ## run the tests that take long or load the machine
	CHAOS_SEEDS=300 $(BIN)/python -m pytest -m 'slow or chaos'

chaos: $(STAMP) ## run the tests with random seeds for long, e.g. SEEDS=1000
	CHAOS_SEEDS=$(or $(SEEDS),20000) $(BIN)/python -m pytest -n auto -m chaos

fuzz: $(STAMP) ## fuzz the decoders for a minute, e.g. FUZZ="--seconds 600 --target token"
	@$(BIN)/python -m pip install --quiet --group fuzz || echo 'going on without atheris' >&2
	@$(BIN)/python -m tests.fuzz.run $(FUZZ)

bench: $(STAMP) ## compare with Node's ws and Bun, e.g. BENCH="--only ping --seconds 5"
	@$(BIN)/python -m tests.bench.run $(BENCH)

bench-broker: $(STAMP) ## what a message through Redis costs, beside redis-py, e.g. BENCH="--repeat 9"
	@$(BIN)/python -m tests.bench.broker $(BENCH)

bench-workers: $(STAMP) ## what two workers on Redis need, beside one, e.g. BENCH="--repeat 9"
	@$(BIN)/python -m tests.bench.workers $(BENCH)

bench-ops: $(STAMP) ## what the operations port costs: publishes, scrapes, wsctl top, e.g. BENCH="--repeat 9"
	@$(BIN)/python -m tests.bench.operations $(BENCH)

check: $(STAMP) ## format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy examples
	$(BIN)/lint-imports

format: $(STAMP) ## rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

man: $(STAMP) ## write the manual pages and completion scripts anew, from the commands' help
	@$(BIN)/python -m tests.release.manpages

images: $(STAMP) ## draw the pictures of the docs anew, from runs in terminals
	@$(BIN)/python -m tests.images.draw

release-check: $(STAMP) ## build the wheel, check it, and try it with every Python of this machine
	@$(BIN)/python -m tests.release.check $(RELEASE)

clean: ## remove .venv and all caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
