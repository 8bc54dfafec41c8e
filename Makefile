# Needs GNU make, a POSIX shell and Python; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
FLOORS_VENV ?= .venv-floors
# Where `make newest` looks, and with what. 3.11 has no newer JAX than constraints.txt; torch is several GB for each,
# unless the configured index has builds for the CPU. Each has an environment, with its version after a dash.
NEWEST_VENV ?= .venv-newest
PYTHONS ?= 3.11 3.12 3.13
PYTHONS_WITH_TORCH ?= 3.11
PYTHONS_WITH_JAX ?= 3.12 3.13
JAX_FRAMEWORKS_VENV ?= .venv-jax-frameworks
BACKENDS ?= all
OPTIMIZER ?= adam

comma := ,
empty :=
space := $(empty) $(empty)
join_extras = $(subst $(space),+,$(strip $(sort $(1))))

# A stamp names the extras that it stands for, so that asking for others installs only what is missing.
# Each framework's extra has the backend's name; NumPy is always there.
DEMO_ENV := $(VENV)/.installed-$(call join_extras,examples fast $(filter-out numpy,$(subst $(comma),$(space),$(BACKENDS))))
TEST_ENV := $(VENV)/.installed-$(call join_extras,all bench dev examples test)
BENCH_ENV := $(VENV)/.installed-$(call join_extras,all bench)
FRAMEWORKS_ENV := $(VENV)/.installed-$(call join_extras,all bench dev examples frameworks test)
# A Python by its version: on the path, or among those that pyenv keeps.
interpreter = for python in python$(1) "$$(pyenv prefix $(1) 2>/dev/null)/bin/python"; do \
  "$$python" -c "" 2>/dev/null && { echo "$$python"; break; }; done
# Something made with a Python of a version; without such a Python, the line ends here.
made_with = python=$$($(call interpreter,$(1))); [ -n "$$python" ] || { echo "There is no Python $(1): left out"; exit 0; }; \
  $(MAKE) --no-print-directory $(2) PYTHON="$$python"
FLOORS_EXTRAS := all,keras,scipy,examples,test
with = $(if $(filter $(1),$(PYTHONS_WITH_TORCH)),torch$(comma))$(if $(filter $(1),$(PYTHONS_WITH_JAX)),jax$(comma))
newest_extras = $(call with,$(1))fast,scipy,examples,test
# What these extras need, asked in an environment.
needed = $$($(1)/bin/python tests/requirements.py $(2))
# The newest releases are those of a day.
TODAY := $(shell date +%F)
# What torch's compiler keeps for the next process (150 MB), where `make clean` finds it.
export TORCHINDUCTOR_CACHE_DIR ?= $(CURDIR)/build/inductor
# What XLA compiles for the tests (50 MB), a quarter of their time, for each kind of processor. Tests work on a copy, whose
# files go one by one to those that are kept when the tests have come to an end, failed or not: others may run meanwhile
# or end at the same moment, and whoever is cut off may leave half a file (pytest ends with 3 where one of its own
# processes was: tests/conftest.py). Of the two hundred processes that tests start, not each compiles gradwise's sources.
PROCESSOR := $(shell { grep -m 1 -E '^(flags|Features)' /proc/cpuinfo || uname -mp; } 2>/dev/null | cksum | cut -d ' ' -f 1)
XLA := $(CURDIR)/build/xla-$(PROCESSOR)
begun = mkdir -p "$(dir $(XLA))"; own=$$(mktemp -d "$(XLA).XXXXXX") || exit; trap 'rm -rf "$$own"' EXIT; \
  trap 'exit 130' INT TERM; [ ! -d "$(XLA)" ] || cp -R "$(XLA)/." "$$own"; export JAX_COMPILATION_CACHE_DIR="$$own"; \
  unset PYTHONDONTWRITEBYTECODE
ended = code=$$?; [ $$code -gt 1 ] || { mkdir -p "$(XLA)"; \
  find "$$own" -type f -exec sh -c 'mv -f "$$@" "$$0"' "$(XLA)" {} +; }; exit $$code
PIP_INSTALL := -m pip install -qq --disable-pip-version-check

.PHONY: help demo bench parity mutants new-optimizer refresh test other-machine frameworks jax-frameworks lint wheel wheel-files floors newest
.PHONY: crossings environment-floors environment-jax-frameworks clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo "Settings: PYTHON=$(PYTHON) VENV=$(VENV) BACKENDS=$(BACKENDS) OPTIMIZER=$(OPTIMIZER)"

demo: $(DEMO_ENV)  ## train the digits example; BACKENDS=numpy,jax installs and runs only those
	@$(VENV)/bin/python examples/train_digits.py --backend $(BACKENDS) --optimizer $(OPTIMIZER)

bench: $(BENCH_ENV)  ## time steps side by side with torch, optax and Keras; arguments through BENCH="..."
	@mkdir -p build
	@$(VENV)/bin/python benchmarks/run.py --json build/bench.json --plot build/bench.png $(BENCH)

parity: $(TEST_ENV)  ## measure distances from the reference vectors; PARITY=--check only compares with the README's
	@$(VENV)/bin/python tests/parity_table.py $(PARITY)

mutants: $(TEST_ENV)  ## change every formula in every small way; fail if the vectors do not notice; ONLY=lion.keras for one
	@$(VENV)/bin/python tests/mutation_score.py $(addprefix --only ,$(ONLY))

new-optimizer: $(TEST_ENV)  ## NAME=Lion: the files of a new algorithm, to be filled in (CONTRIBUTING.md)
	@$(VENV)/bin/python tests/new_optimizer.py $(NAME)

refresh: $(TEST_ENV)  ## write vectors, bounds, lists and counts anew; ONLY=lion for one algorithm
	@$(VENV)/bin/python tests/refresh.py $(addprefix --only ,$(ONLY))

# Each process takes what lies together, so that what modules prepare and compile is prepared and compiled once.
test crossings: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
test crossings: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES = -1
test: lint  ## lint, then the whole test suite on every backend
	@$(begun); $(VENV)/bin/python -m pytest -n 2 --dist worksteal --durations=40 --durations-min=2; $(ended)

crossings: $(TEST_ENV)  ## the combinations of options, dtypes and algorithms that `make test` only covers in pairs
	@$(begun); export GRADWISE_CROSSINGS=whole; ($(VENV)/bin/python -m pytest -n 2 --dist worksteal -m crossing && \
	for backend in jax torch numpy; do GRADWISE_KERAS_TESTS=1 KERAS_BACKEND=$$backend PYTHONPATH=tests \
	  $(VENV)/bin/python -m pytest -n 2 --dist worksteal -m crossing tests/frontends/keras/each_backend || exit; done); \
	$(ended)

other-machine: $(TEST_ENV)  ## the tests that compare, as another processor might compute: wrong roots, older vectors
	@$(VENV)/bin/python tests/other_machine.py

frameworks: $(FRAMEWORKS_ENV)  ## train a few steps under Hugging Face's Trainer, Lightning and Accelerate
	@$(VENV)/bin/python -m pytest -m frameworks

# mypy must see the package as users get it: only the installed one has its import names.
lint: wheel  ## ruff, and mypy on the built and installed package
	@$(VENV)/bin/python -m ruff check .
	@rm -rf build/site
	@$(VENV)/bin/python $(PIP_INSTALL) --no-deps --target build/site dist/*.whl
	@bin=$$(cd "$(VENV)/bin" && pwd) && cd build/site && "$$bin/python" -m mypy \
	  --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p gradwise

wheel: $(TEST_ENV)  ## build the source distribution and, from it, the wheel, into dist/
	@rm -rf dist
	@log=$$($(VENV)/bin/python -m build --no-isolation 2>&1) || { echo "$$log" >&2; exit 1; }

wheel-files: $(TEST_ENV)  ## rewrite tests/project/wheel_files.txt after an intended change of the wheel's files
	@$(VENV)/bin/python tests/project/test_packaging.py

floors:  ## the tests that show that gradwise works, on the oldest releases that pyproject.toml allows (Python 3.11)
	@$(call made_with,3.11,$(FLOORS_VENV)/.installed) && $(FLOORS_VENV)/bin/python tests/other_releases.py -n 2

newest: $(PYTHONS:%=newest-%)  ## the same on the newest releases, for each Python of PYTHONS that the machine has

newest-%:
	@$(call made_with,$*,$(NEWEST_VENV)-$*/.installed-$(TODAY)) && $(NEWEST_VENV)-$*/bin/python tests/other_releases.py -n 2

jax-frameworks: $(JAX_FRAMEWORKS_VENV)/.installed  ## the loops of flax, equinox, optimistix and orbax, with our transformations
	@$(JAX_FRAMEWORKS_VENV)/bin/python -m pytest tests/frontends/jax_frameworks

# Ahead, what these targets install: environment-TARGET. Others may run meanwhile, so nothing is built among the sources,
# where installing gradwise would build it.
environment-floors:
	@$(call made_with,3.11,$(FLOORS_VENV)/.needed)

environment-newest-%:
	@$(call made_with,$*,$(NEWEST_VENV)-$*/.needed-$(TODAY))

environment-jax-frameworks: $(JAX_FRAMEWORKS_VENV)/.needed

clean:  ## remove what builds and checks leave behind; the environments stay
	@rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -path './.*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The tests need all that the demo needs: with this, running the demo after the tests installs nothing.
$(TEST_ENV): $(VENV)/.installed-all+examples

$(VENV)/.installed-%: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing gradwise[$(subst +,$(comma),$*)] into $(VENV)"
	@$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e '.[$(subst +,$(comma),$*)]'
	@touch $@

$(FLOORS_VENV)/.needed: $(FLOORS_VENV)/.created pyproject.toml constraints-floors.txt
	@echo "Installing the oldest supported releases into $(FLOORS_VENV)"
	@$(FLOORS_VENV)/bin/python $(PIP_INSTALL) -c constraints-floors.txt $(call needed,$(FLOORS_VENV),$(FLOORS_EXTRAS)) optax
	@touch $@

$(JAX_FRAMEWORKS_VENV)/.needed: $(JAX_FRAMEWORKS_VENV)/.created pyproject.toml constraints.txt
	@echo "Installing what gradwise[jax-frameworks] needs into $(JAX_FRAMEWORKS_VENV)"
	@$(JAX_FRAMEWORKS_VENV)/bin/python $(PIP_INSTALL) -c constraints.txt $(call needed,$(JAX_FRAMEWORKS_VENV),jax-frameworks)
	@touch $@

$(PYTHONS:%=$(NEWEST_VENV)-%/.needed-$(TODAY)): $(NEWEST_VENV)-%/.needed-$(TODAY): $(NEWEST_VENV)-%/.created pyproject.toml
	@echo "Installing the newest releases into $(@D)"
	@$(@D)/bin/python $(PIP_INSTALL) -U --upgrade-strategy eager $(call needed,$(@D),$(call newest_extras,$*)) \
	  $(if $(filter $*,$(PYTHONS_WITH_JAX)),optax)
	@touch $@

$(FLOORS_VENV)/.installed $(JAX_FRAMEWORKS_VENV)/.installed: %/.installed: %/.needed
	@$(@D)/bin/python $(PIP_INSTALL) --no-deps -e .
	@touch $@

$(PYTHONS:%=$(NEWEST_VENV)-%/.installed-$(TODAY)): %/.installed-$(TODAY): %/.needed-$(TODAY)
	@$(@D)/bin/python $(PIP_INSTALL) --no-deps -e .
	@touch $@

# A stamp rather than the interpreter itself: creating an environment can fail after it has put that there.
$(VENV)/.created $(FLOORS_VENV)/.created $(JAX_FRAMEWORKS_VENV)/.created $(PYTHONS:%=$(NEWEST_VENV)-%/.created):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "gradwise needs Python 3.11 or newer, and '$(PYTHON)' is not: name another with 'make PYTHON=...'" >&2; exit 1; }
	@$(PYTHON) -m venv $(@D)
	@touch $@
