"""Tables 5 and 6 and figure 5: aggregation and attention as single modules; operations, latency, equal outputs."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from yoso.errors import YosoError
from yoso.inference.torch_engine import resolve_device
from yoso.model.aggregator import InterpolationFirst
from yoso.model.attention import ATTENTIONS
from yoso.model.config import ModelConfig
from yoso.reproduction.counting import (
    CHANNELS,
    SIDE,
    attention_operations,
    cfa_operations,
    cfa_ratio,
    count_aggregation,
    count_attention,
    ifa_operations,
    levels_of,
    sdca_ratio,
)
from yoso.reproduction.plan import ReproductionPlan
from yoso.speed.protocol import LatencySummary, interleaved, timer

WIDTHS = (128, 256)
"""Output widths d of table 5: the one that the paper's FLOPs have, and the one that its caption names."""

KINDS = ("mhca", "sdca", "dca", "pdca", "ddca")
"""In the order of table 6."""

MAX_DIFFERENCE = 1e-4
AGGREGATION_REPEATS, ATTENTION_REPEATS = 30, 200
DEPLOYED = "ifa deployed as cfa"

CONTOUR_CHANNELS = (64, 128, 256, 512, 1024, 2048)
CONTOUR_WIDTHS = (64, 128, 256, 512)
CONTOUR_TOKENS = (25, 50, 100, 200, 400, 800)
COUNTED_SIDE = 16
"""Height and width of the maps on which figure 5 counts; the ratio does not depend on it."""


def device_of(plan: ReproductionPlan) -> torch.device:
    """Return the device to measure on.

    Raises:
        ConfigError: this machine does not have it.
    """
    return resolve_device(plan.device or "auto")


def aggregation_flops(plan: ReproductionPlan) -> dict[str, Any]:
    """Return the operations of table 5 by closed form and as counted on our modules, at both widths."""
    closed = {"ifa": ifa_operations, "cfa": cfa_operations}
    rows = [
        {
            "kind": kind,
            "width": width,
            "closed_form": closed[kind](CHANNELS, width, SIDE**2),
            "counted": count_aggregation(kind, CHANNELS, width, SIDE),
        }
        for width in WIDTHS
        for kind in closed
    ]
    return {"rows": rows}


def attention_flops(plan: ReproductionPlan) -> dict[str, Any]:
    """Return the operations of table 6 by closed form and as counted on our modules."""
    rows = [
        {"kind": kind, "closed_form": attention_operations(kind), "counted": count_attention(kind)} for kind in KINDS
    ]
    return {"rows": rows}


def aggregation_latency(plan: ReproductionPlan) -> dict[str, Any]:
    """Time IFA, CFA, and the CFA that IFA is converted to, at both widths.

    Raises:
        YosoError: the outputs of IFA and its conversion differ, or a module fails on the device.
    """
    return {"side": SIDE, "widths": [_aggregation_latency(plan, width) for width in WIDTHS]}


def _aggregation_latency(plan: ReproductionPlan, width: int) -> dict[str, Any]:
    device = device_of(plan)
    torch.manual_seed(0)
    ifa = InterpolationFirst(CHANNELS, width).eval().to(device)
    other = InterpolationFirst(CHANNELS, width).eval().to(device)
    modules: dict[str, nn.Module] = {"ifa": ifa, "cfa": other.to_cfa(), DEPLOYED: ifa.to_cfa()}
    levels = [level.to(device) for level in levels_of(CHANNELS, SIDE)]
    with torch.inference_mode():
        outputs = modules["ifa"](levels), modules[DEPLOYED](levels)
        difference = (outputs[0] - outputs[1]).abs().max().item()
    if difference > MAX_DIFFERENCE:
        raise YosoError(f"IFA and the CFA that it is converted to differ by {difference:.2g}; they must be equal")
    runs = {kind: partial(module, levels) for kind, module in modules.items()}
    rows = timed(runs, plan.repeats or AGGREGATION_REPEATS, device)
    return {"width": width, "max_difference": difference, "rows": rows}


def attention_latency(plan: ReproductionPlan) -> dict[str, Any]:
    """Time all kinds of attention on the same queries and values.

    Raises:
        YosoError: a module fails on the device.
    """
    device, config = device_of(plan), ModelConfig()
    torch.manual_seed(0)
    modules = {kind: ATTENTIONS[kind](config).eval().to(device) for kind in KINDS}
    query, value = (torch.randn(1, config.num_queries, config.hidden_channels).to(device) for _ in range(2))
    runs = {kind: partial(module, query, value) for kind, module in modules.items()}
    rows = timed(runs, plan.repeats or ATTENTION_REPEATS, device)
    for row in rows:
        row["parameters"] = sum(parameter.numel() for parameter in modules[row["kind"]].parameters())
    return {"rows": rows}


def timed(runs: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device) -> list[dict[str, Any]]:
    """Time some functions in turns, by the protocol of `yoso.speed`, after a warm-up of each.

    Returns:
        Per function `kind`, `seconds` (a `LatencySummary`) and all `samples`.

    Raises:
        YosoError: one fails.
    """
    with torch.inference_mode():
        samples, errors = interleaved(runs, repeats, warmup(repeats), timer(device))
    for kind, error in errors.items():
        raise YosoError(f"{kind} failed: {error}; use another device")
    return [
        {"kind": kind, "seconds": dataclasses.asdict(LatencySummary.of(taken)), "samples": taken}
        for kind, taken in samples.items()
    ]


def warmup(repeats: int) -> int:
    """Return the number of untimed runs before some timed ones."""
    return max(1, repeats // 10)


def contours(plan: ReproductionPlan) -> dict[str, Any]:
    """Return the grids of figure 5, by equations 2 and 10, and the same ratios counted on our modules.

    The modules of the second grid have a LayerNorm, which equation 10 leaves out, so it is subtracted.
    """
    cfa = [
        {"channels": count, "width": width, "ratio": cfa_ratio(count, width), "counted": _counted_cfa(count, width)}
        for count in CONTOUR_CHANNELS
        for width in CONTOUR_WIDTHS
    ]
    sdca = [
        {"tokens": tokens, "width": width, "ratio": sdca_ratio(tokens, width), "counted": _counted_sdca(tokens, width)}
        for tokens in CONTOUR_TOKENS
        for width in CONTOUR_WIDTHS
    ]
    return {"cfa": cfa, "sdca": sdca, "kernel_size": 3}


def _counted_cfa(channels: int, width: int) -> float:
    same = (channels,) * 4
    ifa, cfa = (count_aggregation(kind, same, width, COUNTED_SIDE) for kind in ("ifa", "cfa"))
    return ifa / cfa


def _counted_sdca(tokens: int, width: int) -> float:
    norm = attention_operations("sdca", tokens, width) - 2 * tokens * width * (tokens + 3)
    mhca, sdca = (count_attention(kind, tokens, width) - norm for kind in ("mhca", "sdca"))
    return mhca / sdca
