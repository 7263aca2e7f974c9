# `make help` prints the list of commands from the comments below.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One more than the cores of CI: many tests wait for processes that they started.
PYTEST_WORKERS ?= 3
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help venv demo test lint bench chaos docs site requirements shims wheel deb host-program host-binary clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(VENV)/.test host-program ## .venv with everything the program and its tests need

demo: $(VENV)/.demo host-program ## upgrade a real backup client on five hosts under running backups
	@$(BIN)/python demo/demo.py $(DEMO_ARGS)

test: lint $(VENV)/.bench .cache/debian.stamp .cache/go.stamp .cache/java.stamp ## lint, types, contracts and every test
	$(BIN)/python tools/run_tests.py -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder

lint: venv ## style, types, who may import whom, words, and the measures of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_words.py
	$(BIN)/python tools/measure_code.py
	$(BIN)/vermin --quiet --no-tips --violations --target=3.10- --eval-annotations --backport typing src/backfleet_host

bench: venv $(VENV)/.bench ## the measurements of bench/RESULTS.md, one after the other (about 20 minutes)
	$(BIN)/python bench/api.py
	$(BIN)/python bench/upgrade.py
	$(BIN)/python bench/fleet.py --hosts 2000
	$(BIN)/python bench/wave_floor.py
	$(BIN)/python bench/host.py
	$(BIN)/python bench/console.py

chaos: venv ## kill server, agents and upgraders at random under backups; CHAOS_ARGS="--seed 13 --seconds 300"
	$(BIN)/python bench/chaos.py $(CHAOS_ARGS)

docs: venv ## print docs/reference again, and draw the pictures of docs/console.md
	$(BIN)/python tools/write_reference.py
	DRAW_PICTURES=1 $(BIN)/python -m pytest -q -n 0 tests/endpoints/console/test_pictures.py -k drawn

site: venv ## the documentation as a site that asks no other host for anything: build/site/index.html
	$(BIN)/python tools/build_site.py build/site

requirements: $(VENV)/.test ## compile requirements/*.txt from pyproject.toml again
	$(BIN)/python tools/compile_requirements.py

shims: $(VENV)/.shims ## compile the shims of managed hosts again; SHIMS_ARGS=--check only compares (minutes, 100 MB)
	$(VENV)/shims/bin/python tools/build_shims.py $(SHIMS_ARGS)

wheel: $(VENV)/.demo ## what `pip install` takes: build/backfleet-*.whl, with the host program in it
	$(BIN)/python tools/build_wheel.py build

deb: $(VENV)/.demo ## Debian packages of the server and of the host program: build/*.deb
	$(BIN)/python tools/build_debian.py build

host-program: src/backfleet/backfleet-host.pyz ## the one file that runs on managed hosts

host-binary: venv ## the same as one executable for hosts without Python: build/backfleet-host
	$(BIN)/python tools/build_host_binary.py build/backfleet-host

clean: ## remove what make made
	rm -rf $(VENV) .cache build src/*.egg-info src/backfleet/backfleet-host.pyz

# A test environment can do all that a demo environment can.
$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	@if [ ! -e $(VENV)/.test ]; then tools/install.sh $(BIN) requirements/demo.txt; fi
	@touch $@

$(VENV)/.test: requirements/test.txt requirements/moto.txt pyproject.toml tests/node/package-lock.json | $(VENV)/bin/python
	tools/system_packages.sh flock:util-linux curl:curl unzip:unzip node:nodejs npm:npm busctl:systemd dbus-daemon:dbus zstd:zstd setpriv:util-linux setcap:libcap2-bin readelf:binutils busybox:busybox rpm:rpm
	tools/system_packages.sh nginx:nginx haproxy:haproxy
	tools/system_packages.sh /usr/sbin/sshd:openssh-server ssh-keygen:openssh-client sudo:sudo
	tools/system_packages.sh chromium:chromium
	tools/system_packages.sh lintian:lintian || echo "no lintian: packages are built and installed, and not checked by it" >&2
	tools/install.sh $(BIN) requirements/test.txt
	$(PYTHON) -m venv $(VENV)/moto
	$(VENV)/moto/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/moto.txt
	rm -rf .cache/node && mkdir -p .cache/node && cp tests/node/package*.json .cache/node/
	cd .cache/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@ $(VENV)/.demo

# The official clients of Go and Java, where these are installed; offline once built.
.cache/go.stamp: tools/build_test_clients.sh $(wildcard tests/go/*)
	tools/build_test_clients.sh go
	@touch $@

.cache/java.stamp: tools/build_test_clients.sh tests/java/pom.xml $(wildcard tests/java/src/*)
	tools/build_test_clients.sh java
	@touch $@

# Files of other programs that ours are compared with; where Debian is not, these tests are skipped.
.cache/debian.stamp: tools/debian_files.sh
	tools/debian_files.sh .cache/debian
	@touch $@

$(VENV)/.bench: requirements/bench.txt | $(VENV)/.test
	$(PYTHON) -m venv $(VENV)/ansible
	$(VENV)/ansible/bin/pip install --quiet --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/.shims: requirements/shims.txt
	$(PYTHON) -m venv $(VENV)/shims
	$(VENV)/shims/bin/pip install --quiet --require-hashes -r requirements/shims.txt
	@touch $@

$(VENV)/bin/python:
	@tools/new_venv.sh $(PYTHON) $(VENV)

src/backfleet/backfleet-host.pyz: requirements/host.txt $(shell find src/backfleet_host -type f ! -name '*.pyc') tools/build_host_program.py | $(VENV)/.demo
	$(BIN)/python tools/build_host_program.py $@
