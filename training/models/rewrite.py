"""The evaluation-mode forward pass of a convolutional chain, rewritten into fewer and better shaped operations.

Three identities, each exact up to rounding, and one choice of layout:

- *Fold.* A batch norm with frozen statistics is part of the convolution before it (:func:`fold`).
- *Transpose.* Nearest upsampling by 2 and a k×k convolution are one transposed convolution of stride 2 and kernel
  k + 1 (:func:`transposed_kernel`): (k + 1)² instead of 4k² multiply-adds a pixel and channel pair, 2.25 times fewer at
  k = 3, and its output needs no interleaving.
- *Blocks.* Where the last layer upsamples to few channels (an image has 1 or 3), vector registers would stay mostly
  empty. To compute 4×4 pixels as 16 channels of a convolution of stride 2 fills them (:func:`block_kernel`).
- *Images innermost.* Activations lie in memory as (H, W, image, channel), which oneDNN takes for one volume
  (1, C, H, W, B) in channels-last order. Each tap of a kernel is then one matrix product over all images of the batch,
  however small their feature maps are, and a tap that falls on padding costs nothing.

What follows the convolutions from a Flatten on, a classifier's head, is called as it is, on their output.

Bias and activation are fused into the convolution's call, by the operators that `torch.compile` emits for CPUs; no
compiler is needed. No gradient flows through them. Where any of this does not apply, :func:`rewrite` gives None and its
caller takes the plain path.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

FEW_CHANNELS = 4  # up to here blocks of 4×4 pixels become channels: 16 floats are one vector register
OPERATORS = (
    "_convolution_pointwise",
    "_convolution_transpose_pointwise",
    "_reorder_convolution_weight",
    "_reorder_convolution_transpose_weight",
)
INSTRUCTIONS = ("AVX2", "AVX512")  # without these oneDNN can fall back to code slower than the plain path
ACTIVATION_BYTES = 2**21  # of a batch's largest activation: it stays in cache, the matrices are still tall


class NotRewritableError(Exception):
    """Says why a model takes the plain path."""


@dataclass(frozen=True)
class Layer:
    """`[nearest upsample ×2 ->] convolution [-> batch norm] [-> activation]`, what becomes one operation."""

    conv: nn.Conv2d
    upsampled: bool = False
    norm: nn.BatchNorm2d | None = None
    activation: nn.Module | None = None


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that equals `norm(conv(x))` with frozen statistics μ, σ².

    w'_f = s_f·w_f and b'_f = s_f·(b_f − μ_f) + β_f, with s_f = γ_f / √(σ²_f + ε) for each filter f.
    """
    bias = conv.bias if conv.bias is not None else conv.weight.new_zeros(conv.out_channels)
    if norm is None or norm.running_mean is None or norm.running_var is None:
        return conv.weight, bias
    scale = (norm.running_var + norm.eps).rsqrt()
    shift: Tensor | float = 0.0
    if norm.affine:
        scale, shift = scale * norm.weight, norm.bias
    return conv.weight * scale.view(-1, 1, 1, 1), (bias - norm.running_mean) * scale + shift


def transposed_kernel(weight: Tensor) -> Tensor:
    """Kernel T (C', C, k+1, k+1), transposed, for upsampling and then convolving with `weight` (C', C, k, k), k odd.

    Output o of the convolution reads upsampled pixels u = o + t, |t| <= h = (k−1)/2, and u is input i for u in
    {2i, 2i+1}. A transposed convolution of stride 2 and padding h joins o and i by tap j = o − 2i + h. So along each
    axis T_j = w_{2h−j} + w_{2h+1−j}, absent taps being 0: the flipped kernel convolved with (1, 1). Borders are exact,
    since zeros around the upsampled image are upsampled zeros.
    """
    flipped = F.pad(weight.flip(-1, -2), (1, 1, 1, 1))
    rows = flipped[..., 1:, :] + flipped[..., :-1, :]
    return rows[..., 1:] + rows[..., :-1]


def block_kernel(kernel: Tensor) -> Tensor:
    """Kernel D (16·C', C, m, m) of the convolution that gives `kernel`'s transposed one in blocks of 4×4 pixels.

    Row 4i + r, r = 0…3, of what `kernel` T (C', C, 2h+2, 2h+2) gives with stride 2 and padding h comes from input rows
    2i − q … 2i + q + 1, q = ⌈h/2⌉: from row 2i − q + p by tap r + h + 2(q − p). So D_{r,p} = T_{r+h+2(q−p)}, absent
    taps being 0, columns alike, for stride 2, padding q and m = 2q + 2. Channels are in the order (c', r, s).
    """
    half = kernel.shape[-1] // 2 - 1
    q = (half + 1) // 2
    padded = F.pad(kernel, (2 * q + 2 - half,) * 4)  # every tap that D names now exists
    taps = torch.arange(4)[:, None] + 2 * torch.arange(2 * q + 1, -1, -1)  # (r, p) -> index in `padded`
    return padded[:, :, taps][..., taps].permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def images_innermost(images: Tensor) -> Tensor:
    """(B, C, H, W) as a volume (1, C, H, W, B) that lies in memory as (H, W, B, C)."""
    return images.permute(1, 2, 3, 0)[None].contiguous(memory_format=torch.channels_last_3d)


def images_outermost(volume: Tensor) -> Tensor:
    """(1, C, H, W, B) back to (B, C, H, W), contiguous."""
    return volume[0].permute(3, 0, 1, 2).contiguous()


def blocks_to_images(volume: Tensor, height: int, width: int) -> Tensor:
    """(1, 16·C, ⌈H/4⌉, ⌈W/4⌉, B) to (B, C, H, W): channel (c, r, s) at (i, j) is pixel (4i + r, 4j + s) of c."""
    _, channels, rows, columns, images = volume.shape
    blocks = volume.view(channels // 16, 4, 4, rows, columns, images).permute(5, 0, 3, 1, 4, 2)
    return blocks.reshape(images, channels // 16, 4 * rows, 4 * columns)[..., :height, :width].contiguous()


class Operation:
    """A :class:`Layer` on volumes with images innermost: (1, C, H, W, B) to (1, C', H', W', B) or its blocks."""

    def __init__(self, layer: Layer, last: bool):
        conv = layer.conv
        self.layer = layer
        self.blocks = last and layer.upsampled and conv.out_channels <= FEW_CHANNELS
        self.transposed = layer.upsampled and not self.blocks
        padding = [(int(p) + 1) // 2 if self.blocks else int(p) for p in conv.padding]
        stride = [2, 2] if layer.upsampled else conv.stride
        between = [[0, 0, 0]] if self.transposed else []  # the transposed operators take an output padding
        self.geometry = ([*padding, 0], *between, [*stride, 1], [1, 1, 1], 1)
        self.fused = fused(layer.activation)
        self.refresh()

    def refresh(self) -> None:
        """Fold and pack the layer's present weights."""
        weight, bias = fold(self.layer.conv, self.layer.norm)
        if self.layer.upsampled:
            weight = transposed_kernel(weight)
        if self.blocks:
            weight, bias = block_kernel(weight), bias.repeat_interleave(16)
        if self.transposed:
            pack, weight = torch.ops.mkldnn._reorder_convolution_transpose_weight, weight.transpose(0, 1)
        else:
            pack = torch.ops.mkldnn._reorder_convolution_weight
        self.weight, self.bias = pack(weight[..., None].contiguous(), *self.geometry), bias.contiguous()

    def __call__(self, volume: Tensor) -> Tensor:
        ops = torch.ops.mkldnn
        convolve = ops._convolution_transpose_pointwise if self.transposed else ops._convolution_pointwise
        output = convolve(volume, self.weight, self.bias, *self.geometry, *(self.fused or ("none", [], "")))
        if self.layer.activation is None or self.fused is not None:
            return output
        return self.layer.activation(output)


def fused(activation: nn.Module | None) -> tuple[str, list[float], str] | None:
    """oneDNN's name, scalars and algorithm of an activation; None: not fused. Its ReLU would turn a NaN into 0."""
    if isinstance(activation, nn.LeakyReLU) and activation.negative_slope != 0:
        return "leaky_relu", [activation.negative_slope], ""
    return ("sigmoid", [], "") if isinstance(activation, nn.Sigmoid) else None


class Rewritten:
    """A model's forward pass in evaluation mode, without gradients; made by :func:`rewrite`.

    `rewritten(images)` equals `model(images)` up to rounding, (B, C, H, W) to (B, C', H', W'). Images that are used
    many times are laid out once: `rewritten.forward(prepared)` with `prepared = rewritten.prepare(images)`, as large as
    they. The weights are packed copies: after the model's have changed in place, call :meth:`refresh`. Calls share no
    state, so threads may divide the batches among them.
    """

    def __init__(self, layers: Sequence[Layer], head: Sequence[nn.Module] = ()):
        self.operations = [Operation(layer, last=layer is layers[-1]) for layer in layers]
        self.head = head

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the model's present parameters and running statistics."""
        for operation in self.operations:
            operation.refresh()

    def prepare(self, images: Tensor) -> Tensor:
        """A batch (B, C, H, W) in the layout that :meth:`forward` takes."""
        return images_innermost(images)

    @torch.no_grad()
    def forward(self, prepared: Tensor) -> Tensor:
        """The model's output (B, C', H', W') of a batch from :meth:`prepare`, or what its head makes of it."""
        output = self._convolved(prepared)
        for module in self.head:
            output = module(output)
        return output

    def _convolved(self, prepared: Tensor) -> Tensor:
        volume, last = prepared, self.operations[-1]
        for operation in self.operations[:-1]:
            volume = operation(volume)
        if not last.blocks:
            return images_outermost(last(volume))
        height, width = volume.shape[2:4]
        if height % 2 or width % 2:  # zeros complete the last block, as padding would, and are cut off again
            volume = F.pad(volume, (0, 0, 0, width % 2, 0, height % 2)).contiguous(memory_format=torch.channels_last_3d)
        return blocks_to_images(last(volume), 2 * height, 2 * width)

    def __call__(self, images: Tensor) -> Tensor:
        return self.forward(self.prepare(images))

    def flops(self, image_shape: Sequence[int]) -> int:
        """Multiply-adds × 2 for one image (C, H, W): upsampling joined to its convolution, no taps on padding."""
        dense = sum(2 * module.weight.numel() for module in self.head if isinstance(module, nn.Linear))
        return dense + sum(flops for flops, _ in self._costs(image_shape))

    def batch_size(self, image_shape: Sequence[int]) -> int:
        """Images (C, H, W) in a batch, 8 to 128, so that its largest activation stays in cache."""
        largest = max(4 * values for _, values in self._costs(image_shape))
        return min(128, max(8, ACTIVATION_BYTES // largest))

    def _costs(self, image_shape: Sequence[int]) -> Iterator[tuple[int, int]]:
        """(floating-point operations, output values) of each layer for one image."""
        size = list(image_shape[-2:])
        for operation in self.operations:
            conv, upsampled = operation.layer.conv, operation.layer.upsampled
            flops = values = conv.out_channels
            for axis, n in enumerate(size):
                k, s, p = conv.kernel_size[axis], conv.stride[axis], int(conv.padding[axis])
                outputs = 2 * n if upsampled else (n + 2 * p - k) // s + 1
                # a transposed convolution pairs inputs and taps as the convolution does whose gradient it is
                flops *= pairs(outputs, n, k + 1, 2, p) if upsampled else pairs(n, outputs, k, s, p)
                values *= outputs
                size[axis] = outputs
            yield 2 * flops * conv.in_channels, values


def pairs(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> int:
    """Pairs (output, tap) along one axis of a convolution whose input is not padding."""
    reads = stride * torch.arange(outputs)[:, None] - padding + torch.arange(kernel)
    return int(((reads >= 0) & (reads < inputs)).sum())


@torch.no_grad()
def rewrite(model: nn.Module, device: torch.device) -> Rewritten | None:
    """The rewritten forward pass of `model` in evaluation mode, or None where it must take the plain path.

    Rewritten are nested `nn.Sequential` of Conv2d (no groups, no dilation, zero padding), BatchNorm2d with frozen
    statistics, LeakyReLU, ReLU, Sigmoid, Identity and nearest Upsample ×2 before a convolution that keeps the size, and
    a head of Flatten, Linear and Softmax after them, in float32 on an x86 CPU whose torch has the oneDNN operators.
    Modules and hooks are looked at once, here.
    """
    try:
        check_available(device)
        check_tensors(model)
        modules = list(chain(model))
        first = next((i for i, module in enumerate(modules) if type(module) is nn.Flatten), len(modules))
        return Rewritten(layers(modules[:first]), checked_head(modules[first:]))
    except NotRewritableError:
        return None


def check_available(device: torch.device) -> None:
    """Raise NotRewritableError unless this device and torch have the operators."""
    mkldnn = torch.backends.mkldnn
    if device.type != "cpu" or not mkldnn.is_available() or not mkldnn.enabled:
        raise NotRewritableError("needs oneDNN on a CPU")
    if torch.backends.cpu.get_cpu_capability() not in INSTRUCTIONS:
        raise NotRewritableError(f"needs one of {INSTRUCTIONS}")
    if not all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS):
        raise NotRewritableError("this torch lacks an operator")


def check_tensors(model: nn.Module) -> None:
    """Raise NotRewritableError unless all floating-point parameters and buffers are float32 on the CPU."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type != "cpu" or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            raise NotRewritableError("needs float32 on the CPU")


def chain(module: nn.Module) -> Iterator[nn.Module]:
    """The modules of nested `nn.Sequential` in the order of their calls; NotRewritableError where a call does more."""
    if module._forward_hooks or module._forward_pre_hooks or _global_forward_hooks or _global_forward_pre_hooks:
        raise NotRewritableError("a hook sees or changes what passes")
    if "forward" in vars(module) or type(module).__call__ is not nn.Module.__call__:
        raise NotRewritableError("a call of its own")
    if type(module).forward is not nn.Sequential.forward:
        yield module
        return
    for child in module._modules.values():
        if child is not None:
            yield from chain(child)


def layers(modules: Sequence[nn.Module]) -> list[Layer]:
    """Group a chain's modules into layers; NotRewritableError where they do not fit."""
    rest = [module for module in reversed(modules) if type(module) is not nn.Identity]
    result = []
    while rest:
        upsampled = type(rest[-1]) is nn.Upsample
        if upsampled:
            check_upsample(rest.pop())
        conv = rest.pop() if rest else None
        norm = rest.pop() if rest and type(rest[-1]) is nn.BatchNorm2d else None
        activation = rest.pop() if rest and type(rest[-1]) in (nn.LeakyReLU, nn.ReLU, nn.Sigmoid) else None
        result.append(Layer(checked_conv(conv, upsampled), upsampled, checked_norm(norm), activation))
    if not result:
        raise NotRewritableError("nothing to compute")
    return result


def checked_head(modules: Sequence[nn.Module]) -> Sequence[nn.Module]:
    """`modules`, if they are Flatten, Linear and Softmax over the values of each sample."""
    for module in modules:
        whole = isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)
        within = isinstance(module, nn.Softmax) and module.dim in (1, -1)
        if not (whole or within or type(module) is nn.Linear):
            raise NotRewritableError(f"no rewrite of {type(module).__name__} in a head")
    return modules


def check_upsample(module: nn.Module) -> None:
    """Raise NotRewritableError unless `module` doubles height and width by nearest neighbours."""
    if module.mode != "nearest" or module.size is not None or module.scale_factor not in (2, (2, 2)):
        raise NotRewritableError("another upsampling")


def checked_conv(conv: nn.Module | None, upsampled: bool) -> nn.Conv2d:
    """`conv`, if it is a convolution that this module knows."""
    if conv is None or type(conv) is not nn.Conv2d:
        raise NotRewritableError(f"no rewrite of {type(conv).__name__} there")
    if conv.groups != 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise NotRewritableError("a convolution of another kind")
    k = conv.kernel_size[0]
    expected = (k, k), (1, 1), (k // 2, k // 2)
    if upsampled and (k % 2 == 0 or (conv.kernel_size, conv.stride, conv.padding) != expected):
        raise NotRewritableError("upsampling before a convolution that changes the size")
    return conv


def checked_norm(norm: nn.Module | None) -> nn.BatchNorm2d | None:
    """`norm`, if its statistics are frozen."""
    if norm is None:
        return None
    if not isinstance(norm, nn.BatchNorm2d) or norm.training or norm.running_mean is None or norm.running_var is None:
        raise NotRewritableError("batch norm over the batch's own statistics")
    return norm
