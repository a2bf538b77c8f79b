# Two commands do everything on a fresh machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
STACK ?= taskflow
BIN := .venv/bin

.PHONY: help demo test test-full check lock bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# The environment: Python packages at locked versions with checked hashes, made again when the lock changes.
.venv/ready: requirements.lock scripts/environment.sh
	@sh scripts/environment.sh

demo: .venv/ready ## a lab VPS is provisioned and runs examples/$(STACK), on this machine alone
	@sh scripts/demo.sh $(STACK)

# What tests compare ours with: stock tools, never called by the toolkit on the control side.
.PHONY: tools
tools:
	@sh scripts/packages.sh age=age zstd=zstd ssh=openssh-client git=git

check: .venv/ready tools ## format, lint, types, floors and unit tests: under a minute
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest tests/unit -n 2 -m "not full"

test: check ## everything, with real hosts, registry and S3 in the lab
	@$(BIN)/python scripts/lab_tests.py -m "lab and not full"

test-full: check ## the slow suites too: every fault, long fuzzing
	@TOOLKIT_FULL=1 $(BIN)/python scripts/lab_tests.py -m "lab or full"

bench: .venv/ready ## print the tables of benchmarks/README.md, measured here and now
	@$(BIN)/python -m benchmarks.converge
	@$(BIN)/python -m benchmarks.deploy
	@$(BIN)/python -m benchmarks.backup
	@$(BIN)/python -m benchmarks.backup_growth
	@$(BIN)/python -m benchmarks.recover
	@$(BIN)/python -m benchmarks.lint
	@$(BIN)/python -m benchmarks.watchdog
	@$(BIN)/python -m benchmarks.protect
	@$(BIN)/python -m benchmarks.drill

lock: .venv/ready ## resolve the newest versions into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-header --no-emit-index-url \
	  --no-annotate --python-version 3.11 pyproject.toml --group dev --output-file requirements.lock
	@printf 'cryptography\npyrage\n' | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate --python-version 3.11 --constraint requirements.lock - \
	  --output-file toolkit/agent/requirements.lock
	@echo apprise | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
	  --no-annotate --python-version 3.11 --constraint requirements.lock - --output-file toolkit/agent/apprise.lock
	@printf 'boto3\nblake3\npyfastcdc\nbackports.zstd; python_version < "3.14"\n' | $(BIN)/uv pip compile --quiet \
	  --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 \
	  --constraint requirements.lock - --output-file toolkit/agent/backup.lock

clean: ## take the lab down and remove what was built here
	@test ! -x $(BIN)/invoke || $(BIN)/invoke lab.down
	@rm -rf .venv .lab build .mypy_cache .ruff_cache .pytest_cache .hypothesis
