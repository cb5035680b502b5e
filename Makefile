# make demo: train on the bundled avatars (about 8 minutes on 2 cores), measure, end with pictures and a report.
# make test: the whole suite. Both make .venv first, on a machine that has nothing but Python 3.11 or newer.

# make check: before every commit.   make docs: the site.   make docs-serve: the site while you write.   make dist: a release.
#
# constraints.txt pins torch alone, so that every supported Python can install. constraints-ci.txt pins every package:
# `make test CONSTRAINTS=constraints-ci.txt` gets the versions that CI has. `make lock` writes it anew from .venv.

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
DEMO := runs/demo

.PHONY: demo test check format docs docs-serve dist lock clean

demo: .venv/installed
	$(BIN)/ganfold train --data avatars --out $(DEMO) --minutes 6
	$(BIN)/ganfold sample $(DEMO) --count 64 --out $(DEMO)/generated.png --force
	$(BIN)/ganfold evaluate $(DEMO)
	$(BIN)/ganfold copies $(DEMO) --features pixels
	$(BIN)/ganfold report $(DEMO)
	@echo
	@echo "Look at:  $(DEMO)/generated.png   64 new faces"
	@echo "          $(DEMO)/progress.webp   how they came to be"
	@echo "          $(DEMO)/report.html     the whole story, in a browser"

test: .venv/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest --durations=10

check: .venv/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow"

format: .venv/tested
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: .venv/tested
	$(BIN)/python docs/make_site.py

docs-serve: .venv/tested
	$(BIN)/python docs/make_site.py --serve

dist: .venv/tested
	rm -rf dist
	$(BIN)/python -m pip install --quiet build twine
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

lock: .venv/tested
	$(BIN)/python lab/scripts/lock.py > constraints-ci.txt

.venv/installed: pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable . --constraint $(CONSTRAINTS)
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[test]" --constraint $(CONSTRAINTS)
	touch $@

clean:
	rm -rf .venv build dist runs/demo
