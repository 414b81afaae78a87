# Linux and macOS. For Windows see README.md: the same steps as plain pip and venv lines.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
WORKERS ?= 2
DEMO_ARGS ?=

.PHONY: demo test torch lint docs gallery clean

demo: $(VENV)/.demo  ## Swap a face in a demo clip, from nothing.
	$(BIN)/python -m mien.app.demo $(DEMO_ARGS)

test: lint  ## Lint, types, floors, tests.
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 25 --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

torch: $(VENV)/.dev  ## Add PyTorch, without which its tests are skipped.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/torch.txt

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs  ## The documentation as a web site in site/.
	$(BIN)/mkdocs build --strict

gallery: $(VENV)/.demo  ## Make the pictures of the documentation anew.
	$(BIN)/python -m mien.app.demo --target hopper --gallery docs/gallery
	$(BIN)/python -m mien.app.demo --target astronaut --gallery docs/gallery

clean:
	rm -rf out site dist .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mien needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

# A stamp is older than what it depends on exactly when something has to be installed again.
$(VENV)/.%: requirements/%.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
