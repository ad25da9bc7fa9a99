"""Turns a finished run into a bundled model: float16 weights, ONNX file, metrics and the table of its card.

    python benchmarks/bundle_model.py RUN/model --data facades [--folder FOLDER] [--sheet IMAGE.png]
    python benchmarks/bundle_model.py RUN/model --data nuclei --tiles 256,64 --no-onnx --folder FOLDER

Output: src/yoso/assets/facades-mnv2/, or FOLDER

The script chooses the input size and both thresholds on `val`: the network sees every image once per size, and all
pairs of thresholds are tried on the same logits. `yoso eval` then scores the stored float16 weights. With --tiles, the
size is the run's, and the thresholds are the best of `benchmarks/score_tiles.py`.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import yoso
from yoso.apps.arguments import tile_size
from yoso.data.dataset import PanopticDataset
from yoso.data.spec import load_spec
from yoso.drawing.pictures import write_picture
from yoso.drawing.rendering import contact_sheet
from yoso.files import read_json, read_text, write_json, write_text
from yoso.inference.predictor import Predictor
from yoso.inference.results import coco_segments
from yoso.inference.runtimes import RUNTIMES
from yoso.scoring.loop import Prediction, score_split
from yoso.scoring.predicting import with_logits
from yoso.scoring.tasks import MatchedSegments
from yoso.scoring.tuning import Grid, ThresholdSearch
from yoso.settings import InferenceConfig, Thresholds
from yoso.weights.layout import METRICS
from yoso.weights.load import load_model
from yoso.weights.model_folder import save_model

SIZES = (320,)
"""Shorter sides to try. ONNX Runtime resizes 640x640 to 320 (or 512) exactly as Pillow does."""

STEPS = tuple(number / 10 for number in range(2, 8))
GRID = Grid(STEPS, STEPS)


def choose(predictor: Predictor, dataset: PanopticDataset, sizes: Sequence[int]) -> InferenceConfig:
    """Return the input size and the two thresholds with the highest PQ on a split."""
    best = (-1.0, predictor.inference)
    for side in sizes:
        size = (side, 2 * side)
        search = ThresholdSearch(GRID, predictor.categories, dataset.categories)
        score_split(dataset, with_logits(predictor, size), [search])
        pair = search.best(Thresholds(STEPS[0], STEPS[0]))
        assert pair is not None
        pq = float(search.table().max())
        print(f"size {side}: PQ {100 * pq:.2f} with thresholds {pair}", flush=True)
        best = max(best, (pq, InferenceConfig(pair.object_mask, pair.overlap, size)), key=lambda each: each[0])
    return best[1]


def choose_in_tiles(predictor: Predictor, dataset: PanopticDataset, tiles: str) -> InferenceConfig:
    """Return the run's input size and the two thresholds with the highest PQ in tiles."""
    from score_tiles import score

    size = predictor.inference.input_size
    assert size is not None
    rows = score(predictor, dataset, tile_size(tiles), size[0])
    best = max(rows, key=lambda row: row["all"]["pq"])
    return InferenceConfig(best["object_mask_threshold"], best["overlap_threshold"], size)


def draw_sheet(predictor: Predictor, dataset: PanopticDataset, path: Path) -> None:
    """Draw the results of two good, two typical and two failed images, by the PQ of each image.

    The background is grey, because the package does not redistribute images of a data set.
    """
    drawn = []
    for index in range(len(dataset)):
        example = dataset.example(index)
        result = predictor(example.image)
        found = coco_segments(result["segments_info"], predictor.categories)
        matches = MatchedSegments(dataset.categories)
        matches.add(example, Prediction(0.0, result["segmentation"], found))
        grey = np.full_like(example.image, 110)
        drawn.append((matches.result.all.pq, example.record.file_name, yoso.render(grey, result)))
    drawn.sort(key=lambda each: -each[0])
    middle = len(drawn) // 2
    chosen = [drawn[place] for place in (0, middle, -1, 1, middle + 1, -2)]
    tiles = [(picture, f"{Path(name).stem}: PQ {100 * pq:.0f}") for pq, name, picture in chosen]
    write_picture(path, contact_sheet(tiles, columns=3, tile_side=300))


def write_table(card: Path, metrics: dict) -> None:
    """Replace the text between the two marks of the card by the table of these metrics."""
    rows = [
        "| class | kind | PQ | SQ | RQ | true positives | false positives | false negatives |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
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
        read_text(card),
        flags=re.S,
    )
    write_text(card, text)


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description="Turn a finished run into the bundled model.")
    parser.add_argument("model", type=Path, help="model folder of a finished run")
    parser.add_argument("--data", default="facades", help="data set: name, YAML or folder (default: facades)")
    parser.add_argument("--folder", type=Path, default=Path("src/yoso/assets/facades-mnv2"), help="output folder")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="shorter sides to try")
    parser.add_argument("--sheet", type=Path, help="output image with good, typical and failed results")
    parser.add_argument("--tiles", metavar="S[,O]", help="choose and score in tiles")
    parser.add_argument("--no-onnx", action="store_true", help="write no ONNX file, which is larger than the weights")
    arguments = parser.parse_args()
    dataset = PanopticDataset(load_spec(arguments.data).split("val"))
    predictor = yoso.load(str(arguments.model), runtime="torch")
    if arguments.tiles:
        inference = choose_in_tiles(predictor, dataset, arguments.tiles)
    else:
        inference = choose(predictor, dataset, arguments.sizes)
    model = replace(load_model(arguments.model), inference=inference)
    training = read_json(arguments.model / METRICS)
    save_model(arguments.folder, model, half=True)
    file = arguments.folder / RUNTIMES["onnxruntime"].file_name
    file.unlink(missing_ok=True)
    export = ["export", "--model", str(arguments.folder), "--format", "onnx", "--output", str(file)]
    if not arguments.no_onnx:
        subprocess.run([sys.executable, "-m", "yoso", *export], check=True)
    with tempfile.TemporaryDirectory() as output:
        command = ["-m", "yoso", "eval", "--model", str(arguments.folder), "--data", arguments.data, "--output", output]
        command += ["--tiles", arguments.tiles] if arguments.tiles else []
        printed = subprocess.run(
            [sys.executable, *command, "--json"], check=True, capture_output=True, encoding="utf-8"
        )
    metrics = json.loads(printed.stdout)
    own = {"model": arguments.folder.name, "data": Path(arguments.data).name, "training": training}
    write_json(arguments.folder / METRICS, {**metrics, **own}, indent=1)
    if (arguments.folder / "README.md").is_file():
        write_table(arguments.folder / "README.md", metrics)
    if arguments.sheet is not None:
        draw_sheet(yoso.load(str(arguments.folder)), dataset, arguments.sheet)
    print(f"{inference}\nPQ {100 * metrics['all']['pq']:.2f}")


if __name__ == "__main__":
    main()
