# `make run` starts the daemon, `make` runs everything CI runs. Both need only Python >= 3.11 with venv.
#
#   make PYTHON=python3.13 …    another interpreter for the virtual environment
#   make test ARGS="tests/mail -k date"    a part of the suite
#   make bench ARGS="speed --rounds 5 --only S0,S1"    one measurement; without a name, the speed beside Rspamd
#   make fuzz ARGS="message --seconds 600" inputs made to break one parser; without a name, all of them

PYTHON ?= python3
UV ?= uv
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# Touched when the environment is complete. One built from another lock, or by half, is thrown away and built again.
READY := $(VENV)/.ready

# Two processes, a file in one of them: fixtures are often a file's. A process that crashes is a failure of the test it was in.
# In the order of the folders, since those with the longest files are not the last.
PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder
COVER := --cov --cov-report= --cov-fail-under=0

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := check
.DELETE_ON_ERROR:
.PHONY: check run test fmt lint types imports cover bench fuzz wheel lock clean

check: lint types imports cover

run: $(READY)
	@exec $(BIN)/filterd run -c conf/filterd.toml $(ARGS)

test: $(READY)
	$(PYTEST) $(ARGS)

fmt: $(READY)
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(READY)
	$(BIN)/lint-imports --no-logo

# The suite in three parts, no test twice. The pure part says which test reached which line, so that each file of mail/ and
# proto/ can be judged under its own tests alone; the second starts processes, which could not tell. The third, whole daemons
# that are reloaded and that stand among their partners, is not measured: that would take it half as much time again.
UNMEASURED := tests/scenarios tests/clients tests/test_bench.py tests/test_docs.py tests/test_contrib.py \
	tests/daemon/test_supervisor_reload.py
cover: $(READY)
	$(PYTEST) $(COVER) --cov-context=test tests/mail tests/proto
	$(BIN)/python -m tests.support.own_coverage
	$(PYTEST) $(COVER) --cov-append --ignore=tests/mail --ignore=tests/proto $(UNMEASURED:%=--ignore=%)
	$(BIN)/coverage report --ignore-errors  # as pytest-cov does: children also ran copies that are gone
	$(PYTEST) $(UNMEASURED)

bench: $(READY)
	$(BIN)/python -m bench $(ARGS)

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz $(ARGS)

wheel: $(READY)
	$(BIN)/python -m hatchling build

# Plain requirements files with hashes, not the resolver's own lock format: that one writes down the address of every file,
# hence the registry of whoever made it. A hash says which file is meant; where it comes from is the installer's business,
# and pip alone can read it. The first lock decides the versions, the second is its part needed to run.
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-strip-extras --no-annotate --no-emit-index-url --no-emit-find-links --no-config --custom-compile-command "make lock"
lock:
	@command -v $(UV) >/dev/null || { echo "make lock needs uv (pip install uv), or say where it is: make lock UV=…" >&2; exit 1; }
	$(LOCK) --extra dev -o requirements/dev.lock pyproject.toml
	$(LOCK) -c requirements/dev.lock -o requirements/run.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# --no-build-isolation: the build backend too comes from the lock. The checks come first because what Python says of itself
# when venv or a version is missing names neither the remedy nor this variable.
$(READY): requirements/dev.lock
	@command -v $(PYTHON) >/dev/null || { echo "filterd needs Python 3.11 or newer, and there is no $(PYTHON) here: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("filterd needs Python 3.11 or newer, and $(PYTHON) is %s: make PYTHON=…" % sys.version.split()[0])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks venv (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
