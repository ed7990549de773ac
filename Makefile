# Everything a newcomer needs is `make demo` and `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYFLINK := .venv-pyflink
BENCH ?= all
KILLS ?= 12
TODAY := $(shell date -u +%Y%m%d)
OF_FLINK := postgres s3 kafka schemas flink flink_worker flink_gateway
IMAGE_EXTRAS := dbt trino dagster redis serve metrics kafka paimon ui login frames

# processes import thousands of modules, which compile in 2 to 4 s of CPU: once for all of them, even
# where the environment asks for no bytecode, and beside the environment instead of the sources
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache
# the theme's makers announce a successor on each start
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: kafka-up flink-up serve-up help setup demo demo-cluster demo-stream test test-fast test-cluster test-flink test-pyflink pyflink test-browser test-versions proofs proofs-cluster proofs-flink lint types imports check dagster docs docs-serve serve ui cluster-up cluster-env cluster-status cluster-logs cluster-down bench requirements clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: $(READY) ## create .venv from the hash-pinned requirements

$(READY): requirements/dev.txt requirements/data.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "headrace needs Python 3.11 to 3.13, this is %d.%d; choose one with PYTHON=python3.12" % v)'
	@echo "setting up $(VENV) from hash-pinned requirements (once, about 5.5 GB) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@rm -rf $(VENV)/pycache || true  # others may be at work: stale bytecode is noticed
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements/uv.txt requirements/dev.txt requirements/data.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY) ## raw logs to a trained model, on real data, nothing to start
	@$(BIN)/python -m demo.run

demo-cluster: cluster-up ## the same on PostgreSQL and S3, which it starts, by DuckDB or ENGINE=trino: the same content hash
	@eval "$$($(BIN)/python -m infra.launcher env)" && export HEADRACE_PROFILE=cluster && \
	  HEADRACE_ENGINE=$(or $(ENGINE),duckdb) $(if $(filter trino,$(ENGINE)),HEADRACE_DBT_TARGET=cluster) $(BIN)/python -m demo.run

demo-stream: $(READY) ## simulated traffic through a Kafka that it starts, followed into tables, and an audit; IMPRESSIONS=600000
	@$(BIN)/python -m demo.stream $(if $(IMPRESSIONS),--impressions $(IMPRESSIONS))

test: $(READY) ## every test; starts PostgreSQL and Redis from wheels, and an S3 server that Go builds once
	@$(BIN)/python -m infra.launcher fetch --only s3
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --hypothesis-seed=$(TODAY)

test-fast: $(READY) ## what takes a minute, for while you edit: no processes, frameworks, torch or pages
	@$(BIN)/python -m pytest -n 3 --dist loadfile -m fast --hypothesis-seed=$(TODAY)

test-cluster: $(READY) ## the tests on PostgreSQL, S3 and Trino, which it fetches and starts: needs Go, Maven and Debian's prometheus-redis-exporter
	@$(BIN)/python -m infra.launcher fetch
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "cluster and not proof" --timeout=1200 tests/cluster

test-flink: $(READY) ## the tests on Flink, Kafka, PostgreSQL and S3, which it fetches and starts twice: needs Go, Maven, 12 GB
	@$(BIN)/python -m infra.launcher fetch $(foreach server,$(OF_FLINK),--only $(server))
	@$(BIN)/python -m pytest -n $(if $(HEADRACE_TEST_CLUSTER),1,2) --dist loadfile -m "flink and not proof" tests/flink

test-pyflink: $(READY) $(PYFLINK)/.ready ## the tests on functions of Python in Flink, whose environment it makes, and on its servers
	@$(BIN)/python -m infra.launcher fetch $(foreach server,$(OF_FLINK),--only $(server))
	@$(BIN)/python -m pytest -m pyflink tests/flink

test-browser: $(READY) ## the tests that need a browser: install Debian's chromium, or Chrome
	@$(BIN)/python -m pytest -m browser tests/browser

test-versions: ## every test on each Python from 3.11 to 3.13 that is installed, in environments of their own
	@for version in 3.11 3.12 3.13; do \
	  if python$$version -c '' 2>/dev/null; then \
	    $(MAKE) VENV=.venv-$$version PYTHON=python$$version test || exit 1; \
	  else echo "python$$version is not installed"; fi; done

proofs: $(READY) ## the long forms of the proofs and all random examples: hours; KILLS is how often the demo is killed
	@$(BIN)/python -m pytest -v -n 2 -m 'proof and not cluster and not flink' --timeout=0
	@HEADRACE_EXAMPLES=many $(BIN)/python -m pytest -v -n 2 -m 'hypothesis and not proof and not cluster and not flink' --timeout=0
	@HEADRACE_KILLS=$(KILLS) HEADRACE_KILL_SEED=$$(date +%s) $(BIN)/python -m pytest -v tests/demo/test_kill.py

proofs-cluster: $(READY) ## the long forms on PostgreSQL, S3 and Trino: 2M simulated impressions, all pairs of operations: 40 minutes
	@$(BIN)/python -m infra.launcher fetch
	@$(BIN)/python -m pytest -v -m 'cluster and proof' --timeout=0 tests/cluster

proofs-flink: $(READY) ## the long forms on Flink: each process killed five times, also before commits, and 20 handovers
	@$(BIN)/python -m pytest -v -m 'flink and proof' --timeout=0 tests/flink

lint: $(READY) ## style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## static types
	@$(BIN)/basedpyright

imports: $(READY) ## the direction of imports between rooms
	@$(BIN)/lint-imports

check: lint types imports ## lint, types and import rules

dagster: $(READY) ## the asset graph at http://127.0.0.1:3000
	@$(BIN)/headrace dagster

pyflink: $(READY) $(PYFLINK)/.ready ## the Python of Flink's workers, for window views of many tiles: needs Python 3.11 or 3.12, 400 MB
	@echo 'export HEADRACE_FLINK_PYTHON="$(CURDIR)/$(PYFLINK)/bin/python"'

# PyFlink brings older versions of what headrace needs: of headrace it only has the code
$(PYFLINK)/.ready: requirements/pyflink.txt requirements/pyflink-build.txt | $(READY)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else "PyFlink needs Python 3.11 or 3.12, this is %d.%d; choose one with PYTHON=python3.12" % v)'
	@test -x $(PYFLINK)/bin/python || $(PYTHON) -m venv --without-pip $(PYFLINK)
	@VIRTUAL_ENV=$(CURDIR)/$(PYFLINK) $(BIN)/uv pip sync --quiet --require-hashes --build-constraints requirements/pyflink-build.txt requirements/pyflink.txt
	@echo $(CURDIR) > $$($(PYFLINK)/bin/python -c 'import site; print(site.getsitepackages()[0])')/headrace.pth
	@$(PYFLINK)/bin/python -c 'import headrace.flink.worker'
	@touch $@

docs: $(READY) ## the documentation as a site in .headrace/site; docs-serve shows it, and what changes, at http://127.0.0.1:8000
	@$(BIN)/python -m mkdocs build --quiet && echo "open .headrace/site/index.html"

docs-serve: $(READY)
	@$(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8000

serve: $(READY) ## the feature server at http://127.0.0.1:8200; MODEL=folder of an exported model
	@$(BIN)/headrace serve $(if $(MODEL),--model $(MODEL))

ui: $(READY) ## the pages at http://127.0.0.1:8501
	@$(BIN)/headrace ui

cluster-up: $(READY) ## start PostgreSQL, S3, Redis, Trino, Kafka and a schema registry; WITHOUT=trino leaves one out
	@$(BIN)/python -m infra.launcher up $(foreach server,$(WITHOUT),--without $(server))

kafka-up: $(READY) ## start Kafka and a schema registry alone
	@$(BIN)/python -m infra.launcher up --only kafka --only schemas

flink-up: $(READY) ## start Flink with what it needs: PostgreSQL, S3, Kafka and a schema registry
	@$(BIN)/python -m infra.launcher up $(foreach server,$(OF_FLINK),--only $(server))

serve-up: $(READY) ## start the feature server on Redis; WITH=redis_exporter adds metrics of Redis, if that is installed
	@$(BIN)/python -m infra.launcher up $(foreach server,postgres s3 redis serve $(WITH),--only $(server))

cluster-env: $(READY) ## the variables by which headrace finds them: eval "$$(make -s cluster-env ROLE=operator)"
	@$(BIN)/python -m infra.launcher env --role $(or $(ROLE),operator)

cluster-status: $(READY) ## what runs of the cluster, and whether it is healthy
	@$(BIN)/python -m infra.launcher status

cluster-logs: $(READY) ## the end of a server's log: SERVER=trino
	@$(BIN)/python -m infra.launcher logs $(or $(SERVER),trino)

cluster-down: $(READY) ## stop the servers; their data stays
	@$(BIN)/python -m infra.launcher down

bench: $(READY) ## every benchmark, or one with BENCH=<claim>
	@$(BIN)/python -m benchmarks.run $(BENCH)

requirements: $(READY) ## resolve requirements/*.in again
	@for pair in headrace:dev data:data uv:uv server:server; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate --override requirements/overrides.txt $$([ $$pair = data:data ] && echo --no-deps) \
	    $$([ $$pair = server:server ] && echo --constraints requirements/dev.txt pyproject.toml \
	      $(IMAGE_EXTRAS:%=--extra %)) \
	    requirements/$${pair%%:*}.in -o requirements/$${pair##*:}.txt; done
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate requirements/feast.in -o requirements/feast.txt  # a benchmark's peer, apart
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-package apache-flink-libraries --no-header --no-annotate requirements/pyflink.in -o requirements/pyflink.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate requirements/pyflink-build.in -o requirements/pyflink-build.txt

clean: ## remove what the demo made; the environment stays
	@rm -rf .headrace dbt_project/target dbt_project/logs
