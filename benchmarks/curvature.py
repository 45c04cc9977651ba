"""`python -m benchmarks.curvature`: a Hessian's eigenvalues and trace against a plain implementation."""

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.surface import in_turn, paired, trained_problem
from training.runtime.command import command, parse

DESCRIPTION = """Time the largest eigenvalues and the trace of the Hessian of the width 16-32-64-128 autoencoder.

Against double backward with scipy's eigsh; both use single precision and the same tolerance, and run in turn.
Example: python -m benchmarks.curvature --json"""


@dataclass(frozen=True)
class Arguments:
    json: bool = False
    """Print only JSON."""
    images: int = 1000
    """Images of 32×32 that the loss is over."""
    eigenvalues: int = 5
    """Largest eigenvalues."""
    tol: float = 1e-3
    """Residual of an eigenvalue relative to it."""
    probes: int = 20
    """Rademacher probes of the trace."""
    metric: str = "l2"
    """The loss: l2, l1, l4, ssim or one of their -lamp forms."""
    repeats: int = 3
    """Paired measurements."""
    epochs: int = 5
    """Epochs that the model is trained for before."""
    threads: int = 0
    """CPU threads; 0: torch's own choice."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "benchmarks.curvature", DESCRIPTION)
    results = measure(arguments)
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for name, value in results.items():
            print(f"{name:34} {value:.4g}" if isinstance(value, float) else f"{name:34} {value}")


def measure(arguments: Arguments) -> dict[str, Any]:
    """All figures, by their names."""
    import torch

    from landscape.engine.metrics import resolve_metrics
    from landscape.hessian.objective import Objective

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        problem = trained_problem(arguments.images, arguments.epochs, Path(folder) / "weights.pt")
    metric = resolve_metrics(problem, [arguments.metric])[0]
    plain, fast = (Objective(problem, metric, allow_chain=allowed) for allowed in (False, True))
    vectors = torch.randn(1, plain.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    last: dict[str, Any] = {}

    def keep(name: str, call: Callable[[], Any]) -> Callable[[], None]:
        return lambda: last.update({name: call()})

    calls = {
        "product.plain": keep("product.plain", lambda: plain.products(vectors)),
        "product.fast": keep("product.fast", lambda: fast.products(vectors)),
        "eigenvalues.plain": keep("eigenvalues.plain", lambda: plain_eigenvalues(plain, arguments)),
        "eigenvalues.fast": keep("eigenvalues.fast", lambda: fast_eigenvalues(fast, arguments)),
        "trace.plain": keep("trace.plain", lambda: plain_trace(plain, arguments.probes)),
        "trace.fast": keep("trace.fast", lambda: fast_trace(fast, arguments.probes)),
    }
    times = in_turn(calls, arguments.repeats)
    times |= {
        f"both.{way}": [a + b for a, b in zip(times[f"eigenvalues.{way}"], times[f"trace.{way}"], strict=True)]
        for way in ("plain", "fast")
    }
    results: dict[str, Any] = {
        "machine.cores": len(os.sched_getaffinity(0)),
        "machine.threads": torch.get_num_threads(),
        "machine.torch": torch.__version__,
        "machine.instructions": torch.backends.cpu.get_cpu_capability(),
        "images": arguments.images,
        "loss": arguments.metric,
    }
    for name in ("product", "eigenvalues", "trace", "both"):
        a, b = times[f"{name}.plain"], times[f"{name}.fast"]
        results |= {f"{name}.plain_s": statistics.median(a), f"{name}.fast_s": statistics.median(b)}
        results[f"{name}.speedup"] = paired(a, b)
    return results | compared(last)


def compared(last: dict[str, Any]) -> dict[str, Any]:
    """How far apart the results are, and how many products they took."""
    difference = (last["product.fast"] - last["product.plain"]).norm() / last["product.plain"].norm()
    (values, plain_products), found = last["eigenvalues.plain"], last["eigenvalues.fast"]
    return {
        "product.rel_diff": float(difference),
        "eigenvalues.values": [float(f"{value:.5g}") for value in found.largest.values],
        "eigenvalues.max_rel_diff": float(np.abs(found.largest.values / values - 1).max()),
        "eigenvalues.largest_residual": float((found.largest.residuals / found.largest.values).max()),
        "eigenvalues.converged": found.converged,
        "eigenvalues.plain_products": plain_products,
        "eigenvalues.fast_products": found.products,
        "trace.value": last["trace.fast"].value,
        "trace.stderr": last["trace.fast"].stderr,
        "trace.rel_diff": abs(last["trace.fast"].value / last["trace.plain"].value - 1),
    }


def plain_eigenvalues(objective: Any, arguments: Arguments) -> tuple[np.ndarray, int]:
    """scipy's eigsh with its defaults, largest first, and the products it took, those of the residuals included."""
    import torch
    from scipy.sparse.linalg import LinearOperator, eigsh

    count = 0

    def product(vector: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return objective.products(torch.as_tensor(vector.reshape(1, -1)))[0].numpy()

    operator = LinearOperator((objective.size,) * 2, matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=objective.size)
    values, vectors = eigsh(operator, arguments.eigenvalues, which="LA", tol=arguments.tol, v0=start)
    for value, vector in zip(values, vectors.T, strict=True):
        np.linalg.norm(product(vector) - value * vector)
    return values[::-1], count


def fast_eigenvalues(objective: Any, arguments: Arguments) -> Any:
    from landscape.hessian.eigen import extreme_eigenvalues

    objective.move_to(objective.base)  # forgets what is kept of the weights: it is part of the time
    return extreme_eigenvalues(objective.products, objective.size, arguments.eigenvalues, tol=arguments.tol)


def plain_trace(objective: Any, probes: int) -> Any:
    from analysis.measures.curvature import trace

    return trace(objective.products, objective.size, probes, seed=0)


def fast_trace(objective: Any, probes: int) -> Any:
    from analysis.measures.curvature import TRACE, estimate, rademacher

    objective.move_to(objective.base)
    return estimate(objective.quadratic_forms(rademacher(objective.size, probes, 0)), TRACE, "")


if __name__ == "__main__":
    raise SystemExit(command(main)())
