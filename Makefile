# Developer and user workflow. Every target does the set-up it needs.

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
# The Numenta Anomaly Benchmark for make quality and regression: a folder with data/ and labels/.
NAB ?= ../shared/data/nab
# The Skoltech Anomaly Benchmark for make quality and regression: a folder with its valve1/.
SKAB ?= ../shared/data/skab
QUALITY_PAGE ?= build/quality
# Sizes of make endurance: an hour of churn, and about as long for each of the others.
KILLS ?= 1000
CHURN_MINUTES ?= 60
NODE_KILLS ?= 20
ANSWERS ?= 10000000
FORGED_STATES ?= 100000
TASKS ?= 1000
EXAMPLES ?= 50
SEED ?= 1
# Models for make quality, such as MODELS="mad_online '{class: std, period: 288}'".
MODELS ?=
# How many processes run tests: twice as many as there are cores.
WORKERS ?= $(shell echo $$((2 * $$(nproc))))
# For pytest, such as ARGS="tests/model -k std".
ARGS ?=
# Without bytecode, each of the many processes that tests start compiles all libraries again.
export PYTHONDONTWRITEBYTECODE :=
APT_PACKAGES := victoria-metrics prometheus nginx-light chromium

.PHONY: setup ui demo test unit test-pythons lint format bench endurance quality regression docs dashboards lock system-packages clean

setup: $(VENV)/.installed

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install uv==$(UV_VERSION)

$(VENV)/.installed: requirements-dev.lock pyproject.toml | $(BIN)/uv
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements-dev.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Builds only what is older than its sources.
ui: setup
	@packaging/build-ui.sh $(BIN)/python

demo: setup ui
	@$(BIN)/vmanomaly demo

# Many tests wait for servers and clocks, so there are more workers than cores. Files begin in the order
# of tests/conftest.py.
test: setup ui system-packages
	@packaging/build-ui.sh $(BIN)/python test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# No servers, not even within the process, and nothing that takes long: under a minute on two cores.
unit: setup
	@EXAMPLES=$${EXAMPLES:-0.2} $(BIN)/python -m pytest -n $$(nproc) --dist worksteal -m "not slow" $(addprefix --ignore tests/,integration ui server http) $(ARGS)

test-pythons: setup system-packages
	@WORKERS=$(WORKERS) tests/every-python.sh $(shell $(BIN)/python -c "import sys; print('%d.%d' % sys.version_info[:2])")

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint Dockerfile

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup system-packages
	@$(BIN)/python -m benchmarks.speed

endurance: setup system-packages
	@CHECKPOINT_INTERVALS="0s 7m 1000d" $(BIN)/python -m pytest tests/integration/test_integration_state_crash.py
	@EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n $(WORKERS) -m hypothesis tests
	@EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/server/test_api_openapi.py
	@$(BIN)/python -m benchmarks.endurance.kills --kills $(KILLS) --seed $(SEED)
	@$(BIN)/python -m benchmarks.endurance.node_kills --kills $(NODE_KILLS) --seed $(SEED)
	@$(BIN)/python -m benchmarks.endurance.executor_kills --kills $(NODE_KILLS) --seed $(SEED)
	@$(BIN)/python -m benchmarks.endurance.churn --minutes $(CHURN_MINUTES)
	@$(BIN)/python -m benchmarks.endurance.tasks --tasks $(TASKS)
	@$(BIN)/python -m benchmarks.endurance.answers --cases $(ANSWERS) --seed $(SEED)
	@$(BIN)/python -m benchmarks.endurance.forged_states --cases $(FORGED_STATES) --seed $(SEED)

quality: setup
	@$(BIN)/python -m benchmarks.quality --nab $(NAB) --page $(QUALITY_PAGE) $(MODELS)
	@$(BIN)/python -m benchmarks.quality.groups --skab $(SKAB)

# BEFORE is a folder made by: python -m benchmarks.regression record FOLDER
regression: setup
	@test -n "$(BEFORE)" || { echo "Name the record to compare with: make regression BEFORE=folder"; exit 2; }
	@$(BIN)/python -m benchmarks.regression compare --nab $(NAB) --skab $(SKAB) $(BEFORE)

docs: setup
	@$(BIN)/python -m benchmarks.figures --into docs/images/models
	@$(BIN)/python -m pytest tests/docs tests/config

dashboards: setup
	@$(BIN)/python -m dashboards

lock: $(BIN)/uv
	@$(BIN)/uv pip compile --upgrade --quiet --universal --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --upgrade --quiet --universal --generate-hashes --no-header --no-annotate pyproject.toml --group dev -o requirements-dev.lock
	@$(BIN)/uv pip compile --upgrade --quiet --universal --generate-hashes --no-header --no-annotate pyproject.toml --extra prophet --extra statsmodels --extra sklearn --extra optuna -c requirements-dev.lock -o requirements-image.lock

system-packages:
	@sh tests/integration/install-servers.sh $(APT_PACKAGES)

clean:
	rm -rf $(VENV) $(VENV)-3.* ui/node_modules src/vmanomaly/server/ui .mypy_cache .pytest_cache .ruff_cache .hypothesis
