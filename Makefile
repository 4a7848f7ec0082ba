# Every target makes its own virtual environment first; `make demo` and `make test` need Python 3.11+ and git alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test quick fuzz check interop napari docs dist bench bench-accuracy bench-peers bench-loop ablation clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("eseg_zoo needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs,benchmarks,tensorboard]'
	touch $@

demo: $(READY)  ## train on a synthetic EM volume, export, verify, predict, and leave a report in demo/
	$(BIN)/eseg-demo --out demo --force

test: $(READY)  ## the test suite, one process a core up to four, each with one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

quick: $(READY)  ## the tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 -m 'not slow'

fuzz: $(READY)  ## thousands of damaged inputs of each kind: one line, or success; three minutes on two cores
	OMP_NUM_THREADS=1 ESEG_FUZZ_CASES=$(or $(CASES),600) $(BIN)/python -m pytest tests/fuzz -n auto --maxprocesses 4

check: $(READY)  ## style, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

interop: $(READY)  ## the package in its consumers' own runtimes: PACKAGE=model.zip CKPT=model.pt, or else the demo's
	PYTHONPATH=tests $(BIN)/python -m interop.run $(if $(CKPT),--ckpt '$(CKPT)') $(if $(PACKAGE),--package '$(PACKAGE)')

# Environments of their own: two versions of napari cannot share one. XVFB is a screen for machines without.
XVFB ?= $(shell command -v xvfb-run >/dev/null && echo "xvfb-run -a -s '-screen 0 1400x1000x24'")
.napari/%/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .napari/$*
	.napari/$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[napari]' 'napari==$*' pytest 'pytest-qt'
	touch $@

napari: .napari/0.6.0/.ready .napari/0.9.2/.ready  ## the window's tests, with the oldest and the newest napari that it supports
	for version in 0.6.0 0.9.2; do \
	  OMP_NUM_THREADS=1 LIBGL_ALWAYS_SOFTWARE=1 $(XVFB) .napari/$$version/bin/python -m pytest -c plugin/pytest.ini plugin/tests || exit 1; \
	done

docs: $(READY)  ## the documentation as a site, site/index.html; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

.dist/tools/.ready: constraints.txt
	$(PYTHON) -m venv .dist/tools
	.dist/tools/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt build twine
	touch $@

dist: .dist/tools/.ready  ## sdist and wheel in dist/, and the wheel tried in an environment outside of the repository
	$(PYTHON) tests/release/check.py --tools .dist/tools --out dist

bench: $(READY)  ## seconds and memory per megapixel of predict, the exported formats and their peers
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/formats.py

bench-accuracy: $(READY)  ## Dice beside a random forest and a U-Net, from few labels: DATA=folder of the data sets
	$(BIN)/python benchmarks/accuracy.py $(OPTIONS) '$(or $(DATA),$(error give DATA=folder of the data sets))'

bench-peers: $(READY)  ## the same on one data set, from 60 to 6,000 labels: DATA=folder of the VNC data
	$(BIN)/python benchmarks/peers.py $(OPTIONS) '$(or $(DATA),$(error give DATA=folder of the VNC data))'

bench-loop: $(READY)  ## Dice over strokes of a simulated annotator, by where they are painted: DATA=folder of a data set
	$(BIN)/python benchmarks/loop.py $(OPTIONS) '$(or $(DATA),$(error give DATA=folder of a data set))'

ablation: $(READY)  ## what each part of the training buys: DATA=folder of the VNC data
	$(BIN)/python benchmarks/ablation.py $(OPTIONS) '$(or $(DATA),$(error give DATA=folder of the VNC data))'

clean:
	rm -rf $(VENV) .interop .napari .dist build dist site demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
