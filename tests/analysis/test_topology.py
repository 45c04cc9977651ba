"""Basins and hills: against closed forms, component counts at every level, and gudhi; noise; what is refused."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from gudhi import CubicalComplex
from scipy import ndimage

from analysis.pictures.persistence import Floats, basins, hills
from analysis.topology import features_of, surface_of
from analysis.topology import main as uncaught
from landscape.files.grid import Grid, empty_grid, parse_axis, write_new
from training.runtime.command import InputError, command

main = command(uncaught)


def made(values: Floats, stderr: float = np.nan, half: float = 2.0) -> Grid:
    ny, nx = values.shape
    x = parse_axis("x", f"{-half}:{half}:{nx}")
    y = parse_axis("y", "0:0:1" if ny == 1 else f"{-half}:{half}:{ny}")
    grid = empty_grid(x, y, ["l2"], 1, {"identity": {}, "metrics": {"l2": {"definition": "-", "transform": "log"}}})
    grid.values["l2"][0], grid.stderr["l2"][0] = values, stderr
    grid.done[:] = grid.evaluated[:] = True
    return grid


def wells(ny: int = 41, nx: int = 81) -> Floats:
    """(x² - 1)² + y² + x/4 on [-2, 2]²: two minima beside x = -1 and 1, a pass between them."""
    x, y = np.linspace(-2, 2, nx), np.linspace(-2, 2, ny)[:, None]
    return (x**2 - 1) ** 2 + y**2 + x / 4


def random_surface(seed: int) -> Floats:
    """Rough, with ties, and inf where it diverges."""
    source = np.random.default_rng(seed)
    values = source.normal(size=source.integers(2, 9, 2)).round(int(source.integers(1, 4)))
    return np.where(source.random(values.shape) < 0.1 * (seed % 3), np.inf, values)


def levels(values: Floats, pairs: list) -> list[tuple[float, float]]:
    flat = values.ravel()
    return sorted((flat[pair.birth], np.inf if pair.death is None else flat[pair.death]) for pair in pairs)


def test_a_double_well_has_its_minima_and_its_pass() -> None:
    grid = made(wells(), stderr=0.1)
    deep, shallow = (f for f in features_of(grid, "l2", 0, grid.values["l2"][0], 2) if f.dimension == 0)
    roots = np.sort(np.roots([4, 0, -4, 0.25]))  # of the derivative: minimum, pass, minimum
    f = np.poly1d([1, 0, -2, 0.25, 1])
    step = 0.05
    assert (deep.x, deep.y) == (pytest.approx(roots[0], abs=step), 0)
    assert (shallow.x, shallow.y) == (pytest.approx(roots[2], abs=step), 0)
    assert (shallow.death_x, shallow.death_y) == (pytest.approx(roots[1], abs=step), 0)
    assert shallow.persistence == pytest.approx(f(roots[1]) - f(roots[2]), abs=0.01)
    assert deep.persistence == np.inf
    assert shallow.stderr == pytest.approx(0.1 * 2**0.5)


def test_a_hill_is_a_loop_that_closes_at_its_lowest_ring_and_fills_at_its_top() -> None:
    x, y = np.meshgrid(np.linspace(-2, 2, 41), np.linspace(-2, 2, 41))
    crater = (x**2 + y**2 - 1) ** 2 + 0.3 * x  # a ring with a hill of height 1 in its middle
    (hill,) = (f for f in features_of(made(crater), "l2", 0, crater, 2) if f.dimension == 1)
    assert (hill.death_x, hill.death_y) == (pytest.approx(0, abs=0.15), pytest.approx(0, abs=0.1))
    assert hill.x == pytest.approx(1, abs=0.1)  # the ring's highest place
    assert hill.birth == pytest.approx(0.3, abs=0.02)
    assert hill.death == pytest.approx(1, abs=0.05)
    crater[20, 20] = np.inf
    (pair,) = [pair for pair in hills(crater) or [] if pair.death is None]
    assert crater.ravel()[pair.birth] <= crater[np.isfinite(crater)].max()


@pytest.mark.parametrize("seed", range(30))
def test_as_many_components_and_loops_live_at_each_level_as_can_be_counted(seed: int) -> None:
    values = random_surface(seed)
    found = basins(values), hills(values)
    assert found[1] is not None
    for level in np.unique(values[np.isfinite(values)]):
        there = values <= level
        components = ndimage.label(there)[1]  # 4 neighbours
        edges = (there[1:] & there[:-1]).sum() + (there[:, 1:] & there[:, :-1]).sum()
        squares = (there[1:, 1:] & there[1:, :-1] & there[:-1, 1:] & there[:-1, :-1]).sum()
        loops = components - (there.sum() - edges + squares)  # Euler's characteristic
        alive = [sum(birth <= level < death for birth, death in levels(values, pairs)) for pairs in found]
        assert alive == [components, loops]


@pytest.mark.parametrize("seed", range(30))
def test_gudhi_finds_the_same_intervals(seed: int) -> None:
    values = random_surface(seed)
    theirs = CubicalComplex(vertices=values)
    theirs.compute_persistence(min_persistence=0)
    for dimension, ours in enumerate((basins(values), hills(values))):
        intervals = [tuple(row) for row in theirs.persistence_intervals_in_dimension(dimension) if row[0] < np.inf]
        assert levels(values, ours) == sorted(intervals)


def test_a_line_has_basins_and_no_hills() -> None:
    values = np.array([[3.0, 1.0, 2.0, 0.0, 5.0]])
    assert levels(values, basins(values)) == [(0, np.inf), (1, 2)]
    assert hills(values) == []


def test_what_divergence_parts_never_meets() -> None:
    values = np.array([[1.0, 2.0, np.nan, 0.0, 3.0]])
    grid = made(values)
    found = features_of(grid, "l2", 0, surface_of(grid, "l2", 0, "g"), 2)
    assert [(feature.birth, feature.death) for feature in found] == [(0, np.inf), (1, np.inf)]


def test_only_what_exceeds_the_standard_errors_is_significant() -> None:
    values = np.array([[0.0, 3.0, 2.0, 3.0, 1.0, 3.0]])
    grid = made(values, stderr=0.5)
    grid.stderr["l2"][0, 0, 4] = np.nan  # interpolated: takes the largest
    noisy = [f.significant for f in features_of(grid, "l2", 0, values, 2)]
    assert noisy == [True, True, False]  # persistence inf, 2, 1 against 2·0.5·sqrt(2)
    assert [f.significant for f in features_of(made(values), "l2", 0, values, 2)] == [True, None, None]


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_new(tmp_path / "g.h5", made(wells(), stderr=0.1), {})
    assert main([str(tmp_path / "g.h5"), "--out", str(tmp_path / "t.csv")]) == 0
    printed = capsys.readouterr().out
    assert "basins: 2, of them beyond noise: 2; hills: 0" in printed
    assert printed.splitlines()[-1] == str(tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert float(rows[1]["persistence"]) == float(rows[1]["death"]) - float(rows[1]["birth"])
    assert main([str(tmp_path / "g.h5"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["basins"] == {"all": 2, "significant": 2}
    assert told["features"][0]["death"] is None
    assert told["features"][1]["x"] == float(rows[1]["x"])


def test_without_gudhi_basins_are_found_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_new(tmp_path / "g.h5", made(wells(), stderr=0.1), {})
    monkeypatch.setitem(sys.modules, "gudhi", None)
    assert main([str(tmp_path / "g.h5")]) == 0
    assert "basins: 2, of them beyond noise: 2; hills not computed: install gudhi" in capsys.readouterr().out


def test_what_cannot_be_used_is_named() -> None:
    grid = made(wells())
    for arguments, message in {("l1", 0): "--metric among l2, found 'l1'", ("l2", 1): "--plane from 0 to 0"}.items():
        with pytest.raises(InputError, match=message):
            surface_of(grid, *arguments, "g.h5")
    grid.done[0, :2, :5] = False
    with pytest.raises(InputError, match=r"g\.h5: expected a complete surface, found 10 of 3321 points to come; "):
        surface_of(grid, "l2", 0, "g.h5")
    with pytest.raises(InputError, match="expected finite values of 'l2', found -inf or none"):
        surface_of(made(np.full((2, 2), np.nan)), "l2", 0, "g.h5")
