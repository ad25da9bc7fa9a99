"""Measures how much memory the data loading of a training takes on a data set of COCO's size.

    python benchmarks/loader_memory.py [--workers 8] [--images 118287] [--json FILE]

Output: benchmarks/results/loader_memory.json; exit status 1 if the target of 1.5 GB for 8 workers is missed

The script writes a synthetic COCO panoptic JSON with as many images as COCO's train2017 and 4 to 18 segments each. All
entries share a few noise images of COCO's size, so that the disk does not matter. A new process then reads the JSON as
`yoso train coco_r50 --run.devices 8 --run.batch_size 2` does, starts the workers and takes batches.

The figures are proportional set sizes (PSS, from /proc: a shared page is divided among its users) of the workers, of
the process that started them, and of all together; and the peak of that process, which it reaches while it reads the
JSON. The paper gives no figure for this. Linux only.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

TARGET_MB = 1500.0
FILES = 32
HEIGHT, WIDTH = 480, 640
BATCHES_PER_WORKER = 3
BATCH_SIZE = 2


def write_data_set(folder: Path, images: int) -> None:
    """Write a JSON with `images` entries, and the few files that they share."""
    rng = random.Random(0)
    classes = [{"id": n, "name": f"class {n}", "isthing": int(n <= 80), "color": [n, n, n]} for n in range(1, 134)]
    noise = np.random.default_rng(0)
    for number in range(FILES):
        for place, suffix in (("train", "jpg"), ("panoptic_train", "png")):
            path = folder / place / f"{number:012}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
    with (folder / "panoptic_train.json").open("w", encoding="utf-8") as sink:
        listed = (json.dumps(_image(number)) for number in range(images))
        sink.write('{"info": {}, "licenses": [], "images": [' + ", ".join(listed) + '], "annotations": [')
        for number in range(images):
            sink.write(", " * (number > 0) + json.dumps(_annotation(number, rng)))
        sink.write(f'], "categories": {json.dumps(classes)}}}')


def _image(number: int) -> dict[str, Any]:
    name = f"{number % FILES:012}.jpg"
    url = f"http://images.cocodataset.org/train2017/{number:012}.jpg"
    flickr = "http://farm4.staticflickr.com/3153/2970773875_164f0c0b83_z.jpg"
    size = {"height": HEIGHT, "width": WIDTH}
    return {"license": 1, "file_name": name, "coco_url": url, **size, "flickr_url": flickr, "id": number}


def _annotation(number: int, rng: random.Random) -> dict[str, Any]:
    segments = [
        {
            "id": segment_id,
            "category_id": rng.randrange(1, 134),
            "iscrowd": 0,
            "bbox": [rng.randrange(WIDTH), rng.randrange(HEIGHT), rng.randrange(99), rng.randrange(99)],
            "area": rng.randrange(WIDTH * HEIGHT),
        }
        for segment_id in rng.sample(range(1, 2**24), rng.randrange(4, 19))
    ]
    return {"segments_info": segments, "file_name": f"{number % FILES:012}.png", "image_id": number}


def proportional_mb(process: int) -> float:
    """Return the PSS of a process in MB."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"/proc/{process}/smaps_rollup has no line that begins with Pss")


def measure(folder: Path, workers: int) -> dict[str, Any]:
    """Load data as training does, in this process, and return the figures."""
    from yoso.data.spec import DatasetSpec, Split
    from yoso.training.cli import parse
    from yoso.training.loaders import Loaders

    options = ["--run.batch_size", str(BATCH_SIZE), "--run.workers", str(workers), "--run.validate_every", "0"]
    config, _ = parse(["coco_r50", *options])
    split = Split(folder / "train", folder / "panoptic_train", folder / "panoptic_train.json")
    before_mb = proportional_mb(os.getpid())
    started = time.perf_counter()
    loaders = Loaders(config, DatasetSpec("synthetic", {"train": split}))
    seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    loaders.trainer = SimpleNamespace(global_step=0, global_rank=0, world_size=1)
    batches = iter(loaders.train_dataloader())
    for _ in range(BATCHES_PER_WORKER * workers):
        next(batches)
    ours = proportional_mb(os.getpid())
    theirs = sorted(proportional_mb(int(worker.pid or 0)) for worker in multiprocessing.active_children())
    return {
        "images": len(loaders.training),
        "json_mb": split.annotations.stat().st_size / 1e6,
        "workers": workers,
        "batch_size": BATCH_SIZE,
        "read_seconds": seconds,
        "before_reading_mb": before_mb,
        "peak_while_reading_mb": peak_mb,
        "workers_mb": sum(theirs),
        "largest_worker_mb": theirs[-1],
        "main_mb": ours,
        "all_mb": sum(theirs) + ours,
    }


def run(images: int, workers: int, folder: Path) -> dict[str, Any]:
    """Write the data set unless `folder` has it, and measure in a new process."""
    if not (folder / "panoptic_train.json").is_file():
        write_data_set(folder, images)
    command = [sys.executable, "-W", "ignore", __file__, "--measure", str(folder), "--workers", str(workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Measure, print a summary and write the JSON file; return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description="Measure the memory that the data loading of a training takes.")
    default = Path(__file__).parents[1] / "benchmarks" / "results" / "loader_memory.json"
    parser.add_argument("--images", type=int, default=118_287, help="entries of the JSON (default: 118287)")
    parser.add_argument("--workers", type=int, default=8, help="loading processes (default: 8)")
    parser.add_argument("--json", type=Path, default=default, help="output file")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.workers)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = run(args.images, args.workers, Path(folder))
    print(summary(found))
    import torch

    from yoso.files import write_json
    from yoso.provenance import provenance

    protocol = (
        f"PSS after {BATCHES_PER_WORKER} batches of {BATCH_SIZE} from each worker, large-scale jitter to 1024x1024"
    )
    results = [{**found, "aim_mb": TARGET_MB}]
    write_json(args.json, {"protocol": protocol, "results": results, **provenance(torch.device("cpu"))}, indent=1)
    print(f"written: {args.json}")
    return 0 if found["all_mb"] < TARGET_MB else 1


def summary(found: dict[str, Any]) -> str:
    """Return the figures in two lines."""
    return (
        f"{found['images']:,} images, JSON of {found['json_mb']:.0f} MB, read in {found['read_seconds']:.0f} s; "
        f"{found['before_reading_mb']:.0f} MB before, at most {found['peak_while_reading_mb']:.0f} MB while reading\n"
        f"{found['workers']} workers {found['workers_mb']:.0f} MB (the largest {found['largest_worker_mb']:.0f}), "
        f"main process {found['main_mb']:.0f} MB, all together {found['all_mb']:.0f} MB; target: {TARGET_MB:.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
