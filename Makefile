.PHONY: setup
VENV := .venv
setup: ## venv, build, dev tools
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q maturin pytest pytest-benchmark pytest-timeout hypothesis ruff mypy import-linter openai types-PyYAML aiohttp anyio httptools msgspec pyyaml uvloop
	$(VENV)/bin/maturin develop --profile dev-release
