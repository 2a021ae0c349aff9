# Each target sets up what it needs first (tools/setup), and may be interrupted and run again.

.PHONY: help setup demo test fast bench clean

help:
	@echo "make demo    raise a real cluster, upgrade it one minor under load, print the report"
	@echo "make test    set up all that is needed and pass the tests (root, Debian or Ubuntu)"
	@echo "make fast    lint, types, layers and the tests that need neither root nor a lab"
	@echo "make bench   run every measurement in bench/"
	@echo "make clean   remove what tools left in this checkout"

setup:
	tools/setup

demo:
	tools/setup run python -m pawl demo

test:
	tools/setup run tools/check

fast:
	tools/setup python tools/check fast

bench:
	tools/setup run sh -ec 'for each in bench/[a-z]*.py; do echo "== $$each"; python "$$each"; done'

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
