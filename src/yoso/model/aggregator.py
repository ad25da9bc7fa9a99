"""The feature pyramid aggregator (section 3.2, figure 2): four backbone maps become one map at stride 4."""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from yoso.model.config import ModelConfig
from yoso.model.deformable import DeformableConv

Maps = list[Float[Tensor, "B _ _ _"]]


class Factored(NamedTuple):
    """The features S = matrix x located, as their factors: the decoder uses S only linearly, so it need not be made.

    Attributes:
        located: (B, E, h, w), [F; positions; 1]: the map before the last 1x1 convolution, where each pixel is, and 1.
        matrix: (C, E), that convolution, its bias as the last column.
    """

    located: Float[Tensor, "B E h w"]
    matrix: Float[Tensor, "C E"]


class DeformableUpsample(nn.Module):
    """One step up the pyramid: deformable convolution, then a transposed convolution that doubles the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Build the step."""
        super().__init__()
        self.conv = DeformableConv(in_channels, out_channels)
        self.conv_norm = nn.BatchNorm2d(out_channels)
        self.up = nn.ConvTranspose2d(out_channels, out_channels, kernel_size=4, stride=2, padding=1, bias=False)
        self.up_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D 2*H 2*W"]:
        """Refine and double the map."""
        x = F.relu(self.conv_norm(self.conv(x)))
        return F.relu(self.up_norm(self.up(x)))


class DeformablePyramid(nn.Module):
    """The deformable feature pyramid: each level is its lateral plus the refined level below it."""

    def __init__(self, in_channels: tuple[int, ...], channels: tuple[int, ...]) -> None:
        """Build the pyramid; both tuples run from the finest level to the coarsest."""
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Conv2d(inner, outer, 1) for inner, outer in zip(in_channels, channels, strict=True)
        )
        self.ups = nn.ModuleList(DeformableUpsample(coarse, fine) for fine, coarse in itertools.pairwise(channels))

    def forward(self, maps: Maps) -> Maps:
        """Return P2..P5 (finest first): the sums, that is what the deformable convolutions read."""
        levels = [self.laterals[-1](maps[-1])]
        for lateral, up, finer in zip(self.laterals[-2::-1], self.ups[::-1], maps[-2::-1], strict=True):
            levels.append(lateral(finer) + up(levels[-1]))
        return levels[::-1]


class ConvolutionFirst(nn.Module):
    """CFA: convolve each level at its own size, interpolate the thin results, add (observations I and II).

    The bias is the official code's; the paper has none.
    """

    def __init__(self, channels: tuple[int, ...], out_channels: int) -> None:
        """Build one 1x1 convolution per level, finest first."""
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, out_channels, 1, bias=False) for width in channels)
        self.bias = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, levels: Maps) -> Float[Tensor, "B D h w"]:
        """Aggregate P2..P5 at the size of P2."""
        thin = [conv(level) for conv, level in zip(self.convs, levels, strict=True)]
        size = thin[0].shape[-2:]
        coarse = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in thin[:0:-1]]
        return coarse[0] + coarse[1] + coarse[2] + thin[0] + self.bias


class InterpolationFirst(nn.Module):
    """IFA: interpolate all levels to the finest size, concatenate, convolve 1x1.

    The paper's form; the official code keeps only a 3x3 variant, commented out, that no CFA equals.
    """

    def __init__(self, channels: tuple[int, ...], out_channels: int) -> None:
        """Build the one convolution over all levels."""
        super().__init__()
        self.channels = tuple(channels)
        self.conv = nn.Conv2d(sum(channels), out_channels, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, levels: Maps) -> Float[Tensor, "B D h w"]:
        """Aggregate P2..P5 at the size of P2."""
        size = levels[0].shape[-2:]
        coarse = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in levels[1:]]
        return self.conv(torch.cat([levels[0], *coarse], dim=1)) + self.bias

    def to_cfa(self) -> ConvolutionFirst:
        """Return the convolution-first module of equal output (equation 1).

        Interpolation and a 1x1 convolution commute, so the columns of the one weight are dealt out to the levels.
        """
        cfa = ConvolutionFirst(self.channels, self.conv.out_channels).to(self.bias)
        with torch.no_grad():
            shares = self.conv.weight.split(self.channels, dim=1)
            cfa.convs.load_state_dict({f"{level}.weight": share for level, share in enumerate(shares)})
            cfa.bias.copy_(self.bias)
        return cfa.train(self.training)


class Aggregator(nn.Module):
    """Pyramid, aggregation, a 3x3 convolution, and two coordinate channels mixed in.

    With `position_frequencies` the coordinates come with sines and cosines of themselves: a sum of such waves can be a
    bump anywhere, so a kernel can point at one of many objects that look alike. Two coordinates only make slopes; what
    else there is to tell them apart the network must learn from the padding, which takes long schedules.
    """

    def __init__(self, in_channels: tuple[int, int, int, int], config: ModelConfig) -> None:
        """Build the aggregator for a backbone of these channels (finest first)."""
        super().__init__()
        channels = config.pyramid_channels or tuple(width // 2 for width in in_channels)
        kind = {"cfa": ConvolutionFirst, "ifa": InterpolationFirst}[config.aggregation]
        self.frequencies = config.position_frequencies
        self.pyramid = DeformablePyramid(in_channels, channels)
        self.aggregate: ConvolutionFirst | InterpolationFirst = kind(channels, config.aggregation_channels)
        self.output = nn.Conv2d(config.aggregation_channels, config.aggregation_channels, 3, padding=1)
        located = config.aggregation_channels + 2 * (1 + 2 * self.frequencies)
        self.embed = nn.Conv2d(located, config.hidden_channels, 1)
        self._initialise()

    def _initialise(self) -> None:
        # The official code prepares zero offsets and bilinear upsampling, then overwrites both with this.
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, maps: Maps) -> Float[Tensor, "B C h w"]:
        """Turn C2..C5 into the features S of the decoder."""
        features = self.output(self.aggregate(self.pyramid(maps)))
        return self.embed(torch.cat([features, positions(features, self.frequencies)], dim=1))

    def factored(self, maps: Maps) -> Factored:
        """Turn C2..C5 into the factors of S, whose E channels spare the decoder most of its work on C."""
        features = self.output(self.aggregate(self.pyramid(maps)))
        ones = features.new_ones(features.shape[0], 1, *features.shape[-2:])
        located = torch.cat([features, positions(features, self.frequencies), ones], dim=1)
        assert self.embed.bias is not None
        return Factored(located, torch.cat([self.embed.weight.flatten(1), self.embed.bias[:, None]], dim=1))


def positions(like: Float[Tensor, "B _ h w"], frequencies: int = 0) -> Float[Tensor, "B _ h w"]:
    """Return x and its waves, then y and its waves, over the (padded) map: 2 (1 + 2 `frequencies`) channels."""
    batch, _, height, width = like.shape
    x = waves(torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype), frequencies)
    y = waves(torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype), frequencies)
    grid = torch.cat([x[:, None].expand(-1, height, width), y[:, :, None].expand(-1, height, width)])
    return grid.expand(batch, *grid.shape)


def waves(axis: Float[Tensor, " n"], frequencies: int) -> Float[Tensor, "_ n"]:
    """Return an axis from -1 to 1, and sine and cosine of pi 2^k times it for every k below `frequencies`."""
    angles = [torch.pi * 2**k * axis for k in range(frequencies)]
    return torch.stack([axis, *(wave for angle in angles for wave in (angle.sin(), angle.cos()))])
