# Two commands for a newcomer: `make demo` and `make test`. `make check` is what runs before a release.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: docs demo test check oldest pythons lint clean install

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

# The documentation, warnings as errors and tutorials run, into site/. The theme says that it will not follow MkDocs 2; it holds MkDocs
# below 2 itself, so its notice need not be read each time.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/interrogate --quiet dqmroot kernels
	$(BIN)/mypy

# What takes longer than a person waits: slow tests, 20,000 damaged files, the site with its tutorials run, each Python, and the
# oldest dependencies.
check: $(STAMP) lint
	$(BIN)/pytest -n 2 --dist loadfile
	$(BIN)/python benchmarks/fuzz_nanodqmio.py --files 20000
	$(MAKE) docs pythons oldest

# The wheel in a clean environment of each Python that is there: the demo finds its faults, and the sdist's tests of reading pass.
PYTHONS ?= python3.11 python3.12 python3.13
pythons: $(STAMP)
	rm -rf dist build && $(BIN)/python -m build --outdir dist .
	for python in $(PYTHONS); do PYTHON=$$python sh tests/install.sh || exit 1; done

# The tests with the oldest dependencies that pyproject.toml allows. Their own warnings about what came after them are no errors.
oldest: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	rm -rf .venv-oldest && $(BIN)/uv venv --quiet --python $(BIN)/python .venv-oldest
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct --editable '.[test]'
	.venv-oldest/bin/pytest -m 'not slow' -n 2 --dist loadfile -o filterwarnings=ignore

clean:
	rm -rf $(VENV) .venv-oldest build dist demo-output .mypy_cache .pytest_cache .ruff_cache
