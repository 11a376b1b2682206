# Every command sets up what it needs, in environments of its own beside this file.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3.10 python3 2>/dev/null))
PIP_FLAGS := -q --disable-pip-version-check
TORCH := torch==2.13.0
TESTS := python -m pytest -q -n 2
CLUSTER = $(wildcard tests/frameworks/test_ray_*.py) $(addprefix tests/test_,pool_contract.py pool_laws.py \
	batch_map_pools.py) docs/howto/run_on_a_cluster.md
THOROUGH = $(shell grep -l UNATTENDED tests/test_*.py)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-frameworks test-numpy1 check format bench docs clean

help:  ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## */  make \1\t/' | expand -t 24

demo: .venv/.demo  ## train a small network on real handwritten digits, in seconds
	.venv/bin/python -m batchup demo

test: .venv/.test  ## run the tests that need no framework
	.venv/bin/$(TESTS)

test-all: test-frameworks test-numpy1 docs  ## test with every framework, with NumPy 1.26 too, and build the docs

# what frameworks are needed for, what imports them or not, and what takes long, all of it; then what every pool must do,
# on a cluster, apart, since JAX minds the processes that Ray starts; `test` has run the rest
test-frameworks: .venv-all/.all .venv-all/nginx/usr/sbin/nginx
	BATCHUP_TEST_ALL=1 .venv-all/bin/$(TESTS) tests/frameworks --ignore-glob='*/test_ray_*' tests/test_house.py $(THOROUGH)
	BATCHUP_TEST_ALL=1 .venv-all/bin/$(TESTS) $(CLUSTER)

# what is killed, interrupted or fuzzed for minutes, or comes from a server, does not depend on NumPy
test-numpy1: .venv-numpy1/.test
	BATCHUP_TEST_H5MAPPER=1 .venv-numpy1/bin/$(TESTS) tests $(foreach kind,crash soak fuzz leftovers reliability,\
		--ignore-glob='*_$(kind).py') --ignore-glob='*/test_remote_*'

check: .venv/.test  ## lint, check the format and the types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/.test  ## put the code into the house's format
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: .venv/.demo  ## measure against the machine's limits and other loaders, and write the tables into docs/
	.venv/bin/python benchmarks/run.py

docs: .venv-docs/.docs  ## build the documentation into docs/_build/html
	.venv-docs/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html

clean:  ## remove the environments and what was built in them
	rm -rf .venv .venv-all .venv-numpy1 .venv-docs .bench-envs docs/_build build *.egg-info

.venv/.demo: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PIP_FLAGS) -e '.[demo]'
	@touch $@

.venv/.test: .venv/.demo
	.venv/bin/pip install $(PIP_FLAGS) -e '.[demo,test]'
	@touch $@

.venv-all/.all: pyproject.toml
	$(PYTHON) -m venv .venv-all
	.venv-all/bin/pip install $(PIP_FLAGS) $(TORCH)
	.venv-all/bin/pip install $(PIP_FLAGS) -e '.[demo,test,frameworks,stores]'
	.venv-all/bin/pip install $(PIP_FLAGS) --no-deps --target .venv-all/batchup-0.2.3 --upgrade 'batchup==0.2.3'
	@touch $@

# a real server to read from, of Debian's, unpacked beside the rest and installed nowhere
.venv-all/nginx/usr/sbin/nginx: | .venv-all/.all
	mkdir -p .venv-all/nginx
	-apt-get update -qq
	cd .venv-all/nginx && apt-get download -q nginx && dpkg -x nginx_*.deb . && rm nginx_*.deb

.venv-numpy1/.test: pyproject.toml
	$(PYTHON) -m venv .venv-numpy1
	.venv-numpy1/bin/pip install $(PIP_FLAGS) $(TORCH)
	.venv-numpy1/bin/pip install $(PIP_FLAGS) 'numpy==1.26.*' 'pyarrow==15.*' 'h5mapper==0.3.3' -e '.[demo,test]'
	@touch $@

.venv-docs/.docs: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install $(PIP_FLAGS) -e '.[demo,docs]'
	@touch $@
