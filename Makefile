# make demo: the tour. make test: every test. Both create .venv and install first.
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
EXTRAS ?= all,dev
export MINARI_DATASETS_PATH ?= $(CURDIR)/data

.PHONY: setup demo test quick slow docs test-interop test-light test-lowest mutants check bench reproduce reproduce-ml1 reproduce-locomotion schemas clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

demo: setup
	$(BIN)/idaq collect point-robot
	$(BIN)/idaq dataset show idaq/point-robot/expert-v0
	$(BIN)/idaq dataset verify idaq/point-robot/expert-v0
	$(BIN)/idaq train --dataset idaq/point-robot/expert-v0 --out runs/demo
	$(BIN)/idaq adapt runs/demo
	$(BIN)/idaq report runs/demo

# A file of tests runs in one process, as many processes as cores.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

# The inner loop: without the tests that tests/slow.txt lists, on all cores.
quick: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n auto --dist loadfile

# Runs every test, and lists those that take over a second; best on a machine that does nothing else.
slow: setup
	IDAQ_WRITE_SLOW=1 $(BIN)/pytest

# Other libraries read our exports. Their environments (14 GB) stand below INTEROP, and are kept for the next time.
# ONLY="tables minari-newest" takes some of them; the others keep their rows in the table. AMAGO is on no package index:
# its checks run where IDAQ_AMAGO names a checkout of it.
INTEROP ?= $(HOME)/.cache/idaq/interop
ONLY ?=
test-interop: setup
	$(BIN)/python -m tests.interop.environments $(INTEROP) $(ONLY)
	IDAQ_INTEROP=$(INTEROP) IDAQ_INTEROP_TABLE=datasets/interop.md $(BIN)/pytest tests/interop -rs --timeout 600
	$(BIN)/python -m idaq.catalogue.page

# idaq as users install it: the core alone, beside d3rlpy, and beside the newest MuJoCo, each in an environment of its own.
test-light: setup
	$(BIN)/python -m tests.interop.environments $(INTEROP) light mujoco-newest d3rlpy
	IDAQ_INTEROP=$(INTEROP) $(BIN)/pytest tests/interop/test_light.py -rs --timeout 600

# The lowest versions that pyproject.toml claims, and a part of the tests with them.
LOWEST ?= $(HOME)/.cache/idaq/lowest
test-lowest: setup
	$(BIN)/python -m tests.lowest $(LOWEST)

# Changes the code in one place, and runs the tests that reach it; what no test notices is listed in tests/mutants.md.
# ONLY="idaq/learn idaq/adapt/run.py" takes some of it. The same command goes on where it was stopped.
MUTANTS ?= $(HOME)/.cache/idaq/mutants
mutants: setup
	nice $(BIN)/python -m tests.mutants $(MUTANTS) --only $(ONLY)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

# The site, into site/: open site/index.html. Any warning fails.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup
	$(BIN)/pip install --quiet -c constraints.txt -e '.[all,bench]'
	$(BIN)/pytest tests/bench --override-ini addopts= -q

reproduce: setup
	$(BIN)/idaq reproduce

# The published sets first, then the rest: hours. Stop it at any time; the same command resumes.
ML1 ?= push sweep peg-unplug-side window-open button-press shelf-place reach-wall plate-slide door-lock coffee-button \
	faucet-close handle-press *
reproduce-ml1: setup
	$(BIN)/idaq reproduce $(foreach set,$(ML1),'ml1/$(set)/expert') --seeds 3 --out runs/ml1

# Bodies that run, expert and medium: hours. The same command resumes.
LOCOMOTION ?= cheetah-vel walker-rand-params ant-goal
reproduce-locomotion: setup
	$(BIN)/idaq reproduce $(foreach family,$(LOCOMOTION),$(family)/medium $(family)/expert) --seeds 3 --out runs/locomotion

schemas: setup
	$(BIN)/python -m idaq.cli.schemas

clean:
	rm -rf .venv build dist *.egg-info
