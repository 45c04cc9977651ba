"""`python -m benchmarks.surface`: a point and a surface against the reference tool's way and the machine's limit."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.runtime.command import InputError, command, parse

DESCRIPTION = """Time the surface engine on the width 16-32-64-128 autoencoder; everything compared runs in turn.

Example: python -m benchmarks.surface --json"""


@dataclass(frozen=True)
class Arguments:
    json: bool = False
    """Print only JSON."""
    images: int = 5000
    """Images of 32×32 that a point is evaluated over."""
    grid: int = 51
    """Points an axis of the whole surface."""
    repeats: int = 15
    """Paired measurements of a point."""
    epochs: int = 5
    """Epochs that the model is trained for before."""
    full: bool = True
    """Also evaluate the full grid, to know the adaptive surface's true error (some minutes)."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "benchmarks.surface", DESCRIPTION)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(arguments, Path(folder) / "weights.pt")
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for name, value in results.items():
            print(f"{name:34} {value:.4g}" if isinstance(value, float) else f"{name:34} {value}")


def measure(arguments: Arguments, weights: Path) -> dict[str, Any]:
    """All figures, by their names; the trained weights are kept at `weights`, for the processes started here."""
    import torch

    from benchmarks.reference import Reference
    from landscape.directions.normalization import random_directions
    from landscape.engine.evaluate import Evaluator
    from landscape.engine.metrics import resolve_metrics

    problem = trained_problem(arguments.images, arguments.epochs, weights)
    plane = random_directions(problem.model, seed=0)
    cpu = torch.device("cpu")

    def evaluator(*names: str, allow_rewrite: bool = True) -> Evaluator:
        return Evaluator(problem, resolve_metrics(problem, names), [plane], cpu, allow_rewrite=allow_rewrite)

    engine = evaluator("l2")
    if engine.forward.rewritten is None:
        raise InputError("this machine: expected an x86 CPU with AVX2 or AVX512 and oneDNN, found the plain path only")
    images = problem.sets["train"].inputs
    reference = Reference(problem.model, images, plane)
    results: dict[str, Any] = {
        "machine.cores": len(os.sched_getaffinity(0)),
        "machine.threads": torch.get_num_threads(),
        "machine.torch": torch.__version__,
        "machine.instructions": torch.backends.cpu.get_cpu_capability(),
        "images": arguments.images,
    }
    flops = engine.forward.rewritten.flops(images.shape[1:]) * len(images)
    results |= against_reference(reference, engine, flops, arguments.repeats)
    results["engine.max_rel_diff"] = largest_difference(reference, evaluator)
    results |= costs_of_metrics(evaluator, arguments.repeats)
    results |= whole_surface(evaluator("l2"), problem, results["reference.point_s"], arguments)
    results |= two_ranks(arguments, weights)
    results |= memory_by_points(arguments, weights)
    results |= start_up()
    return results


def trained_problem(count: int, epochs: int, weights: Path) -> Any:
    """The autoencoder trained on `count` shipped digits of all kinds, or as kept at `weights`, and these as its set."""
    import torch

    from landscape.problem.problem import Problem, Samples
    from training.data.config import RunConfig, resolve
    from training.data.splits import load_split
    from training.fitting.fit import train
    from training.models.autoencoder import build_model

    splits = [load_split(resolve(RunConfig(normal=digit)), None) for digit in range(10)]
    images = torch.cat([split.train for split in splits])[:: max(1, 10_000 // count)][:count]
    config = resolve(RunConfig(epochs=epochs))
    model = build_model(config)
    if not weights.exists():
        split = type(splits[0])(images, splits[0].test, splits[0].labels, splits[0].ids, splits[0].classes, "")
        *_, last = train(config, split, torch.device("cpu"))
        torch.save({**last.checkpoint.params, **last.checkpoint.buffers}, weights)
    model.load_state_dict(torch.load(weights, weights_only=True))
    return Problem(model.eval(), {"train": Samples(images, images)}, name="benchmark")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, one after the other, `repeats` times after a warm-up: drifts hit all alike."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return times


def paired(first: list[float], second: list[float]) -> float:
    """Median of the ratios first/second of measurements made in turn."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def against_reference(reference: Any, engine: Any, flops: int, repeats: int) -> dict[str, Any]:
    """A point by the reference's way and by the engine, and the time of the same operations as matrix products.

    Two libraries' products are timed, torch.mm and oneDNN's packed linear; the limit is set by the faster.
    """
    import torch

    n = 1024
    a, b = torch.rand(n, n), torch.rand(n, n)
    packed = torch.ops.mkldnn._reorder_linear_weight(b)

    def steps() -> list[float]:
        return np.random.default_rng().uniform(-1, 1, 2).tolist()

    times = in_turn(
        {
            "reference": lambda: reference.at(*steps()),
            "engine": lambda: engine.at(0, steps()),
            "mm": lambda: [torch.mm(a, b) for _ in range(10)],
            "onednn": lambda: [torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], "") for _ in range(10)],
        },
        repeats,
    )
    median = {name: statistics.median(values) for name, values in times.items()}
    rates = {name: 10 * 2 * n**3 / median[name] for name in ("mm", "onednn")}
    limits = [[flops / (10 * 2 * n**3) * t for t in times[name]] for name in ("mm", "onednn")]
    fastest = [min(pair) for pair in zip(*limits, strict=True)]
    return {
        "reference.point_s": median["reference"],
        "engine.point_s": median["engine"],
        "engine.speedup": paired(times["reference"], times["engine"]),
        "limit.gflop": flops / 1e9,
        "limit.gflop_s_torch_mm": rates["mm"] / 1e9,
        "limit.gflop_s_onednn": rates["onednn"] / 1e9,
        "limit.point_s": statistics.median(fastest),
        "engine.over_limit": paired(times["engine"], fastest),
        "engine.over_limit_torch_mm": paired(times["engine"], limits[0]),
    }


def largest_difference(reference: Any, evaluator: Callable[..., Any]) -> float:
    """Largest relative difference of any metric, engine against plain path and against the reference's loss."""
    names = ("l2", "l1", "ssim", "l2-lamp", "l1-lamp", "ssim-lamp")
    fast, plain = evaluator(*names), evaluator(*names, allow_rewrite=False)
    largest = 0.0
    for steps in ([0.0, 0.0], [1.0, 1.0], [-1.0, 0.3], [0.04, -0.96]):
        expected, found = plain.at(0, steps)[0], fast.at(0, steps)[0]
        largest = max(largest, float(np.abs(found / expected - 1).max()), abs(found[0] / reference.at(*steps) - 1))
    return largest


def costs_of_metrics(evaluator: Callable[..., Any], repeats: int) -> dict[str, Any]:
    """What a metric adds to a point that is evaluated under L2 anyway, as a share of it."""
    others = ("l1", "l2-lamp", "l1-lamp", "ssim")
    engines = {"l2": evaluator("l2"), **{name: evaluator("l2", name) for name in others}}
    times = in_turn({name: lambda e=e: e.at(0, [0.3, 0.2]) for name, e in engines.items()}, 3 * repeats)
    return {f"metric.{name}_extra": paired(times[name], times["l2"]) - 1 for name in others}


def whole_surface(engine: Any, problem: Any, reference_point: float, arguments: Arguments) -> dict[str, Any]:
    """The whole picture, adaptive within 1% of the log-loss range, written to its file; and its true error."""
    from landscape.files.grid import empty_grid, parse_axis
    from landscape.files.gridfile import GridWriter
    from landscape.sampling.run import Surface

    x, y = (parse_axis(name, f"-1:1:{arguments.grid}") for name in "xy")
    meta = {"identity": {}, "metrics": {"l2": {"transform": "log"}}}

    def compute(tol: float) -> tuple[float, Any]:
        grid = empty_grid(x, y, ["l2"], 1, meta)
        with tempfile.TemporaryDirectory() as folder:
            writer = GridWriter(Path(folder) / "surface.h5", grid, {})
            spent = seconds(lambda: Surface(engine, grid, writer, None).run(tol, seed=0))
            writer.close()
        return spent, writer.grid

    spent, adaptive = compute(0.01)
    results = {
        "surface.points": int(adaptive.done.size),
        "surface.points_share": float(adaptive.evaluated.mean()),
        "surface.adaptive_s": spent,
        "surface.speedup": reference_point * adaptive.done.size / spent,
        "surface.held_out_error": adaptive.interpolation_error["l2"],
    }
    if arguments.full:
        spent, full = compute(0.0)
        logs = np.log(full.values["l2"])
        error = np.abs(np.log(adaptive.values["l2"]) - logs).max() / np.ptp(logs)
        results |= {"surface.full_s": spent, "surface.max_error": float(error)}
    return results


def run(arguments: Sequence[object], ranks: int = 0) -> "subprocess.CompletedProcess[str]":
    launcher = [str(Path(sys.executable).parent / "mpirun"), "-n", str(ranks)] if ranks else []
    words = [*launcher, sys.executable, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=True)


def two_ranks(arguments: Arguments, weights: Path) -> dict[str, Any]:
    """Seconds of a surface by two ranks with one thread each over those of one, start-up excluded, in turn."""
    options = ["-m", "benchmarks.ranks", arguments.images, arguments.epochs, weights]
    try:
        pairs = [[json.loads(run(options, ranks).stdout) for ranks in (1, 2)] for _ in range(3)]
    except (subprocess.CalledProcessError, FileNotFoundError):
        return {"ranks.two_over_one": None}
    return {
        "ranks.two_over_one": statistics.median(two["seconds"] / one["seconds"] for one, two in pairs),
        "ranks.idle_share": statistics.median(two["idle_share"] for _, two in pairs),
    }


def memory_by_points(arguments: Arguments, weights: Path) -> dict[str, Any]:
    """Peak memory of a process that computes a small and a large grid of the same problem, and of its data."""
    code = "import sys, benchmarks.surface as b; b.print_peak(*sys.argv[1:])"
    sizes = (3, 2 * arguments.grid - 1)
    peaks = [float(run(["-c", code, arguments.images, weights, size]).stdout) for size in sizes]
    return {f"memory.{size**2}_points_mb": peak for size, peak in zip(sizes, peaks, strict=True)}


def print_peak(images: str, weights: str, points: str) -> None:
    """Compute a surface of points × points over a few images, and print this process's peak memory in MB."""
    whole_surface_of(trained_problem(int(images), 1, Path(weights)), int(points))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def whole_surface_of(problem: Any, points: int) -> None:
    import torch

    from landscape.directions.normalization import random_directions
    from landscape.engine.evaluate import Evaluator
    from landscape.engine.metrics import resolve_metrics
    from landscape.problem.problem import subsample

    problem.sets = {"train": subsample(problem.sets["train"], 16), "all": problem.sets["train"]}
    plane = random_directions(problem.model, seed=0)
    engine = Evaluator(problem, resolve_metrics(problem, ["l2"]), [plane], torch.device("cpu"))
    whole_surface(engine, problem, 1.0, Arguments(grid=points, full=True))


def start_up() -> dict[str, Any]:
    """Seconds from the command to the first point of a small problem, and of --help."""
    with tempfile.TemporaryDirectory() as folder:
        problem = ["--problem", "tests.problems:quadratic", "--x=0:0:1"]
        times = in_turn(
            {
                "help": lambda: run(["-m", "landscape.surface", "--help"]),
                "point": lambda: run(["-m", "landscape.surface", *problem, "--out", f"{folder}/{time.time_ns()}.h5"]),
                "torch": lambda: run(["-c", "import torch"]),
            },
            3,
        )
    names = {"help": "start.help_s", "point": "start.first_point_s", "torch": "start.import_torch_s"}
    return {names[name]: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    raise SystemExit(command(main)())
