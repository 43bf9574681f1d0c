# Everything a newcomer or contributor does, one word each. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-test run test quick coverage check fix bench shot reference migration lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: .venv/ready ## the environment with pinned versions; everything else calls it

.venv/ready: requirements.lock pyproject.toml tools/setup.sh
	@PYTHON=$(PYTHON) bash tools/setup.sh

setup-test: setup ## what only tests need beside it: a browser, a Japanese font, curl
	@bash tools/setup-test.sh

run: setup ## the example worlds and both systems on localhost
	@$(BIN)/tanuki example

test: setup-test check ## everything: SQLite and PostgreSQL, browser, docs; warnings are errors
	@$(BIN)/python -m pytest -n 2 --dist loadfile
	@bash runs/shop.sh
	@bash runs/animals.sh

quick: setup ## what a contributor runs all day: no browser, no PostgreSQL
	@$(BIN)/python -m pytest -m "not browser and not postgres and not slow"

coverage: setup-test ## branch coverage of src, by the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered

check: setup ## ruff, mypy strict, generated docs current
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m tanuki.app.reference --check

fix: setup ## put right what check can put right by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python -m tanuki.app.reference

bench: setup ## every claim of speed and quality, side by side with its peer
	@for file in bench/[a-z]*.py; do name=$$(basename $$file .py); echo "== $$name"; $(BIN)/python -m bench.$$name || exit 1; done

shot: setup-test ## the README's pictures, from both example worlds
	@$(BIN)/python tools/shot.py

migration: setup ## a new migration from the tables: make migration m="what changed"
	@$(BIN)/python tools/migration.py "$(m)"

lock: setup ## requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --output-file requirements.lock

clean: ## the environment and what the embedded mode wrote
	rm -rf .venv .cache var
