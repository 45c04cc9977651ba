"""Directions: norms of filters, zeros, invariances, seeds."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from landscape.directions.normalization import NORMALIZATIONS, random_directions
from landscape.problem.params import Mover, params_of
from tests.tolerance import rounding


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2),
        nn.BatchNorm2d(6),
        nn.ConvTranspose2d(6, 4, (2, 3), groups=2),
        nn.Conv1d(2, 3, 5),
        nn.Linear(7, 5),
        nn.LayerNorm((5, 2)),
    )


def filters(name: str, tensor: Tensor) -> list[Tensor]:
    """The filters of each weight of `model`, cut out by hand: one for each output channel."""
    if name.startswith("2."):  # transposed: (in, out/groups, …), inputs 0-2 make outputs 0-1, inputs 3-5 make 2-3
        return [tensor[3 * group : 3 * group + 3, out] for group in (0, 1) for out in (0, 1)]
    return list(tensor)


WEIGHTS = ("0.weight", "2.weight", "3.weight", "4.weight")


@pytest.mark.parametrize("orthogonal", [False, True])
def test_filter_norms_are_the_weights(orthogonal: bool) -> None:
    base = dict(model().named_parameters())
    for direction in random_directions(model(), seed=3, orthogonal=orthogonal):
        for name in WEIGHTS:
            pairs = list(zip(filters(name, base[name]), filters(name, direction.params[name]), strict=True))
            assert len(pairs) == {"0.weight": 6, "2.weight": 4, "3.weight": 3, "4.weight": 5}[name]
            for weight, step in pairs:
                torch.testing.assert_close(step.norm(), weight.detach().norm())


def test_biases_and_norm_layers_do_not_move() -> None:
    for direction in random_directions(model(), seed=3):
        assert set(direction.params) == {name for name, _ in model().named_parameters()}
        for name, step in direction.params.items():
            assert bool(step.any()) == (name in WEIGHTS)


def test_a_filter_of_zero_norm_gets_a_zero_direction() -> None:
    network = model()
    with torch.no_grad():
        network[0].weight[2] = 0
        network[2].weight[0:3, 1] = 0
    x, _ = random_directions(network, seed=3)
    assert not x.params["0.weight"][2].any()
    assert not x.params["2.weight"][0:3, 1].any()
    assert x.params["0.weight"][3].any()
    assert x.params["2.weight"][3:, 1].any()


@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
@settings(deadline=None, max_examples=25)
def test_a_filter_normalized_direction_does_not_depend_on_its_scale(factor: float, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    weight, step = (torch.randn(6, 4, 3, 3, generator=source, dtype=torch.float64) for _ in range(2))
    for groups in (None, 2):
        by_filter = NORMALIZATIONS["filter"]
        torch.testing.assert_close(by_filter(step * factor, weight, groups), by_filter(step, weight, groups))


def test_layer_and_weight_normalization() -> None:
    base = dict(model().named_parameters())
    raw, _ = random_directions(model(), seed=3, normalization="filter")
    layer, _ = random_directions(model(), seed=3, normalization="layer")
    weight, _ = random_directions(model(), seed=3, normalization="weight")
    for name in WEIGHTS:
        torch.testing.assert_close(layer.params[name].norm(), base[name].detach().norm())
        assert torch.equal(layer.params[name].sign(), raw.params[name].sign())
        ratio = weight.params[name] / base[name].detach().abs()
        assert 0.5 < ratio.std() < 1.5


def test_orthogonal_in_every_filter() -> None:
    x, y = random_directions(model(), seed=3, orthogonal=True)
    plain, _ = random_directions(model(), seed=3)
    for name in WEIGHTS:
        assert torch.equal(x.params[name], plain.params[name])
        for a, b in zip(filters(name, x.params[name]), filters(name, y.params[name]), strict=True):
            assert abs((a * b).sum()) < 1e-5 * a.norm() * b.norm()


def test_seeds_planes_and_axes_differ_and_repeat() -> None:
    def first(**options: int) -> Tensor:
        return random_directions(model(), **options)[0].params["0.weight"]

    assert torch.equal(first(seed=1), first(seed=1))
    assert torch.equal(first(seed=1), first(seed=1, plane=0))
    others = [first(seed=2), first(seed=1, plane=1), random_directions(model(), seed=1)[1].params["0.weight"]]
    for other in others:
        cosine = (first(seed=1) * other).sum() / first(seed=1).norm() / other.norm()
        assert abs(cosine) < 0.5


def test_moving_goes_from_the_base_each_time() -> None:
    network = model()
    base = copy.deepcopy(network)
    x, y = random_directions(network, seed=0)
    mover = Mover(network, [x.params, y.params])
    for _ in range(50):
        mover.to([0.37, -1.9])
        mover.to([1e6, 3e5])
    mover.to([0.5, -0.25])
    for name, parameter in network.named_parameters():
        expected = dict(base.named_parameters())[name] + 0.5 * x.params[name] - 0.25 * y.params[name]
        terms = [dict(base.named_parameters())[name].detach().abs(), x.params[name].abs(), y.params[name].abs()]
        torch.testing.assert_close(parameter, expected, rtol=0, atol=rounding(4) * float(sum(terms).max()))
    mover.to([0.0, 0.0])
    assert all(torch.equal(a, b) for a, b in zip(params_of(network).values(), params_of(base).values(), strict=True))


def test_tied_weights_move_once() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    x, y = random_directions(network, seed=0)
    assert set(x.params) == {"0.weight", "0.bias", "1.bias"}
    before = network[1].weight.detach().clone()
    Mover(network, [x.params, y.params]).to([1.0, 0.0])
    torch.testing.assert_close(network[1].weight.detach(), before + x.params["0.weight"])
