# make demo: train two autoencoders on shipped digits, compute their surfaces, draw Figures 1 and 2, print AUROC.
# make paper: the experiments of docs/paper.md, sweeps, tables and figures, into out/paper. PROFILE=2core or full.
# make sharpness: the experiments of docs/sharpness.md, into out/paper too.
# make docs: the documentation as a site, into out/site. Its examples run, its links are checked, a warning is an error.
# make test, make test-slow, make lint. Each sets up .venv first if it is not there.

PYTHON ?= python3
GRID ?= 51
RANKS ?= 2
OUT ?= out/demo
EPOCHS ?= 30
DIGIT ?= 3

bin := .venv/bin
python := $(bin)/python
ready := .venv/.ready
ready_docs := .venv/.ready-docs
plane := --x=-1:1:$(GRID) --y=-1:1:$(GRID) --metrics l2,own --seed 0 --adaptive 0.01

.PHONY: demo test test-slow lint docs clean

# Every command goes on where it was stopped, does nothing where it is done, and refuses other settings than before.
demo: $(ready)
	$(python) -m training.train --dataset mnist-mini --normal $(DIGIT) --loss l2 --batch-size 128 --epochs $(EPOCHS) \
		--seed 0 --out $(OUT)/l2
	$(python) -m training.train --dataset mnist-mini --normal $(DIGIT) --loss l2-lamp --batch-size 128 --epochs $(EPOCHS) \
		--seed 0 --out $(OUT)/l2-lamp
	$(bin)/mpirun -n $(RANKS) $(python) -m landscape.surface --ckpt $(OUT)/l2/checkpoint.pt $(plane) --out $(OUT)/l2.h5
	$(bin)/mpirun -n $(RANKS) $(python) -m landscape.surface --ckpt $(OUT)/l2-lamp/checkpoint.pt $(plane) \
		--out $(OUT)/l2-lamp.h5
	$(python) -m figures.fig1 $(OUT)/l2.h5 $(OUT)/l2-lamp.h5 --metric l2 --out $(OUT)/fig1.png
	$(python) -m analysis.panels fig2 --out $(OUT)/fig2.npz
	$(python) -m figures.fig2 $(OUT)/fig2.npz --out $(OUT)/fig2.png
	@echo
	@$(python) -m analysis.tables runs $(OUT)/l2 $(OUT)/l2-lamp --out $(OUT)/auroc.md
	@ls $(OUT)/*/checkpoint.pt $(OUT)/*.h5 $(OUT)/*.png

include paper.mk sharpness.mk

$(ready): setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(python) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch --editable ".[mpi,test]"
	touch $(ready)

test: $(ready)
	$(python) -m pytest

test-slow: $(ready)
	$(python) -m pytest -m slow

lint: $(ready)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

# A target of its own, so that tests need none of it.
$(ready_docs): $(ready)
	$(python) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	touch $(ready_docs)

docs: $(ready_docs)
	$(python) -m sphinx --fail-on-warning --keep-going --nitpicky --quiet --jobs 2 -c docs/site . out/site
	@ls out/site/index.html

clean:
	rm -rf out
