# Two commands do all the set-up: `make run` solves the default game, `make test` checks everything. `make quick` checks
# what a minute allows, `make test-all` also runs the long versions of tests, `make mutations` tests the tests.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
PRESETS := $(filter-out language_% dialogue stackelberg_text,$(notdir $(basename $(wildcard conf/experiment/*.yaml))))
PICTURES := human_votes baselines trajectories neural action_space payoffs asking egpo egpo_gradients egpo_sampled egpo_neural munos nash_rs regularisers stackelberg exploring_losses

# Three workers of one thread each keep two cores busy, as many tests wait for processes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal
QUICK := nlhf $(addprefix tests/,test_average.py test_bad_input.py test_config.py test_contract.py test_judge.py \
  test_prox_accounting.py test_records.py test_simplex.py) $(addprefix tests/analysis/,test_bootstrap.py \
  test_statistics.py test_units.py test_votes.py)

.PHONY: run lint test test-all quick mutations figures docs wheel bench bench-all clean

run: .venv/installed
	$(BIN)/nlhf run $(ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint  # types beside the tests
	$(BIN)/mypy & types=$$!; $(PYTEST) -m "not long"; tests=$$?; wait $$types && exit $$tests

test-all: lint
	$(BIN)/mypy
	$(PYTEST)

quick: lint
	$(PYTEST) -m "not long and not thorough" $(QUICK)

# Twenty faults, one at a time, in a copy of the code: do the tests of `make test` notice each?
mutations: .venv/installed-dev
	$(BIN)/python -m tests.mutations

# Every preset without a language model from nothing, its figures and report.html in runs/PRESET, and the README's pictures in docs/.
figures: .venv/installed
	for preset in $(PRESETS); do \
	  $(BIN)/nlhf run experiment=$$preset hydra/launcher=pool && $(BIN)/nlhf compare runs/$$preset || exit 1; \
	done
	for name in $(PICTURES); do cp runs/$$name/figures/$$name.png docs/$$name.png; done

# The site in site/, with warnings as errors; `python -m docs.generate` writes the generated pages.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: .venv/installed
	$(BIN)/pip wheel --quiet --no-deps -w dist .

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

# Also the race against other tools, large games, and ratios on a busy machine.
bench-all: .venv/installed-bench
	$(BIN)/python -m benchmarks --all

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev,api,lm,slurm,tensorboard,tune]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

.venv/installed-bench: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[bench]"
	touch $@

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
