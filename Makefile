# Everything goes through a virtual environment that the first command sets up.
# VENV chooses where it is, PYTHON which interpreter it is made with.

PYTHON ?= python3
VENV ?= .venv

PY := $(VENV)/bin/python
READY := $(VENV)/.ready
UNFINISHED := $(VENV).unfinished
EXTRAS := evaluation,export,docs,dev

# The file name reaches the shell in its environment, so that spaces, quotes and dollars survive.
export INPUT_FILE := $(value IN)
OUT ?= enhanced
export OUTPUT_FOLDER := $(value OUT)

.DEFAULT_GOAL := help
.PHONY: help setup enhance test test-all lint docs runtime-files clean

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 20

setup: $(READY)  ## set up the virtual environment, if it is not

enhance: $(READY)  ## denoise a recording at every exit, into enhanced/ (IN=my.wav: this one, OUT=folder: there)
	@$(PY) examples/enhance_every_exit.py $(if $(INPUT_FILE),--input "$$INPUT_FILE") --output "$$OUTPUT_FOLDER"

# A process a core, four at most, of one thread each; a file's tests stay together, for they share what they set up.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

test: lint  ## the fast tests
	$(PYTEST)

test-all: lint  ## all tests: the slow ones too
	$(PYTEST) -m "slow or not slow"

lint: $(READY)  ## style and types
	$(PY) -m ruff check .
	$(PY) -m mypy

docs: $(READY)  ## build the guide, to be read in a browser
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "the guide is in docs/_build/html/index.html"

# Commit them with the weights: a test compares them.
SHIPPED := speechbrain_dynsnet/models/concat_joint_4
EXPORT := $(PY) -m speechbrain_dynsnet.cli export $(SHIPPED) --int8

runtime-files: $(READY)  ## export the shipped model's runtime files anew, after its weights have changed
	$(EXPORT) -o $(SHIPPED)/streaming_int8.onnx
	$(EXPORT) --frames any -o $(SHIPPED)/whole_file_int8.onnx
	@rm -f $(foreach name,streaming whole_file,$(SHIPPED)/$(name)_int8.npz $(SHIPPED)/$(name)_int8.h)

clean:  ## remove what building and testing left; the virtual environment and results stay
	rm -rf build dist docs/_build docs/_generated *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -exec rm -rf {} +

# A set-up that was stopped leaves UNFINISHED and no READY, and the next one begins from nothing. An
# environment that this file did not make is never emptied, only added to.
$(READY): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$(PYTHON) is missing or older than Python 3.10: install a newer one," \
			"or name it: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "$(PYTHON) cannot make virtual environments: install its venv package" \
			"(Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	@if [ ! -e "$(PY)" ] || [ -e "$(READY)" ]; then touch "$(UNFINISHED)"; rm -f "$(READY)"; fi
	$(PYTHON) -m venv $(if $(wildcard $(UNFINISHED)),--clear) "$(VENV)"
	"$(PY)" -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch "$(READY)" && rm -f "$(UNFINISHED)"
