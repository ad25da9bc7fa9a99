"""Measures what each part of the recipe for small data contributes: short trainings with one part changed.

    python benchmarks/small_recipe.py --data facades --output runs/search [--iterations 300] [--seeds 1] \
        --backbone_weights mobilenetv2_100_imagenet.safetensors [--only NAME ...]

Output: benchmarks/results/small_recipe.json, and a Markdown table

Every training has its own run folder. Finished runs are not repeated and stopped runs resume, so the script can be
interrupted at any time. The figures are the PQ of the averaged weights on `val`, and the losses of the last stage,
averaged over the last fifth of the training.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch

from yoso.errors import YosoError
from yoso.files import read_text, write_json
from yoso.provenance import provenance
from yoso.training.cli import main as run_training

FORMER = ["--point_at_places=false", "--optimizer.lr=0.0003"]
"""The recipe before the search found two improvements; the first variants change this one."""

VARIANTS: dict[str, list[str]] = {
    "former recipe": FORMER,
    "former, without waves": [*FORMER, "--model.position_frequencies=0"],
    "former, without forced stages": [*FORMER, "--loss.forced_weight=0"],
    "former, without classes of positions": [*FORMER, "--loss.semantic_weight=0"],
    "former, without any of the three": [
        *FORMER,
        "--model.position_frequencies=0",
        "--loss.forced_weight=0",
        "--loss.semantic_weight=0",
    ],
    "former, without the calibrated start": [*FORMER, "--calibrate=false"],
    "former, temperature 1": [*FORMER, "--model.temperature=1"],
    "former, kernels that point at places": ["--optimizer.lr=0.0003"],
    "former, learning rate 1e-3": ["--point_at_places=false"],
    "the recipe": [],
    "learning rate 2e-3": ["--optimizer.lr=0.002"],
    "interpolation first": ["--model.aggregation=ifa"],
    "no averaging": ["--run.ema_decay=0"],
    "official clipping, 0.01": ["--optimizer.clip_norm=0.01"],
    "temperature 0.05": ["--model.temperature=0.05"],
    "classes weigh twice": ["--loss.class_weight=4"],
    "void takes no part": ["--loss.ignore_void=true"],
    "crops of 256": ["--augmentation.size=[256,256]"],
    "scales 0.8 to 1.25": ["--augmentation.scale=[0.8,1.25]"],
    "whole photographs at 320": ["--augmentation.scale=[1.0,1.0]"],
    "128 channels aggregated": ["--model.aggregation_channels=128"],
    "backbone at the full rate": ["--optimizer.backbone_multiplier=1"],
    "frozen backbone": ["--optimizer.backbone_multiplier=0"],
    "random points": ["--loss.mask_sampling=points"],
    "masks and dice weigh half": ["--loss.mask_weight=2.5", "--loss.dice_weight=2.5"],
    "two images a step, twice the steps": ["--run.batch_size=2", "--run.iterations={twice}"],
}
"""The changes, as options of `yoso train`."""


def folder_of(output: Path, name: str, seed: int) -> Path:
    """Return a variant's run folder."""
    return output / f"{re.sub('[^a-z0-9]+', '_', name.lower())}_{seed}"


def is_done(folder: Path) -> bool:
    """Return whether a run is complete."""
    return (folder / "model" / "metrics.json").is_file()


def train(folder: Path, name: str, seed: int, options: argparse.Namespace, more: list[str]) -> bool:
    """Train a variant unless it is complete; return False if SIGTERM stopped it."""
    if is_done(folder):
        return True
    iterations = options.iterations
    words = [word.format(twice=2 * iterations) for word in VARIANTS[name]]
    fixed = [
        f"--run.iterations={iterations}",
        f"--run.validate_every={2 * iterations}",
        f"--run.seed={seed}",
        "--run.ema_decay=0.99",
        "--run.log_every=5",
        "--run.samples=0",
        f"--output={folder}",
    ]
    resume = ["--resume"] if any((folder / "checkpoints").glob("*.ckpt")) else []
    run_training(["facades_mnv2", "--data", options.data, *fixed, *more, *words, *resume])
    return is_done(folder)


def figures(folder: Path) -> dict[str, Any]:
    """Return the scores of a run's last evaluation, and the mean losses of its last fifth."""
    scores = json.loads(read_text(folder / "validation.jsonl").splitlines()[-1])
    lines = [line for line in read_text(folder / "train.log").splitlines() if " loss " in line]
    last = lines[-max(1, len(lines) // 5) :]
    losses = {}
    for term in ("class", "mask", "dice"):
        values = [float(found[1]) for line in last if (found := re.search(rf"stage2/{term} ([\d.]+)", line))]
        losses[term] = sum(values) / len(values)
    classes = {row["name"]: row["pq"] for row in scores["per_class"]}
    return {
        **{group: scores[group]["pq"] for group in ("all", "things", "stuff")},
        "classes": classes,
        "losses": losses,
    }


def main() -> int:
    """Train what is missing, print the table and write the JSON file."""
    parser = argparse.ArgumentParser(description="Train with one part of the recipe for small data changed.")
    default = Path(__file__).parents[1] / "benchmarks" / "results" / "small_recipe.json"
    parser.add_argument("--data", default="facades", help="data set: name, YAML or folder (default: facades)")
    parser.add_argument("--output", type=Path, default=Path("runs/search"), help="folder of the run folders")
    parser.add_argument("--iterations", type=int, default=300, help="steps of each training (default: 300)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant (default: 1)")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), help="variants")
    parser.add_argument("--done", action="store_true", help="train nothing; report complete runs only")
    parser.add_argument("--json", type=Path, default=default, help="output file")
    options, more = parser.parse_known_args()
    what = f"recipe small on {Path(options.data).name}, {options.iterations} iterations"
    about = provenance(torch.device("cpu"))  # first, because writing the file changes the checkout
    rows = []
    for name in options.only:
        for seed in range(options.seeds):
            folder = folder_of(options.output, name, seed)
            if options.done and not is_done(folder):
                continue
            try:
                if not train(folder, name, seed, options, more):
                    print(f"stopped at: {name}; run the same command to resume", file=sys.stderr)
                    return 0
            except YosoError as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
            rows.append({"variant": name, "options": VARIANTS[name], "seed": seed, **figures(folder)})
            write_json(options.json, {"what": what, "rows": rows, **about}, indent=1)
    print("| variant | seed | PQ | things | stuff | class | mask | dice |\n|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        shares = " | ".join(f"{100 * row[group]:.1f}" for group in ("all", "things", "stuff"))
        losses = " | ".join(f"{row['losses'][term]:.2f}" for term in ("class", "mask", "dice"))
        print(f"| {row['variant']} | {row['seed']} | {shares} | {losses} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
