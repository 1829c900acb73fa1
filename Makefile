# Everything needs only Python 3.11; `make demo` and `make test` create .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that the tests run in: three keep two cores busy, since tests wait for processes too.
JOBS ?= 3

# Published checkpoints and real pictures, which are no part of the project.
ifneq ($(wildcard ../shared/reference),)
export EDGESR_SHARED ?= $(abspath ../shared)
endif

.PHONY: install demo test lint format models system-deps clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else \
	  f"got Python {v[0]}.{v[1]}, need 3.11 (onnx2tf 1.28.8): make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[convert,train,dev]'
	@touch $(STAMP)

# The main job: a checkpoint becomes a proven .tflite, and a photograph is upscaled by it.
demo: $(STAMP)
	$(BIN)/python examples/demo.py --output out

# A file's tests stay in one process, which makes its fixtures once, and the order is that of
# tests/conftest.py. One thread each: torch's threads wait for each other where cores are shared.
test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The files in tflite_models/ anew, with manifests, cards and table: minutes, on a quiet machine.
models: $(STAMP)
	$(BIN)/python -m converters.shipped

# What the full test suite needs of Debian: the Vulkan loader, Chromium for its SwiftShader
# driver, and adb.
system-deps:
	apt-get update --quiet --quiet
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes \
	  --no-install-recommends libvulkan1 chromium adb

clean:
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .ruff_cache .hypothesis
