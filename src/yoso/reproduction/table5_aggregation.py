"""Table 5 of the paper: interpolation-first (IFA) against convolution-first aggregation (CFA), as single modules.

    python -m yoso.reproduction.table5_aggregation [--device cpu] [--json FILE]

Output: benchmarks/results/table5_aggregation.json

The protocol is that of `yoso.speed`: both modules take turns after a warm-up of each. The paper used a 3090. Its FLOPs
count a multiply-add as one and interpolation as 4 per output element. They match an output width of 128, although the
caption says 256, so this script measures both widths.
"""

import argparse
import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from yoso.errors import YosoError
from yoso.files import write_json
from yoso.inference.torch_engine import resolve_device
from yoso.model.aggregator import InterpolationFirst
from yoso.provenance import provenance
from yoso.speed.protocol import LatencySummary, interleaved, timer
from yoso.speed.table import factor_words

CHANNELS = (128, 256, 512, 1024)
"""c2 to c5."""

SIDE = 256
"""Height and width of the finest level."""

WIDTHS = (128, 256)
PAPER = {
    "ifa": {"gflops": 16.6, "microseconds": 4871, "pq": 47.5},
    "cfa": {"gflops": 2.1, "microseconds": 1877, "pq": 47.0},
}
MAX_DIFFERENCE = 1e-4


def paper_flops(kind: str, width: int, side: int = SIDE) -> int:
    """Return the operations by equation 2: its numerator for "ifa", its denominator for "cfa"."""
    c2, c3, c4, c5 = CHANNELS
    if kind == "ifa":
        return (4 * (c3 + c4 + c5) + sum(CHANNELS) * width) * side**2
    return (c5 // 64 + c4 // 16 + c3 // 4 + c2 + 12 + 3) * width * side**2


def measure(width: int, side: int, repeats: int, warmup: int, device: torch.device) -> dict[str, Any]:
    """Time both modules at an output width, after checking that their outputs agree.

    Raises:
        YosoError: the outputs differ, or a module fails on the device.
    """
    torch.manual_seed(0)
    ifa = InterpolationFirst(CHANNELS, width).eval().to(device)
    cfa = ifa.to_cfa()
    levels = [torch.rand(1, channels, side >> index, side >> index) for index, channels in enumerate(CHANNELS)]
    levels = [level.to(device) for level in levels]
    with torch.inference_mode():
        difference = (ifa(levels) - cfa(levels)).abs().max().item()
        if difference > MAX_DIFFERENCE:
            raise YosoError(f"IFA and CFA differ by {difference:.2g}; they must be equal")
        runs = {"ifa": partial(ifa, levels), "cfa": partial(cfa, levels)}
        samples, errors = interleaved(runs, repeats, warmup, timer(device))
    if errors:
        raise YosoError(f"{next(iter(errors.values()))}; use another device")
    rows: dict[str, Any] = {}
    for kind, taken in samples.items():
        flops = paper_flops(kind, width, side)
        rows[kind] = {"flops": flops, "seconds": dataclasses.asdict(LatencySummary.of(taken)), "samples": taken}
    ratio = rows["ifa"]["seconds"]["median"] / rows["cfa"]["seconds"]["median"]
    return {"width": width, "side": side, **rows, "times_faster": ratio, "largest_difference": difference}


def main() -> int:
    """Measure, print a line per width and module, and write the JSON file."""
    parser = argparse.ArgumentParser(description="Time CFA against IFA as single modules.")
    default = Path("benchmarks/results/table5_aggregation.json")
    parser.add_argument("--json", type=Path, default=default, help=f"output file (default: {default})")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--side", type=int, default=SIDE, help=f"sides of the finest level (default: {SIDE})")
    parser.add_argument("--repeats", type=int, default=30, help="timed runs of each module (default: 30)")
    parser.add_argument("--warmup", type=int, default=3, help="untimed runs before them (default: 3)")
    options = parser.parse_args()
    try:
        device = resolve_device(options.device)
        measured = [measure(width, options.side, options.repeats, options.warmup, device) for width in WIDTHS]
        result = {
            "protocol": f"single modules in turns, {options.repeats} runs after {options.warmup} of warm-up, float32",
            "paper": PAPER,
            "measured": measured,
            **provenance(device),
        }
        write_json(options.json, result, indent=1)
    except YosoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in measured:
        for kind in ("ifa", "cfa"):
            print(
                f"d = {row['width']}  {kind}  {row[kind]['flops'] / 1e9:5.1f} GFLOPs (paper {PAPER[kind]['gflops']})  "
                f"{1e6 * row[kind]['seconds']['median']:9.0f} us (paper, 3090: {PAPER[kind]['microseconds']})"
            )
        print(f"d = {row['width']}  CFA is {factor_words(row['times_faster'])} (paper: 2.60 times faster)")
    print(f"written: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
