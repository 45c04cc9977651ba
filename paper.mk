# make -f paper.mk paper PROFILE=2core, or make paper: what docs/paper.md reports; PROFILE=full: the paper's size, for a cluster or GPUs.
# Needs the full data in LANDSCAPE_DATA (MNIST is downloaded without it; MVTec AD's runs are then rows with an error).
# Every command goes on where it was stopped and does nothing where it is done.

include common.mk

PROFILE ?= 2core
PAPER ?= out/paper
SWEEPS ?= table1-lr table1 long ablation table2 fig3
NORMAL ?= 3
# The seed that figures show; 0 where a batch size has no other.
SEED ?= 1
POINTS ?= 31
THRESHOLD ?= 35
MINI_THRESHOLD ?= 35

sweeps := $(filter $(SWEEPS),$(patsubst sweeps/$(PROFILE)/%.toml,%,$(wildcard sweeps/$(PROFILE)/*.toml)))

.PHONY: paper estimate paper-tables paper-figures $(sweeps:%=estimate-%) $(sweeps:%=sweep-%)

paper: estimate
	$(MAKE) -f paper.mk $(sweeps:%=sweep-%)
	$(MAKE) -f paper.mk paper-tables
	$(MAKE) -f paper.mk paper-figures

estimate: $(sweeps:%=estimate-%)

$(sweeps:%=estimate-%): estimate-%: $(ready)
	@printf '%-10s ' $*
	@$(python) -m training.sweep sweeps/$(PROFILE)/$*.toml --out $(PAPER)/$* --dry-run | tail -n 1

# A sweep with failed runs ends with a status that is not 0; the others go on.
$(sweeps:%=sweep-%): sweep-%: $(ready)
	-$(mpi) -m training.sweep sweeps/$(PROFILE)/$*.toml --out $(PAPER)/$*

tables := $(python) -m analysis.tables
# The learning rates were chosen on the digit 8.
others := --where "normal!=8"
tuned := --tune lr --tune kernel --tune patches
table1 = $(tables) table1 $(PAPER)/table1/results.csv $(others)

paper-tables: $(ready)
	$(tables) table1 $(PAPER)/table1-lr/results.csv --by-task --tune lr --out $(PAPER)/table1_lr.md
	$(python) -m analysis.pairs $(PAPER)/table1 $(others) --out $(PAPER)/table1/results
	$(table1) --out $(PAPER)/table1.md
	$(table1) --epochs 2 --out $(PAPER)/table1-equal-epochs.md
	$(table1) --matching updates --out $(PAPER)/table1-equal-updates.md
	$(table1) --matching fit --threshold $(THRESHOLD) --out $(PAPER)/table1-matched-fit.md
	$(table1) --matching fit --threshold 20 --out $(PAPER)/table1-matched-fit-20.md
	$(table1) --matching fit --threshold 50 --out $(PAPER)/table1-matched-fit-50.md
	$(table1) --protocol validation --out $(PAPER)/table1-validation.md
	$(table1) --protocol oracle --out $(PAPER)/table1-oracle.md
	$(tables) claims $(PAPER)/table1/results.csv $(others) --threshold $(THRESHOLD) --out $(PAPER)/claims.md
	$(tables) gains $(PAPER)/long/results.csv --out $(PAPER)/long.md
	$(python) -m analysis.pairs $(PAPER)/table2 $(tuned) --out $(PAPER)/table2/results
	$(tables) table2 $(PAPER)/table2/results.csv $(tuned) --out $(PAPER)/table2.md
	$(python) -m analysis.specification $(PAPER)/ablation/results.csv --threshold $(MINI_THRESHOLD) \
		--out $(PAPER)/ablation_curve.csv

# The checkpoint of digit NORMAL, or of a classifier: $(call digit,loss,batch size)
comma := ,
of_seed = $(firstword $(foreach seed,$(SEED) 0,$(wildcard $(1),seed=$(seed)$(2)/checkpoint.pt)))
digit = $(call of_seed,$(PAPER)/table1/*normal=$(NORMAL)$(comma)*loss=$(1)$(comma)*batch_size=$(2)$(comma)*,*)
head = $(call of_seed,$(PAPER)/fig3/*loss=$(1)$(comma)*batch_size=$(2)$(comma)*,)
plane := --x=-1:1:$(POINTS) --y=-1:1:$(POINTS) --seed 0
places := l2-128 l2-16 l2-4 l2-lamp-128 l2-lamp-16 l2-lamp-4
loss_of = $(patsubst %-128,%,$(patsubst %-16,%,$(patsubst %-4,%,$(1))))
batch_of = $(lastword $(subst -, ,$(1)))

.PHONY: $(places:%=surface-%)

$(places:%=surface-%): surface-%: $(ready)
	mkdir -p $(PAPER)/surfaces
	$(mpi) -m landscape.surface --ckpt "$(call digit,$(call loss_of,$*),$(call batch_of,$*))" $(plane) --adaptive 0.01 \
		--metrics l2,own --max-samples 2000 --out $(PAPER)/surfaces/autoencoder-$*.h5
	$(mpi) -m landscape.surface --ckpt "$(call head,$(call loss_of,$*),$(call batch_of,$*))" $(plane) \
		--metrics l2,cross-entropy,own --max-samples 1000 --out $(PAPER)/surfaces/classifier-$*.h5

autoencoders = $(places:%=$(PAPER)/surfaces/autoencoder-%.h5)
classifiers = $(places:%=$(PAPER)/surfaces/classifier-%.h5)

paper-figures: $(ready) $(places:%=surface-%)
	$(python) -m figures.fig1 $(PAPER)/surfaces/autoencoder-l2-128.h5 $(PAPER)/surfaces/autoencoder-l2-lamp-128.h5 --out $(PAPER)/fig1.png
	$(python) -m analysis.panels fig2 --out $(PAPER)/fig2.npz
	$(python) -m figures.fig2 $(PAPER)/fig2.npz --out $(PAPER)/fig2.png
	$(python) -m figures.fig3 $(classifiers) --out $(PAPER)/fig3.png
	$(python) -m figures.fig3 $(classifiers) --metric own --out $(PAPER)/fig3-own.png
	$(python) -m figures.fig3 $(autoencoders) --out $(PAPER)/fig3-autoencoders.png
	$(python) -m analysis.panels fig4 "$(call digit,l2,128)" "$(call digit,l2-lamp,128)" --out $(PAPER)/fig4.npz
	$(python) -m figures.fig4 $(PAPER)/fig4.npz --out $(PAPER)/fig4.png
	$(python) -m figures.scores "$(dir $(call digit,l2,128))" "$(dir $(call digit,l2-lamp,128))" --out $(PAPER)/scores.png
	$(python) -m figures.convergence $(PAPER)/table1/results.csv $(others) --out $(PAPER)/convergence.png
	$(python) -m figures.gain $(PAPER)/long/results.csv --limit 0.1 --out $(PAPER)/gain.png
	$(python) -m figures.specification $(PAPER)/ablation_curve.csv --out $(PAPER)/specification.png
