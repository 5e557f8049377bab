# `make atlas` draws the pictures, `make test` checks everything; both install what they need into
# .venv first. Say `make test PYTHON=python3.12` to choose another Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The interpreter itself: the one beneath an active environment, or the one pyenv keeps by that name.
INTERPRETER := $(shell $(PYTHON) -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null \
	|| ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/$(PYTHON) 2>/dev/null | tail -n 1)
VERSION := $(shell "$(INTERPRETER)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

# A stamp is written last, so an interrupted step is done again; its name holds the Python version,
# so another version builds the environment afresh. With fresh stamps pip is not called at all.
MADE := $(VENV)/.made-$(VERSION)
BASE := $(VENV)/.base-$(VERSION)
TEST := $(VENV)/.test-$(VERSION)
LAB := $(VENV)/.lab-$(VERSION)
PIP := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt
# Trained weights stay with the project: a fresh clone trains afresh, a second run does not.
export CFG_TUTORIAL_CACHE := $(CURDIR)/.cache
# Files of tests that run at one time, one thread each.
WORKERS ?= 2
NOTEBOOKS = $(wildcard notebooks/[0-9]*.ipynb notebooks/index.ipynb notebooks/playground.ipynb)

.PHONY: help atlas test lab notebooks site bench fuzz clean
.DELETE_ON_ERROR:

help:
	@echo "make atlas      draw coverage against guidance scale into atlas/"
	@echo "make test       check style, types and behaviour"
	@echo "make lab        open the notebooks in JupyterLab"
	@echo "make notebooks  rebuild the notebooks from notebooks/src"
	@echo "make site       render the notebooks as web pages into site/"
	@echo "make bench      run the benchmarks; they print times, they assert none"
	@echo "make fuzz       feed damaged files to every reader, a minute each"
	@echo "make clean      remove .venv and everything that was built"

$(MADE):
	@test -n "$(VERSION)" || { echo "No Python answers to '$(PYTHON)'. Install Python 3.11 or newer," \
		"or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@"$(INTERPRETER)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is Python $(VERSION)." \
		"Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	rm -rf $(VENV)
	@"$(INTERPRETER)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python $(VERSION) cannot make an environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	touch $@

$(BASE): $(MADE) pyproject.toml constraints.txt
	$(PIP) pip setuptools wheel
	$(PIP) --no-build-isolation -e .
	touch $@

$(TEST): $(BASE)
	$(PIP) --no-build-isolation -e ".[test]"
	touch $@

$(LAB): $(BASE)
	$(PIP) --no-build-isolation -e ".[lab]"
	touch $@

atlas: $(BASE)
	$(BIN)/cfg-tutorial atlas
	@echo "The atlas is in $(CURDIR)/atlas"

test: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy cfg_tutorial
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lab: $(LAB)
	$(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)" notebooks/index.ipynb

notebooks: $(TEST)
	$(BIN)/python tools/notebooks.py

site: $(TEST)
	@test -n "$(NOTEBOOKS)" || { echo "There are no notebooks yet; say: make notebooks"; exit 1; }
	$(BIN)/jupyter nbconvert --to html --output-dir site $(NOTEBOOKS)
	sed -e 's|href="solutions/|href="../notebooks/solutions/|g' -e 's|href="\([0-9a-z_]*\)[.]ipynb"|href="\1.html"|g' \
		site/index.html >site/index.tmp && mv site/index.tmp site/index.html
	@echo "The pages are in $(CURDIR)/site"

bench: $(TEST)
	@set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

fuzz: $(TEST)
	$(BIN)/python tools/fuzz.py --seconds 60

clean:
	rm -rf $(VENV) .cache atlas site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find cfg_tutorial tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
