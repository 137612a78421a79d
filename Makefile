# Darkroom: one verb each. Needs Python 3.11+, make and the package registries; everything lands in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Every archive is one whose hash stands in a lock file; `make lock` writes these anew.
LOCKED := $(PIP) --no-deps --require-hashes
# Built by the locked setuptools, and nothing is fetched for it.
OURS   := $(PIP) --no-deps --no-build-isolation
# PyTorch's builds, and so their hashes, differ by device: its version is fixed, its build is the index's.
TORCH  := $(PIP) -c constraints.txt torch torchvision
N      ?= 200
SEED   ?= 1
MINUTES ?= 15
# Test processes: they wait for servers more than they compute.
JOBS   ?= 5
# --tell: a known vulnerability of a pin does not fail lint.
AUDIT  ?=

.PHONY: install reference samples demo test long-tests drill-tests containers charts lambda release release-check images observe browser pictures lint lock audit sbom docs up down chaos soak bench clean

install: $(VENV)/.stack

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Darkroom needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

OURS_FROM := pyproject.toml setup.py $(wildcard gpu_worker/engines/kernels/*.[ch])

# Not compiled ahead: a tenth of the disk, for code that is mostly never imported. What built ours goes again.
$(VENV)/.stack: requirements/build.txt requirements/stack.txt $(OURS_FROM) | $(BIN)/python
	$(LOCKED) -r requirements/build.txt
	$(LOCKED) --no-compile -r requirements/stack.txt
	$(OURS) -e .
	$(BIN)/python -m pip uninstall --quiet --yes setuptools wheel
	@du -sm $(VENV) | awk '{ print "installed: " $$1 " MB in " $$2 }'
	touch $@

# What tests and the documentation import, but for PyTorch.
$(VENV)/.locked: $(VENV)/.stack requirements/test.txt
	$(LOCKED) -r requirements/test.txt
	touch $@

$(VENV)/.test: $(VENV)/.locked
	$(TORCH)
	touch $@

# The official code, for the parity tests: some minutes to install, in CI always.
$(VENV)/.reference: $(VENV)/.test requirements/reference.txt
	$(LOCKED) -r requirements/reference.txt
	touch $@

reference: $(VENV)/.reference

# The malformed files that Pillow ships in its source package, for one more test of the decoder: in CI always.
samples: $(VENV)/samples

$(VENV)/samples: | $(BIN)/python
	rm -rf $@.part && mkdir $@.part
	$(PIP:install=download) -c constraints.txt --no-deps --no-binary pillow --dest $@.part pillow
	tar -xf $@.part/*.tar.gz -C $@.part && mv $@.part $@

demo: install
	$(BIN)/darkroom demo $(if $(COLOUR),--colour)

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# What takes minutes: every kind of fault on whole stacks, clocks that are wrong, two releases at once, and thousands of
# hostile files. Some clocks need Debian's faketime.
long-tests: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder tests/long

# compose.yaml in containers, in a podman of its own. Needs root, and what .ci/run installs for it; no image is pulled.
containers: $(VENV)/.test $(VENV)/podman-compose/bin/podman-compose
	$(BIN)/python -m pytest tests/containers

# The alerts by promtool, and every query of the dashboards by a real Prometheus. Needs Debian's prometheus and
# prometheus-alertmanager.
observe: $(VENV)/.test
	$(BIN)/python -m pytest tests/observe

$(VENV)/podman-compose/bin/podman-compose: | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/podman-compose
	$(VENV)/podman-compose/bin/python -m pip install --quiet --disable-pip-version-check podman-compose==1.6.0

# The chart and the templates for clouds: rendered, compared with the schemas, looked at as strict clusters do.
charts: $(VENV)/.locked $(VENV)/charts/.done
	$(BIN)/python -m pytest tests/charts

# The functions' package for AWS: build/lambda.zip. docs/how-to/deploy-on-aws.md
lambda: | $(BIN)/python
	$(BIN)/python infra/aws/build.py build/lambda

$(VENV)/charts/.done: requirements/charts.txt requirements/helm.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/charts
	$(VENV)/charts/bin/$(LOCKED:$(BIN)/%=%) -r requirements/charts.txt
	$(VENV)/charts/bin/$(LOCKED:$(BIN)/%=%) -r requirements/helm.txt
	touch $@

# A stack is lost and comes back from its backup, and faults are made and found: some minutes.
drill-tests: $(VENV)/.test
	$(BIN)/python -m pytest tests/drills

# The console in the system's Chromium, which Playwright drives. Where there is npm, the page's types and lint are checked, too.
browser: $(VENV)/.browser $(if $(shell command -v npm),$(VENV)/page/.done $(VENV)/typescript/.done)
	$(BIN)/python -m pytest tests/browser

$(VENV)/.browser: $(VENV)/.test requirements/browser.txt tests/browser/iiif.txt
	$(LOCKED) -r requirements/browser.txt
	$(LOCKED) -r tests/browser/iiif.txt
	touch $@

$(VENV)/typescript/.done: clients/typescript/package.json clients/typescript/package-lock.json
	mkdir -p $(VENV)/typescript
	cp $^ $(VENV)/typescript/
	npm --prefix $(VENV)/typescript ci --silent --ignore-scripts
	touch $@

$(VENV)/page/.done: tests/browser/package.json tests/browser/package-lock.json
	mkdir -p $(VENV)/page
	cp $^ $(VENV)/page/
	npm --prefix $(VENV)/page ci --silent --ignore-scripts
	touch $@

# Pictures of the console for the documentation.
pictures: $(VENV)/.browser
	$(BIN)/python -m tests.browser.pictures docs/pictures/console

lint: $(VENV)/.test $(VENV)/tools/.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy docs/generate.py
	$(BIN)/python -m tests.audit $(VENV)/tools/bin/pip-audit $(AUDIT)

# A seeded run under every fault; prints its ledger and fails if anything is lost or done twice.
chaos: $(VENV)/.test
	$(BIN)/python -m tests.chaos --uploads $(N) --seed $(SEED) $(if $(FAULTS),--faults $(FAULTS))

# A fault each fifteen seconds for so long; memory and open files of every process are printed, and may not grow.
soak: $(VENV)/.test
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED)

# Known vulnerabilities of every pinned version. In lint a vulnerability fails, and a service that cannot be reached is
# told; here, that fails too.
audit: $(VENV)/.test $(VENV)/tools/.done
	$(BIN)/python -m tests.audit $(VENV)/tools/bin/pip-audit --complete

# pip-audit and the writer of SBOMs, in an environment of their own: what they need is none of what Darkroom runs with.
$(VENV)/tools/.done: requirements/tools.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/$(LOCKED:$(BIN)/%=%) -r requirements/tools.txt
	touch $@

# What the client, the stack and each image bring along, as CycloneDX with hashes: build/sbom/*.cdx.json.
sbom: $(VENV)/tools/.done
	mkdir -p build/sbom
	for part in base stack services worker-cpu worker-gpu; do $(VENV)/tools/bin/cyclonedx-py requirements \
	  --pyproject pyproject.toml --mc-type application --output-reproducible --of JSON \
	  -o build/sbom/$$part.cdx.json requirements/$$part.txt || exit 1; done

# The documentation: its generated parts anew from the code, then the site, without a warning, into build/site.
docs: $(VENV)/.locked $(VENV)/docs/.done
	$(BIN)/python docs/generate.py
	$(VENV)/docs/bin/zensical build --config-file zensical.toml --strict

$(VENV)/docs/.done: requirements/docs.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/docs
	$(VENV)/docs/bin/$(LOCKED:$(BIN)/%=%) -r requirements/docs.txt
	touch $@

# All of a release but the push, in build/release: wheel (with kernels, for this machine's kind of Linux), chart, locks, SBOMs, site,
# checksums.
RELEASE := build/release

release: sbom docs $(VENV)/charts/.done $(VENV)/release/.done
	rm -rf $(RELEASE) && mkdir -p $(RELEASE)
	$(VENV)/release/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(RELEASE) .
	$(BIN)/python -m zipfile --list $(RELEASE)/*.whl | grep -q 'kernels/winograd.so' || { echo 'the wheel has no kernels: is there a C compiler?'; exit 1; }
	$(BIN)/python -m tests.charts.tools package infra/helm/darkroom --destination $(RELEASE)
	mkdir $(RELEASE)/locks && cp requirements/base.txt requirements/stack.txt requirements/services.txt requirements/worker-*.txt $(RELEASE)/locks
	mkdir $(RELEASE)/sbom && cp build/sbom/*.json $(RELEASE)/sbom
	tar --create --gzip --file $(RELEASE)/site.tar.gz --directory build/site .
	cd $(RELEASE) && find . -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs sha256sum > SHA256SUMS
	@cat $(RELEASE)/SHA256SUMS

$(VENV)/release/.done: requirements/build.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/release
	$(VENV)/release/bin/$(LOCKED:$(BIN)/%=%) -r requirements/build.txt
	touch $@

# Whether what was released is enough: checksums, then the demo in a fresh environment, elsewhere, by the artefacts alone.
release-check:
	cd $(RELEASE) && sha256sum --quiet --check SHA256SUMS
	rm -rf build/release-check && $(PYTHON) -m venv build/release-check
	build/release-check/bin/python -m pip install --quiet --no-deps --require-hashes -r $(RELEASE)/locks/stack.txt
	build/release-check/bin/python -m pip install --quiet --no-deps --no-index $(RELEASE)/*.whl
	cd build/release-check && bin/darkroom demo

# The images of this version, for this machine's kind of processor. ENGINE=podman does, too; what a registry is given besides
# stands in CONTRIBUTING.md.
ENGINE  ?= docker
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' shared/__init__.py)

images:
	for target in services worker-cpu worker-gpu stack; do \
	  $(ENGINE) build --file infra/docker/Dockerfile --target $$target --tag $(REGISTRY)darkroom-$$target:$(VERSION) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) $(IMAGE_OPTIONS) . || exit 1; done

# The lock files anew, from pyproject.toml and constraints.txt; needs `uv` (pip install uv).
lock:
	$(PYTHON) requirements/lock.py

up: install
	$(BIN)/darkroom up

down: install
	$(BIN)/darkroom down

bench: install
	$(BIN)/darkroom bench pipeline

clean:
	rm -rf $(VENV) build .cache *.egg-info .mypy_cache .ruff_cache .pytest_cache
