"""Scores a model in overlapping tiles with several thresholds at once, and how well it counts.

    python benchmarks/score_tiles.py MODEL --data nuclei [--tiles 256 64] [--size 320] [--split val] [--json FILE]

The network sees every tile once; each pair of thresholds merges and joins the same logits. Per pair: the scores of
`yoso eval`, the mean over images of |found - true| / true things, and AP50 as the 2018 Data Science Bowl counts
it: TP / (TP + FP + FN) at an IoU of 0.5, here over all images together.

Output: a table, and FILE with machine, versions and commit.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch

import yoso
from yoso.categories import Categories
from yoso.data.coco_panoptic import PanopticExample
from yoso.data.dataset import PanopticDataset
from yoso.data.spec import load_spec
from yoso.evaluation.report import as_json
from yoso.files import write_json
from yoso.inference.predictor import Predictor
from yoso.inference.results import coco_segments
from yoso.postprocess import panoptic_numpy
from yoso.postprocess.stitching import Stitcher, checked_tiles, tile_grid
from yoso.provenance import provenance
from yoso.scoring.loop import Prediction
from yoso.scoring.tasks import MatchedSegments
from yoso.settings import Thresholds

KINDS = ("dark", "coloured", "light")
COLOURED, DARK = 12, 110
"""Mean spread of the three channels, and mean value, 0 to 255."""

PAIRS = tuple(itertools.product((0.3, 0.5, 0.7), (0.4, 0.6, 0.8)))


def kind_of(image: np.ndarray) -> str:
    """Return which of `KINDS` an image is; in microscopy: fluorescence, stained tissue, brightfield."""
    spread = image.max(2).astype(int) - image.min(2)
    if spread.mean() > COLOURED:
        return "coloured"
    return "dark" if image.mean() < DARK else "light"


class PairScore:
    """The figures of one pair of thresholds."""

    def __init__(self, categories: Categories) -> None:
        """Begin with no image."""
        self.categories, self.matches = categories, MatchedSegments(categories)
        self.by_kind = {kind: MatchedSegments(categories) for kind in KINDS}
        self.errors: list[float] = []

    def add(self, example: PanopticExample, arrays: Any, predictor: Predictor) -> None:
        """Count an image."""
        infos = [{"id": s.id, "label_id": s.class_index, "score": s.score} for s in arrays.segments]
        found = coco_segments(infos, predictor.categories)
        for matches in (self.matches, self.by_kind[kind_of(example.image)]):
            matches.add(example, Prediction(0.0, arrays.segmentation, found))
        things = {category.id for category in self.categories if category.is_thing}
        true, guessed = (sum(each["category_id"] in things for each in some) for some in (example.segments, found))
        if true:
            self.errors.append(abs(guessed - true) / true)

    def as_json(self, pair: tuple[float, float]) -> dict[str, Any]:
        """Return the figures."""
        scores = as_json(self.matches.result, self.categories)
        for row in scores["per_class"]:
            everything = sum(row[key] for key in ("true_positive", "false_positive", "false_negative"))
            row["ap50"] = row["true_positive"] / max(1, everything)
        error = float(np.mean(self.errors)) if self.errors else None
        thresholds = {"object_mask_threshold": pair[0], "overlap_threshold": pair[1]}
        kinds = {
            kind: {"images": len(matches.per_image), "things": as_json(matches.result, self.categories)["things"]}
            for kind, matches in self.by_kind.items()
            if matches.per_image
        }
        return {**thresholds, "mean_absolute_counting_error": error, **scores, "by_kind": kinds}


def score(predictor: Predictor, dataset: PanopticDataset, tiles: tuple[int, int], side: int) -> list[dict[str, Any]]:
    """Return the figures of every pair of thresholds."""
    scores = {pair: PairScore(dataset.categories) for pair in PAIRS}
    for index in range(len(dataset)):
        example = dataset.example(index)
        size = (example.image.shape[0], example.image.shape[1])
        grid = tile_grid(size, *tiles)
        stitchers = {pair: Stitcher(size, grid, predictor.categories.is_thing) for pair in PAIRS}
        for box in grid.boxes():
            logits = predictor.outputs(np.ascontiguousarray(example.image[box]), input_size=(side, 2 * side))
            classes, masks = (logit.cpu().numpy() for logit in logits[:2])
            for pair, stitcher in stitchers.items():
                is_thing = predictor.categories.is_thing
                stitcher.add(panoptic_numpy(classes, masks, logits[2], is_thing, Thresholds(*pair)))
        for pair, stitcher in stitchers.items():
            scores[pair].add(example, stitcher.result(), predictor)
    return [scores[pair].as_json(pair) for pair in PAIRS]


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description="Score a model in overlapping tiles.")
    parser.add_argument("model", help="name or folder")
    parser.add_argument("--data", required=True, help="data set: name, YAML or folder")
    parser.add_argument("--split", default="val", help="train or val (default: val)")
    parser.add_argument("--tiles", type=int, nargs=2, default=(256, 64), help="side and overlap in pixels")
    parser.add_argument("--size", type=int, default=320, help="shorter side of the network's input (default: 320)")
    parser.add_argument("--json", type=Path, help="output file")
    args = parser.parse_args()
    predictor = yoso.load(args.model, "cpu", runtime="torch")
    dataset = PanopticDataset(load_spec(args.data).split(args.split))
    rows = score(predictor, dataset, checked_tiles(tuple(args.tiles)), args.size)
    for row in rows:
        classes = ", ".join(f"{each['name']} {100 * (each['pq'] or 0):.1f}" for each in row["per_class"])
        ap50 = ", ".join(f"{100 * each['ap50']:.1f}" for each in row["per_class"] if each["is_thing"])
        pair = (row["object_mask_threshold"], row["overlap_threshold"])
        print(f"{pair}: PQ {classes}; AP50 {ap50}; counting error {row['mean_absolute_counting_error']}")
    if args.json is not None:
        conditions = {"model": Path(args.model).name, "data": Path(args.data).name, "split": args.split}
        conditions |= {"tiles": list(args.tiles), "size": args.size, "images": len(dataset)}
        write_json(args.json, {**conditions, "results": rows, **provenance(torch.device("cpu"))}, indent=1)


if __name__ == "__main__":
    main()
