# make demo: train on the bundled avatars (about 8 minutes on 2 cores), measure, end with pictures and a report.
# make test: the whole suite. Both make .venv first, on a machine that has nothing but Python 3.11 or newer.

PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo

.PHONY: demo test check format clean

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

check: .venv/tested ## what to run before every commit: two minutes
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow"

format: .venv/tested
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable . --constraint constraints.txt
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[test]" --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv runs/demo
