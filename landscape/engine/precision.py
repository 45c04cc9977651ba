"""At which precision a surface is computed. TF32 and bfloat16 are never the default, and the file records them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """dtype: of weights and data, None for the model's own. autocast: what operators compute in, if anything else.

    tf32: whether a GPU may round the inputs of matrix products to 10 bits.
    """

    dtype: torch.dtype | None = None
    autocast: torch.dtype | None = None
    tf32: bool = False

    @contextmanager
    def computing(self, device: torch.device) -> Iterator[None]:
        """Compute at this precision; weights are moved and metrics taken outside, at `dtype`."""
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32
        try:
            with torch.autocast(device.type, self.autocast, enabled=self.autocast is not None):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


#: name -> precision; "full" is the model's own, float32 for checkpoints
PRECISIONS: dict[str, Precision] = {
    "full": Precision(),
    "float64": Precision(dtype=torch.float64),
    "tf32": Precision(tf32=True),
    "bfloat16": Precision(autocast=torch.bfloat16),
}
