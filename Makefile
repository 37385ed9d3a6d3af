# make run    set up, then train the simulated Sawyer through the real stack until it reaches its goals
# make demo   set up, then watch a trained arm stack a brick and be pushed, in seconds
# make test       set up, then run the tests but for the long ones
# make test-long  set up, then run the tests that `make test` leaves out
# make check      format, lint, types and the tests without node processes
# make docs       set up, then build the documentation site in build/site
# Others: lint, coverage, package, setup, eval, doctor, clean.

PYTHON ?= python3
VENV := .venv
TESTS = -m pytest --durations 15
FAST = $(TESTS) -m "not stack and not long" -n auto --dist worksteal -q
# those that start real processes: two at a time, in DDS domains of their own
STACK = $(TESTS) -m "stack and not long" -n 2 --dist loadgroup
LONG = $(TESTS) -m long -n 2 --dist loadgroup
# These tests judge real time. One that fails beside others runs once more, alone.
AGAIN = --last-failed --last-failed-no-failures none -n 0
# Where pip looks for the CPU build of torch beside PyPI, whose own build pulls gigabytes of CUDA. For a GPU: make setup TORCH=torch==2.13.0 TORCH_INDEX=
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
SEED ?= 0
ARGS ?=

.PHONY: run demo test test-long coverage check lint docs package setup eval doctor clean

run: setup
	$(VENV)/bin/sql-ros up sawyer_stack task:=sawyer_reach seed:=$(SEED) $(ARGS)

demo: setup
	$(VENV)/bin/sql-ros demo $(ARGS)

test: setup
ifeq ($(strip $(ARGS)),)
	OMP_NUM_THREADS=1 $(VENV)/bin/python $(FAST)
	$(VENV)/bin/python $(STACK) || $(VENV)/bin/python $(STACK) $(AGAIN)
else
	$(VENV)/bin/python -m pytest $(ARGS)
endif

test-long: setup
	$(VENV)/bin/python $(LONG) || $(VENV)/bin/python $(LONG) $(AGAIN)

# branches of the package that `make test` takes, processes included; below 90 % it fails
coverage: setup
	rm -f .coverage .coverage.*
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m coverage run $(FAST)
	$(VENV)/bin/python -m coverage run $(STACK)
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report --skip-covered --sort cover

check: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python $(FAST)

lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# without the network; a broken link or an undocumented public name is an error
docs: setup
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build

# what others install: dist/*.tar.gz and dist/*.whl
package: setup
	$(VENV)/bin/python setup.py --quiet sdist bdist_wheel

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
	$(PIP) install --quiet -c requirements/constraints.txt -e ".[ros,report,learner,bench,page,test,docs]"
	@touch $@

clean:
	rm -rf $(VENV) build dist install log *.egg-info .coverage .coverage.*
