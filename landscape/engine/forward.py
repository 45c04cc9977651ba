"""A model run over resident samples, block by block: rewritten where that is possible, as it is elsewhere."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from landscape.engine.precision import PRECISIONS, Precision
from landscape.engine.vectorize import VectorizedModel
from landscape.problem.nested import Nested, call, chunk, joined, length, moved, split, unstacked
from landscape.problem.params import Params, dtype_of
from landscape.problem.problem import Samples
from training.models.rewrite import rewrite
from training.runtime.device import thread_pool

Result = TypeVar("Result")
Measure = Callable[[Nested, Nested], Result]

BATCH = 250  # samples a plain forward pass: enough against the overhead of calls, few enough for the caches


class Block(NamedTuple):
    """Consecutive samples: their inputs in batches, as the forward pass takes them, and their targets together."""

    inputs: list[Nested]
    targets: Nested


class Forward:
    """The forward pass of `model` in evaluation mode, without gradients.

    With `allow_rewrite`, a chain of convolutions on a CPU runs as :mod:`training.models.rewrite` has it, and its blocks
    are divided among torch's threads: whole blocks need no barrier between them. Results do not depend on any of this
    beyond rounding. calling: how the model is given its inputs, as in :class:`landscape.Problem`.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        precision: Precision = PRECISIONS["full"],
        allow_rewrite: bool = True,
        calling: Callable[[nn.Module, Any], Any] = call,
    ):
        self.model = model
        self.device = device
        self.precision = precision
        self.calling = calling
        allow_rewrite = allow_rewrite and precision.autocast is None and calling is call
        self.rewritten = rewrite(model, device) if allow_rewrite else None
        threads = torch.get_num_threads() if self.rewritten else 1
        self.pool = thread_pool(threads) if threads > 1 else None

    def refresh(self) -> None:
        """Take the model's weights and statistics after they have changed."""
        if self.rewritten:
            self.rewritten.refresh()

    def lay_out(self, samples: Samples, group: int, at_a_time: int = 0) -> list[Block]:
        """Cut `samples` into blocks that hold whole groups of `group` consecutive samples (but for a ragged last).

        With `at_a_time`, the model is called on exactly so many consecutive samples (but for a ragged last call).
        """
        batch = at_a_time or (self.rewritten.batch_size(samples.inputs.shape[1:]) if self.rewritten else BATCH)
        size = group * max(1, batch // group)

        def cut(inputs: Nested) -> list[Nested]:
            return split(inputs, at_a_time) if at_a_time else chunk(inputs, -(-length(inputs) // batch))

        prepare = self.rewritten.prepare if self.rewritten else lambda images: images
        return [
            Block([prepare(part) for part in cut(inputs)], targets)
            for inputs, targets in zip(split(samples.inputs, size), split(samples.targets, size), strict=True)
        ]

    def map(self, measure: Measure[Result], blocks: Sequence[Block]) -> list[Result]:
        """`measure(output, target)` of each block, in their order."""

        def one(block: Block) -> Result:
            with torch.inference_mode():
                return measure(self._output(block, self._run), block.targets)

        return list(self.pool.map(one, blocks) if self.pool else map(one, blocks))

    @torch.inference_mode()
    def map_many(
        self, model: VectorizedModel, weights: Params, measure: Measure[Result], blocks: Sequence[Block]
    ) -> list[list[Result]]:
        """For each of the stacked `weights`, what :meth:`map` gives; the blocks must be of a plain forward pass."""
        points = len(next(iter(weights.values())))
        by_block = [
            [
                measure(output, block.targets)
                for output in unstacked(self._output(block, lambda part: model(weights, part), 1), points)
            ]
            for block in blocks
        ]
        return [list(results) for results in zip(*by_block, strict=True)]

    def _run(self, inputs: Nested) -> Nested:
        return self.rewritten.forward(inputs) if self.rewritten else self.calling(self.model, inputs)

    def _output(self, block: Block, run: Callable[[Nested], Nested], dim: int = 0) -> Nested:
        with self.precision.computing(self.device):
            outputs = [run(part) for part in block.inputs]
        output = joined(outputs, dim)
        # What was computed in bfloat16 is measured in the model's own type.
        return output if self.precision.autocast is None else moved(output, None, dtype_of(self.model))
