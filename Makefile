# make run    set up, then train the simulated Sawyer through the real stack until it reaches its goals
# make demo   set up, then watch a trained arm stack a brick and be pushed, in seconds
# make test   set up, then run every test
# make check  format, lint, types and the fast tests, in some nine minutes
# Others: lint, setup, eval, doctor, clean.

PYTHON ?= python3
VENV := .venv
FAST_TESTS = OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m "not stack" -n auto --dist worksteal -q
# Where pip looks for the CPU build of torch beside PyPI, whose own build pulls gigabytes of CUDA. For a GPU: make setup TORCH=torch==2.13.0 TORCH_INDEX=
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
SEED ?= 0
ARGS ?=

.PHONY: run demo test check lint setup eval doctor clean

run: setup
	$(VENV)/bin/sql-ros up sawyer_stack task:=sawyer_reach seed:=$(SEED) $(ARGS)

demo: setup
	$(VENV)/bin/sql-ros demo $(ARGS)

# those that start real processes two at a time, in DDS domains of their own
test: setup
ifeq ($(strip $(ARGS)),)
	$(FAST_TESTS)
	$(VENV)/bin/python -m pytest -m stack -n 2 --dist loadgroup
else
	$(VENV)/bin/python -m pytest $(ARGS)
endif

check: lint
	$(FAST_TESTS)

lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

eval: setup
	$(VENV)/bin/sql-ros eval --policy runs/latest/policy.onnx --task sawyer_reach

doctor: setup
	$(VENV)/bin/sql-ros doctor

setup: $(VENV)/.complete

# torch first and alone: its index is asked for nothing else, and a machine that cannot reach it may hold the wheel elsewhere
$(VENV)/.complete: setup.py requirements/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or later is needed, this is " + sys.version.split()[0] + ": make setup PYTHON=python3.12")'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	$(PIP) install --quiet --retries 1 $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c requirements/constraints.txt "$(TORCH)"
	$(PIP) install --quiet -c requirements/constraints.txt -e ".[ros,report,learner,bench,test]"
	@touch $@

clean:
	rm -rf $(VENV) build install log *.egg-info
