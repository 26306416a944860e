# Every target that needs the virtual environment makes it first, and installs again only when a
# pyproject.toml, constraints.txt, the installer or the starter's weights changed.
#
#   make demo        the whole method on the bundled corpus
#   make test        everything that has to hold before a change goes in
#   make browser     Debian's Chromium, for the tests of the page, which are skipped without it
#   make check       its quick part: lint, format, types, import contract
#   make format      sorts imports and formats
#   make clean       removes what make made
#
# PYTHON=python3.12  the Python to build the environment with
# TORCH=cuda|cpu     the build of torch; auto: CUDA where an NVIDIA GPU answers, else CPU
# ARGS="-k store"    more arguments for pytest

PYTHON ?=
TORCH ?= auto
ARGS ?=
BIN := .venv/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
STAMP := .venv/.installed-$(TORCH)
STARTER := $(wildcard starter/openrealm_starter/model/starter.json)
CANDIDATES := $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python3.14)

# Four workers at most, since each imports torch and holds about 1 GB; tests/conftest.py keeps each
# to one thread.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test browser check format clean

demo: $(STAMP)
	$(BIN)/openrealm demo --to demo

test: check
	$(PYTEST) --cov --cov-report=term --cov-fail-under=90 $(ARGS)

# Playwright's own browsers are for other systems and hundreds of megabytes; any Chromium will do.
browser:
	@command -v chromium chromium-browser google-chrome || { \
		$(SUDO) apt-get update -q && \
		$(SUDO) apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 chromium; \
	}

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo build dist .coverage .coverage.* .*_cache .hypothesis
	find src tests scripts examples -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml starter/pyproject.toml constraints.txt scripts/install.py $(STARTER) \
		| $(BIN)/pip
	$(BIN)/python scripts/install.py --torch $(TORCH)
	@touch $@

# The first Python that is new enough and can make environments; some installations lack ensurepip.
$(BIN)/pip:
	@for python in $(CANDIDATES); do \
		if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then \
			echo "$$python -m venv .venv"; \
			exec "$$python" -m venv .venv; \
		fi; \
	done; \
	echo "openrealm needs Python 3.11 or newer with the venv module, and none of these is one:" \
		"$(CANDIDATES); install one, or name one: make PYTHON=/path/to/python" >&2; \
	exit 1
