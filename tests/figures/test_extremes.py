"""Every figure of a surface survives whatever values the surface holds, with few ticks and in bounded memory."""

import json
import math
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from analysis.topology import features_of, surface_of
from figures import animate, fig1, fig3, persistence, surface, trajectory, viewer
from figures.parts.scale import LEVELS
from landscape.files.grid import Axis, Grid, Track, empty_grid, write_new
from tests.conftest import ROOT
from tests.figures.values import ARRAYS, EXTREMES
from training.runtime.command import InputError

pytestmark = pytest.mark.filterwarnings("error")

MOST_TICKS = 9
TRANSFORMS = ("log", "none")
MEMORY = 4 << 30  # bytes of addresses; libraries alone take about one


def surface_with(values: np.ndarray, transform: str = "log", path: bool = False) -> Grid:
    """A checkpoint's surface of `values`, a tenth of them as standard errors."""
    meta: dict[str, Any] = {
        "identity": {},
        "metrics": {"l2": {"transform": transform, "definition": "L2"}},
        "config": {"loss": "l2", "batch_size": 128},
    }
    ny, nx = values.shape
    y = np.linspace(-1, 1, ny) if ny > 1 else np.zeros(1)
    grid = empty_grid(Axis("x", np.linspace(-1, 1, nx)), Axis("y", y), ["l2"], 1, meta)
    grid.values["l2"][0] = values
    with np.errstate(invalid="ignore"):
        grid.stderr["l2"][0] = np.abs(values) / 10
    grid.done[:] = grid.evaluated[:] = True
    if path:
        steps = np.array([[-0.5, 0.5], [0.0, 0.0]])
        grid.paths = {"trajectory": Track(steps, np.zeros(2), np.array([0.0, 10]))}
    return grid


def draw_persistence(grid: Grid, height: str) -> Figure | None:
    """The figure of the command, None of values that it refuses: none finite, or -inf among them."""
    try:
        values = surface_of(grid, "l2", 0, "a")
    except InputError:
        return None
    return persistence.draw(grid, "l2", 0, features_of(grid, "l2", 0, values, 2.0), height)


FIGURES = {
    "surface": lambda grid, height: surface.draw(grid, "a", height=height),
    "line": lambda grid, height: surface.draw(surface_with(*line_of(grid)), "a", height=height),
    "fig1": lambda grid, height: fig1.draw([("a", grid), ("b", surface_with(EXTREMES["around 0"]))], height=height),
    "fig3": lambda grid, height: fig3.draw([("a", grid)], height=height),
    "trajectory": lambda grid, height: trajectory.draw(grid, "a", height=height),
    "persistence": draw_persistence,
}


def line_of(grid: Grid) -> tuple[np.ndarray, str]:
    return grid.values["l2"][0].reshape(1, -1), grid.meta["metrics"]["l2"]["transform"]


def check(figure: Figure | None) -> None:
    """Draw it, and hold the number of things drawn to one that does not depend on the range."""
    if figure is None:
        return
    figure.canvas.draw()
    for ax in figure.axes:
        axes = [ax.xaxis, ax.yaxis, *([ax.zaxis] if hasattr(ax, "zaxis") else [])]
        assert all(len(axis.get_ticklocs()) <= 2 * MOST_TICKS for axis in axes)
        assert all(math.isfinite(end) for end in (*ax.get_xlim(), *ax.get_ylim()))
        assert len(ax.collections) <= 3 + LEVELS


@pytest.mark.parametrize("values", EXTREMES)
@pytest.mark.parametrize("name", FIGURES)
def test_named_extremes_are_drawn(name: str, values: str) -> None:
    for height in ("log", "linear"):
        check(FIGURES[name](surface_with(EXTREMES[values], path=True), height))


@pytest.mark.parametrize("name", FIGURES)
@given(values=ARRAYS, transform=st.sampled_from(TRANSFORMS), height=st.sampled_from(("log", "linear")))
@settings(max_examples=10, deadline=None)
def test_any_values_are_drawn(name: str, values: np.ndarray, transform: str, height: str) -> None:
    check(FIGURES[name](surface_with(values, transform, path=True), height))


@pytest.mark.parametrize("values", ["all NaN", "a spike of 7.7e35", "1e-300 to 1e300", "below 0"])
def test_extremes_are_animated(values: str, tmp_path: Path) -> None:
    write_new(tmp_path / "a.h5", surface_with(EXTREMES[values], path=True), {})
    animate.main(
        [str(tmp_path / "a.h5"), "--dpi", "40", "--fps", "1", "--height", "linear", "--out", str(tmp_path / "a.gif")]
    )
    assert (tmp_path / "a.gif").stat().st_size < 300_000


@given(values=ARRAYS)
@settings(max_examples=100, deadline=None)
def test_the_viewer_holds_any_values_as_strict_json(values: np.ndarray) -> None:
    text = viewer.embedded(viewer.page_data([("a", surface_with(values))]))
    assert len(text) < 10_000  # of 30 points
    (found,) = json.loads(text)["surfaces"]
    read = np.array([[math.nan if v is None else float(v) for v in row] for row in found["values"]["l2"][0]])
    np.testing.assert_array_equal(read, values)


def test_the_viewer_offers_no_logarithm_of_values_below_0() -> None:
    logs = [
        viewer.page_data([("a", surface_with(EXTREMES[name]))])["metrics"]["l2"]["log"]
        for name in ("below 0", "a zero")
    ]
    assert logs == [False, True]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not there to run the page's script")
def test_the_page_makes_few_ticks_of_any_values() -> None:
    """numbers.js as a browser runs it; it never came to an end of numbers one rounding apart."""
    script = (ROOT / "figures" / "assets" / "numbers.js").read_text()
    values = {name: viewer.plain(array) for name, array in EXTREMES.items()}
    script += f"""
      const ticks = {{}};
      for (const [name, rows] of Object.entries({json.dumps(values)}))
        for (const log of [true, false]) {{
          const ends = limits(rows.map((row) => row.map((value) => height(value, log))));
          ticks[`${{name}} ${{log}}`] = [ends, ticksOf(ends, log)];
        }}
      console.log(JSON.stringify(ticks));
    """
    done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, timeout=60, check=True)
    for (low, high), ticks in json.loads(done.stdout).values():
        assert low < high
        assert len(ticks) <= 13
        assert all(low <= tick * (1 + 1e-9) and tick * (1 - 1e-9) <= high for tick in ticks if tick > 0)
        assert len(set(ticks)) == len(ticks)


@pytest.mark.parametrize("command", ["surface", "fig1", "fig3", "persistence"])
def test_a_linear_height_up_to_1e35_takes_no_memory(command: str, tmp_path: Path) -> None:
    """In a process that may not have more: it took gigabytes once, a number for each tick that there could be."""
    write_new(tmp_path / "a.h5", surface_with(10 ** (35 * np.linspace(0, 1, 961).reshape(31, 31))), {})
    out = tmp_path / "a.png"
    done = subprocess.run(
        [sys.executable, "-m", f"figures.{command}", tmp_path / "a.h5", "--height", "linear", "--out", out],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert out.stat().st_size > 5000
