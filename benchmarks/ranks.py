"""Run under mpirun by benchmarks.surface: seconds of a surface's points, one thread a rank, start-up excluded."""

import json
import sys
import time
from pathlib import Path

import torch
from mpi4py import MPI

from benchmarks.surface import trained_problem
from landscape.directions.normalization import random_directions
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics
from training.runtime.farm import farm

POINTS = 60


def main(images: int, epochs: int, weights: Path) -> None:
    comm = MPI.COMM_WORLD
    torch.set_num_threads(1)
    problem = trained_problem(images, epochs, weights)
    plane = random_directions(problem.model, seed=0)
    engine = Evaluator(problem, resolve_metrics(problem, ["l2"]), [plane], torch.device("cpu"))
    engine.at(0, [0.0, 0.0])
    comm.Barrier()
    start = time.perf_counter()
    report = farm(range(POINTS), lambda point: engine.at(0, [point / POINTS, 0.5]), lambda results: None, comm)
    comm.Barrier()
    seconds = time.perf_counter() - start
    idle = comm.reduce(report["idle_s"])
    if comm.rank == 0:
        print(json.dumps({"seconds": seconds, "idle_share": idle / (seconds * comm.size)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
