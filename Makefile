# Two commands for a newcomer: `make demo` and `make test`. `make check` is what runs before a release.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: docs demo test check oldest lint clean install

install: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/dqmroot demo -o demo-output

test: $(STAMP) lint
	$(BIN)/pytest -m 'not slow' -n 2 --dist loadfile

# The documentation, warnings as errors and tutorials run, into site/.
docs: $(STAMP)
	$(BIN)/mkdocs build --strict

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

# What takes longer than a person waits: slow tests, 20,000 damaged files, the oldest dependencies.
check: $(STAMP) lint
	$(BIN)/pytest -n 2 --dist loadfile
	$(BIN)/python benchmarks/fuzz_nanodqmio.py --files 20000
	$(MAKE) oldest

# The tests with the oldest dependencies that pyproject.toml allows.
oldest: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	rm -rf .venv-oldest && $(BIN)/uv venv --quiet --python $(BIN)/python .venv-oldest
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct --editable '.[test]'
	.venv-oldest/bin/pytest -m 'not slow' -n 2 --dist loadfile

clean:
	rm -rf $(VENV) .venv-oldest build dist demo-output .mypy_cache .pytest_cache .ruff_cache
