# Runs in whatever environment `python` is: `make PYTHON=.venv/bin/python check`.
PYTHON ?= python

.PHONY: install format lint type test test-quick test-all golden smoke bench fuzz kill kill-all soak full-disk dist audit newest check

install:
	$(PYTHON) -m pip install -e '.[dev]'

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

type:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest

# Without whole runs and processes of their own: while working on a part.
test-quick:
	$(PYTHON) -m pytest -m "not integration"

test-all:
	$(PYTHON) -m pytest --run-slow

# Only after a change that is meant to move the losses: look at the difference before committing.
golden:
	$(PYTHON) -m tests.models.make_golden

# Everything once, from images to a checked SavedModel; too short to cluster well.
smoke:
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(PYTHON) -m spice_keras.cli run digits --run-dir "$$folder/run" \
		--set pretrain.epochs=2 --set self.epochs=2 --set semi.steps=20 \
		--set semi.steps_per_epoch=10 --set evaluate.map_method=pca \
		--set export.directory="$$folder/saved_models"

# Kills a run at random moments, goes on with --resume, and compares with one that was not killed.
# Another command: make kill KILL="--kills 30 -- cli.py self --run-dir {run} --resume".
KILL ?= --kills 3 -- cli.py run digits --run-dir {run} --set pretrain.epochs=4 \
	--set self.epochs=2 --set semi.steps=20 --set semi.steps_per_epoch=5 \
	--set evaluate.map_method=pca --set export.directory={run}-models
kill:
	$(PYTHON) -m tools.kill $(KILL)

# Thirty runs killed once in every stage each, then five kills of every other command that writes.
kill-all:
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(PYTHON) -c "from pathlib import Path; from tools.kill_writers import write_tiny; \
		write_tiny(Path('$$folder/in'))" && \
	$(PYTHON) -m tools.kill --warm --each-stage --kills 30 -- cli.py run "$$folder/in/tiny.yaml" \
		--run-dir {run} --set export.directory={run}-models && \
	$(PYTHON) -m tools.kill --warm --writers --kills 5

# Whole runs and fits one after another in one process for ten minutes; what grows is an error.
soak:
	$(PYTHON) -m tools.soak $(SOAK)

# A tiny run on a disk that is full, larger each time it stops; then every other command that writes.
# Wants the right to mount a tmpfs.
full-disk:
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(PYTHON) -c "from pathlib import Path; from tools.kill_writers import write_tiny; \
		write_tiny(Path('$$folder/in'))" && \
	$(PYTHON) -m tools.full_disk -- cli.py run "$$folder/in/tiny.yaml" --run-dir {run} \
		--set export.directory={run}-models && \
	$(PYTHON) -m tools.full_disk --writers

.PHONY: docs
# The documentation as a site, in build/site; any warning and any file from a network is an error.
docs:
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

# All comparisons, then docs/performance.md; about half an hour. Wants `pip install -e '.[bench]'` and
# an idle machine; on another, `make bench BENCH="--threads 1"`: see benchmarks/README.md.
bench:
	$(PYTHON) -m benchmarks.run $(BENCH)

# An hour of damaged inputs: images, arrays, vocabularies, configurations, manifests, facts of models.
# What ends in anything but an error for a person lies in fuzz-failures/ afterwards. Shorter: `make fuzz FUZZ="--minutes 5"`.
fuzz:
	$(PYTHON) -m tools.fuzz $(FUZZ)

# sdist and wheel in dist/; the wheel is installed in a clean environment and used there. Some minutes.
dist:
	$(PYTHON) -m tools.dist

# Licences of all that is needed, then known faults of just these versions. The second half asks the
# package index, and fails if that does not answer.
audit:
	$(PYTHON) -m tools.licences --extra hub --extra litert --extra onnx --extra openvino \
		--extra parquet --extra review --extra serve --pins build/pins.txt
	$(PYTHON) -m pip_audit --strict --no-deps --disable-pip --requirement build/pins.txt

# The newest releases of everything, upper bounds left out, in a clean environment; then the tests.
# Only some of them: make newest NEWEST="tests/algorithm".
newest:
	$(PYTHON) -m tools.newest $(NEWEST)

check: lint type docs test
