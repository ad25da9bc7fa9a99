"""The feature pyramid aggregator (section 3.2, figure 2): from four backbone maps to one map at stride 4."""

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
    """The factors of the features S = matrix x located. The decoder uses S only linearly, so it need not be computed.

    Attributes:
        located: (B, E, h, w), [F; positions; 1]: the map F before the last 1x1 convolution, the positions of its
            pixels, and a constant.
        matrix: (C, E), the weight of that convolution, with its bias as the last column.
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
        """Refine the map and double its size."""
        x = F.relu(self.conv_norm(self.conv(x)))
        return F.relu(self.up_norm(self.up(x)))


class DeformablePyramid(nn.Module):
    """The deformable feature pyramid: each level is its lateral plus the refined next coarser level."""

    def __init__(self, in_channels: tuple[int, ...], channels: tuple[int, ...]) -> None:
        """Build the pyramid; both tuples run from the finest level to the coarsest."""
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Conv2d(inner, outer, 1) for inner, outer in zip(in_channels, channels, strict=True)
        )
        self.ups = nn.ModuleList(DeformableUpsample(coarse, fine) for fine, coarse in itertools.pairwise(channels))

    def forward(self, maps: Maps) -> Maps:
        """Return P2..P5, finest first: the sums, which are the inputs of the deformable convolutions."""
        levels = [self.laterals[-1](maps[-1])]
        for lateral, up, finer in zip(self.laterals[-2::-1], self.ups[::-1], maps[-2::-1], strict=True):
            levels.append(lateral(finer) + up(levels[-1]))
        return levels[::-1]


class ConvolutionFirst(nn.Module):
    """CFA: convolve each level at its own size, interpolate the thin results, and add them (observations I and II).

    The bias is in the official implementation, but not in the paper.
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
    """IFA: interpolate all levels to the finest size, concatenate them, and convolve 1x1.

    This is the paper's form. The official implementation has only a 3x3 variant, commented out, which no CFA equals.
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
        """Return the convolution-first module with the same output (equation 1).

        Interpolation and a 1x1 convolution commute, so each level gets its columns of the one weight.
        """
        cfa = ConvolutionFirst(self.channels, self.conv.out_channels).to(self.bias)
        with torch.no_grad():
            shares = self.conv.weight.split(self.channels, dim=1)
            cfa.convs.load_state_dict({f"{level}.weight": share for level, share in enumerate(shares)})
            cfa.bias.copy_(self.bias)
        return cfa.train(self.training)


class Aggregator(nn.Module):
    """Pyramid, aggregation, a 3x3 convolution, and a 1x1 convolution over its output and two coordinate channels.

    With `position_frequencies`, sines and cosines of the coordinates are added. A sum of such waves can be a bump at
    any place, so a kernel can point at one of many similar objects. From two coordinates it can only make slopes;
    anything else that distinguishes places must be learnt from the padding, which takes a long schedule.
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
        # The official implementation first sets zero offsets and bilinear upsampling, then overwrites both with this.
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, maps: Maps) -> Float[Tensor, "B C h w"]:
        """Return the features S of the decoder from C2..C5."""
        features = self.output(self.aggregate(self.pyramid(maps)))
        return self.embed(torch.cat([features, positions(features, self.frequencies)], dim=1))

    def factored(self, maps: Maps) -> Factored:
        """Return the factors of S from C2..C5; the decoder does less work on their E channels than on the C of S."""
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
