# What the make files share, each of them read by a make of its own, so that none sets another's variables.

PYTHON ?= python3
RANKS ?= 2

bin := .venv/bin
python := $(bin)/python
ready := .venv/.ready
mpi := $(bin)/mpirun -n $(RANKS) $(python)

$(ready): setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(python) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch --editable ".[mpi,test]"
	touch $(ready)
