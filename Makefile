# make demo: train autoencoders on shipped digits, compute the surfaces of two, draw Figures 1 and 2, print AUROC.
# make paper: the experiments of docs/paper.md, sweeps, tables and figures, into out/paper. PROFILE=2core or full.
# make sharpness: the experiments of docs/sharpness.md, into out/paper too.
# make docs: the documentation as a site, into out/site. Its examples run, its links are checked, a warning is an error.
# make test, make test-slow, make test-machines, make lint. Each sets up .venv first if it is not there.

.DEFAULT_GOAL := demo
include common.mk

GRID ?= 51
OUT ?= out/demo
EPOCHS ?= 30
DIGIT ?= 3
SEEDS ?= 0, 1, 2, 3, 4

ready_docs := .venv/.ready-docs

.PHONY: demo test test-slow test-machines test-unattended lint docs clean

comma := ,
empty :=
first_seed = $(firstword $(subst $(comma),$(empty) ,$(SEEDS)))
demo_plane := --x=-1:1:$(GRID) --y=-1:1:$(GRID) --metrics l2,own --seed 0 --adaptive 0.01
# The folder that the sweep gives a run, $(call demo_run,loss); its name leaves out what is a run's default.
demo_epochs = $(if $(filter-out 30,$(EPOCHS)),epochs=$(EPOCHS)$(comma))
demo_run = $(OUT)/runs/dataset=mnist-mini,normal=$(DIGIT),loss=$(1),batch_size=128,$(demo_epochs)seed=$(first_seed)

# Every command goes on where it was stopped, does nothing where it is done, and refuses other settings than before.
demo: $(ready)
	$(python) -m training.sweep sweeps/seeds.toml --set normal=$(DIGIT) --set epochs=$(EPOCHS) --set "seed=[$(SEEDS)]" \
		--out $(OUT)/runs
	$(mpi) -m landscape.surface --ckpt $(call demo_run,l2)/checkpoint.pt $(demo_plane) --out $(OUT)/l2.h5
	$(mpi) -m landscape.surface --ckpt $(call demo_run,l2-lamp)/checkpoint.pt $(demo_plane) --out $(OUT)/l2-lamp.h5
	$(python) -m figures.fig1 $(OUT)/l2.h5 $(OUT)/l2-lamp.h5 --metric l2 --out $(OUT)/fig1.png
	$(python) -m analysis.panels fig2 --out $(OUT)/fig2.npz
	$(python) -m figures.fig2 $(OUT)/fig2.npz --out $(OUT)/fig2.png
	@echo
	@$(python) -m analysis.tables seeds $(OUT)/runs/results.csv --out $(OUT)/auroc.md
	@ls $(OUT)/*.h5 $(OUT)/*.png

# Experiments: a make of their own for each, whose variables are its own.
.PHONY: paper paper-tables paper-figures estimate sharpness sharpness-figures doses jumps

paper paper-tables paper-figures estimate:
	$(MAKE) -f paper.mk $@

estimate-% sweep-% surface-%:
	$(MAKE) -f paper.mk $@

sharpness sharpness-figures doses jumps:
	$(MAKE) -f sharpness.mk $@

# As many tests at a time as WORKERS; each computes with one thread.
WORKERS ?= 2
pytest := $(python) -m pytest -n $(WORKERS) --dist worksteal

test: $(ready)
	$(pytest)

test-slow: $(ready)
	$(pytest) -m slow

# The numeric tests on other instruction sets and with other numbers of threads; all tests as `nohup … &` has them.
machine_avx2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
machine_plain := ATEN_CPU_CAPABILITY=default
machine_thread := OMP_NUM_THREADS=1
machine_threads := OMP_NUM_THREADS=4

test-machines: test-on-avx2 test-on-plain test-on-thread test-on-threads test-unattended

test-on-%: $(ready)
	env $(machine_$*) $(pytest) -m "numeric and not slow"

test-unattended: $(ready)
	trap '' INT; env -u DISPLAY -u WAYLAND_DISPLAY $(pytest) < /dev/null

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
