"""Measures whether data loading keeps up with training: images per second of the loader and of a training step.

    python benchmarks/loader_speed.py [--recipe facades_mnv2] [--data DATASET] [--precision 32-true] [--json FILE]

Output: benchmarks/results/loader_speed.json; exit status 1 if the loader is slower than the step

The loader is that of `yoso train`, with several numbers of loading processes. A step is forward, loss, backward and
AdamW on a batch in memory. Without --data, the script draws images of 640x640 pixels with 30 segments first. The paper
gives no figure for this.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from yoso.categories import Categories, Category
from yoso.data.coco_panoptic import ImageRecord, PanopticWriter
from yoso.data.spec import load_spec
from yoso.data.transforms import collate
from yoso.files import write_json
from yoso.provenance import provenance
from yoso.speed.protocol import LatencySummary, interleaved, timer
from yoso.training.cli import parse
from yoso.training.config import TrainingConfig
from yoso.training.loaders import Batches, Loaders, init_worker
from yoso.training.memory import MemoryProbe, training_device
from yoso.training.run import build_network
from yoso.training.sampling import EndlessSampler

SIDE = 640
NUM_SEGMENTS = 30
NUM_IMAGES = 48


def draw_data(folder: Path) -> Path:
    """Write a data set of smooth images with rectangular segments, and return its folder."""
    rng = np.random.default_rng(0)
    categories = Categories(Category(i + 1, f"class {i}", i < 4, (40 * i % 256, 90, 200)) for i in range(10))
    writer = PanopticWriter(
        folder / "annotations/panoptic_train.json", folder / "annotations/panoptic_train", categories
    )
    (folder / "train").mkdir(parents=True)
    for index in range(NUM_IMAGES):
        id_map = np.ones((SIDE, SIDE), np.int32)
        for segment_id in range(2, NUM_SEGMENTS + 1):
            top, left = rng.integers(0, SIDE - 100, 2)
            id_map[top : top + 100, left : left + 100] = segment_id
        coarse = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"train/{index}.jpg", quality=92)
        segments = [{"id": int(i), "category_id": int(i) % 10 + 1} for i in np.unique(id_map)]
        writer.add(ImageRecord(index, f"{index}.jpg", f"{index}.png", SIDE, SIDE), id_map, segments)
    writer.close()
    return folder


def loader_speed(loaders: Loaders, config: TrainingConfig, workers: int, images: int) -> float:
    """Return images per second of the loader, after the first batch."""
    batch_size = config.run.batch_size
    loader = DataLoader(
        loaders.samples(),
        batch_size=batch_size,
        sampler=EndlessSampler(len(loaders.training), config.run.seed),
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=init_worker,
    )
    batches = iter(Batches(loader, batch_size))
    next(batches)
    start = time.perf_counter()
    count = sum(len(batch.samples) for batch in islice(batches, -(-images // batch_size)))
    return count / (time.perf_counter() - start)


def step_speed(loaders: Loaders, config: TrainingConfig, steps: int) -> float:
    """Return images per second of a training step: the median of `steps`, after a warm-up of one."""
    samples = [loaders.first(index) for index in range(config.run.batch_size)]
    device = training_device(config.run.accelerator)
    probe = MemoryProbe(build_network(config, loaders.categories).train(), config, loaders, device)
    taken, errors = interleaved({"step": lambda: probe.step(samples)}, steps, 1, timer(device))
    if errors:
        raise SystemExit(f"error: the training step: {errors['step']}")
    return len(samples) / LatencySummary.of(taken["step"]).median


def measure(options: argparse.Namespace, data: str) -> dict[str, Any]:
    """Return the figures for each number of loading processes and for the step."""
    precision = ["--run.precision", options.precision] if options.precision else []
    config, _ = parse([options.recipe, "--data", data, "--backbone_weights", "none", *precision])
    config = replace(config, run=replace(config.run, validate_every=0))
    loaders = Loaders(config, load_spec(config.data))
    rows = [
        {"workers": workers, "images_per_second": round(loader_speed(loaders, config, workers, options.images), 2)}
        for workers in options.workers
    ]
    step = {
        "images_per_second": round(step_speed(loaders, config, options.steps), 2),
        "batch_size": config.run.batch_size,
        "precision": config.run.precision,
    }
    return {"recipe": options.recipe, "data": options.data or "drawn", "loader": rows, "step": step}


def main() -> int:
    """Measure, print and write the JSON file; return 1 if the fastest loader is slower than the step."""
    parser = argparse.ArgumentParser(description="Time the loader of a recipe against its training step.")
    default = Path(__file__).parents[1] / "benchmarks" / "results" / "loader_speed.json"
    parser.add_argument("--recipe", default="facades_mnv2", help="default: facades_mnv2")
    parser.add_argument("--data", help="data set: name, YAML or folder (default: a synthetic one)")
    parser.add_argument("--precision", help="default: the recipe's")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="loading processes (default: 0 1 2)")
    parser.add_argument("--images", type=int, default=96, help="timed images for each of them (default: 96)")
    parser.add_argument("--steps", type=int, default=5, help="timed training steps (default: 5)")
    parser.add_argument("--json", type=Path, default=default, help="output file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, options.data or str(draw_data(Path(folder))))
    for row in figures["loader"]:
        print(f"loader, {row['workers']} processes: {row['images_per_second']:8.2f} images/s")
    print(f"training step:       {figures['step']['images_per_second']:8.2f} images/s")
    protocol = f"{options.images} images after the first batch; median of {options.steps} steps after 1 of warm-up"
    about = provenance(training_device("auto"))
    write_json(options.json, {"protocol": protocol, **figures, **about}, indent=1)
    print(f"written: {options.json}")
    fastest = max(row["images_per_second"] for row in figures["loader"])
    return 0 if fastest >= figures["step"]["images_per_second"] else 1


if __name__ == "__main__":
    sys.exit(main())
