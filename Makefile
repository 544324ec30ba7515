# Every target is one line to read; what is longer stands in the file that it calls.
PY := .venv/bin/python
TESTS ?= tests/unit tests/integration

FILE ?= churn.tar

.PHONY: setup up down test check lint locks bench stack-up stack-down stack-logs stack-test stack-backup stack-restore stack-rotate

setup: ## make .venv from the lock
	@sh embedded/setup.sh

up: setup ## start everything on this machine; Ctrl-C ends it
	@$(PY) embedded/up.py up

down: ## end what `make up` started
	@if [ -x $(PY) ]; then $(PY) embedded/up.py down; else echo "churn: nothing is running"; fi

test: setup ## unit and integration tests
	@$(PY) -m pytest $(TESTS)

lint: setup ## ruff, mypy, hadolint and the compose file; needs docker's command line, but no engine
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
	@.venv/bin/hadolint Dockerfile && docker compose --profile tools config --quiet

check: lint test ## all that CI holds a change against, but the stack

stack-up: ## start the compose stack, and wait until it serves
	@docker compose up --build --wait

stack-down: ## end the compose stack; its volumes stay
	@docker compose down

stack-logs: ## what the compose stack says, as it says it
	@docker compose logs --follow

stack-backup: ## databases, artefacts and secrets into FILE; the stack goes on meanwhile
	@umask 077 && docker compose run --rm -T backup >"$(FILE).part" && mv "$(FILE).part" "$(FILE)"

stack-restore: ## all of FILE back in place; a damaged one changes nothing; the stack is down meanwhile
	@test -r "$(FILE)" && docker compose down && docker compose run --rm -T restore <"$(FILE)" && docker compose up --wait

stack-rotate: ## new passwords and keys for all of the compose stack, which starts anew with them
	@docker compose down && docker compose run --rm secrets rotate && docker compose up --wait

stack-test: setup ## both ways of running, for real: needs a Docker engine and Debian's chromium
	@$(PY) -m pytest -s tests/stack

bench: setup ## serving, batch and explanations beside their rivals, into bench/RESULTS.md; wants a quiet machine
	@$(PY) -m bench

locks: setup ## compile requirements/*.txt anew
	@UV=.venv/bin/uv sh requirements/compile.sh
