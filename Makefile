# make demo [ARGS=--once]   make test [ARGS=…]   make soak   make test-stack   make dashboards   make lint   make bench
# make walkthrough   runs the commands of docs/walkthrough.md and checks them; ARGS=--write updates the page
# make bench         takes 90 minutes and 8 GB of disk; ARGS=--quick ten minutes; ARGS="--only sustained" polls 10 000 meters for ten minutes
# make build         writes dist/*.whl and dist/*.tar.gz; make images builds the two Docker images
# make test PYTHON=python3.13 VENV=.venv-3.13   tests with another Python, in a second virtual environment
# make docs          writes the generated parts of the documents
# make catalogue     writes docs/catalogue.md from the files in emm_pipeline/catalog
# make requirements  writes the packages of the images with their hashes; make sbom lists them in dist/*.cdx.json (CycloneDX)
# make secrets [FORCE=1]   writes random credentials into config/.env
# make test-stack    runs docker-compose.yml; needs a Docker engine, and takes about ten minutes
# Each target works in a new clone: it creates the virtual environment first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINOR := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
# A virtual environment has the Python that created it: report a request for another one instead of ignoring it.
ifeq ($(origin PYTHON),command line)
  ifneq ($(wildcard $(BIN)/python),)
    ifneq ($(shell $(PYTHON) $(MINOR)),$(shell $(BIN)/python $(MINOR)))
      $(error $(VENV) has Python $(shell $(BIN)/python $(MINOR)), not $(PYTHON): add VENV=.venv-NAME for a second one)
    endif
  endif
endif
# Number of test processes. More than the number of cores, since many tests wait (for a tick, for a killed process).
WORKERS ?= 6
DOCKERFILES := Dockerfile virtual_modbustcp_server/Dockerfile
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

# Demo and tests start many processes, each of which would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test walkthrough bench soak test-stack docs dashboards catalogue build images requirements sbom lint secrets \
  format clean help

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

demo: $(VENV)/.demo
	@$(BIN)/emm demo $(ARGS)

# In a new clone, two processes compile a part of the tests each, before all would do it at once.
tests/__pycache__: | $(VENV)/.dev
	@for part in 'tests/[a-d]*' 'tests/[!a-d]*'; do \
	  $(BIN)/python -m pytest --collect-only --quiet $$part >/dev/null & done; wait  # the tests report what is wrong

test: $(VENV)/.dev | tests/__pycache__
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(VENV)/.dev
	$(BIN)/python -m pytest -m soak -n 2 --dist loadfile --timeout 3000 $(ARGS)

test-stack: $(VENV)/.dev
	$(BIN)/python -m pytest -m stack -s --timeout 1200 tests/deployment $(ARGS)

catalogue: $(VENV)/.dev
	$(BIN)/python -m tools.documentation.catalogue docs/catalogue.md

docs: $(VENV)/.dev
	$(BIN)/python -m tools.documentation

dashboards: $(VENV)/.dev
	$(BIN)/python -m dashboards.build

walkthrough: $(VENV)/.dev
	$(BIN)/python -m tools.walkthrough $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

build: $(VENV)/.dev
	$(BIN)/python -m build

images:
	docker build --tag emm-pipeline .
	docker build --tag emm-virtual-modbustcp-server virtual_modbustcp_server

requirements: $(VENV)/.dev
	$(BIN)/python -m tools.dependencies requirements

sbom: $(VENV)/.dev
	$(BIN)/python -m tools.dependencies sbom

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	@if [ -x $(BIN)/hadolint ]; then set -x; $(BIN)/hadolint $(DOCKERFILES); \
	  else echo "hadolint has no wheel for this machine: the Dockerfiles were not checked"; fi

secrets:
	@$(PYTHON) -m emm_pipeline.cli.secrets config/.env.dev config/.env $(if $(FORCE),--force)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "EMM needs Python 3.11 to 3.13; select one with: make PYTHON=python3.13 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Creating a virtual environment failed; on Debian, run: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "installing into $(VENV) (about a minute the first time)"
	@$(INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "installing into $(VENV) (about a minute the first time)"
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.demo
