# `make run` answers a prompt with the built-in model; `make test` runs everything that must hold.
# Both set up $(VENV) first, and do so again only when pyproject.toml has changed.
#
#   make run PROMPT="Tell me a story about an owl and a kite."
#   make test PYTEST_ARGS="tests/engine -x"
#   make run PYTHON=python3.12 TORCH="torch==2.12.*"

VENV ?= .venv
PROMPT ?= Tell me a story about a fox and a lantern.
PYTEST_ARGS ?=
PICTURE_PROMPT ?= Tell me a story about a fox and a lantern.
PICTURE_SEED ?= 7
GPU_PYTHON ?= python3

# One release of torch that every platform has. The package itself accepts the range in pyproject.toml.
TORCH ?= torch==2.13.0
# Linux without an NVIDIA driver: the CPU build (200 MB) in place of the CUDA one (several GB). Empty turns this off.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

# The first interpreter that is new enough; none leaves it empty, and the set-up says so.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

# A second environment for the kernel tests. They run on the CPU, where any torch goes with any Triton.
TRITON36_VENV ?= .venv-triton36
TRITON36_BIN := $(TRITON36_VENV)/bin

export PROMPT PICTURE_PROMPT

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check lint types contracts pytest soak soak-triton36 bench bench-app gpu picture clean

help:
	@echo 'make run     answer a prompt with the built-in model (PROMPT="..." to choose one)'
	@echo 'make test    style, types, layer contracts and all tests'
	@echo 'make soak    the tests again at full length: fuzzing, many kills, long sessions'
	@echo 'make soak-triton36  the kernel tests with Triton 3.6, which comes with torch 2.11 (part of make soak)'
	@echo 'make bench   the engine against transformers, in one run'
	@echo 'make bench-app  how fast the app starts, takes keys and draws, and the memory of a long answer'
	@echo 'make gpu     kernels and the full-size model on an NVIDIA GPU, with the python3 at hand; under nine minutes'
	@echo 'make picture the film in the README, docs/watch.svg, from an answer of the built-in model'
	@echo 'make lint    style, types and layer contracts only'
	@echo 'make clean   remove $(VENV), $(TRITON36_VENV) and everything built'

run: $(INSTALLED)
	@if [ -t 1 ]; then watch=--watch; else watch=--no-watch; fi; \
	$(BIN)/dgchat --model pocket $$watch -- "$$PROMPT"

test: lint pytest

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(INSTALLED_DEV)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

soak: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -m "" --hypothesis-profile=soak $(PYTEST_ARGS)
	@if [ "$$(uname -s)" = Linux ]; then $(MAKE) soak-triton36; fi

soak-triton36: $(TRITON36_VENV)/.installed
	$(TRITON36_BIN)/python -m pytest -m "not gpu" --hypothesis-profile=soak tests/kernels

bench: $(INSTALLED)
	$(BIN)/python engine/bench/vs_transformers.py $(BENCH_ARGS)

# PICTURE_SEED=3 tries another answer.
picture: $(INSTALLED)
	@trace=$$(mktemp) && trap 'rm -f "$$trace"' EXIT && \
	$(BIN)/dgchat --model pocket --quiet --seed $(PICTURE_SEED) --trace "$$trace" --force -- "$$PICTURE_PROMPT" && \
	$(BIN)/dgchat replay "$$trace" --export docs/watch.svg --format anim --width 72 --speed 4 --force

bench-app: $(INSTALLED_DEV)
	$(BIN)/python -m tests.bench.app_speed $(BENCH_ARGS)

# Installs nothing and sets up no $(VENV): GPU_PYTHON is one that has torch, Triton and transformers.
gpu:
	$(GPU_PYTHON) kernels/bench/gpu.py $(BENCH_ARGS)

clean:
	rm -rf $(VENV) $(TRITON36_VENV) build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "dgchat needs Python 3.11 or newer; none was found. Install one, or name it: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "dgchat needs Python 3.11 or newer; $(PYTHON) is not. Name another: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PIP) --version >/dev/null 2>&1 || { echo "Setting up $(VENV): a few minutes the first time, most of it PyTorch."; \
		"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }; }
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then :; else \
		index=; if $(call wants_cpu_build); then index="--extra-index-url $(TORCH_CPU_INDEX)"; fi; \
		$(PIP) install $$index '$(TORCH)' || $(PIP) install '$(TORCH)'; fi
	@$(PIP) install --quiet --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@$(PIP) install --quiet --editable '.[dev]'
	@touch $@

$(TRITON36_VENV)/.installed: $(INSTALLED)
	@$(BIN)/python -m venv $(TRITON36_VENV)
	@index=; if $(call wants_cpu_build); then index="--extra-index-url $(TORCH_CPU_INDEX)"; fi; \
	$(TRITON36_BIN)/python -m pip install --quiet $$index '$(TORCH)' || \
		$(TRITON36_BIN)/python -m pip install --quiet '$(TORCH)'
	@$(TRITON36_BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(TRITON36_BIN)/python -m pip install --quiet 'triton==3.6.0'
	@touch $@

# A shell condition: Linux, no NVIDIA driver, and the index of CPU builds answers within eight seconds (the alarm
# ends the probe even while it waits for a name server).
define wants_cpu_build
[ -n "$(TORCH_CPU_INDEX)" ] && [ "$$(uname -s)" = Linux ] && [ ! -e /proc/driver/nvidia/version ] \
	&& ! command -v nvidia-smi >/dev/null 2>&1 && $(BIN)/python -c 'import signal, urllib.request as request; \
	signal.alarm(8); request.urlopen("$(TORCH_CPU_INDEX)/torch/", timeout=5)' >/dev/null 2>&1
endef
