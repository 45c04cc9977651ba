"""Losses against plain loops of their equations, a library's SSIM, and the invariances that LAMP must have."""

import itertools
import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor

from tests.tolerance import ELEMENTWISE, rounding
from training.data.config import LossName, RunConfig
from training.models.losses import BASES, LOSSES, Lamp, batch_losses, lamp_map, per_sample_loss, ssim_map, training_loss
from training.runtime.command import InputError

READINGS = [
    Lamp(scale, detach, eps)
    for scale, detach, eps in itertools.product(("batch", "sample", "none"), (False, True), (1e-3, 0.1))
]


def images(seed: int = 0, shape: tuple[int, ...] = (3, 2, 16, 12)) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=source), torch.rand(shape, generator=source)


def lamp_by_loops(base: np.ndarray, lamp: Lamp) -> np.ndarray:
    """Eq. (1)-(2), pixel by pixel, in double precision: the sum over each image."""
    sums = []
    for image in base:
        total = 0.0
        for value in image.flat:
            largest = {"batch": base.max(), "sample": image.max(), "none": 1.0}[lamp.scale]
            scaled = value / largest * (1 - lamp.eps) if largest > 0 else 0.0
            total += -math.log(1 - scaled)
        sums.append(total)
    return np.array(sums)


def test_names_of_choices_are_those_of_the_dict() -> None:
    assert set(get_args(LossName)) == set(LOSSES)


@pytest.mark.parametrize("lamp", READINGS, ids=str)
@pytest.mark.parametrize("base", BASES)
def test_lamp_is_the_plain_loop_of_its_equations(base: str, lamp: Lamp) -> None:
    output, target = (image.double() for image in images(shape=(3, 2, 8, 6)))
    expected = lamp_by_loops(BASES[base](output, target).numpy(), lamp)
    # 96 pixels; -log(1 - b') has the condition b'/(1 - b') < 1/ε where it is largest
    rtol = rounding(96 + ELEMENTWISE, torch.float64, 1 / lamp.eps)
    found = per_sample_loss(f"{base}-lamp", lamp)(output, target)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=rtol, atol=0)


@pytest.mark.parametrize("base", ["l2", "l1"])
def test_base_losses_are_sums_over_pixels(base: str) -> None:
    output, target = images()
    difference = (output.double() - target.double()).numpy()
    expected = (difference**2 if base == "l2" else np.abs(difference)).sum((1, 2, 3))
    rtol = rounding(difference[0].size + ELEMENTWISE)
    np.testing.assert_allclose(per_sample_loss(base, Lamp())(output, target).numpy(), expected, rtol=rtol)


@pytest.mark.parametrize("size", [(32, 32), (11, 40), (28, 17)])
def test_ssim_map_is_the_librarys(size: tuple[int, int]) -> None:
    output, target = images(shape=(2, 3, *size))
    for x, y, dissimilarity in zip(
        output.double(), target.double(), ssim_map(output.double(), target.double()), strict=True
    ):
        _, expected = structural_similarity(
            x.numpy(),
            y.numpy(),
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        np.testing.assert_allclose(1 - 2 * dissimilarity.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["identical", "all zero", "all one", "residual one", "one pixel"])
@pytest.mark.parametrize("lamp", READINGS, ids=str)
def test_values_and_gradients_are_finite(name: str, case: str, lamp: Lamp) -> None:
    target = images(shape=(2, 1, 16, 16))[1]
    output = {
        "identical": target.clone(),
        "all zero": torch.zeros_like(target),
        "all one": torch.ones_like(target),
        "residual one": torch.ones_like(target),
        "one pixel": target.clone(),
    }[case]
    if case in ("all zero", "all one"):
        target = output.clone()
    if case == "residual one":
        target = torch.zeros_like(target)
    if case == "one pixel":
        output[0, 0, 3, 3] = 1 - output[0, 0, 3, 3].round()
    output.requires_grad_()
    loss = per_sample_loss(name, lamp)(output, target)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
    if case in ("identical", "all zero", "all one"):
        assert loss.abs().max() == 0


@given(seed=st.integers(0, 999), factor=st.floats(1e-3, 1.0))
@settings(deadline=None, max_examples=30)
def test_scaled_lamp_does_not_change_when_residuals_are_scaled(seed: int, factor: float) -> None:
    base = images(seed)[0].double()
    for scale in ("batch", "sample"):
        torch.testing.assert_close(lamp_map(base * factor, Lamp(scale)), lamp_map(base, Lamp(scale)))
    assert not torch.allclose(lamp_map(base * factor, Lamp("none")), lamp_map(base, Lamp("none"))) or factor > 0.99


def residual_gradient(residual: Tensor, lamp: Lamp) -> Tensor:
    residual = residual.clone().requires_grad_()
    per_sample_loss("l2-lamp", lamp)(residual, torch.zeros_like(residual)).sum().backward()
    assert residual.grad is not None
    return residual.grad


def test_with_the_max_attached_descent_raises_the_largest_residual() -> None:
    residual = images()[0].double()
    gradient = residual_gradient(residual, Lamp("batch", detach=False))
    assert abs((residual * gradient).sum()) < 1e-9 * (residual * gradient).abs().sum()
    largest = residual.abs().argmax()
    assert gradient.flatten()[largest] < 0  # so a step against the gradient makes this residual larger
    assert (gradient.flatten() > 0).sum() == gradient.numel() - 1


def test_with_the_max_detached_one_residual_carries_the_gradient() -> None:
    residual = images()[0].double()
    gradient = residual_gradient(residual, Lamp("batch", detach=True, eps=1e-6))
    share = gradient.square().max() / gradient.square().sum()
    assert share > 0.99
    assert gradient.square().argmax() == residual.argmax()


@pytest.mark.parametrize("exponent", range(-24, -8))
@pytest.mark.parametrize("scale", ["batch", "sample"])
@pytest.mark.parametrize("name", ["l2-lamp", "l1-lamp"])
def test_tiny_residuals_have_finite_gradients(name: str, scale: str, exponent: int) -> None:
    output = (torch.rand(2, 1, 4, 4) * 10.0**exponent).requires_grad_()
    loss = per_sample_loss(name, Lamp(scale))(output, torch.zeros(2, 1, 4, 4))
    loss.sum().backward()
    assert output.grad is not None
    assert torch.isfinite(loss).all()
    assert torch.isfinite(output.grad).all()


def test_ssim_has_gradients_after_it_was_used_without() -> None:
    output, target = images(shape=(1, 1, 13, 19))
    with torch.inference_mode():
        ssim_map(output, target)
    ssim_map(output.clone().requires_grad_(), target).sum().backward()


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_of_another_shape_are_refused_not_broadcast(name: str) -> None:
    with pytest.raises(InputError, match=r"expected outputs of the targets' shape \(5,\), found \(5, 1\)"):
        per_sample_loss(name, Lamp())(torch.rand(5, 1), torch.rand(5))
    with pytest.raises(InputError, match="expected outputs of the targets' shape"):
        batch_losses(name, Lamp(), 2)(torch.rand(5, 1, 4, 4), torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 10, 16])
@pytest.mark.parametrize("scale", ["batch", "sample", "none"])
@pytest.mark.parametrize("name", ["l2", "l2-lamp", "ssim-lamp"])
def test_batch_losses_are_those_of_single_batches(name: str, scale: str, batch_size: int) -> None:
    output, target = (image.double() for image in images(shape=(10, 2, 12, 12)))
    lamp = Lamp(scale)
    expected = [
        per_sample_loss(name, lamp)(o, t).mean()
        for o, t in zip(output.split(batch_size), target.split(batch_size), strict=True)
    ]
    torch.testing.assert_close(batch_losses(name, lamp, batch_size)(output, target), torch.stack(expected))


def test_training_loss_reads_the_config() -> None:
    output, target = images()
    config = RunConfig(loss="l1-lamp", lamp_scale="sample", lamp_eps=0.05)
    expected = per_sample_loss("l1-lamp", Lamp("sample", False, 0.05))(output, target)
    torch.testing.assert_close(training_loss(config)(output, target), expected)


def test_focal_is_the_error_times_its_own_logarithm() -> None:
    output, target = (image.double() for image in images(shape=(2, 1, 4, 3)))
    expected = [
        sum(
            (b := (float(y) - float(x)) ** 2) * math.log(1 - b * (1 - 1e-3)) / math.log(1e-3)
            for x, y in zip(out.flatten(), of.flatten(), strict=True)
        )
        for out, of in zip(output, target, strict=True)
    ]
    found = per_sample_loss("focal", Lamp())(output, target)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    largest = BASES["focal"](torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    assert float(largest) == pytest.approx(1)


@pytest.mark.parametrize("scale", ["none", "batch", "sample"])
@pytest.mark.parametrize("residual", [1.0, 1 - 1e-6, 0.999, 0.5, 1e-3, 0.0])
@pytest.mark.parametrize("eps", [1e-6, 1e-5, 1e-4, 1e-3])
def test_single_precision_holds_a_small_epsilon(scale: str, residual: float, eps: float) -> None:
    """Value and gradient of LAMP against double precision, at residuals of 1 too, where 1 - b' is ε itself.

    1 - b' is known to the unit roundoff, but as well as the ratio r (for the plain form b') is, whose rounding 1 - b'
    magnifies by r / (1 - b').
    """
    lamp = Lamp(scale, False, eps)

    def found(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        base = torch.tensor([[residual, 1.0, 0.25]], dtype=torch.float32).to(dtype).view(1, 1, 1, 3).requires_grad_()
        value = lamp_map(base, lamp)
        (gradient,) = torch.autograd.grad(value.sum(), base)
        return value.detach().flatten()[:2].double(), gradient.flatten()[:1].double()

    plain = rounding(ELEMENTWISE, torch.float32, 1 / eps)
    rtol = rounding(ELEMENTWISE + 10, torch.float32) if eps < 1e-3 else plain
    for single, double in zip(found(torch.float32), found(torch.float64), strict=True):
        if residual == 1 and scale != "none" and len(single) == 1:
            continue  # the gradient of one of two maxima: what each gets is torch's choice
        torch.testing.assert_close(single, double, rtol=rtol, atol=0)


@pytest.mark.parametrize("loss", ["l4-lamp", "l2-lamp"])
@pytest.mark.parametrize("scale", ["batch", "sample"])
@pytest.mark.parametrize("residual", [1e-3, 1e-4, 1e-5, 1e-6])
def test_amplification_stays_on_at_small_residuals(loss: str, scale: str, residual: float) -> None:
    """LAMP does not depend on the size of residuals; gradients are of the size 1/residual."""
    output = torch.rand((2, 1, 4, 4), generator=torch.Generator().manual_seed(0)) * residual

    def found(factor: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        scaled = (output.to(dtype) * factor).requires_grad_()
        value = per_sample_loss(loss, Lamp(scale))(scaled, torch.zeros_like(scaled))
        (gradient,) = torch.autograd.grad(value.sum(), scaled)
        return value.detach().double(), gradient.double() * factor

    single, double = found(1.0, torch.float32), found(1 / residual, torch.float64)
    for name, one, other in zip(("value", "gradient"), single, double, strict=True):
        rtol = rounding(16 + 4 * ELEMENTWISE, torch.float32, 1e3)
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * float(other.abs().max()), msg=name)
        assert one.abs().max() > 0
