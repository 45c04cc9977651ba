"""`landscape.compute` against the command; the determinism check; ranges found from the loss."""

import random
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape
from landscape.directions.axes import AutoAxis, as_axis, parse_range
from landscape.directions.normalization import random_directions
from landscape.directions.options import PlaneOptions
from landscape.files.grid import Axis, read_grid
from landscape.sampling.radius import radius_of_growth
from landscape.surface import main
from tests.conftest import run_python
from tests.problems import quadratic, quadratic_form
from training.runtime.command import InputError

WHERE = ("--problem", "tests.problems:quadratic")


def test_importing_the_package_imports_no_torch() -> None:
    code = (
        "import sys, landscape; assert 'torch' not in sys.modules and 'numpy' not in sys.modules; landscape.Grid;"
        "assert 'torch' not in sys.modules; landscape.compute; landscape.Samples; assert 'compute' in dir(landscape)"
    )
    assert run_python("-c", code).returncode == 0
    with pytest.raises(AttributeError, match="module 'landscape' has no attribute 'nothing'"):
        landscape.nothing  # noqa: B018


def without_command(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        found |= {name: value for name, value in file.attrs.items() if name != "command"}
    return found


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--x=-1:1:7", "--y=-0.5:0.5:4"], {"x": (-1, 1, 7), "y": "-0.5:0.5:4"}),
        (
            ["--x=-1:1:5", "--planes", 2, "--seed", 3, "--metrics", "l2,mse", "--normalization", "layer"],
            {"x": "-1:1:5", "planes": 2, "seed": 3, "metrics": ["l2", "mse"], "normalization": "layer"},
        ),
        (["--x=-1:1:15", "--y=-1:1:15", "--adaptive", 0.01], {"x": "-1:1:15", "y": (-1, 1, 15), "adaptive": 0.01}),
        (["--x=auto:4:7", "--max-samples", 20], {"x": "auto:4:7", "max_samples": 20}),
        (["--eigenvectors", "largest", "--x=-1:1:5"], {"plane": PlaneOptions(eigenvectors="largest"), "x": "-1:1:5"}),
    ],
)
def test_the_call_gives_what_the_command_writes(
    options: list[object], settings: dict[str, Any], tmp_path: Path
) -> None:
    main([*WHERE, *map(str, options), "--out", str(tmp_path / "command.h5")])
    problem = quadratic()
    before = problem.model.weight.clone()
    landscape.compute(problem, **settings).save(tmp_path / "folder" / "call.h5")
    torch.testing.assert_close(problem.model.weight, before, rtol=0, atol=0)
    expected, found = (without_command(tmp_path / name) for name in ("command.h5", "folder/call.h5"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_grid_in_memory_reads_back_and_names_itself(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    grid = landscape.compute(quadratic(), x=[-1.0, 0.0, 0.25, 2.0], threads=2)
    assert torch.get_num_threads() == threads
    assert grid.shape == (1, 1, 4)
    assert grid.done.all()
    base, slope, gram = quadratic_form(quadratic(), grid.directions["0/x/weight"])
    direction = grid.directions["0/x/weight"]
    curvature = np.einsum("oi,ij,oj", direction, 2 * gram, direction)
    expected = base + grid.x.values * slope + 0.5 * grid.x.values**2 * curvature
    np.testing.assert_allclose(grid.values["l2"][0, 0], expected, rtol=1e-12)
    assert grid.meta["command"].startswith("landscape.compute(")
    for _ in range(2):  # the second time in place of the first
        grid.save(str(tmp_path / "a.h5"))
    back = landscape.read_grid(tmp_path / "a.h5")
    np.testing.assert_array_equal(back.values["l2"], grid.values["l2"])
    assert back.meta == grid.meta
    assert back.directions == {}
    unnamed = quadratic()
    unnamed.name = ""
    assert landscape.compute(unnamed, x="0:0:1").meta["name"] == "Linear"


def test_uneven_axes_have_specs_of_their_own() -> None:
    even, uneven = as_axis("x", np.linspace(-1, 1, 5)), as_axis("x", [-1, -0.5, 0, 0.4, 1])
    assert even.spec == as_axis("x", "-1:1:5").spec == as_axis("x", (-1, 1, 5)).spec == "-1.0:1.0:5"
    assert re.fullmatch(r"-1\.0:1\.0:5:[0-9a-f]{12}", uneven.spec)
    assert uneven.spec != as_axis("x", [-1, -0.5, 0, 0.3, 1]).spec


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0, 0.0], "expected finite, increasing numbers"),
        ([], "expected finite, increasing numbers"),
        ([float("nan")], "expected finite, increasing numbers"),
        (np.zeros((2, 2)), "expected finite, increasing numbers"),
        ((1, 2), "expected low:high:count"),
        ([0, 1e31], "expected steps of at most"),
        ("auto:1:5", "expected a factor above 1"),
        ("auto:nan", "expected a factor above 1"),
        ("auto:2:1", "expected 2 to 10001 points"),
        ("auto:a", "expected auto, auto:FACTOR or auto:FACTOR:COUNT"),
        ("auto:2:5:6", "expected auto, auto:FACTOR or auto:FACTOR:COUNT"),
    ],
)
def test_unusable_axes_are_named(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        landscape.compute(quadratic(), x=x)


def test_unusable_problems_and_settings_are_named() -> None:
    with pytest.raises(InputError, match=r"landscape.compute: expected .* landscape.Problem, found Linear"):
        landscape.compute(quadratic().model)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--planes: expected at least 1, found 0"):
        landscape.compute(quadratic(), planes=0)


class Noisy(nn.Module):
    """A linear model that does something which it should not in evaluation mode."""

    def __init__(self, what: str):
        super().__init__()
        self.what = what
        self.inner = nn.Sequential(nn.Linear(4, 3))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.what == "dropout":
            x = F.dropout(x, 0.5, training=True)
        elif self.what == "augmentation":
            x = x + 0.1 * torch.randn_like(x)
        elif self.what == "python":
            x = x + random.random()
        elif self.what == "numpy":
            x = x * float(np.random.rand())
        elif self.what == "buffer":
            self.seen += 1
            x = x + self.seen
        elif self.what == "attention":
            q = x[:, None, :, None]
            x = F.scaled_dot_product_attention(q, q, q, dropout_p=0.3)[:, 0, :, 0]
        return self.inner(x)


class ForcedDropout(nn.Dropout):
    def train(self, mode: bool = True) -> "ForcedDropout":
        return super().train(True)


def problem_of(model: nn.Module) -> landscape.Problem:
    source = torch.Generator().manual_seed(1)
    x, y = torch.randn(50, 4, generator=source), torch.randn(50, 3, generator=source)
    return landscape.Problem(model, {"train": landscape.Samples(x, y)})


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("dropout", r"random numbers are drawn by \w+ in Noisy \(dropout or augmentation left on\?\)"),
        ("augmentation", r"random numbers are drawn by randn_like in Noisy"),
        ("attention", r"random numbers are drawn by .* in Noisy"),
        ("python", "random numbers are drawn from Python's random"),
        ("numpy", "random numbers are drawn from numpy.random"),
        ("buffer", "a forward pass changes the buffers seen"),
    ],
)
def test_a_model_that_is_noise_is_refused_with_the_reason(what: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"l2: expected the same value at the same weights, found .* {reason}") as got:
        landscape.compute(problem_of(Noisy(what)), x="0:1:2")
    assert "switch it off in evaluation mode" in str(got.value)
    assert len(str(got.value).splitlines()) == 1


def test_modules_that_stay_in_training_mode_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(4, 3), ForcedDropout(0.5))
    with pytest.raises(
        InputError, match=r"modules in training mode after model.eval\(\): 1; random .* in 1 \(ForcedDropout\)"
    ):
        landscape.compute(problem_of(model), x="0:1:2")
    monkeypatch.setattr("tests.problems.noisy", lambda: problem_of(model), raising=False)
    with pytest.raises(InputError, match="expected the same value at the same weights"):
        main(["--problem", "tests.problems:noisy", "--x=0:1:2", "--out", str(tmp_path / "a.h5")])
    assert list(tmp_path.iterdir()) == []


def test_a_factory_may_return_its_model_in_training_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.MultiheadAttention(3, 1).out_proj).train()
    grid = landscape.compute(problem_of(model), x="0:1:2")
    assert np.isfinite(grid.values["l2"]).all()
    assert model.training


def test_a_random_metric_is_told_from_a_random_model() -> None:
    problem = problem_of(nn.Linear(4, 3))
    problem.metrics = {"noise": landscape.Metric("noise", "", lambda o, t: torch.rand(len(o)))}
    with pytest.raises(InputError, match=r"noise: expected the same value .* drawn by rand in metric noise"):
        landscape.compute(problem, x="0:1:2", metrics="noise")


@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("scale", [1e-4, 0.3, 1.0, 70.0])
@pytest.mark.parametrize("factor", [1.5, 10])
def test_the_radius_of_a_power_law(power: int, scale: float, factor: float) -> None:
    """1 + (r/s)^p reaches f at s·(f - 1)^(1/p)."""
    radius = radius_of_growth(lambda r: 1 + (r / scale) ** power, factor)
    assert radius is not None
    exact = scale * (factor - 1) ** (1 / power)
    assert radius == pytest.approx(exact, rel=0.06)  # 1%, and two digits
    assert radius == float(f"{radius:.2g}")


def test_radii_where_there_is_none_or_the_loss_diverges() -> None:
    assert radius_of_growth(lambda r: 1 + 1e-6 * r, 10) is None
    assert radius_of_growth(lambda r: 11.0, 10) is None
    assert radius_of_growth(lambda r: float("nan") if r > 3 else 1.0, 10) == pytest.approx(3, rel=0.05)


def test_auto_is_where_the_mean_over_axes_and_signs_has_grown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a quadratic the mean over signs is L₀ + r²/2·mean(dᵀHd): the radius has a closed form."""
    x, y = (direction.params["weight"].numpy() for direction in random_directions(quadratic().model, seed=0))
    base, _, gram = quadratic_form(quadratic(), x)
    curvatures = [np.einsum("oi,ij,oj", d, 2 * gram, d) for d in (x, y)]
    exact = np.sqrt(2 * base * (3 - 1) / np.mean(curvatures))
    out = tmp_path / "a.h5"
    main([*WHERE, "--x=auto:3:5", "--y=auto:3:4", "--out", str(out)])
    grid = read_grid(out)
    radius = float(grid.x.values[-1])
    assert radius == pytest.approx(exact, rel=0.06)
    assert (grid.x.spec, grid.y.spec) == (f"-{radius}:{radius}:5", f"-{radius}:{radius}:4")
    assert grid.meta["identity"]["x"] == grid.x.spec
    assert grid.meta["ranges"]["y"] == {"asked": "auto:3.0:4", "metric": "l2", "radius": radius}
    assert f"--x={grid.x.spec}, where l2 grows 3-fold" in capsys.readouterr().out.splitlines()


def test_a_run_with_auto_goes_on_without_looking_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "a.h5"
    options = [*WHERE, "--x=auto:3:5", "--out", str(out)]
    main(options)
    before = out.read_bytes()
    monkeypatch.setattr("landscape.sampling.radius.radius_of_growth", None)
    main(options)
    assert out.read_bytes() == before
    monkeypatch.undo()
    main([*WHERE, f"--x={read_grid(out).x.spec}", "--out", str(out)])  # numbers of the same range go on too
    with pytest.raises(InputError, match="expected a file of the same run, found one with x"):
        main([*WHERE, "--x=auto:2:5", "--out", str(out)])


def test_ranks_take_one_range(tmp_path: Path) -> None:
    for ranks in (0, 2):
        done = run_python(
            "-m", "landscape.surface", *WHERE, "--x=auto:3:5", "--out", tmp_path / f"{ranks}.h5", ranks=ranks
        )
        assert done.returncode == 0, done.stderr
    alone, shared = (without_command(tmp_path / f"{ranks}.h5") for ranks in (0, 2))
    for name, value in alone.items():
        np.testing.assert_array_equal(shared[name], value, err_msg=name)


class Bounded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight.T)


def test_a_loss_that_never_grows_so_far_or_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"--x=auto:1000.0:51: expected l2 to grow 1000-fold .* found .*-fold there"):
        landscape.compute(problem_of(Bounded()), x="auto:1000")
    perfect = problem_of(nn.Linear(4, 3))
    inputs = perfect.sets["train"].inputs
    perfect.sets = {"train": landscape.Samples(inputs, perfect.model(inputs).detach())}
    with pytest.raises(InputError, match="auto: expected a positive l2 at the model"):
        landscape.compute(perfect, x="auto")


def test_parsing_ranges() -> None:
    assert parse_range("x", "auto") == AutoAxis("x", 10.0, 51)
    assert parse_range("y", "auto:3") == AutoAxis("y", 3.0, 51)
    assert parse_range("y", "auto:3:7") == AutoAxis("y", 3.0, 7)
    assert isinstance(parse_range("x", "0:1:2"), Axis)
    assert AutoAxis("x", 10.0, 3).at(0.63).values.tolist() == [-0.63, 0, 0.63]
