"""A model run over resident samples, block by block: rewritten where that is possible, as it is elsewhere."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from landscape.params import Params
from landscape.precision import PRECISIONS, Precision
from landscape.problem import Samples
from landscape.vectorize import VectorizedModel
from training.device import thread_pool
from training.rewrite import rewrite

Result = TypeVar("Result")
Measure = Callable[[Tensor, Tensor], Result]

BATCH = 250  # samples a plain forward pass: enough against the overhead of calls, few enough for the caches


class Block(NamedTuple):
    """Consecutive samples: their inputs in batches, as the forward pass takes them, and their targets together."""

    inputs: list[Tensor]
    targets: Tensor


class Forward:
    """The forward pass of `model` in evaluation mode, without gradients.

    With `allow_rewrite`, a chain of convolutions on a CPU runs as :mod:`training.rewrite` has it, and its blocks are
    divided among torch's threads: whole blocks need no barrier between them. Results do not depend on any of this
    beyond rounding.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        precision: Precision = PRECISIONS["full"],
        allow_rewrite: bool = True,
    ):
        self.model = model
        self.device = device
        self.precision = precision
        self.rewritten = rewrite(model, device) if allow_rewrite and precision.autocast is None else None
        threads = torch.get_num_threads() if self.rewritten else 1
        self.pool = thread_pool(threads) if threads > 1 else None

    def refresh(self) -> None:
        """Take the model's weights and statistics after they have changed."""
        if self.rewritten:
            self.rewritten.refresh()

    def lay_out(self, samples: Samples, group: int) -> list[Block]:
        """Cut `samples` into blocks that hold whole groups of `group` consecutive samples (but for a ragged last)."""
        batch = self.rewritten.batch_size(samples.inputs.shape[1:]) if self.rewritten else BATCH
        size = group * max(1, batch // group)
        prepare = self.rewritten.prepare if self.rewritten else lambda images: images
        return [
            Block([prepare(part) for part in inputs.chunk(-(-len(inputs) // batch))], targets)
            for inputs, targets in zip(samples.inputs.split(size), samples.targets.split(size), strict=True)
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
        by_block = [
            [measure(output, block.targets) for output in self._output(block, lambda part: model(weights, part), 1)]
            for block in blocks
        ]
        return [list(results) for results in zip(*by_block, strict=True)]

    def _run(self, inputs: Tensor) -> Tensor:
        return self.rewritten.forward(inputs) if self.rewritten else self.model(inputs)

    def _output(self, block: Block, run: Callable[[Tensor], Tensor], dim: int = 0) -> Tensor:
        with self.precision.computing(self.device):
            outputs = [run(part) for part in block.inputs]
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim)
        # What was computed in bfloat16 is measured in the data's own type.
        return output if self.precision.autocast is None else output.to(block.targets.dtype)
