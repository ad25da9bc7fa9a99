"""Make the bundled model of a finished run: choose size and thresholds on `val`, store float16, write the card's table.

    python reproduce/bundle_model.py RUN/model --data facades --folder src/yoso/assets/facades-mnv2

The network sees every image once per size; all pairs of thresholds are then tried on the same logits. What is stored
is what is scored: the figures come from the float16 weights, by `yoso eval`.
"""

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from yoso.data.dataset import PanopticDataset
from yoso.data.spec import load_spec
from yoso.evaluation.panoptic_quality import PanopticQuality
from yoso.files import read_json, write_json, written_whole
from yoso.model.checkpoint import Model, load_model, save_model
from yoso.model.folder import METRICS
from yoso.model.yoso import padded_size
from yoso.postprocess import Sizes, panoptic
from yoso.preprocess import resize, resized_size
from yoso.settings import InferenceConfig
from yoso.structures import Outputs

SIZES = (320, 400, 480, 560, 640)
OBJECT_MASK_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)
OVERLAP_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@torch.inference_mode()
def logits(model: Model, dataset: PanopticDataset, side: int) -> list[tuple[Outputs, Sizes]]:
    """Return the outputs for every image of a split, its shorter side resized to `side` pixels."""
    found = []
    for index in range(len(dataset)):
        image = dataset.example(index).image
        size = resized_size(image.shape[:2], (side, 2 * side))
        tensor = torch.from_numpy(resize(image, size).copy()).permute(2, 0, 1)
        found.append((model.network([tensor]), Sizes(padded_size([size]), size, image.shape[:2])))
    return found


def quality(model: Model, dataset: PanopticDataset, outputs: list[tuple[Outputs, Sizes]], pair: tuple) -> float:
    """Return PQ (0 to 1) over all classes with a pair of thresholds."""
    metric = PanopticQuality(model.categories)
    for index, (output, sizes) in enumerate(outputs):
        example = dataset.example(index)
        result = panoptic(output.class_logits[0], output.mask_logits[0], sizes, model.categories.is_thing, *pair)
        segments = [{"id": s.id, "category_id": model.categories[s.class_index].id} for s in result.segments]
        metric.update(result.segmentation.numpy(), segments, example.id_map, example.segments)
    return metric.compute().all.pq


def choose(model: Model, dataset: PanopticDataset) -> InferenceConfig:
    """Return the size and thresholds of the highest PQ: first the size, with middling thresholds, then the pair."""
    by_size = {}
    for side in SIZES:
        by_size[side] = quality(model, dataset, logits(model, dataset, side), (0.3, 0.5))
        print(f"size {side}: PQ {100 * by_size[side]:.2f}", flush=True)
    side = max(by_size, key=by_size.get)
    outputs = logits(model, dataset, side)
    by_pair = {}
    for pair in itertools.product(OBJECT_MASK_THRESHOLDS, OVERLAP_THRESHOLDS):
        by_pair[pair] = quality(model, dataset, outputs, pair)
        print(f"size {side}, thresholds {pair}: PQ {100 * by_pair[pair]:.2f}", flush=True)
    return InferenceConfig(*max(by_pair, key=by_pair.get), (side, 2 * side))


def write_table(card: Path, metrics: dict) -> None:
    """Replace what stands between the card's two marks by the table of these metrics."""
    rows = ["| class | kind | PQ | SQ | RQ | matched | mistaken | missed |", "|---|---|---:|---:|---:|---:|---:|---:|"]
    for row in metrics["per_class"]:
        figures = [f"{100 * row[key]:.1f}" if row[key] is not None else "-" for key in ("pq", "sq", "rq")]
        counts = [str(row[key]) for key in ("true_positive", "false_positive", "false_negative")]
        rows.append(" | ".join(["| " + row["name"], "thing" if row["is_thing"] else "stuff", *figures, *counts]) + " |")
    for group in ("things", "stuff", "all"):
        figures = [f"**{100 * metrics[group][key]:.1f}**" for key in ("pq", "sq", "rq")]
        rows.append(" | ".join([f"| **{group}**", f"n = {metrics[group]['n']}", *figures, "", "", ""]) + " |")
    text = re.sub(
        r"(<!-- figures -->\n).*(<!-- end -->)",
        lambda m: m[1] + "\n".join(rows) + "\n" + m[2],
        card.read_text(),
        flags=re.S,
    )
    with written_whole(card) as temporary:
        temporary.write_text(text)


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="the model folder of a run")
    parser.add_argument("--data", default="facades")
    parser.add_argument("--folder", type=Path, default=Path("src/yoso/assets/facades-mnv2"))
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    dataset = PanopticDataset(load_spec(arguments.data).split("val"))
    model = replace(model, inference=choose(model, dataset))
    training = read_json(arguments.model / METRICS)
    save_model(arguments.folder, model, half=True)
    with tempfile.TemporaryDirectory() as output:
        command = ["-m", "yoso", "eval", "--model", str(arguments.folder), "--data", arguments.data, "--output", output]
        printed = subprocess.run([sys.executable, *command, "--json"], check=True, capture_output=True, text=True)
    metrics = json.loads(printed.stdout)
    write_json(arguments.folder / METRICS, {**metrics, "training": training}, indent=1)
    if (arguments.folder / "README.md").is_file():
        write_table(arguments.folder / "README.md", metrics)
    print(f"{model.inference}\nPQ {100 * metrics['all']['pq']:.2f}")


if __name__ == "__main__":
    main()
