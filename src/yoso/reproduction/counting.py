"""Operations in the paper's counting: its closed forms, and the same counted on the modules of this package.

The paper counts a multiply-add as one operation, bilinear interpolation as 4 per output element, an addition of maps as
1 per element and a LayerNorm as 5 per element. `count` applies these weights with torch's `FlopCounterMode`, which sees
every operator that a module runs. Counting needs shapes alone: modules and inputs are on the meta device.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from yoso.model.aggregator import ConvolutionFirst, InterpolationFirst
from yoso.model.attention import ATTENTIONS
from yoso.model.config import ModelConfig
from yoso.speed.work import deform_conv_flops

Channels = tuple[int, int, int, int]

CHANNELS: Channels = (128, 256, 512, 1024)
"""c2 to c5 of table 5."""

SIDE = 256
"""h = w of table 5: height and width of the finest level."""

INTERPOLATION, LAYER_NORM = 4, 5
"""Operations per element."""


def ifa_operations(channels: Channels, width: int, area: int) -> int:
    """Return the numerator of equation 2.

    Args:
        channels: c2 to c5.
        width: the output channels d.
        area: h times w, the positions of the finest level.
    """
    return (INTERPOLATION * sum(channels[1:]) + sum(channels) * width) * area


def cfa_operations(channels: Channels, width: int, area: int) -> int:
    """Return the denominator of equation 2; arguments as in `ifa_operations`."""
    c2, c3, c4, c5 = channels
    # Fractions of an operation occur where h w is no multiple of 64; the paper's sizes have none.
    convolutions = width * (c5 * area // 64 + c4 * area // 16 + c3 * area // 4 + c2 * area)
    return convolutions + 3 * INTERPOLATION * width * area + 3 * width * area


def attention_operations(kind: str, n: int = 100, d: int = 256, t: int = 3) -> int:
    """Return the operations of an attention module of table 6, its LayerNorm included.

    Args:
        kind: one of `ATTENTIONS`.
        n: tokens.
        d: their width.
        t: taps of the dynamic kernels.
    """
    without_norm = {
        "mhca": 4 * n * d * d + 2 * n * n * d,
        "sdca": 2 * n * d * t + 2 * n * n * d,
        "dca": 2 * n * n * d * t,
        "pdca": 2 * n * n * d,
        "ddca": 2 * n * d * t,
    }
    return without_norm[kind] + LAYER_NORM * n * d


def cfa_ratio(channels: int, width: int) -> float:
    """Return equation 2 for c2 = c3 = c4 = c5 = `channels` and d = `width`, as in figure 5."""
    same = (channels,) * 4
    return ifa_operations(same, width, 64) / cfa_operations(same, width, 64)


def sdca_ratio(n: int, d: int, t: int = 3) -> float:
    """Return equation 10, which leaves the LayerNorm out, for n tokens of width d and kernels of t taps."""
    return (2 * d + n) / (t + n)


def count(module: nn.Module, *inputs: Any) -> int:
    """Count the operations of one call in the paper's counting.

    Args:
        module: on the meta device, in evaluation mode.
        inputs: of its call, on the meta device.
    """
    aten: Any = torch.ops.aten
    weights = {
        aten.upsample_bilinear2d: lambda *_, out_shape, **__: 2 * INTERPOLATION * prod(out_shape),
        aten.native_layer_norm: lambda x, *_, **__: 2 * LAYER_NORM * prod(x),
        aten.mul: _of_two_maps,
        aten.add: _of_two_maps,
        torch.ops.torchvision.deform_conv2d: deform_conv_flops,
    }
    counter = FlopCounterMode(display=False, custom_mapping=weights)
    with torch.no_grad(), counter:
        module(*inputs)
    return counter.get_total_flops() // 2  # torch counts a multiply-add as two


def _of_two_maps(a: Any, b: Any, *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    """Count one per element, and nothing for a factor or summand that is a plain number."""
    return 2 * prod(out_shape) if isinstance(a, torch.Size) and isinstance(b, torch.Size) else 0


def count_aggregation(kind: str, channels: Channels, width: int, side: int) -> int:
    """Count an aggregation module without its bias, which equation 2 does not have.

    Args:
        kind: "ifa" or "cfa".
        channels: c2 to c5.
        width: the output channels d.
        side: height and width of the finest level, a multiple of 8.
    """
    build: Callable[..., nn.Module] = {"ifa": InterpolationFirst, "cfa": ConvolutionFirst}[kind]
    with torch.device("meta"):
        module, levels = build(channels, width).eval(), levels_of(channels, side)
    return count(module, levels) - width * side**2


def levels_of(channels: Channels, side: int) -> list[Tensor]:
    """Return random maps P2 to P5, (1, C, side / 2^k, side / 2^k), on the default device."""
    return [torch.rand(1, width, side >> level, side >> level) for level, width in enumerate(channels)]


def count_attention(kind: str, n: int = 100, d: int = 256, t: int = 3) -> int:
    """Count an attention module; arguments as in `attention_operations`."""
    config = ModelConfig(num_queries=n, hidden_channels=d, kernel_size=t)
    with torch.device("meta"):
        module = ATTENTIONS[kind](config).eval()
        query, value = torch.empty(2, 1, n, d).unbind()
    return count(module, query, value)
