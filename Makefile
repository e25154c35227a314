# Every target creates what it needs: the virtual environment, and (inside `lws-kueue`) the programs
# of the sandbox, which are downloaded or built on first use and kept in ~/.cache/lws-kueue.
# Needed beforehand: make, git and Python >= 3.11 (PYTHON=... names another one); where no image
# registry can be reached, Go >= 1.26 as well.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# Options for the program behind a target: make demo ARGS=--keep
ARGS ?=

# How many clusters the whole-system tests run on side by side: more than there are cores, because a
# test waits for about half of its time; some of test-long, which play many sets at once, do not.
# Each takes up to 2 GiB of memory. 0 for a cluster that is given:
# make test CLUSTERS=0 ARGS='--kubeconfig FILE'
test: CLUSTERS ?= 4
test-long: CLUSTERS ?= 3
# Whole files, in the order of tests/kit/live/handing_out.py: what is long is begun first.
HAND_OUT := --dist loadfile --no-loadscope-reorder

.PHONY: help demo bench test test-long test-image lint crds reference sandbox e2e-kind constraints lock \
  dist check-release clean

help: ## This list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Watch a LeaderWorkerSet being admitted group by group on a real control plane.
	$(BIN)/lws-kueue demo $(ARGS)

bench: $(INSTALLED) ## Measure sets beside their peers: docs/benchmarks says what and how.
	$(BIN)/lws-kueue bench $(ARGS)

test: $(INSTALLED) ## All tests but those of test-long; the summary says what was skipped and why.
	$(BIN)/pytest tests -m 'not long' -n 2 --dist worksteal
	$(BIN)/pytest e2e -m 'not long' -n $(CLUSTERS) $(HAND_OUT) $(ARGS)

test-long: $(INSTALLED) ## What takes long: a hundred kills, more random lives of sets, all rows of large tables.
	$(BIN)/pytest tests -m 'long or hypothesis' --hypothesis-profile long -n 2 --dist worksteal
	$(BIN)/pytest e2e -m long -n $(CLUSTERS) $(HAND_OUT) $(ARGS)

test-image: $(INSTALLED) ## Build the image and look into it (needs a Docker engine); part of test-long.
	$(BIN)/pytest tests/deploy/test_image.py $(ARGS)

lint: $(INSTALLED) ## Style, types, layers and shell scripts.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	bash -n .ci/run e2e/kind/run.sh
	@if command -v shellcheck; then shellcheck .ci/run e2e/kind/run.sh; \
	else echo "shellcheck is not installed: shell scripts were only parsed"; fi

crds: $(INSTALLED) ## Generate crds/ from tools/crds and the API server's own OpenAPI document.
	$(BIN)/python -m tools.in_sandbox $(BIN)/python -m tools.crds --output crds/leaderworkersets.yaml

reference: $(INSTALLED) ## Generate docs/reference.md from tools/reference.
	$(BIN)/python -m tools.reference

sandbox: $(INSTALLED) ## Download or build the programs of the sandbox now instead of on first use.
	$(BIN)/lws-kueue sandbox build

e2e-kind: $(INSTALLED) ## The whole-system tests on kind with a released Kueue (needs docker, kind, kubectl).
	e2e/kind/run.sh $(ARGS)

constraints: ## Write constraints.txt anew, with the newest versions that pyproject.toml allows.
	directory=$$(mktemp -d); trap 'rm -rf "$$directory"' EXIT; \
	$(PYTHON) -m venv "$$directory"; \
	"$$directory/bin/python" $(PIP_INSTALL) '.[test,lint]' './lab[containers]'; \
	{ sed -n '/^#/p' constraints.txt; \
	  "$$directory/bin/python" -m pip freeze --exclude lws-kueue --exclude lws-kueue-lab | LC_ALL=C sort -f; \
	} > "$$directory/constraints.txt"; \
	cp "$$directory/constraints.txt" constraints.txt

lock: $(INSTALLED) ## Write what the image is made from, with hashes, in the versions of constraints.txt.
	$(BIN)/python -m tools.lock

dist: $(INSTALLED) ## The files of a release, in dist/ (needs kubectl and helm): RELEASE.md.
	$(BIN)/python -m tools.release --output dist $(ARGS)

check-release: $(INSTALLED) ## Whether a tag can be released as it is: make check-release TAG=v0.1.0
	@$(BIN)/python -m tools.release --check "$(TAG)"

clean: ## Remove the virtual environment and the tools' caches; the sandbox's programs stay.
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Anew whenever the dependencies change. The stamp is the last step, so a failure is tried again.
$(INSTALLED): pyproject.toml lab/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python >= 3.11 is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making .venv with all that demo and tests need: a minute or some, by the package index"
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[test,lint]' --editable 'lab[containers]'
	@touch $@
