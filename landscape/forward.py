"""A model run over resident samples, block by block: rewritten where that is possible, as it is elsewhere."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from landscape.problem import Samples
from landscape.rewrite import rewrite

Result = TypeVar("Result")

BATCH = 250  # samples a plain forward pass: enough against the overhead of calls, few enough for the caches


class Block(NamedTuple):
    """Consecutive samples: their inputs in batches, as the forward pass takes them, and their targets together."""

    inputs: list[Tensor]
    targets: Tensor


class Forward:
    """The forward pass of `model` in evaluation mode, without gradients.

    With `allow_rewrite`, a chain of convolutions on a CPU runs as :mod:`landscape.rewrite` has it, and its blocks are
    divided among torch's threads: whole blocks need no barrier between them. Results do not depend on any of this
    beyond rounding.
    """

    def __init__(self, model: nn.Module, device: torch.device, allow_rewrite: bool = True):
        self.model = model
        self.rewritten = rewrite(model, device) if allow_rewrite else None
        threads = torch.get_num_threads() if self.rewritten else 1
        self.pool = _pool(threads) if threads > 1 else None

    def refresh(self) -> None:
        """Take the model's weights after they have changed."""
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

    def map(self, measure: Callable[[Tensor, Tensor], Result], blocks: Sequence[Block]) -> list[Result]:
        """`measure(output, target)` of each block, in their order."""

        def one(block: Block) -> Result:
            with torch.inference_mode():
                return measure(self._output(block.inputs), block.targets)

        return list(self.pool.map(one, blocks) if self.pool else map(one, blocks))

    def _output(self, inputs: list[Tensor]) -> Tensor:
        forward = self.rewritten.forward if self.rewritten else self.model
        outputs = [forward(part) for part in inputs]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _pool(threads: int) -> ThreadPoolExecutor:
    """Python threads that each compute with one torch thread; the caller's own number stays as it is."""

    def alone() -> None:
        torch.get_num_threads()  # first, or the thread's lazy set-up would undo the next line
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(threads, initializer=alone)
    list(pool.map(lambda _: None, range(threads)))
    torch.set_num_threads(threads)  # part of the setting is global
    return pool
