"""`yoso eval`: run a model on a split of a data set, keep its predictions, score them, show the worst."""

import argparse
import heapq
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser, add_model_options
from yoso.apps.console import make_folder, show, show_json, with_progress
from yoso.apps.pictures import coco_segments, drawable, drawn, write_picture
from yoso.categories import Categories
from yoso.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from yoso.data.coco_panoptic import PanopticDataset, PanopticExample, PanopticWriter
    from yoso.evaluation.matching import MatchCounts
    from yoso.inference.predictor import Predictor, Result

NUM_WORST = 16


@dataclass(frozen=True)
class Evaluation:
    """What a model did on a split.

    Attributes:
        counts: matches, mistakes and misses over all images.
        image_pq: mean PQ over the classes of each image, 0 to 1; nan where there is nothing and nothing was found.
        seconds: per image, resizing, network and merge; without reading and writing.
    """

    counts: "MatchCounts"
    image_pq: list[float]
    seconds: list[float]


def build_parser() -> Parser:
    """Return the parser of `yoso eval`."""
    parser = Parser(
        "eval",
        "Run a model on a data set and score it.",
        epilog="Written: panoptic.json and panoptic/ (predictions, COCO panoptic), metrics.json, worst.png.",
    )
    add_model_options(parser, None)
    parser.add_argument("--data", required=True, help="a data set's YAML, folder or name")
    parser.add_argument("--split", default="val", help="train or val (default: val)")
    parser.add_argument("--output", default="yoso-eval", metavar="DIR", help="default: yoso-eval")
    parser.add_argument("--limit", type=int, metavar="N", help="take the first N images only")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso eval --model MODEL --data DATASET`.

    Args:
        arguments: what stands after `yoso eval`.

    Returns:
        The exit status.

    Raises:
        YosoError: a model or data set that is missing or damaged, or whose classes differ; an output that cannot be
            written.
    """
    args = build_parser().parse(arguments)
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: at least one image is needed")
    from yoso.data.coco_panoptic import PanopticDataset, PanopticWriter
    from yoso.data.spec import load_spec
    from yoso.evaluation.quality import panoptic_quality
    from yoso.evaluation.report import as_json, as_table
    from yoso.inference.predictor import load

    dataset = PanopticDataset(load_spec(args.data).split(args.split))
    output = make_folder(args.output)
    _spare_truth(output, dataset)
    predictor = load(args.model, args.device)
    check_classes(predictor.categories, dataset.categories, args.model, args.data)
    writer = PanopticWriter(output / "panoptic.json", output / "panoptic", predictor.categories)
    evaluation = evaluate(predictor, dataset, writer, args)
    writer.close()
    result = panoptic_quality(evaluation.counts, dataset.categories)
    metrics = {**_facts(args, predictor, evaluation), **as_json(result, dataset.categories)}
    _write_metrics(output / "metrics.json", metrics)
    _write_worst(output / "worst.png", dataset, writer, evaluation)
    if args.json:
        show_json(metrics)
    else:
        show(as_table(result, dataset.categories), _summary(metrics, output))
    return 0


def evaluate(
    predictor: "Predictor", dataset: "PanopticDataset", writer: "PanopticWriter", args: argparse.Namespace
) -> Evaluation:
    """Predict every image of a split, write the predictions and count matches.

    Args:
        predictor: the model.
        dataset: the split.
        writer: takes the predictions.
        args: `limit`, `input_size` and the two thresholds.

    Raises:
        YosoError: an image or its truth cannot be read, or a prediction cannot be written.
    """
    from yoso.evaluation.matching import MatchCounts, count_matches
    from yoso.evaluation.quality import image_quality

    total = MatchCounts.zeros(len(dataset.categories))
    image_pq, seconds = [], []
    for example, result, took in _predictions(predictor, dataset, args):
        segments = coco_segments(result["segments_info"], predictor.categories)
        counts = count_matches(
            example.id_map,
            example.segments,
            result["segmentation"],
            segments,
            dataset.categories,
            example.record.file_name,
        )
        writer.add(example.record, result["segmentation"], segments)
        total = total + counts
        image_pq.append(image_quality(counts).pq)
        seconds.append(took)
    return Evaluation(total, image_pq, seconds)


def _predictions(
    predictor: "Predictor", dataset: "PanopticDataset", args: argparse.Namespace
) -> "Iterator[tuple[PanopticExample, Result, float]]":
    num_images = min(len(dataset), args.limit or len(dataset))
    for index in with_progress(range(num_images), num_images, "evaluating"):
        example = dataset.example(index)
        result, timings = predictor.timed(
            example.image,
            input_size=args.input_size,
            object_mask_threshold=args.object_mask_threshold,
            overlap_threshold=args.overlap_threshold,
        )
        yield example, result, timings.resize_seconds + timings.network_seconds + timings.merge_seconds


def check_classes(model: Categories, data: Categories, model_name: str, data_name: str) -> None:
    """Check that every class of a model is one of the data set's, under the same id.

    Raises:
        ConfigError: they are not; names the first that differs.
    """
    for category in model:
        theirs = data[data.index_of(category.id)] if data.has_id(category.id) else None
        if theirs is None or (theirs.name, theirs.is_thing) != (category.name, category.is_thing):
            there = f"{theirs.name!r} ({_kind(theirs.is_thing)})" if theirs else "no class"
            raise ConfigError(
                f"model {model_name} and data set {data_name} have different classes: id {category.id} is "
                f"{category.name!r} ({_kind(category.is_thing)}) to the model and {there} in the data; use a model "
                "trained on these classes"
            )


def _spare_truth(output: Path, dataset: "PanopticDataset") -> None:
    """Refuse to write predictions over the ground truth.

    Raises:
        ConfigError: the files would be the same.
    """
    truth = {dataset.split.annotations.resolve(), dataset.split.masks.resolve()}
    if truth & {(output / "panoptic.json").resolve(), (output / "panoptic").resolve()}:
        raise ConfigError(f"--output {output}: predictions would overwrite the ground truth there; choose another")


def _kind(is_thing: bool) -> str:
    return "thing" if is_thing else "stuff"


def _facts(args: argparse.Namespace, predictor: "Predictor", evaluation: Evaluation) -> dict[str, Any]:
    """Return what the figures depend on."""
    from importlib.metadata import version

    def chosen(name: str) -> Any:
        return getattr(predictor.inference, name) if getattr(args, name) is None else getattr(args, name)

    return {
        "model": str(args.model),
        "data": str(args.data),
        "split": args.split,
        "images": len(evaluation.image_pq),
        **{name: chosen(name) for name in ("input_size", "object_mask_threshold", "overlap_threshold")},
        "device": str(predictor.device),
        "median_seconds": statistics.median(evaluation.seconds),
        "versions": {name: version(name) for name in ("yoso", "torch", "torchvision", "timm")},
    }


def _write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    from yoso.files import write_json

    write_json(path, metrics, indent=1)


def _summary(metrics: dict[str, Any], output: Path) -> str:
    return (
        f"{metrics['images']} images, {1000 * metrics['median_seconds']:.0f} ms per image (median, {metrics['device']})"
        f"\nmetrics:      {output / 'metrics.json'}\npredictions:  {output / 'panoptic.json'}"
        f"\nworst images: {output / 'worst.png'}"
    )


def _write_worst(path: Path, dataset: "PanopticDataset", writer: "PanopticWriter", evaluation: Evaluation) -> None:
    """Write a sheet of the images with the lowest PQ: photograph, truth and prediction of each."""
    from yoso.inference.rendering import contact_sheet

    ranked = [(pq, index) for index, pq in enumerate(evaluation.image_pq) if not math.isnan(pq)]
    tiles: list[tuple[np.ndarray, str]] = []
    for pq, index in heapq.nsmallest(NUM_WORST, ranked):
        tiles += _comparison(dataset, writer, index, pq)
    if tiles:
        write_picture(path, contact_sheet(tiles, columns=6, tile_side=320))


def _comparison(
    dataset: "PanopticDataset", writer: "PanopticWriter", index: int, pq: float
) -> "list[tuple[np.ndarray, str]]":
    from yoso.files import read_id_map

    example = dataset.example(index)
    entry = writer.entries[index]
    predicted = read_id_map(writer.masks / entry["file_name"])
    truth = {"segmentation": example.id_map, "segments_info": drawable(example.segments, dataset.categories)}
    guess = {"segmentation": predicted, "segments_info": drawable(entry["segments_info"], writer.categories)}
    return [
        (example.image, example.record.file_name),
        (drawn(example.image, truth, dataset.categories), "truth"),
        (drawn(example.image, guess, writer.categories), f"prediction, PQ {100 * pq:.1f}"),
    ]
