# Everything needs only Python 3.11, 3.12 or 3.13 (`make PYTHON=python3.13 ...`); `make demo` and
# `make test` create .venv themselves. Under 3.10 and 3.14 `make install` has what runs a .tflite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that the tests run in: three keep two cores busy, since tests wait for processes too.
JOBS ?= 3

# Asked for by name, another Python than that of the environment is no silent choice.
ifeq ($(origin PYTHON),command line)
ifneq ($(wildcard $(BIN)/python),)
version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ifneq ($(call version,$(PYTHON)),$(call version,$(BIN)/python))
$(error $(VENV) has Python $(call version,$(BIN)/python), PYTHON=$(PYTHON) is \
  $(or $(call version,$(PYTHON)),not there): remove $(VENV), or add VENV=another-folder)
endif
endif
endif

# Published checkpoints and photographs, which are no part of the project.
ifneq ($(wildcard ../shared/reference),)
export EDGESR_SHARED ?= $(abspath ../shared)
endif

.PHONY: install demo test fuzz lint format docs models constraints system-deps clean

# All extras where torch, TensorFlow and onnx2tf have builds; EXTRAS='[onnx]' leaves out torch.
EXTRAS ?= $(shell $(PYTHON) -c 'import sys; \
  print("[convert,train,dev,docs]" if (3, 11) <= sys.version_info[:2] <= (3, 13) else "")')

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 14) else \
	  f"got Python {v[0]}.{v[1]}, allowed 3.10 to 3.14: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.$(EXTRAS)'
	# spandrel declares torchvision, of which no build fits every torch; two of its networks need it.
	$(if $(findstring convert,$(EXTRAS)),$(BIN)/python -m pip install --quiet \
	  --disable-pip-version-check --constraint constraints.txt --no-deps spandrel einops)
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

# The newest versions of everything that install together, into constraints.txt; run the tests then.
constraints:
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet '.[convert,train,dev,docs]'
	build/constraints/bin/pip install --quiet --no-deps spandrel einops
	( sed '/^[^#]/,$$d' constraints.txt; build/constraints/bin/pip freeze --exclude edgesr \
	  | sed 's/+cpu$$//; s/$$/; python_version >= "3.11"/' ) > constraints.new
	mv constraints.new constraints.txt

# What the full test suite needs of Debian: the Vulkan loader, Chromium for its SwiftShader
# driver, and adb.
system-deps:
	apt-get update --quiet --quiet
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes \
	  --no-install-recommends libvulkan1 chromium adb

clean:
	rm -rf $(VENV) build dist out site *.egg-info .pytest_cache .ruff_cache .hypothesis
