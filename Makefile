# make demo: train two autoencoders on shipped digits, compute their surfaces, draw Figures 1 and 2, print AUROC.
# make test, make test-slow, make lint. Each sets up .venv first if it is not there.

PYTHON ?= python3
GRID ?= 33
RANKS ?= 2
OUT ?= out/demo
EPOCHS ?= 30
DIGIT ?= 3

bin := .venv/bin
python := $(bin)/python
ready := .venv/.ready

.PHONY: demo test test-slow lint clean
.DELETE_ON_ERROR:
.SECONDARY:

demo: $(OUT)/fig1.png $(OUT)/fig2.png $(OUT)/auroc.md
	@echo
	@cat $(OUT)/auroc.md
	@echo
	@ls $(OUT)/*/checkpoint.pt $(OUT)/*.h5 $(OUT)/*.png $(OUT)/*.md

$(ready): setup.cfg constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(python) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "torch" --editable ".[mpi,test]"
	touch $(ready)

$(OUT)/%/checkpoint.pt: | $(ready)
	$(python) -m training.train --dataset mnist-mini --normal $(DIGIT) --loss $* --batch-size 128 --epochs $(EPOCHS) \
		--seed 0 --out $(OUT)/$*

$(OUT)/%.h5: $(OUT)/%/checkpoint.pt
	$(bin)/mpirun -n $(RANKS) $(python) -m landscape.surface --ckpt $< --x=-1:1:$(GRID) --y=-1:1:$(GRID) \
		--metrics l2,own --seed 0 --out $@

$(OUT)/fig1.png: $(OUT)/l2.h5 $(OUT)/l2-lamp.h5
	$(python) -m figures.fig1 $^ --metric l2 --out $@

$(OUT)/fig2.npz: | $(ready)
	$(python) -m analysis.panels fig2 --out $@

$(OUT)/fig2.png: $(OUT)/fig2.npz
	$(python) -m figures.fig2 $< --out $@

$(OUT)/auroc.md: $(OUT)/l2/checkpoint.pt $(OUT)/l2-lamp/checkpoint.pt
	$(python) -m analysis.tables runs $(OUT)/l2 $(OUT)/l2-lamp --out $@ > $(OUT)/.table
	@rm $(OUT)/.table

test: $(ready)
	$(python) -m pytest

test-slow: $(ready)
	$(python) -m pytest -m slow

lint: $(ready)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

clean:
	rm -rf out
