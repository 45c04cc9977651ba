"""The benchmark runs, prints JSON alone, and measures equal numbers; its speeds are not judged here."""

import json

import pytest

from tests.conftest import run_python


@pytest.mark.slow
def test_benchmark_prints_its_figures_as_json() -> None:
    options = ("--json", "--images", 200, "--grid", 9, "--repeats", 2, "--epochs", 1)
    done = run_python("-m", "benchmarks.surface", *options, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    asked_for = (
        "engine.speedup",
        "engine.max_rel_diff",
        "engine.over_limit",
        "surface.speedup",
        "surface.points_share",
    )
    assert all(figures[name] > 0 for name in (*asked_for, "surface.max_error", "ranks.two_over_one", "start.help_s"))
    assert figures["engine.max_rel_diff"] < 1e-5
    assert figures["memory.289_points_mb"] < 1.1 * figures["memory.9_points_mb"]


@pytest.mark.slow
def test_training_benchmark_prints_its_figures_as_json() -> None:
    options = ("--json", "--batch-sizes", 2, 20, "--models", 3, "--repeats", 2)
    done = run_python("-m", "benchmarks.training", *options, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    for size in (2, 20):
        assert all(figures[f"batch_{size}.{name}"] > 0 for name in ("speedup", "single_speedup", "stack_ms"))
        assert figures[f"batch_{size}.models"] == 3
        assert figures[f"batch_{size}.max_rel_diff"] < 1e-3


@pytest.mark.slow
def test_curvature_benchmark_prints_its_figures_as_json() -> None:
    options = ("--json", "--images", 20, "--probes", 2, "--repeats", 1, "--epochs", 1, "--threads", 1)
    done = run_python("-m", "benchmarks.curvature", *options, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert all(figures[f"{name}.speedup"] > 0 for name in ("product", "eigenvalues", "trace", "both"))
    assert figures["eigenvalues.converged"]
    assert figures["eigenvalues.max_rel_diff"] < 1e-3
    assert figures["product.rel_diff"] < 1e-4
    assert figures["trace.rel_diff"] < 1e-4
