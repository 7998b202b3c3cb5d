# make demo    see it work: a real repository, a scripted agent, no key
# make test    checks and all tests, with coverage
# make help    everything else

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ "$$n" -gt 4 ] && n=4; echo $$((n + 1)))
# The environment names the folder it was made in: a clone that was moved makes itself a new one.
READY := $(VENV)/ready-$(shell pwd | cksum | cut -d' ' -f1)

.PHONY: help setup server demo test check format chaos overnight bench messages test-agents test-cluster docs pictures histories pins clean

help:
	@echo "make setup        make $(VENV) with beatctl in it, editable"
	@echo "make demo         an optimize loop and a retry loop on a repository made for it (AGENT=claude: the real one)"
	@echo "make test         check, then all tests with coverage; ARGS= goes to pytest"
	@echo "make check        ruff and mypy"
	@echo "make format       let ruff format and fix"
	@echo "make chaos        kill worker, server and supervisor KILLS=100 times at random, count what is lost; SEED=1"
	@echo "make overnight    a loop of 700 iterations with ten kills, then its server's database deleted"
	@echo "make bench        measure: overhead per iteration, 5,000 of them, recovery, start-up, snapshots, memory, telemetry"
	@echo "make test-agents  install claude, codex, gemini and opencode in a cache folder, drive them against a scripted LLM"
	@echo "make test-cluster build Temporal's server, run it on PostgreSQL with TLS: loops, 20 kills, encryption (minutes)"
	@echo "make docs         write docs/commands.md anew from the commands' help"
	@echo "make pictures     take the documents' pictures anew (needs tmux and Chromium)"
	@echo "make messages     write the texts that tests/cli/test_messages.py compares with anew; read their difference"
	@echo "make histories    record a history of each kind of loop under the next number in tests/loops/histories"
	@echo "make pins         write the pinned versions anew after a change of dependencies"
	@echo "make clean        remove what was built here"

setup: $(READY)

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@rm -f $(VENV)/ready-*
	@if ! $(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  python=; for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$p; break; fi; done; \
	  if [ -z "$$python" ]; then echo "beatctl needs Python 3.11 or newer; found: $$(python3 --version 2>/dev/null || echo none)." \
	    "Name one: make setup PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	  echo "Making $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv --clear $(VENV) || { echo "python -m venv failed. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	fi
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The Temporal server's program must be there before tests start: built with Go, it takes minutes.
server: $(READY)
	@$(PY) -I -c 'import os; from beatctl.worker.server_program import find_or_fetch; print(find_or_fetch(os.environ, print))'

demo: $(READY)
	@$(PY) -I -m beatctl.cli.entry demo $(if $(AGENT),--agent $(AGENT))

check: $(READY)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: $(READY)
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

# In CI, whose machine has other work too, a test that fails has a second try; the closing lines name it.
test: check server
	@rm -rf .coverage
	@$(PY) -m pytest -q -n $(WORKERS) --dist loadgroup $(if $(CI),--reruns 1 -rR) --cov --cov-config=pyproject.toml --cov-report=term $(ARGS)

KILLS ?= 100
SEED ?= 1
chaos: server
	@$(PY) -m tests.chaos --kills $(KILLS) --seed $(SEED) $(ARGS)

overnight: server
	@$(PY) -m tests.chaos --overnight --seed $(SEED) $(ARGS)

bench: server
	@$(PY) -m tests.bench $(ARGS)

messages: server
	@RENEW_MESSAGES=1 $(PY) -m pytest -q tests/cli/test_messages.py
	@git --no-pager diff --stat tests/cli/messages

AGENTS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/beatctl/agents
test-agents: server
	@mkdir -p "$(AGENTS)"
	@npm install --prefix "$(AGENTS)" --no-fund --no-audit --loglevel=error \
	  @anthropic-ai/claude-code@2.1.197 @openai/codex@0.169.0 @google/gemini-cli@0.61.0 opencode-ai@1.18.33
	@PATH="$(AGENTS)/node_modules/.bin:$$PATH" $(PY) -m pytest -q -n $(WORKERS) -m real_agents $(ARGS)

docs: $(READY)
	@$(PY) -m tests.docs.commands_page

test-cluster: server
	@$(PY) -m tests.cluster --kills $(if $(filter command line,$(origin KILLS)),$(KILLS),20) --seed $(SEED) $(ARGS)

pictures: server
	@$(PY) -m tests.docs.pictures

histories: server
	@$(PY) -m tests.loops.record_histories $(ARGS)

pins: $(READY)
	@$(PY) tests/packaging/pins.py

clean:
	@rm -rf $(VENV) .coverage htmlcov build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	@find . -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +
