# Every target is one line to read; what is longer stands in the file that it calls.
PY := .venv/bin/python
TESTS ?= tests/unit tests/integration

.PHONY: setup up down test check lint locks stack-test bench

setup: ## make .venv from the lock
	@sh embedded/setup.sh

up: setup ## start everything on this machine; Ctrl-C ends it
	@$(PY) embedded/up.py up

down: ## end what `make up` started
	@if [ -x $(PY) ]; then $(PY) embedded/up.py down; else echo "churn: nothing is running"; fi

test: setup ## unit and integration tests
	@$(PY) -m pytest $(TESTS)

lint: setup ## ruff and mypy
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

check: lint test ## all that CI holds a change against, but the stack

stack-test: setup ## both ways of running, for real: needs a Docker engine and Debian's chromium
	@$(PY) -m pytest -s tests/stack

bench: setup ## serving and batch beside their rivals, into bench/RESULTS.md; wants a quiet machine
	@$(PY) -m bench

locks: setup ## compile requirements/*.txt anew
	@UV=.venv/bin/uv sh requirements/compile.sh
