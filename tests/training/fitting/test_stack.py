"""A stack of autoencoders is held against each of them trained alone by the plain loop."""

import copy
import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from training.data.config import RunConfig, resolve
from training.fitting.engine import OPTIMIZERS
from training.fitting.stack import Stack, chunk_bounds, stack_key
from training.models.autoencoder import build_model
from training.models.layers import box, overlaid, patches
from training.models.losses import LOSSES, Lamp, per_sample_loss, training_batch_losses, training_loss

CPU = torch.device("cpu")
SMALL = resolve(RunConfig(image_size=32, width=4, depth=3))
LAMPS = [
    dataclasses.replace(SMALL, loss="l2-lamp", lamp_scale=scale, lamp_detach=detach, lamp_eps=eps)
    for scale, detach, eps in (
        ("batch", False, 1e-3),
        ("batch", True, 1e-2),
        ("sample", False, 1e-3),
        ("sample", True, 1e-3),
        ("none", False, 1e-3),
    )
]
MIXED = [SMALL, *LAMPS, dataclasses.replace(SMALL, loss="l1"), dataclasses.replace(SMALL, loss="ssim-lamp")]


class Alone:
    """The plain loop's model and optimizer, a batch at a time.

    With `noise` also biases before batch norm are trained, whose gradient is nothing but rounding noise.
    """

    def __init__(self, config: RunConfig, model: nn.Module, noise: bool = False):
        self.model = copy.deepcopy(model)
        if not noise:
            for conv in [part for part in self.model.modules() if isinstance(part, nn.Conv2d)][:-1]:
                conv.bias.requires_grad_(False)
        self.optimizer = OPTIMIZERS[config.optimizer](self.model.parameters(), config.lr)
        self.loss = training_loss(config)

    def step(self, batch: Tensor) -> float:
        self.model.train()
        loss = self.loss(self.model(batch), batch).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def seeded(configs: Sequence[RunConfig], dtype: torch.dtype = torch.float64) -> list[nn.Module]:
    models = []
    for seed, config in enumerate(configs):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            models.append(build_model(config).to(dtype))
    return models


def pictures(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def check_equal(stack: Stack, references: Sequence[Alone], tolerance: float = 1e-8) -> None:
    for index, reference in enumerate(references):
        found, expected = stack.model(index).state_dict(), reference.model.state_dict()
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name].dtype == value.dtype
            assert torch.allclose(found[name], value, rtol=tolerance, atol=tolerance), f"model {index}, {name}"


@pytest.mark.parametrize("images", [1, 2, 7, 33])
def test_a_stack_of_mixed_losses_equals_separate_training(images: int) -> None:
    models = seeded(MIXED)
    stack, references = Stack(MIXED, models, CPU), [Alone(*pair) for pair in zip(MIXED, models, strict=True)]
    for step in range(20 if images < 33 else 4):
        batches = pictures(len(MIXED), images, 1, 32, 32, seed=step)
        losses = stack.step(batches if step % 2 else list(batches))
        expected = [alone.step(batch) for alone, batch in zip(references, batches, strict=True)]
        torch.testing.assert_close(losses.tolist(), expected, rtol=1e-9, atol=0)
        assert losses.shape == (len(MIXED),)
        assert not losses.requires_grad
    check_equal(stack, references)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ragged_batches_and_finished_models_with_every_optimizer(optimizer: str) -> None:
    lr = 1e-6 if optimizer == "sgd" else 1e-3
    configs = [dataclasses.replace(config, optimizer=optimizer, lr=lr) for config in MIXED[:5]]
    models = seeded(configs)
    stack, references = Stack(configs, models, CPU), [Alone(*pair) for pair in zip(configs, models, strict=True)]
    for step in range(20):
        if step == 8:
            kept = stack
            stack, gone = stack.without([0, 3]), references
            references = [references[index] for index in (1, 2, 4)]
        batches = pictures(len(references), 3, 1, 32, 32, seed=step)
        stack.step(batches)
        for alone, batch in zip(references, batches, strict=True):
            alone.step(batch)
        if step % 3 == 0:
            assert float(stack.step_one(1, batches[0, :2])) == pytest.approx(references[1].step(batches[0, :2]))
    check_equal(stack, references)
    untouched = kept.model(0).state_dict()
    assert all(torch.allclose(untouched[name], value) for name, value in gone[0].model.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        {"kernel": 1},
        {"kernel": 5, "depth": 2},
        {"kernel": 7, "depth": 4},
        {"dataset": "folder", "train_dir": "a", "test_normal_dir": "b", "test_anomalous_dir": "c", "channels": 3},
        {"depth": 5, "image_size": 64},
    ],
)
def test_other_shapes(change: dict[str, object]) -> None:
    config = resolve(dataclasses.replace(SMALL, **change))
    configs = [config, dataclasses.replace(config, loss="l1-lamp"), config]
    models = seeded(configs)
    stack, references = Stack(configs, models, CPU), [Alone(*pair) for pair in zip(configs, models, strict=True)]
    for step in range(5):
        batches = pictures(3, 2, config.channels, config.image_size, config.image_size, seed=step)
        stack.step(batches)
        for alone, batch in zip(references, batches, strict=True):
            alone.step(batch)
    check_equal(stack, references)


def test_single_precision_agrees_up_to_rounding() -> None:
    configs = [resolve(RunConfig()), resolve(RunConfig(loss="l2-lamp"))]
    models = seeded(configs, torch.float32)
    stack, references = Stack(configs, models, CPU), [Alone(*pair) for pair in zip(configs, models, strict=True)]
    for step in range(3):
        batches = pictures(2, 16, 1, 32, 32, seed=step, dtype=torch.float32)
        losses = stack.step(batches)
        expected = [alone.step(batch) for alone, batch in zip(references, batches, strict=True)]
        torch.testing.assert_close(losses.tolist(), expected, rtol=1e-4, atol=0)
    test = pictures(50, 1, 32, 32, dtype=torch.float32)
    with torch.no_grad():
        for index, reference in enumerate(references):
            difference = stack.model(index).eval()(test) - reference.model.eval()(test)
            assert difference.abs().mean() < 1e-4


def test_noise_in_the_gradient_of_a_bias_before_batch_norm_changes_no_loss() -> None:
    models = seeded(MIXED)
    stack, references = Stack(MIXED, models, CPU), [Alone(*pair, True) for pair in zip(MIXED, models, strict=True)]
    for step in range(20):
        batches = pictures(len(MIXED), 4, 1, 32, 32, seed=step)
        expected = [alone.step(batch) for alone, batch in zip(references, batches, strict=True)]
        torch.testing.assert_close(stack.step(batches).tolist(), expected, rtol=1e-9, atol=0)


def test_nothing_mixes() -> None:
    configs = [SMALL] * 4
    models, batches = seeded(configs), pictures(4, 2, 1, 32, 32)
    first, second = Stack(configs, models, CPU), Stack(configs, models, CPU)
    for _ in range(5):
        first.step(batches)
        second.step([batches[0], 1 - batches[1], batches[2], batches[3]])
    for index in range(4):
        a, b = (nn.utils.parameters_to_vector(stack.model(index).parameters()) for stack in (first, second))
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12) == (index != 1)


def test_models_are_copied_in_and_out() -> None:
    models = seeded([SMALL, SMALL])
    before = copy.deepcopy(models[0].state_dict())
    stack = Stack([SMALL, SMALL], models, CPU)
    assert all(torch.equal(stack.model(0).state_dict()[name], value) for name, value in before.items())
    taken = stack.model(0)
    stack.step(pictures(2, 2, 1, 32, 32))
    for model in (models[0], taken):
        assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    configs, results = [SMALL] * 5, []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            stack = Stack(configs, seeded(configs), CPU)
            losses = [stack.step(pictures(5, 3, 1, 32, 32, seed=step)) for step in range(5)]
            assert torch.get_num_threads() == number
            results.append(torch.stack(losses))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-10, atol=0)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_overlaying_is_the_adjoint_of_taking_patches(kernel: int, channels: int) -> None:
    images = pictures(2, 3, 8 + kernel - 1, 12 + kernel - 1, channels)
    rows = pictures(2, 3 * 4 * 6, kernel**2 * channels, seed=1)
    there, back = patches(images, kernel), overlaid(rows, 3, 4, 6, kernel)
    assert there.shape == rows.shape
    assert back.shape == images.shape
    assert float((there * rows).sum()) == pytest.approx(float((images * back).sum()), rel=1e-12)


def test_box_sums_two_by_two() -> None:
    images = pictures(1, 1, 4, 5, 1)
    expected = 4 * nn.functional.avg_pool2d(images[..., 0], 2, stride=1)
    torch.testing.assert_close(box(images)[..., 0], expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("lamp", [Lamp(), Lamp("sample", True), Lamp("none", False, 1e-2)])
def test_the_loss_of_stacked_batches_is_that_of_each(name: str, lamp: Lamp) -> None:
    config = dataclasses.replace(SMALL, loss=name, lamp_scale=lamp.scale, lamp_detach=lamp.detach, lamp_eps=lamp.eps)
    output, target = pictures(4, 3, 1, 16, 16), pictures(4, 3, 1, 16, 16, seed=1)
    stacked = training_batch_losses(config, 3)(output.flatten(0, 1), target.flatten(0, 1))
    alone = [per_sample_loss(name, lamp)(*pair).mean() for pair in zip(output, target, strict=True)]
    torch.testing.assert_close(stacked, torch.stack(alone))


def test_stack_key_is_what_a_stack_shares() -> None:
    assert len({stack_key(config) for config in (*MIXED, dataclasses.replace(SMALL, seed=3, normal=5))}) == 1
    for change in ({"width": 8}, {"lr": 1e-2}, {"optimizer": "sgd"}, {"kernel": 5}):
        assert stack_key(dataclasses.replace(SMALL, **change)) != stack_key(SMALL)


def test_chunks_cover_the_models_in_order() -> None:
    for models in range(1, 40):
        for images in (1, 5, 64, 1000):
            for threads in (1, 2, 3):
                bounds = chunk_bounds(models, images, threads)
                assert [index for a, b in bounds for index in range(a, b)] == list(range(models))
                assert len(bounds) % threads == 0 or len(bounds) == models


def test_unequal_configs_and_wrong_batches_are_refused() -> None:
    other = dataclasses.replace(SMALL, width=8)
    with pytest.raises(ValueError, match=r"configs equal in .*, found unequal \['width'\]"):
        Stack([SMALL, other], seeded([SMALL, other]), CPU)
    with pytest.raises(ValueError, match="as many models as configs"):
        Stack([SMALL], [], CPU)
    with pytest.raises(ValueError, match=r"expected models of .*Autoencoder, found Linear"):
        Stack([SMALL], [nn.Linear(1, 1)], CPU)
    stack = Stack([SMALL], seeded([SMALL]), CPU)
    with pytest.raises(ValueError, match="expected 1 batches, one a model, found 2"):
        stack.step(pictures(2, 2, 1, 32, 32))
    alone = dataclasses.replace(SMALL, depth=5)
    with pytest.raises(ValueError, match="more than one value a channel"):
        Stack([alone], seeded([alone]), CPU).step(pictures(1, 1, 1, 32, 32))
