"""Modulated deformable convolution (DCNv2), 3x3, stride 1."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

TAPS = 9


class DeformableConv(nn.Module):
    """A 3x3 convolution without bias whose reading positions depend on its input.

    A plain 3x3 convolution of the input predicts, for each output position, nine offsets and nine weights.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Build the convolution, and the one that predicts offsets and weights."""
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 3 * TAPS, kernel_size=3, padding=1)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        if self.offset.bias is not None:
            nn.init.zeros_(self.offset.bias)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Convolve at the predicted positions.

        Of the 27 predicted channels, the first 18 are (dy, dx) per tap, interleaved, in pixels; the last 9 are the
        logits of the taps' weights.
        """
        predicted = self.offset(x)
        offset, mask = predicted[:, : 2 * TAPS], predicted[:, 2 * TAPS :].sigmoid()
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            return deform_conv_by_columns(x, offset, mask, self.weight)
        return deform_conv2d(x, offset, self.weight, padding=(1, 1), mask=mask)


def deform_conv_by_columns(
    x: Float[Tensor, "B C H W"],
    offset: Float[Tensor, "B 18 H W"],
    mask: Float[Tensor, "B 9 H W"],
    weight: Float[Tensor, "D C 3 3"],
) -> Float[Tensor, "B D H W"]:
    """Compute `torchvision.ops.deform_conv2d(padding=1)` as one gather and one matrix product.

    The arithmetic is the same, but several times faster on a CPU, forward and backward: there, torchvision's kernel is
    a scalar loop, while bilinear sampling and matrix products are vectorised. Positions outside the map are zero in
    both.
    """
    batch, channels, height, width = x.shape
    # Half precision cannot count the pixels of a map: above 256, bfloat16 has only every second integer.
    exact = torch.promote_types(x.dtype, torch.float32)
    dy, dx = offset.to(exact).reshape(batch, TAPS, 2, height, width).unbind(2)
    tap = torch.arange(TAPS, device=x.device)
    rows = torch.arange(height, device=x.device).view(1, height, 1) + (tap // 3 - 1).view(TAPS, 1, 1)
    columns = torch.arange(width, device=x.device).view(1, 1, width) + (tap % 3 - 1).view(TAPS, 1, 1)
    # Pixel centres are at (2i + 1) / size - 1. Unlike align_corners=True, this also works for maps one pixel wide.
    grid = torch.stack([(2 * (columns + dx) + 1) / width - 1, (2 * (rows + dy) + 1) / height - 1], dim=-1)
    grid = grid.reshape(batch, TAPS * height, width, 2)
    sampled = F.grid_sample(x.to(exact), grid.to(exact), mode="bilinear", padding_mode="zeros", align_corners=False)
    sampled = sampled.to(x.dtype) * mask.reshape(batch, 1, TAPS * height, width)
    patches = sampled.reshape(batch, channels * TAPS, height * width)
    return (weight.flatten(1) @ patches).reshape(batch, -1, height, width)
