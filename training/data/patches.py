"""Patch-wise reconstruction: one autoencoder for all patches of an image, stitched before scoring (Lee et al. 2021)."""

from torch import Tensor, nn


def to_patches(images: Tensor, side: int) -> Tensor:
    """Cut (B, C, H, W) into side × side equal patches: (B·side², C, H/side, W/side), an image's patches together."""
    batch, channels, height, width = images.shape
    cut = images.reshape(batch, channels, side, height // side, side, width // side)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, height // side, width // side)


def from_patches(patches: Tensor, side: int) -> Tensor:
    """Stitch the patches of :func:`to_patches` together again: (B·side², C, h, w) -> (B, C, h·side, w·side)."""
    _, channels, height, width = patches.shape
    grid = patches.reshape(-1, side, side, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, side * height, side * width)


class Patched(nn.Module):
    """An autoencoder of patches as an autoencoder of images of `size` pixels: cut, reconstruct, stitch.

    Images of another size are taken for patches themselves, and reconstructed as they are.
    """

    def __init__(self, patch_model: nn.Module, side: int, size: int):
        super().__init__()
        self.patch_model = patch_model
        self.side = side
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] != self.size:
            return self.patch_model(images)
        return from_patches(self.patch_model(to_patches(images, self.side)), self.side)
