# Two commands do all the set-up: `make run` solves the default game, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: run test bench clean

run: .venv/installed
	$(BIN)/python main.py $(ARGS)

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

bench: .venv/installed
	$(BIN)/python -m benchmarks.iteration
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.equilibrium

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
