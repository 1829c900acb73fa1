# Everything needs only Python 3.11; `make demo` and `make test` create .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that the tests run in: three keep two cores busy, since tests wait for processes too.
JOBS ?= 3

# Published checkpoints and photographs, which are no part of the project.
ifneq ($(wildcard ../shared/reference),)
export EDGESR_SHARED ?= $(abspath ../shared)
endif

.PHONY: install demo test fuzz lint format docs models system-deps clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else \
	  f"got Python {v[0]}.{v[1]}, need 3.11 (onnx2tf 1.28.8): make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[convert,train,dev,docs]'
	# spandrel declares torchvision, of which no build fits every torch; two of its networks need it.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --no-deps spandrel einops
	@touch $(STAMP)

# Convert a checkpoint to a verified .tflite, upscale a photograph with it, compare with bicubic.
demo: $(STAMP)
	$(BIN)/python examples/demo.py --output out

# Lint and the fast tests; SLOW=1 runs the slow ones too, as CI does. A file's tests stay in one
# process, which makes its fixtures once, and the order is that of tests/conftest.py. One thread
# each: torch's threads wait for each other where cores are shared.
test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  $(if $(SLOW),,-m 'not slow')

# Seeded bad inputs of every kind through the command line, on two processes: crashes, tracebacks,
# hangs, half-written files and wrong results. `PYTHONPATH=.:tests .venv/bin/python -m fuzz.run
# --kinds KIND --seed S --case K --keep DIR` runs one of them again.
N ?= 2000
SEED ?= 1
fuzz: $(STAMP)
	PYTHONPATH=.:tests $(BIN)/python -m fuzz.run --count $(N) --seed $(SEED) --jobs 2

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The documentation as a site in site/; a dead link is an error. Nothing is downloaded.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The files in tflite_models/ anew, with manifests, cards and table: minutes, on a quiet machine.
models: $(STAMP)
	$(BIN)/python -m tools.release.models

# What the full test suite needs of Debian: the Vulkan loader, Chromium for its SwiftShader
# driver, and adb.
system-deps:
	apt-get update --quiet --quiet
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes \
	  --no-install-recommends libvulkan1 chromium adb

clean:
	rm -rf $(VENV) build dist out site *.egg-info .pytest_cache .ruff_cache .hypothesis
