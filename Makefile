# Every target makes .venv and installs what it needs by itself: Python 3.11 or newer and make are enough.
PYTHON ?= python3
BIN := .venv/bin
ON_DEVICES := tests/engine tests/nn tests/gradcheck tests/compiler tests/combinations
# one process per core, each with one BLAS thread: two that share cores wait for each other
PARALLEL := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-deep test-strict test-gpu test-versions check format docs bench bench-gpu peers release clean

demo: .venv/.installed-test  ## train a character-level LSTM for two minutes, then sample from it
	@# products this small gain little from a second BLAS thread, and wait for it at every step on a busy machine
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m examples.char_lm train --minutes 2 --out runs/demo --overwrite

test: .venv/.installed-test  ## every test
	$(PARALLEL)

test-deep: .venv/.installed-test  ## every test, with many more random examples
	HYPOTHESIS_PROFILE=deep $(PARALLEL)

test-strict: .venv/.installed-test  ## tests of engine, layers, checker, compiler and combinations, on an array type as strict as a GPU's
	TINYGRAD_SEQ_TEST_DEVICE=strict $(PARALLEL) $(ON_DEVICES)

test-gpu: .venv/.installed-test  ## every test, on a GPU where one has a device; says so where there is none
	TINYGRAD_SEQ_TEST_DEVICE=cuda $(BIN)/python -m pytest

test-versions: .venv/.installed-test  ## the tests on each Python that is here, with the oldest and the newest dependencies
	$(BIN)/python -m tests.versions

check: .venv/.installed-dev  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.type_completeness

format: .venv/.installed-dev  ## bring the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.installed-docs  ## the documentation as a site, in build/site; a broken link or any other warning is an error
	$(PARALLEL) tests/test_docs.py
	$(BIN)/python -m sphinx -W --keep-going -q -j auto -d build/doctrees docs build/site
	@echo "good: open build/site/index.html"

bench: .venv/.installed-bench  ## speed and memory, beside the peers that are installed
	$(BIN)/python -m benchmarks

bench-gpu: .venv/.installed-bench  ## speed and memory on a GPU, beside PyTorch with cuDNN; says so where there is none
	$(BIN)/python -m benchmarks gpu

peers: .venv/.installed-bench  ## install what the benchmarks compare with
	$(BIN)/python -m pip install -q torch==2.13.0 expecttest autograd jax micrograd mygrad

release: .venv/.installed-release  ## build and check what goes to a package index, and say what to tag
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	@grep -q "^\[project.urls\]" pyproject.toml || echo "note: pyproject.toml has no [project.urls] with Source, so the README has no links on the index"
	@version=$$($(BIN)/python -c "from tinygrad_seq.version import __version__; print(__version__)"); \
	grep -q "^## $$version" CHANGELOG.md || { echo "CHANGELOG.md has no section $$version"; exit 1; }; \
	echo "good: git tag v$$version && twine upload dist/*"

clean:  ## remove what the other targets made, but not the runs
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/.installed-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -q --editable ".[examples,io,jit]" --group $*
	touch $@
