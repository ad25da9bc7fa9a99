"""Measures a training step of the official implementation, and how much time each of our changes saves.

    python benchmarks/training_step.py [--recipe small] [--data facades] [--device cpu] [--json FILE]

Output: benchmarks/results/training_step.json

The forms take turns on the same images. Each runs a whole step: forward, loss, backward, clipping, AdamW. All but the
first have the same printed loss, up to rounding. The paper gives no figure for this.
"""

import argparse
import copy
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from yoso.data.spec import load_spec
from yoso.errors import YosoError
from yoso.files import write_json
from yoso.inference.torch_engine import resolve_device
from yoso.model.yoso import YOSO
from yoso.provenance import provenance
from yoso.speed.official import official_network
from yoso.speed.protocol import LatencySummary, interleaved, timer
from yoso.structures import Sample
from yoso.training.calibration import calibrate
from yoso.training.cli import parse
from yoso.training.config import TrainingConfig
from yoso.training.loaders import Loaders
from yoso.training.module import TrainingModule
from yoso.training.optimizer import build_optimizer
from yoso.training.run import build_network

OFFICIAL = "official implementation: torchvision's deformable convolution, 12,544 points per mask"
FORMS = (
    OFFICIAL,
    "masks compared at every position",
    "deformable convolution by columns",
    "channels last",
    "without the features S",
)
"""Each changes one thing in the form before it; the last is what `yoso train` does."""


@dataclasses.dataclass
class Step:
    """One form of the step.

    Attributes:
        run: takes a step.
        loss: of the first step.
    """

    run: Callable[[], None]
    loss: float


def build(form: int, network: YOSO, config: TrainingConfig, loaders: Loaders, samples: list[Sample]) -> Step:
    """Return a form by its index in `FORMS`, on a copy of the network."""
    sampling = "dense" if form >= 1 else "points"
    loss = dataclasses.replace(config.loss, mask_sampling=sampling, forced_weight=0.0, semantic_weight=0.0)
    config = dataclasses.replace(config, loss=loss)
    network = copy.deepcopy(network) if form >= 2 else official_network(network)
    module = TrainingModule(network.train(), config, loaders.categories)
    if form < 3:
        network.to(memory_format=torch.contiguous_format)
    if form < 4:
        network.factored = network.features
    optimizer = build_optimizer(network, config.optimizer)
    losses: list[float] = []

    def run() -> None:
        torch.manual_seed(0)
        total = torch.stack(list(module.losses(samples).values())).sum()
        losses.append(total.item())
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimizer.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    run()
    return Step(run, losses[0])


def measure(config: TrainingConfig, device: torch.device, repeats: int, warmup: int) -> list[dict[str, Any]]:
    """Time all forms and return a row for each."""
    loaders = Loaders(config, load_spec(config.data))
    network = build_network(config, loaders.categories)
    samples = [loaders.first(index) for index in range(config.run.batch_size)]
    calibrate(network, samples)
    network = network.to(device)
    placed = [
        sample._replace(**{name: getattr(sample, name).to(device) for name in sample._fields[:3]}) for sample in samples
    ]
    steps = {name: build(form, network, config, loaders, placed) for form, name in enumerate(FORMS)}
    taken, errors = interleaved({name: step.run for name, step in steps.items()}, repeats, warmup, timer(device))
    if errors:
        raise YosoError(f"{next(iter(errors.values()))}; use another device")
    return [
        {
            "form": name,
            "loss": steps[name].loss,
            "seconds": dataclasses.asdict(LatencySummary.of(taken[name])),
            "images_per_second": len(samples) / LatencySummary.of(taken[name]).median,
            "samples": taken[name],
        }
        for name in FORMS
    ]


def main() -> int:
    """Measure, print a line per form and write the JSON file."""
    parser = argparse.ArgumentParser(description="Time a training step, and what each of our changes saves.")
    default = Path(__file__).parents[1] / "benchmarks" / "results" / "training_step.json"
    parser.add_argument("--json", type=Path, default=default, help="output file")
    parser.add_argument("--recipe", default="small", help="default: small")
    parser.add_argument("--data", default="facades", help="data set: name, YAML or folder (default: facades)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--repeats", type=int, default=10, help="timed steps of each form (default: 10)")
    parser.add_argument("--warmup", type=int, default=1, help="untimed steps before them (default: 1)")
    options, more = parser.parse_known_args()
    try:
        config, _ = parse([options.recipe, "--data", options.data, "--backbone_weights", "none", *more])
        device = resolve_device(options.device)
        rows = measure(config, device, options.repeats, options.warmup)
        size = "x".join(map(str, config.augmentation.size))
        about = f"{config.model.backbone}, {config.run.batch_size} crops of {size}, recipe {options.recipe}, float32"
        protocol = f"whole steps in turns, {options.repeats} runs after {options.warmup} of warm-up"
        write_json(options.json, {"what": about, "protocol": protocol, "rows": rows, **provenance(device)}, indent=1)
    except YosoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in rows:
        times = rows[0]["seconds"]["median"] / row["seconds"]["median"]
        print(
            f"{1e3 * row['seconds']['median']:7.0f} ms  {row['images_per_second']:5.2f} images/s  {times:4.1f} times  "
            f"loss {row['loss']:.5f}  {row['form']}"
        )
    print(f"written: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
