"""A stack of autoencoders is held against each of them trained alone by the plain loop."""

import copy
import dataclasses
import functools
import itertools
import statistics
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from training.data.config import RunConfig, resolve
from training.data.splits import load_split
from training.fitting import stack as stack_module
from training.fitting.engine import OPTIMIZERS, Separate
from training.fitting.run import Batch
from training.fitting.stack import Stack, chunk_bounds, stack_key
from training.models import normalization, volumes
from training.models.autoencoder import build_model
from training.models.layers import box, layers_of, overlaid, packed, patches
from training.models.losses import LOSSES, Lamp, per_sample_loss, training_batch_losses, training_loss
from training.models.normalization import normalized, normalized_backward
from training.models.volumes import fits

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


def digits(models: int, images: int) -> Tensor:
    """Batches (models, images, 1, 32, 32) of a real digit: on its equal background pixels poor sums show."""
    config = resolve(RunConfig(dataset="mnist-mini", normal=3))
    train, source = load_split(config, None).train, torch.Generator().manual_seed(0)
    return torch.stack([train[torch.randperm(len(train), generator=source)[:images]] for _ in range(models)])


def step_of_plain_loop(config: RunConfig, model: nn.Module, batch: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Gradients, running statistics and updated parameters after a step, as float64 rows in the stack's order."""
    model = copy.deepcopy(model).to(dtype)
    Separate([config], [model]).step_one(0, Batch(batch.to(dtype), batch.to(dtype)))
    layers, parameters = layers_of(model), packed(layers_of(model), model)
    gradients = copy.deepcopy(model)
    for target, source in zip(gradients.parameters(), model.parameters(), strict=True):
        target.data = source.grad
    return [row.double() for row in (packed(layers, gradients)[0], parameters[1], parameters[0])]


def errors(found: Sequence[Tensor], true: Sequence[Tensor], counted: Tensor) -> list[float]:
    """Relative errors of gradients, statistics and parameters; of parameters those that are `counted`."""
    masks = [counted, slice(None), counted]
    return [float((a - b)[m].norm() / b[m].norm()) for a, b, m in zip(found, true, masks, strict=True)]


@functools.cache
def true_and_plain(
    images: int,
) -> tuple[list[RunConfig], list[nn.Module], Tensor, list[list[Tensor]], list[list[Tensor]]]:
    """Five runs, and what a step of the plain loop makes of each in double and in single precision."""
    base = resolve(RunConfig(dataset="mnist-mini", normal=3, optimizer="sgd", lr=1e-4))
    configs = [base, dataclasses.replace(base, loss="l2-lamp"), dataclasses.replace(base, sam_rho=0.05), base, base]
    models, batches = seeded(configs, torch.float32), digits(len(configs), images)
    runs = list(zip(configs, models, batches, strict=True))
    true, plain = ([step_of_plain_loop(*run, dtype) for run in runs] for dtype in (torch.float64, torch.float32))
    return configs, models, batches, true, plain


@pytest.mark.parametrize("images", [1, 16, 128, pytest.param(900, marks=pytest.mark.slow)])
@pytest.mark.parametrize("edges", [(0, 1, 2, 3, 4, 5), (0, 1, 3, 5), (0, 5)], ids=str)
def test_a_step_is_as_exact_as_that_of_the_plain_loop(
    edges: tuple[int, ...], images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every chunk size and place in a stack, by the median over models that take the place.

    In some a value beside the kink of a leaky ReLU falls to its other side, which outweighs all rounding.
    """
    monkeypatch.setattr(stack_module, "chunk_bounds", lambda *_: list(itertools.pairwise(edges)))
    configs, models, batches, true, plain = true_and_plain(images)
    layers, number = layers_of(models[0]), len(models)
    counted = torch.ones(len(true[0][0]), dtype=torch.bool)
    for layer in layers:  # biases before batch norm have noise for a gradient
        weights = layer.start + layer.sizes[0]
        counted[weights : weights + layer.outputs] = not layer.normed
    found: list[list[list[float]]] = [[] for _ in models]
    for first in range(number):
        order = [(first + place) % number for place in range(number)]
        stack = Stack([configs[i] for i in order], [models[i] for i in order], CPU)
        stack.step(batches[order])
        rows = (stack.gradients, stack.statistics, stack.parameters)
        for place, index in enumerate(order):
            found[place].append(errors([row[place].double() for row in rows], true[index], counted))
    bounds = medians([errors(*pair, counted) for pair in zip(plain, true, strict=True)])
    for place in found:
        assert all(a <= 3 * b for a, b in zip(medians(place), bounds, strict=True)), (medians(place), bounds)


def medians(rows: Sequence[Sequence[float]]) -> list[float]:
    """Of each column."""
    return [statistics.median(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("models", [1, 3])
def test_sums_of_batch_norm_do_not_lose_digits_with_their_length(models: int) -> None:
    # Equal values but for a few, as a picture's background has: sequential sums round to one side.
    values = torch.where(pictures(models, 2**18, 4) < 0.05, 1.1, 0.1).float()
    gradient = 0.3 * values.roll(1, 1) - pictures(models, 2**18, 4, seed=1, dtype=torch.float32)
    outcomes = []
    for dtype in (torch.float64, torch.float32):
        zero, one = torch.zeros(models, 1, 4, dtype=dtype), torch.ones(models, 1, 4, dtype=dtype)
        running, to_affine = [zero.clone(), one.clone()], [zero.clone(), one.clone()]
        result, kept = normalized(values.to(dtype), zero, [one, zero], running)
        back = normalized_backward(gradient.to(dtype), kept, [one, zero], to_affine)
        means = [part / values.shape[1] for part in to_affine]
        outcomes.append([part.double() for part in (*running, *means, result, back)])
    # Of numbers up to 10. Blocked sums: tens of roundings a value, each 6e-8 of its size; sequential: thousands.
    for true, found in zip(*outcomes, strict=True):
        torch.testing.assert_close(found, true, rtol=0, atol=1e-5)


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


@pytest.mark.parametrize(("models", "images"), [(1, 3), (1, 64), (2, 32), (5, 3), (5, 16), (3, 64)])
def test_results_do_not_depend_on_the_number_of_threads(models: int, images: int) -> None:
    """To the bit: training amplifies a difference in the last one until measures of a model differ in the second."""
    threads = torch.get_num_threads()
    configs, results = [resolve(RunConfig(loss="l2-lamp"))] * models, []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            stack = Stack(configs, seeded(configs, torch.float32), CPU)
            for step in range(3):
                stack.step(pictures(models, images, 1, 32, 32, seed=step, dtype=torch.float32))
            stack.step_one(0, pictures(2, 1, 32, 32, dtype=torch.float32))
            assert torch.get_num_threads() == number
            results.append(stack)
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert torch.equal(other.parameters, results[0].parameters)
        assert torch.equal(other.statistics, results[0].statistics)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"kernel": 5},
        {"kernel": 7, "depth": 2, "channels": 3, "dataset": "folder"},
        {"depth": 4, "width": 6, "image_size": 64},
    ],
)
def test_volumes_equal_separate_training(change: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision, which the form for large batches is not chosen for otherwise."""
    monkeypatch.setattr(stack_module, "takes_volumes", lambda layers, images: fits(layers, images))
    monkeypatch.setattr(stack_module, "VOLUME_IMAGES", 2)
    monkeypatch.setattr(normalization, "PART", 256)
    monkeypatch.setattr(volumes, "PART", 256)
    folders = {"train_dir": "a", "test_normal_dir": "b", "test_anomalous_dir": "c"}
    config = resolve(dataclasses.replace(SMALL, **{**folders, **change} if "dataset" in change else change))
    configs = [config, dataclasses.replace(config, loss="l1-lamp"), dataclasses.replace(config, loss="ssim")]
    models = seeded(configs)
    stack, references = Stack(configs, models, CPU), [Alone(*pair) for pair in zip(configs, models, strict=True)]
    for step in range(4):
        batches = pictures(3, 6, config.channels, config.image_size, config.image_size, seed=step)
        losses = stack.step(batches)
        expected = [alone.step(batch) for alone, batch in zip(references, batches, strict=True)]
        torch.testing.assert_close(losses.tolist(), expected, rtol=1e-9, atol=0)
        alone = batches[1, :3]  # three do not fit
        assert float(stack.step_one(1, alone)) == pytest.approx(references[1].step(alone), rel=1e-9)
    assert {form for _, _, form in stack._chunks} == {stack_module.Chunk, volumes.Volumes}
    check_equal(stack, references)


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
    with pytest.raises(ValueError, match=r"expected an Autoencoder, found Linear"):
        Stack([SMALL], [nn.Linear(1, 1)], CPU)
    stack = Stack([SMALL], seeded([SMALL]), CPU)
    with pytest.raises(ValueError, match="expected 1 batches, one a model, found 2"):
        stack.step(pictures(2, 2, 1, 32, 32))
    alone = dataclasses.replace(SMALL, depth=5)
    with pytest.raises(ValueError, match="more than one value a channel"):
        Stack([alone], seeded([alone]), CPU).step(pictures(1, 1, 1, 32, 32))
