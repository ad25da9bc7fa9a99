"""Table 6 of the paper: five kinds of attention as single modules; parameters, FLOPs, latency.

    python -m yoso.reproduction.table6_attention [--device cpu] [--json FILE]

Output: benchmarks/results/table6_attention.json

The protocol is that of `yoso.speed`: all modules take turns after a warm-up of each. The paper used a 3090. Its FLOPs
count a multiply-add as one and a LayerNorm as 5 per element; the formulas here give exactly these FLOPs. The paper does
not give parameters.
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
from yoso.model.attention import ATTENTIONS
from yoso.model.config import ModelConfig
from yoso.provenance import provenance
from yoso.speed.protocol import LatencySummary, interleaved, timer

PAPER = {
    "mhca": {"mflops": 31.5, "microseconds": 2608, "pq": 46.0},
    "sdca": {"mflops": 5.4, "microseconds": 2183, "pq": 47.0},
    "dca": {"mflops": 15.5, "microseconds": 1701, "pq": 46.9},
    "pdca": {"mflops": 5.2, "microseconds": 1450, "pq": 43.7},
    "ddca": {"mflops": 0.3, "microseconds": 1242, "pq": 46.6},
}


def paper_flops(kind: str, n: int = 100, d: int = 256, t: int = 3) -> int:
    """Return the operations of one module for n queries of width d and kernels of t taps (equation 10)."""
    kernels_and_use = {
        "mhca": 4 * n * d * d + 2 * n * n * d,
        "sdca": n * d * (n + t) + n * d * t + n * n * d,
        "dca": 2 * n * n * d * t,
        "pdca": 2 * n * n * d,
        "ddca": 2 * n * d * t,
    }
    return kernels_and_use[kind] + 5 * n * d


def measure(repeats: int, warmup: int, device: torch.device) -> dict[str, Any]:
    """Time all kinds on the same queries and values.

    Raises:
        YosoError: a module fails on the device.
    """
    torch.manual_seed(0)
    config = ModelConfig()
    modules = {kind: ATTENTIONS[kind](config).eval().to(device) for kind in PAPER}
    query, value = (torch.randn(1, config.num_queries, config.hidden_channels).to(device) for _ in range(2))
    runs = {kind: partial(module, query, value) for kind, module in modules.items()}
    with torch.inference_mode():
        samples, errors = interleaved(runs, repeats, warmup, timer(device))
    if errors:
        raise YosoError(f"{next(iter(errors.values()))}; use another device")
    return {
        kind: {
            "parameters": sum(parameter.numel() for parameter in modules[kind].parameters()),
            "flops": paper_flops(kind, config.num_queries, config.hidden_channels, config.kernel_size),
            "seconds": dataclasses.asdict(LatencySummary.of(taken)),
            "samples": taken,
        }
        for kind, taken in samples.items()
    }


def main() -> int:
    """Measure, print a line per kind, and write the JSON file."""
    parser = argparse.ArgumentParser(description="Time the kinds of attention as single modules.")
    default = Path("benchmarks/results/table6_attention.json")
    parser.add_argument("--json", type=Path, default=default, help=f"output file (default: {default})")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--repeats", type=int, default=200, help="timed runs of each module (default: 200)")
    parser.add_argument("--warmup", type=int, default=20, help="untimed runs before them (default: 20)")
    options = parser.parse_args()
    try:
        device = resolve_device(options.device)
        measured = measure(options.repeats, options.warmup, device)
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
    for kind, row in measured.items():
        paper = PAPER[kind]
        print(
            f"{kind:>5}  {row['parameters']:7,} parameters  "
            f"{row['flops'] / 1e6:5.1f} MFLOPs (paper {paper['mflops']})  "
            f"{1e6 * row['seconds']['median']:6.0f} us (paper, 3090: {paper['microseconds']})"
        )
    print(f"written: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
