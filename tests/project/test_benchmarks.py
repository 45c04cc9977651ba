"""The benchmark runs, prints JSON alone, and measures equal numbers; its speeds are not judged here."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import adaptive
from benchmarks.training import step_flops
from landscape.files.grid import Axis, empty_grid
from tests.conftest import run_python
from training.models.autoencoder import Autoencoder


def test_adaptive_benchmark_says_how_far_off_a_known_surface_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = np.linspace(-1, 1, 21)
    meta = {"metrics": {"l2": {"transform": "none"}}, "identity": {}}
    grid = empty_grid(Axis("x", steps), Axis("y", steps), ["l2"], 2, meta)
    grid.values["l2"][0] = np.hypot(*np.meshgrid(steps, steps)) ** 3
    grid.done[0] = grid.evaluated[0] = True  # the second plane is not complete, so it is passed over
    grid.save(tmp_path / "full.h5")
    adaptive.main([str(tmp_path / "full.h5")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 3 + 4
    assert lines[-4].startswith("6 runs; largest error above the tolerance in ")
    one = adaptive.compare(grid, "l2", 0, 0.01, 0)
    result = adaptive.refined(grid, "l2", 0, 0.01, 0)
    off = np.abs(result.values["l2"][0] - grid.values["l2"][0]).max()
    assert one.true == pytest.approx(off / np.sqrt(8), rel=1e-12)
    assert one.evaluated == result.evaluated.mean()


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


def test_operations_of_a_step_are_those_counted_by_hand() -> None:
    # 1 -> 4 channels and 4 -> 1 over 2×2 places, a tap each: 16 multiply-adds a layer; no gradient of the images.
    assert step_flops(Autoencoder(width=4, depth=1, kernel=1), 4) == 2 * 16 * 5
    # Stride 2, padding 1, four pixels a side: 5 taps an axis are on pixels. Upwards 2×2 pixels meet 3×3 taps.
    assert step_flops(Autoencoder(width=4, depth=1, kernel=3), 4) == 2 * 4 * (2 * 25 + 3 * 36)


@pytest.mark.slow
def test_training_benchmark_prints_its_figures_as_json() -> None:
    options = ("--json", "--batch-sizes", 2, 20, "--models", 3, "--repeats", 2)
    done = run_python("-m", "benchmarks.training", *options, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    for size in (2, 20):
        assert all(
            figures[f"batch_{size}.{name}"] > 0 for name in ("speedup", "single_speedup", "stack_ms", "limit_ms")
        )
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
