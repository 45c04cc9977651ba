"""Each rewrite of a forward pass against the plain path."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tolerance import assert_within, outputs_rounding
from training.models.autoencoder import Autoencoder, Classifier, decoder_stage, output_stage
from training.models.rewrite import (
    NotRewritableError,
    block_kernel,
    blocks_to_images,
    check_available,
    fold,
    images_innermost,
    images_outermost,
    rewrite,
    transposed_kernel,
)

CPU = torch.device("cpu")


def rewritable_here() -> bool:
    try:
        check_available(CPU)
    except NotRewritableError:
        return False
    return True


needs_operators = pytest.mark.skipif(not rewritable_here(), reason="this CPU or torch takes the plain path")


def unsettle(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms statistics, signs and shifts that a mistake cannot hide behind, and evaluate."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 1, generator=generator)
            module.running_var.uniform_(0.1, 3, generator=generator)
            if module.affine:
                nn.init.normal_(module.weight, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return model.eval()


def random_images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def assert_equals_plain(model: nn.Module, images: Tensor) -> None:
    """`rewrite(model)` gives float64's output as closely as float32 can."""
    rewritten = rewrite(model, CPU)
    assert rewritten is not None
    truth, allowed = outputs_rounding(copy.deepcopy(model).double(), images)
    output = rewritten(images)
    assert output.is_contiguous()
    assert output.shape == truth.shape
    assert_within(output, truth, allowed)


def test_fold_is_convolution_then_batch_norm() -> None:
    torch.manual_seed(0)
    for bias, affine in ((True, True), (False, True), (True, False)):
        conv, norm = nn.Conv2d(3, 5, 3, bias=bias).double(), nn.BatchNorm2d(5, affine=affine).double()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.1, 2)
        if affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
        x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
        torch.testing.assert_close(F.conv2d(x, *fold(conv, norm.eval())), norm(conv(x)))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 3), (6, 4)])
def test_transposed_and_block_kernels_are_upsampling_then_convolution(kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(2, 3, *size, dtype=torch.float64), torch.randn(4, 3, kernel, kernel, dtype=torch.float64)
    truth = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), w, padding=kernel // 2)
    transposed = transposed_kernel(w)
    joined = F.conv_transpose2d(x, transposed.transpose(0, 1), stride=2, padding=kernel // 2)
    torch.testing.assert_close(joined, truth)
    height, width = size
    even = F.pad(x, (0, width % 2, 0, height % 2))
    blocks = F.conv2d(even, block_kernel(transposed), stride=2, padding=(kernel // 2 + 1) // 2)
    torch.testing.assert_close(blocks_to_images(images_innermost(blocks), 2 * height, 2 * width), truth)


def test_layout_there_and_back() -> None:
    images = random_images(3, 2, 5, 4)
    volume = images_innermost(images)
    assert volume.shape == (1, 2, 5, 4, 3)
    assert volume.stride()[1:] == (1, 4 * 3 * 2, 3 * 2, 2)
    assert torch.equal(images_outermost(volume), images)


@needs_operators
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 3), (8, 6)])
@pytest.mark.parametrize("channels", [(16, 1), (5, 3), (7, 20)])
def test_decoder_stages_are_exact_to_the_border(kernel: int, size: tuple[int, int], channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    for stage in (decoder_stage(*channels, kernel), output_stage(*channels, kernel)):
        assert_equals_plain(unsettle(stage), torch.randn(6, channels[0], *size))


@needs_operators
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Autoencoder(), (37, 1, 32, 32)),
        (Autoencoder(), (1, 1, 32, 32)),
        (Autoencoder(1, 4, 2, 5), (9, 1, 12, 20)),
        (Autoencoder(3, 4, 6), (3, 3, 64, 64)),
        (Classifier(Autoencoder(), 32, 16, 4, 10), (37, 1, 32, 32)),
        (Classifier(Autoencoder(1, 4, 2, 5), 12, 4, 2, 3), (1, 1, 12, 12)),
        (Autoencoder(3, 4, 1), (3, 3, 10, 14)),  # blocks that the image does not fill
        (nn.Sequential(nn.Conv2d(2, 3, (3, 1), (2, 1), (0, 2), bias=False), nn.ReLU()), (4, 2, 9, 7)),
        (nn.Sequential(nn.Identity(), nn.Conv2d(2, 9, 3), nn.LeakyReLU(0.0), nn.Conv2d(9, 1, 1)), (4, 2, 9, 7)),
        (nn.Sequential(nn.Conv2d(2, 9, 3), nn.BatchNorm2d(9, affine=False), nn.Sigmoid()), (4, 2, 9, 7)),
    ],
)
def test_whole_models(model: nn.Module, shape: tuple[int, ...]) -> None:
    assert_equals_plain(unsettle(model), random_images(*shape))


@needs_operators
@torch.no_grad()
@pytest.mark.parametrize("model", [Autoencoder(width=4), Classifier(Autoencoder(width=4), 32, 4, 4, 10)])
def test_refresh_takes_weights_and_statistics_that_changed_in_place(model: nn.Module) -> None:
    model, images = unsettle(model), random_images(5, 1, 32, 32)
    rewritten = rewrite(model, CPU)
    assert rewritten is not None
    prepared, before = rewritten.prepare(images), model(images)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.mul_(1.3).add_(0.01)
    rewritten.refresh()
    truth, allowed = outputs_rounding(copy.deepcopy(model).double(), images)
    assert_within(rewritten.forward(prepared), truth, allowed)
    assert not torch.allclose(before, model(images), atol=1e-3)


@needs_operators
@torch.no_grad()
@pytest.mark.parametrize("activation", [nn.LeakyReLU(0.2), nn.LeakyReLU(0.0), nn.ReLU(), nn.Sigmoid(), nn.Identity()])
def test_nan_is_not_hidden_by_an_activation(activation: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), activation).eval()
    model[0].weight[3] = float("nan")
    rewritten = rewrite(model, CPU)
    assert rewritten is not None
    assert torch.equal(rewritten(random_images(8, 1, 8, 8)).isnan(), model(random_images(8, 1, 8, 8)).isnan())


@needs_operators
@torch.no_grad()
@pytest.mark.parametrize("scale", [1e12, float("inf"), float("nan")])
def test_a_diverged_model_is_not_made_finite(scale: float) -> None:
    model, images = unsettle(Autoencoder(width=4)), random_images(5, 1, 32, 32)
    for parameter in model.parameters():
        parameter.mul_(scale)
    rewritten = rewrite(model, CPU)
    assert rewritten is not None
    plain, output = model(images), rewritten(images)
    assert plain.isnan().any()
    assert output[plain.isnan()].isnan().all()


def hooked() -> nn.Module:
    model = Autoencoder(width=4).eval()
    model.encoder[1][0].register_forward_hook(lambda module, args, output: output + 1)
    return model


class Residual(nn.Sequential):
    """A Sequential whose call is another one."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def upsampling(**options: object) -> nn.Module:
    return nn.Sequential(nn.Upsample(**options), nn.Conv2d(1, 2, 3, padding=1))


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(width=4).train(),
        Autoencoder(width=4).eval().double(),
        Autoencoder(width=4).eval().bfloat16(),
        Autoencoder(width=4, kernel=4).eval(),
        Residual(nn.Conv2d(1, 1, 3, padding=1)).eval(),
        hooked(),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3)).eval(),
        nn.Sequential(),
        nn.Linear(3, 3),
        nn.Sequential(nn.Flatten(), nn.Linear(64, 3)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(6, 3)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Dropout()),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(0)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Softmax(0)),
        nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 3)),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(1, 2, 3, dilation=2),
        nn.Conv2d(1, 2, 3, padding="same"),
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(1, 2, 3),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)).eval(),
        upsampling(scale_factor=3),
        upsampling(scale_factor=2, mode="bilinear"),
        upsampling(size=(4, 4)),
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 2, 3)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2)),
    ],
)
def test_other_models_take_the_plain_path(model: nn.Module) -> None:
    assert rewrite(model, CPU) is None


@pytest.mark.filterwarnings("ignore:TF32")
def test_other_devices_and_torches_take_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Autoencoder(width=4).eval()
    assert rewrite(model, torch.device("cuda")) is None
    with torch.backends.mkldnn.flags(enabled=False):
        assert rewrite(model, CPU) is None
    with monkeypatch.context() as patch:
        patch.setattr("training.models.rewrite.OPERATORS", ("_operator_of_another_torch",))
        assert rewrite(model, CPU) is None
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert rewrite(model, CPU) is None


@needs_operators
def test_flops_count_what_touches_the_image() -> None:
    plain = rewrite(nn.Conv2d(2, 3, 3, padding=1).eval(), CPU)
    assert plain is not None
    assert plain.flops((2, 4, 4)) == 2 * 2 * 3 * 10 * 10  # along an axis of 4: 2 taps at each end, 3 between
    up = rewrite(output_stage(2, 3, 3).eval(), CPU)
    assert up is not None
    assert up.flops((2, 4, 4)) == 2 * 2 * 3 * 14 * 14  # 8 outputs of 2 taps, less one at each end
    headed = rewrite(nn.Sequential(nn.Conv2d(2, 3, 4), nn.Flatten(), nn.Linear(3, 5)).eval(), CPU)
    assert headed is not None
    assert headed.flops((2, 4, 4)) == 2 * 2 * 3 * 16 + 2 * 3 * 5
    autoencoder = rewrite(Autoencoder().eval(), CPU)
    assert autoencoder is not None
    assert autoencoder.batch_size((1, 32, 32)) == 128
