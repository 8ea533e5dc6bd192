# One word per job; each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test check docs setup clean

quickstart: setup  ## train GRPO on the lab with live boundary probes, write the report (about five minutes on two cores)
	$(BIN)/rlvr train recipes/quickstart/lab_grpo.yaml

test: setup  ## every test; three at a time keep two cores busy
	$(BIN)/python -m pytest -n 3 --no-loadscope-reorder

check: setup  ## lint, types, documentation
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs: setup  ## the documentation as a web site in site/ (live preview: .venv/bin/mkdocs serve)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo open site/index.html

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("rlvr needs Python 3.11 or newer; run make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned versions into $(VENV), a few minutes and about 2 GB; pip says nothing while it works"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist site *.egg-info
