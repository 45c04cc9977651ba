"""Adaptive refinement: exact where it must be, within its tolerance elsewhere, honest where it is not."""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator

from landscape.sampling import spline as spline_module
from landscape.sampling.adaptive import Adapted, interpolate, progressive_order, refine
from landscape.sampling.spline import left_out_errors, spline, tiles
from training.runtime.command import InputError

Surface = Callable[[np.ndarray, np.ndarray], np.ndarray]
SPAN = np.linspace(-1, 1, 51)


def quadratic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 3 + x - 2 * y + 4 * x * x - 3 * x * y + 2 * y * y


def rosenbrock(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.5 + (0.3 - x) ** 2 + 100 * (y - x * x) ** 2


def valley(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A sharp valley as trained networks show: a cone, rounded over 0.1, wider along one diagonal."""
    return np.exp(2 * np.sqrt(0.01 + (x + y) ** 2 + 0.3 * (x - y) ** 2))


def noise(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.random.default_rng(3).normal(size=np.broadcast(x, y).shape)


def surface(function: Surface, x: np.ndarray = SPAN, y: np.ndarray = SPAN) -> np.ndarray:
    """(1, ny, nx) values."""
    return function(x[None, None, :], y[None, :, None])


def drive(
    truth: dict[str, np.ndarray],
    transforms: dict[str, str],
    x: np.ndarray = SPAN,
    y: np.ndarray = SPAN,
    tol: float = 0.01,
    seed: int = 0,
    levels: list[np.ndarray] | None = None,
) -> Adapted:
    """Run a refinement to its end on known values (K, ny, nx); no point may be asked for twice."""
    planes = next(iter(truth.values())).shape[0]
    plan = refine(x, y, transforms, tol, seed, planes)
    levels = [] if levels is None else levels
    levels.append(next(plan))
    while True:
        try:
            levels.append(plan.send({name: values.ravel()[levels[-1]] for name, values in truth.items()}))
        except StopIteration as stop:
            asked = np.concatenate(levels)
            assert len(np.unique(asked)) == len(asked)
            result: Adapted = stop.value
            np.testing.assert_array_equal(np.flatnonzero(result.evaluated), np.sort(asked))
            for name, values in truth.items():
                np.testing.assert_array_equal(result.values[name][result.evaluated], values[result.evaluated])
            return result


def true_error(result: Adapted, truth: np.ndarray, name: str = "l2", transform: Callable = np.log) -> float:
    """Largest error over the finite points of the grid, as a share of their range."""
    finite = np.isfinite(truth)
    right, found = transform(truth[finite]), transform(result.values[name][finite])
    return float(np.abs(found - right).max() / np.ptp(right))


# ---- progressive order


@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)))
def test_progressive_levels_are_complete_pictures_of_halving_strides(shape: tuple[int, int, int]) -> None:
    levels = progressive_order(shape)
    assert sorted(np.concatenate(levels).tolist()) == list(range(int(np.prod(shape))))
    seen, gaps = np.zeros(shape, bool), []
    for level in levels:
        seen.reshape(-1)[level] = True
        rows, columns = seen.any((0, 2)), seen.any((0, 1))
        assert (seen == rows[:, None] & columns).all()  # whole rows and columns, the same in every plane
        assert rows[[0, -1]].all()
        assert columns[[0, -1]].all()
        gaps.append(max(np.diff(np.flatnonzero(axis)).max(initial=0) for axis in (rows, columns)))
    assert gaps[-1] <= 1
    for wider, narrower in pairwise(gaps):
        assert narrower <= wider
        assert np.log2(narrower) % 1 == 0


# ---- the spline, against another implementation


def test_spline_and_left_out_errors_equal_scipys() -> None:
    random = np.random.default_rng(0)
    samples, points = random.uniform(-1, 1, (60, 2)), random.uniform(-1, 1, (200, 2))
    values = np.stack([np.sin(3 * samples[:, 0]) * samples[:, 1], np.abs(samples).sum(1)], 1)
    slow = {"kernel": "cubic", "degree": 2}
    # Two systems of condition 1e6 to 1e8 for 60 samples at random, solved in double precision.
    np.testing.assert_allclose(spline(samples, values, points), RBFInterpolator(samples, values, **slow)(points), 1e-6)
    for i, error in enumerate(left_out_errors(samples, values)):
        others = np.arange(60) != i
        expected = values[i] - RBFInterpolator(samples[others], values[others], **slow)(samples[i : i + 1])[0]
        np.testing.assert_allclose(error, np.abs(expected), rtol=1e-5, atol=1e-9)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(12, 60), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_spline_is_exact_for_quadratics(seed: int, count: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    samples, points = random.uniform(-1, 1, (count, 2)), random.uniform(-1, 1, (20, 2))
    found = spline(scale * samples, quadratic(*samples.T)[:, None], scale * points)
    # The ridge of 1e-10 bounds the condition by 1e10, and rounding by 1e-6 of values of about 1.
    np.testing.assert_allclose(found[:, 0], quadratic(*points.T), atol=1e-5)


def test_tiles_divide_the_points_and_hardly_change_the_spline(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    samples, points = random.uniform(-1, 1, (1500, 2)), random.uniform(-1, 1, (900, 2))
    values = rosenbrock(*samples.T)[:, None]
    parts = list(tiles(samples, points))
    assert len(parts) > 4
    assert max(len(near) for near, _ in parts) <= spline_module.DENSE
    assert sorted(np.concatenate([inside for _, inside in parts]).tolist()) == list(range(900))
    tiled, errors = spline(samples, values, points), left_out_errors(samples, values)
    monkeypatch.setattr(spline_module, "DENSE", 2000)
    np.testing.assert_allclose(tiled, spline(samples, values, points), atol=2e-3 * np.ptp(values))
    inner = np.abs(samples).max(1) < 0.9  # left out at the border, a sample is extrapolated to: sensitive to all others
    whole = left_out_errors(samples, values)
    np.testing.assert_allclose(errors[inner], whole[inner], atol=2e-3 * np.ptp(values))


@pytest.mark.parametrize("kept", [lambda x: x == 1, lambda x: x == -1])
def test_tiles_divide_points_of_which_most_lie_on_one_row(kept: Callable[[np.ndarray], np.ndarray]) -> None:
    """The median is then the largest coordinate, and the part above it empty."""
    samples = np.random.default_rng(2).uniform(-1, 1, (1500, 2))
    rows = np.stack([axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-0.1, 0.1, 51))], 1)
    points = np.concatenate([rows[kept(rows[:, 0])], rows[~kept(rows[:, 0])][::40]])
    parts = list(zip(range(10_000), tiles(samples, points), strict=False))
    assert len(parts) < 100
    assert sorted(np.concatenate([inside for _, (_, inside) in parts]).tolist()) == list(range(len(points)))


# ---- refinement


def test_a_quadratic_needs_only_the_first_level_and_the_held_out() -> None:
    levels: list[np.ndarray] = []
    truth = np.exp(surface(quadratic))
    result = drive({"l2": truth}, {"l2": "log"}, levels=levels)
    assert [len(level) for level in levels] == [49, 128]  # 7 x 7, and 5% of the other 2552
    assert result.errors["l2"] < 1e-6
    assert true_error(result, truth) < 1e-6


@pytest.mark.parametrize("function", [rosenbrock, valley])
@pytest.mark.parametrize("tol", [0.03, 0.01, 0.003])
def test_known_surfaces_are_within_the_tolerance(function: Surface, tol: float) -> None:
    truth = surface(function)
    result = drive({"l2": truth}, {"l2": "log"}, tol=tol)
    assert true_error(result, truth) <= tol
    assert result.errors["l2"] <= tol
    if tol == 0.01 and function is valley:
        assert result.evaluated.mean() < 0.12


def test_points_gather_where_the_surface_is_sharp() -> None:
    cone = surface(lambda x, y: np.exp(2 * np.sqrt(0.001 + x * x + y * y)))
    levels: list[np.ndarray] = []
    result = drive({"l2": cone}, {"l2": "log"}, levels=levels)
    radius = np.hypot(SPAN[:, None], SPAN).ravel()
    assert np.median(radius[np.concatenate(levels[1:-1])]) < 0.4  # 0.77 if they were spread evenly
    assert true_error(result, cone) <= 0.01


def test_the_reported_error_is_the_true_one_at_the_held_out_points() -> None:
    truth = surface(valley)
    result = drive({"l2": truth}, {"l2": "log"})
    samples = result.evaluated.ravel().copy()
    samples[result.held_out] = False
    assert len(result.held_out) == int(np.ceil(0.05 * (~samples).sum()))
    places = np.stack([axis.ravel() for axis in np.meshgrid(SPAN, SPAN)], 1)
    log = np.log(truth).ravel()
    predicted = RBFInterpolator(places[samples], log[samples], kernel="cubic", degree=2)(places[result.held_out])
    expected = np.abs(predicted - log[result.held_out]).max() / np.ptp(log[result.evaluated.ravel()])
    assert result.errors["l2"] == pytest.approx(expected, rel=1e-5)


def test_a_feature_that_only_the_held_out_points_see_is_refined() -> None:
    smooth = drive({"l2": np.exp(surface(quadratic))}, {"l2": "log"})
    row, column = np.argwhere(np.isin(np.arange(2601), smooth.held_out).reshape(51, 51))[40]
    near = np.hypot(SPAN[None, :] - SPAN[column], SPAN[:, None] - SPAN[row])
    bump = 3 * np.maximum(0, 1 - (near / 0.11) ** 2) ** 3
    sampled = smooth.evaluated[0].copy()
    sampled.reshape(-1)[smooth.held_out] = False
    assert bump[sampled].max() < 0.15  # the first level does not see it
    truth = np.exp(surface(quadratic) + bump)
    levels: list[np.ndarray] = []
    result = drive({"l2": truth}, {"l2": "log"}, levels=levels)
    assert np.isin(smooth.held_out, levels[1]).all()
    assert len(levels) > 3
    assert true_error(result, truth) < 0.01
    assert result.evaluated[0][near < 0.11].mean() > 0.5


def test_what_cannot_be_interpolated_is_evaluated_or_admitted() -> None:
    truth = surface(noise)
    result = drive({"auroc": truth}, {"auroc": "none"})
    assert result.evaluated.all() or result.errors["auroc"] > 0.01
    assert result.evaluated.mean() > 0.9
    spikes = np.exp(surface(quadratic))
    spikes.reshape(-1)[np.random.default_rng(0).choice(2601, 500, False)] *= 3  # no neighbour tells of the next
    result = drive({"l2": spikes}, {"l2": "log"})
    assert result.evaluated.mean() > 0.9 or result.errors["l2"] > 0.01


def test_a_point_is_asked_for_if_any_metric_needs_it() -> None:
    truth = {"flat": surface(lambda x, y: 2 + 0 * x * y), "l2": surface(valley), "auroc": surface(quadratic)}
    transforms = {"flat": "log", "l2": "log", "auroc": "none"}
    together, alone = drive(truth, transforms), drive({"l2": truth["l2"]}, {"l2": "log"})
    np.testing.assert_array_equal(together.evaluated, alone.evaluated)
    assert together.errors["flat"] == 0
    assert np.ptp(together.values["flat"]) < 1e-9
    assert together.errors["auroc"] < 1e-6


def test_planes_are_refined_in_step_but_on_their_own() -> None:
    truth = np.concatenate([surface(valley), np.exp(surface(quadratic)), surface(rosenbrock)])
    levels: list[np.ndarray] = []
    result = drive({"l2": truth}, {"l2": "log"}, levels=levels)
    assert len(levels[0]) == 3 * 49
    alone = drive({"l2": truth[:1]}, {"l2": "log"})
    np.testing.assert_array_equal(result.evaluated[0], alone.evaluated[0])
    np.testing.assert_array_equal(result.values["l2"][0], alone.values["l2"][0])
    assert result.errors["l2"] >= alone.errors["l2"]


@settings(max_examples=5, deadline=None)
@given(kept=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_a_run_stopped_anywhere_comes_to_the_same_points(kept: float, seed: int) -> None:
    truth = surface(rosenbrock)
    whole = drive({"l2": truth}, {"l2": "log"}, seed=seed)
    order: list[np.ndarray] = []
    drive({"l2": truth}, {"l2": "log"}, seed=seed, levels=order)
    asked = np.concatenate(order)
    file = np.full(truth.size, np.nan)  # what a killed run left: the first so many points, NaN elsewhere
    done = asked[: int(kept * len(asked))]
    file[done] = truth.ravel()[done]
    plan, computed = refine(SPAN, SPAN, {"l2": "log"}, 0.01, seed), []
    points, result = next(plan), None
    while result is None:
        missing = points[np.isnan(file[points])]
        file[missing] = truth.ravel()[missing]
        computed.append(missing)
        try:
            points = plan.send({"l2": file[points]})
        except StopIteration as stop:
            result = stop.value
    assert len(np.concatenate(computed)) == len(asked) - len(done)
    np.testing.assert_array_equal(result.evaluated, whole.evaluated)
    np.testing.assert_array_equal(result.values["l2"], whole.values["l2"])
    assert result.errors == whole.errors


def test_another_seed_draws_other_held_out_points() -> None:
    first, second = (drive({"l2": surface(valley)}, {"l2": "log"}, seed=seed) for seed in (0, 1))
    assert set(first.held_out.tolist()) != set(second.held_out.tolist())


# ---- what is not finite, and what is small


@pytest.mark.parametrize("hole", [np.nan, np.inf, 0.0])  # 0 has no logarithm
def test_everything_near_holes_is_evaluated_and_the_rest_is_within_tolerance(hole: float) -> None:
    truth = surface(valley)
    truth[:, :, 40:][:, SPAN > 0] = hole  # a corner, and one point alone on the first level
    truth[0, 25, 8] = hole
    result = drive({"l2": truth}, {"l2": "log"})
    with np.errstate(divide="ignore"):
        holes = ~np.isfinite(np.log(truth[0]))
    padded = np.pad(holes, 1)
    beside = np.any([padded[i : i + 51, j : j + 51] for i in range(3) for j in range(3)], 0)
    assert result.evaluated[0][beside].all()
    assert (result.values["l2"][~result.evaluated] > 0).all()
    inside = truth[0] > 0
    inside &= np.isfinite(truth[0])
    error = np.abs(np.log(result.values["l2"][0][inside]) - np.log(truth[0][inside])).max()
    assert error <= 0.01 * np.ptp(np.log(truth[0][inside]))


def test_overflow_in_one_metric_does_not_touch_another() -> None:
    wild = surface(valley)
    wild[0, :, :10] = np.inf
    truth = {"wild": wild, "l2": surface(valley)}
    result = drive(truth, {"wild": "log", "l2": "log"})
    assert true_error(result, truth["l2"]) <= 0.01
    assert true_error(result, wild, "wild") <= 0.01
    assert result.evaluated.mean() < 0.5


@pytest.mark.parametrize("fill", [np.nan, np.inf, -1.0])
def test_a_plane_without_a_finite_value_is_evaluated_whole(fill: float) -> None:
    result = drive({"l2": np.full((1, 9, 51), fill)}, {"l2": "log"}, y=np.linspace(0, 1, 9))
    assert result.evaluated.all()
    assert result.errors == {"l2": 0.0}


def test_a_constant_plane_has_no_error() -> None:
    result = drive({"l2": np.full((1, 51, 51), 0.1)}, {"l2": "log"})
    np.testing.assert_allclose(result.values["l2"], 0.1, rtol=1e-9)
    assert result.errors["l2"] == 0
    assert result.evaluated.sum() == 49 + 128


@pytest.mark.parametrize("ny", [1, 2, 3, 8, 51])
@pytest.mark.parametrize("nx", [1, 2, 7, 9, 51])
@pytest.mark.parametrize("function", [quadratic, valley])
def test_any_size_of_grid_is_within_the_tolerance(ny: int, nx: int, function: Surface) -> None:
    x = np.linspace(-1, 1, nx) if nx > 1 else np.zeros(1)
    y = np.linspace(-1, 1, ny) if ny > 1 else np.zeros(1)
    truth = surface(function, x, y)
    result = drive({"l2": truth}, {"l2": "none"}, x=x, y=y)
    assert np.isfinite(result.values["l2"]).all()
    if np.ptp(truth) > 0:
        assert true_error(result, truth, transform=lambda values: values) <= 0.01
    rest = truth.size - min(ny, 7) * min(nx, 7)
    assert len(result.held_out) >= min(10, result.evaluated.size - result.evaluated.sum(), rest)


def test_interpolation_takes_little_time() -> None:
    truth = surface(valley)
    start = time.process_time()
    drive({"l2": truth}, {"l2": "log"})
    assert time.process_time() - start < 1


def test_nothing_known_gives_nothing() -> None:
    places = np.zeros((4, 2))
    assert np.isnan(interpolate(places, np.full((4, 1), np.nan), np.zeros(4, bool), np.arange(4))).all()


@pytest.mark.parametrize("tol", [0.0, -0.1, 1.0, np.nan, np.inf])
def test_a_tolerance_that_is_no_share_is_refused(tol: float) -> None:
    with pytest.raises(InputError, match="--adaptive: expected a share of the range above 0 and below 1"):
        next(refine(SPAN, SPAN, {"l2": "log"}, tol, 0))
