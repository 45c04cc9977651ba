# make sharpness PROFILE=2core: what docs/sharpness.md reports, into out/paper; PROFILE=full: more seeds and batch sizes.
# Needs the full data in LANDSCAPE_DATA. Every command goes on where it was stopped and does nothing where it is done.

include common.mk

PROFILE ?= 2core
PAPER ?= out/paper
# The digit that figures show.
NORMAL ?= 3
comma := ,
measured := $(PAPER)/measured

.PHONY: sharpness sharpness-figures doses jumps

sharpness: $(ready)
	$(mpi) -m training.sweep sweeps/$(PROFILE)/sharpness.toml --out $(PAPER)/sharpness
	$(mpi) -m analysis.sharpness --sweep $(PAPER)/sharpness --out $(measured)/sharpness.csv
	$(mpi) -m training.sweep sweeps/$(PROFILE)/twins.toml --out $(PAPER)/twins
	$(mpi) -m analysis.sharpness --sweep $(PAPER)/twins --out $(measured)/twins.csv
	$(python) -m analysis.relate $(measured)/sharpness.csv --out $(measured)/sharpness_relate.csv
	$(python) -m analysis.relate $(measured)/sharpness.csv --out $(measured)/sharpness_relate.md
	$(python) -m analysis.compare $(measured)/sharpness.csv --a loss=l2 --b loss=l2-lamp --out $(measured)/sharpness_lamp.csv
	$(python) -m analysis.compare $(measured)/sharpness.csv --a loss=l2 --b loss=l2-lamp --out $(measured)/sharpness_lamp.md
	$(python) -m analysis.compare $(measured)/twins.csv --a sam_rho=0.0 --b sam_rho=0.2 --measures @l2 --out $(measured)/twins_sam.csv
	$(python) -m analysis.compare $(measured)/twins.csv --a sam_rho=0.0 --b sam_rho=0.2 --measures @l2 --out $(measured)/twins_sam.md
	$(python) -m analysis.compare $(measured)/twins.csv --a sam_rho=0.0 --b sam_rho=-0.05 --measures @l2 --out $(measured)/twins_reverse.csv
	$(python) -m analysis.compare $(measured)/twins.csv --a sam_rho=0.0 --b sam_rho=-0.05 --measures @l2 --out $(measured)/twins_reverse.md
	$(MAKE) -f sharpness.mk doses jumps
	$(MAKE) -f sharpness.mk sharpness-figures

# LAMP as a twin of L2, doses of sharpness and placebos, all stopped at equal fits.
doses: $(ready)
	$(mpi) -m training.sweep sweeps/$(PROFILE)/fit.toml --out $(PAPER)/fit
	$(mpi) -m training.sweep sweeps/$(PROFILE)/doses.toml --out $(PAPER)/doses
	for sweep in fit doses; do \
		$(mpi) -m analysis.sharpness --sweep $(PAPER)/$$sweep --losses l2 --parts hessian --out $(measured)/$$sweep.csv && \
		cp $(PAPER)/$$sweep/history.csv $(measured)/$${sweep}_history.csv || exit; \
	done
	$(python) -m analysis.doses $(measured)/fit.csv $(measured)/doses.csv --out $(measured)/doses_arms.csv
	$(python) -m figures.doses $(measured)/doses_arms.csv --out $(PAPER)/doses.png

# Does AUROC jump from epoch to epoch, and is it batch norm, or the maximum? A trajectory of each reading and seed.
arms := l2 l2-lamp l2-lamp,detach l2-lamp,sample l2-lamp,none
arm_options = --loss $(firstword $(subst $(comma), ,$(1))) $(patsubst detach,--lamp-detach,$(patsubst \
	sample,--lamp-scale sample,$(patsubst none,--lamp-scale none,$(word 2,$(subst $(comma), ,$(1))))))

jumps: $(ready)
	$(foreach seed,0 1 2 3 4,$(foreach arm,$(arms),$(python) -m training.train --dataset mnist --normal $(NORMAL) \
		--epochs 30 --seed $(seed) $(call arm_options,$(arm)) --save-every 48 --out $(PAPER)/jumps/$(arm)-$(seed) &&)) true
	$(python) -m analysis.jumps $(PAPER)/jumps/* --out $(measured)/jumps.csv
	$(python) -m figures.jumps $(measured)/jumps.csv --out $(PAPER)/jumps.png

# One model a loss: its bands over directions and its spectral density.
run_of = $(wildcard $(PAPER)/sharpness/*normal=$(NORMAL)$(comma)*loss=$(1)$(comma)batch_size=128$(comma)*seed=0/checkpoint.pt)

sharpness-figures: $(ready)
	$(python) -m analysis.sharpness --ckpt "$(call run_of,l2)" --density-steps 60 --out $(measured)/l2.json
	$(python) -m analysis.sharpness --ckpt "$(call run_of,l2-lamp)" --density-steps 60 --out $(measured)/l2-lamp.json
	$(python) -m figures.bands $(measured)/l2.json $(measured)/l2-lamp.json --names L2 L2-LAMP --out $(PAPER)/bands.png
	$(python) -m figures.density $(measured)/l2.json $(measured)/l2-lamp.json --names L2 L2-LAMP --out $(PAPER)/density.png
	$(python) -m figures.relation scatter $(measured)/sharpness.csv --measure half_curvature@l2 --out $(PAPER)/scatter.png
	$(python) -m figures.relation heatmap $(measured)/sharpness_relate.csv --measures @l2 --out $(PAPER)/heatmap.png
	$(python) -m figures.relation pairs $(measured)/twins_sam.csv --names plain SAM --out $(PAPER)/twins-sam.png
	$(python) -m figures.relation pairs $(measured)/twins_reverse.csv --names plain reverse --out $(PAPER)/twins-reverse.png
