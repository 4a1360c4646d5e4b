# Two commands do all the set-up: `make run` solves the default game, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
PRESETS := $(filter-out language_model,$(notdir $(basename $(wildcard conf/experiment/*.yaml))))
PICTURES := human_votes baselines trajectories neural action_space

.PHONY: run test figures bench clean

run: .venv/installed
	$(BIN)/python main.py $(ARGS)

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

# Every preset from nothing, its figures and report.html in runs/PRESET, and the README's pictures in docs/.
figures: .venv/installed
	for preset in $(PRESETS); do \
	  $(BIN)/python main.py experiment=$$preset hydra/launcher=pool && $(BIN)/python -m nlhf.analysis runs/$$preset || exit 1; \
	done
	for name in $(PICTURES); do cp runs/$$name/figures/$$name.png docs/$$name.png; done

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev,api,lm,slurm,tensorboard,tune]"
	touch $@

.venv/installed-bench: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[bench]"
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
