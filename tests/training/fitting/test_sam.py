"""SAM and its reverse are held against a slow implementation written from the paper, a step at a time."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.tolerance import steps_rounding
from tests.training.fitting.test_resume import interrupted
from tests.training.fitting.test_stack import CPU, LAMPS, SMALL, pictures, seeded
from tests.training.fitting.test_training import tiny_config, tiny_split
from training.data.config import RunConfig, resolve
from training.fitting import fit
from training.fitting.engine import OPTIMIZERS, Separate
from training.fitting.run import Batch
from training.fitting.sam import along, gradient_row, moved, nonzero_runs, random_row
from training.fitting.stack import Stack
from training.models.autoencoder import build_model
from training.models.losses import training_loss

RHOS = (0.0, 0.3, -0.2, 0.0, 0.05)
#: plain, SAM and reverse among one another, with different losses
TWINS = [
    dataclasses.replace(config, sam_rho=rho)
    for config, rho in zip([SMALL, SMALL, SMALL, LAMPS[1], LAMPS[2]], RHOS, strict=True)
]
#: placebos too, equal but for the seed that the direction is drawn from
PLACEBOS = [dataclasses.replace(SMALL, sam_rho=0.3, sam_direction="random", seed=seed) for seed in (0, 1)]


#: after at most 16 updates; a gradient of the first layer is a sum over 5 images of 16×16 values
ALLOWED = steps_rounding(lr=1e-3, steps=16, terms=5 * 256)


class Slow:
    """Each update as the paper has it: two copies of the model, norms and steps parameter by parameter."""

    def __init__(self, config: RunConfig, model: nn.Module):
        self.model = copy.deepcopy(model).train()
        self.config, self.loss, self.updates = config, training_loss(config), 0
        self.optimizer = OPTIMIZERS[config.optimizer](self.model.parameters(), config.lr)

    def gradients(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
        value = self.loss(model(inputs), targets).mean()
        return value.detach(), list(torch.autograd.grad(value, list(model.parameters())))

    def step(self, inputs: Tensor, targets: Tensor) -> float:
        there = copy.deepcopy(self.model)
        value, gradients = self.gradients(self.model, inputs, targets)
        directions = gradients
        if self.config.sam_direction == "random":
            numbers = random_row(self.config.seed, self.updates, nn.utils.parameters_to_vector(gradients))
            directions = list(numbers.split([gradient.numel() for gradient in gradients]))
        norm = sum(float((direction**2).sum()) for direction in directions) ** 0.5
        with torch.no_grad():
            for parameter, direction in zip(there.parameters(), directions, strict=True):
                parameter.add_(direction.view_as(parameter), alpha=self.config.sam_rho / norm)
        _, perturbed = self.gradients(there, inputs, targets)
        for parameter, gradient in zip(self.model.parameters(), perturbed, strict=True):
            parameter.grad = gradient
        # Biases before a batch norm have rounding noise for a gradient, which Adam would amplify.
        for name, parameter in self.model.named_parameters():
            if is_before_norm(self.model, name):
                parameter.grad = None
        self.optimizer.step()
        self.updates += 1
        return float(value)


def is_before_norm(model: nn.Module, name: str) -> bool:
    """Whether a parameter is the bias of a convolution other than an autoencoder's last one."""
    convolutions = [n for n, part in model.named_modules() if isinstance(part, nn.Conv2d)]
    last = [] if isinstance(list(model.modules())[-1], nn.Linear) else convolutions[-1:]
    return any(name == f"{conv}.bias" for conv in convolutions if conv not in last)


def check_state(found: nn.Module, expected: nn.Module, without_biases: bool = False) -> None:
    for name, value in expected.state_dict().items():
        if not (without_biases and (is_before_norm(expected, name) or "running_mean" in name)):
            torch.testing.assert_close(found.state_dict()[name], value, rtol=ALLOWED, atol=ALLOWED, msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twins_in_one_stack_equal_a_slow_implementation(optimizer: str) -> None:
    lr = 1e-6 if optimizer == "sgd" else 1e-3
    configs = [dataclasses.replace(config, optimizer=optimizer, lr=lr) for config in TWINS + PLACEBOS]
    models = seeded(configs)
    stack, slow = Stack(configs, models, CPU), [Slow(*pair) for pair in zip(configs, models, strict=True)]
    for step in range(12):
        if step == 8:
            stack, slow = stack.without([1]), [slow[index] for index in (0, 2, 3, 4, 5, 6)]
        batches = pictures(len(slow), 5, 1, 32, 32, seed=step)
        expected = [one.step(batch, batch) for one, batch in zip(slow, batches, strict=True)]
        torch.testing.assert_close(stack.step(batches).tolist(), expected, rtol=ALLOWED, atol=0)
        if step % 3 == 0:  # a ragged batch of one model alone
            ragged = batches[1, :2]
            assert float(stack.step_one(1, ragged)) == pytest.approx(slow[1].step(ragged, ragged), rel=ALLOWED)
    for index, one in enumerate(slow):
        check_state(stack.model(index), one.model)


@pytest.mark.parametrize(("rho", "direction"), [(0.3, "gradient"), (-0.2, "gradient"), (0.3, "random")])
@pytest.mark.parametrize("task", ["reconstruct", "classify"])
def test_separate_training_equals_a_slow_implementation(task: str, rho: float, direction: str) -> None:
    config = resolve(RunConfig(task=task, width=4, depth=3, sam_rho=rho, sam_direction=direction))
    model = build_model(config).double()
    slow, separate = Slow(config, model), Separate([config], [copy.deepcopy(model)])
    for step in range(8):
        images = pictures(5 if step % 3 else 2, 1, 32, 32, seed=step)
        digits = nn.functional.one_hot(torch.arange(len(images)), 10).double()
        batch = Batch(images, digits if task == "classify" else images)
        assert float(separate.step_one(0, batch)) == pytest.approx(slow.step(*batch), rel=ALLOWED)
    check_state(separate.model(0), slow.model, without_biases=True)


def test_a_plain_model_among_twins_is_what_it_is_alone() -> None:
    models = seeded(TWINS, torch.float32)
    plain = [dataclasses.replace(config, sam_rho=0.0) for config in TWINS]
    stacks = [Stack(configs, models, CPU) for configs in (TWINS, plain)]
    for step in range(4):
        for stack in stacks:
            stack.step(pictures(len(TWINS), 3, 1, 32, 32, seed=step, dtype=torch.float32))
    for index, rho in enumerate(RHOS):
        same = torch.equal(stacks[0].parameters[index], stacks[1].parameters[index])
        assert same == (rho == 0)


def test_weights_move_by_rho_and_come_back_with_the_statistics() -> None:
    model = build_model(SMALL)
    images = pictures(4, 1, 32, 32, dtype=torch.float32)
    (model(images) - images).square().sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradient = gradient_row(list(model.parameters()))
    start = nn.utils.parameters_to_vector(model.parameters())
    with moved(model, gradient, -0.25):
        step = (nn.utils.parameters_to_vector(model.parameters()) - start).detach()
        assert float(step.norm()) == pytest.approx(0.25, rel=1e-4)
        assert float(nn.functional.cosine_similarity(step, gradient, dim=0)) == pytest.approx(-1, abs=1e-4)
        model(images)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_on_a_parabola_sam_descends_the_slope_and_its_reverse_stays_off_the_minimum() -> None:
    # L = hθ²/2: the gradient at θ + ρ·sign(θ) is h(θ + ρ·sign(θ)), 0 at |θ| = |ρ| for ρ < 0.
    theta = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    model = nn.ParameterList([theta])
    for rho in (0.5, -0.5):
        theta.grad = 3 * theta.detach()
        with moved(model, gradient_row([theta]), rho):
            assert float((3 * theta).detach()) == pytest.approx(3 * (2 + rho))
    assert float(theta) == 2


def test_a_gradient_of_zero_moves_nothing() -> None:
    gradients = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert along(gradients, torch.tensor([0.5, -0.5])).tolist() == [[0.0, 0.0], pytest.approx([-0.3, -0.4])]


def test_runs_of_values_that_are_not_zero() -> None:
    assert list(nonzero_runs([0, 1, -2, 0, 0, 3])) == [(1, 3), (5, 6)]
    assert list(nonzero_runs([0.0, -0.0])) == []


def test_random_directions_differ_between_updates_and_seeds_and_have_no_preferred_one() -> None:
    rows = [random_row(seed, update, torch.zeros(10_000)) for seed in (0, 1) for update in (0, 1)]
    assert torch.equal(rows[0], random_row(0, 0, torch.zeros(10_000)))
    cosines = torch.corrcoef(torch.stack(rows)) - torch.eye(4)
    assert float(cosines.abs().max()) < 5 / 10_000**0.5
    assert float(along(rows[0][None], torch.tensor([0.05])).norm()) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(("rho", "direction"), [(0.2, "gradient"), (-0.1, "gradient"), (0.2, "random")])
def test_a_twin_stopped_in_its_middle_goes_on(
    rho: float, direction: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "KEEP_SECONDS", -1.0)
    config, split = tiny_config(epochs=3, sam_rho=rho, sam_direction=direction), tiny_split(10)
    *_, whole = fit.train(config, split, CPU)
    assert interrupted(config, split, tmp_path, 5)[-1].checkpoint.digest == whole.checkpoint.digest
    *_, plain = fit.train(dataclasses.replace(config, sam_rho=0.0), split, CPU)
    assert plain.checkpoint.metrics["train_l2"] != whole.checkpoint.metrics["train_l2"]


def test_a_placebo_of_separate_training_goes_on_where_it_stopped() -> None:
    config = resolve(RunConfig(task="classify", width=4, depth=3, sam_rho=0.3, sam_direction="random"))
    model = build_model(config).double()
    batches = [
        Batch(pictures(4, 1, 32, 32, seed=step), nn.functional.one_hot(torch.arange(4), 10).double())
        for step in range(4)
    ]
    whole, first = (Separate([config], [copy.deepcopy(model)]) for _ in range(2))
    for batch in batches:
        whole.step_one(0, batch)
    for batch in batches[:2]:
        first.step_one(0, batch)
    rest = Separate([config], [copy.deepcopy(model)])
    rest.load(0, copy.deepcopy(first.state(0)))
    for batch in batches[2:]:
        rest.step_one(0, batch)
    assert all(torch.equal(a, b) for a, b in zip(rest.model(0).parameters(), whole.model(0).parameters(), strict=True))
    old = first.state(0)
    del old["updates"]  # as states were before it was counted
    rest.load(0, old)
    assert rest.updates == [0]
