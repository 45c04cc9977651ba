"""`python -m benchmarks.training`: models trained in step against the plain loop that trains one after the other."""

import copy
import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.surface import in_turn, paired
from training.runtime.command import command, parse

DESCRIPTION = """Time stacked training of the width 16-32-64-128 autoencoder; what is compared runs in turn.

Example: python -m benchmarks.training --json"""

IMAGES_A_STACK = 4096  # large batches are measured on fewer models, or a measurement would take minutes


@dataclass(frozen=True)
class Arguments:
    json: bool = False
    """Print only JSON."""
    batch_sizes: tuple[int, ...] = (1, 4, 16, 128, 1024)
    """Batch sizes."""
    models: int = 20
    """Models in a stack, fewer at large batch sizes."""
    loss: str = "l2-lamp"
    """Training loss."""
    repeats: int = 15
    """Paired measurements at each batch size."""
    threads: int = 0
    """CPU threads; 0: torch's own choice."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "benchmarks.training", DESCRIPTION)
    results = measure(arguments)
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for name, value in results.items():
            print(f"{name:34} {value:.4g}" if isinstance(value, float) else f"{name:34} {value}")


def measure(arguments: Arguments) -> dict[str, Any]:
    """All figures, by their names."""
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = {
        "machine.cores": len(os.sched_getaffinity(0)),
        "machine.threads": torch.get_num_threads(),
        "machine.torch": torch.__version__,
        "machine.instructions": torch.backends.cpu.get_cpu_capability(),
        "loss": arguments.loss,
    }
    for size in arguments.batch_sizes:
        results |= at_batch_size(arguments, size)
    return results


def at_batch_size(arguments: Arguments, size: int) -> dict[str, Any]:
    """Model-steps a second of the plain loop and of a stack, and the median of the ratios of neighbours in time.

    The limit is the time that a step's floating-point operations take as matrix products, by the faster of two
    libraries.
    """
    import torch

    from training.data.config import RunConfig, resolve
    from training.fitting.stack import Stack
    from training.models.autoencoder import build_model

    count = max(2, min(arguments.models, IMAGES_A_STACK // size))
    config = resolve(RunConfig(loss=arguments.loss, batch_size=size))
    models = [build_model(config) for _ in range(count)]
    batches = torch.rand(count, size, config.channels, config.image_size, config.image_size)
    cpu = torch.device("cpu")
    difference = largest_difference(config, models, batches)
    stack, single = Stack([config] * count, models, cpu), Stack([config], models[:1], cpu)
    # The plain loop takes as many steps as the stack takes model-steps, up to what is enough to be timed.
    steps = min(count, max(1, 64 // size))
    side = 1024
    a, b = torch.rand(side, side), torch.rand(side, side)
    packed = torch.ops.mkldnn._reorder_linear_weight(b)
    times = in_turn(
        {
            "plain": plain_loop(config, models[0], batches[:steps]),
            "stack": lambda: stack.step(batches),
            "single": lambda: [single.step(batches[:1]) for _ in range(steps)],
            "mm": lambda: torch.mm(a, b),
            "onednn": lambda: torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], ""),
        },
        arguments.repeats,
    )
    plain = [seconds / steps for seconds in times["plain"]]
    stacked = [seconds / count for seconds in times["stack"]]
    alone = [seconds / steps for seconds in times["single"]]
    share = size * step_flops(models[0], config.image_size) / (2 * side**3)
    limit = [share * min(pair) for pair in zip(times["mm"], times["onednn"], strict=True)]
    return {
        f"batch_{size}.models": count,
        f"batch_{size}.plain_per_s": 1 / statistics.median(plain),
        f"batch_{size}.stack_per_s": 1 / statistics.median(stacked),
        f"batch_{size}.stack_ms": 1000 * statistics.median(stacked),
        f"batch_{size}.limit_ms": 1000 * statistics.median(limit),
        f"batch_{size}.limit_speedup": paired(plain, limit),
        f"batch_{size}.speedup": paired(plain, stacked),
        f"batch_{size}.single_speedup": paired(plain, alone),
        f"batch_{size}.max_rel_diff": difference,
    }


def step_flops(model: Any, size: int) -> int:
    """Multiply-adds × 2 of a step on one image: upsampling joined to its convolution, no taps on padding.

    The backward pass has two products a layer as large as that of the forward pass, but one in the first layer.
    """
    from training.models.layers import layers_of
    from training.models.rewrite import pairs

    flops = []
    for layer in layers_of(model):
        if layer.up:  # every pixel meets every tap of the flipped kernel
            taps, size = size * layer.kernel, 2 * size
        else:
            taps, size = pairs(size, size // 2, layer.kernel, 2, layer.kernel // 2), size // 2
        flops.append(2 * layer.inputs * layer.outputs * taps**2)
    return 3 * sum(flops) - flops[0]


def plain_loop(config: Any, model: Any, batches: Any) -> Callable[[], list[float]]:
    """A call that trains a copy of `model` by the plain loop, a step for each of `batches` (steps, B, C, H, W)."""
    from training.fitting.engine import Separate
    from training.fitting.run import Batch

    engine = Separate([config], [copy.deepcopy(model)])

    def epoch() -> list[float]:
        losses = [engine.step_one(0, Batch(batch, batch)) for batch in batches]
        return [float(loss) for loss in losses]

    return epoch


def largest_difference(config: Any, models: Sequence[Any], batches: Any) -> float:
    """Largest relative difference of the losses of two models' first steps from the plain loop's."""
    import torch

    from training.fitting.stack import Stack

    models, batches = models[:2], batches[:2]
    stack = Stack([config] * len(models), models, torch.device("cpu"))
    plain = [plain_loop(config, model, batch[None]) for model, batch in zip(models, batches, strict=True)]
    differences = []
    for _ in range(3):
        expected = torch.tensor([call()[0] for call in plain])
        differences.append(float(((stack.step(batches) - expected) / expected).abs().max()))
    return max(differences)


if __name__ == "__main__":
    raise SystemExit(command(main)())
