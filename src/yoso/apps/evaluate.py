"""`yoso eval`: run a model on a split of a data set, keep its predictions, score them, show the worst."""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser, add_model_options, open_model
from yoso.apps.console import make_folder, show, show_json, with_progress
from yoso.categories import Categories, check_same_classes
from yoso.errors import ConfigError, did_you_mean
from yoso.scoring.scores import TASKS, Prediction

if TYPE_CHECKING:
    import numpy as np

    from yoso.data.coco_panoptic import PanopticExample
    from yoso.data.dataset import PanopticDataset
    from yoso.inference.predictor import Predictor


def build_parser() -> Parser:
    """Return the parser of `yoso eval`."""
    parser = Parser(
        "eval",
        "Run a model on a data set and score it.",
        epilog="Written: metrics.json; for panoptic, panoptic.json and panoptic/ (predictions, COCO panoptic), "
        "confusion.png, worst.png; for instance, instances.json (COCO results); with --tune, tuning.json alone.",
    )
    add_model_options(parser, None)
    parser.add_argument("--data", required=True, help="a data set's YAML, folder or name")
    parser.add_argument("--split", default="val", help="train or val (default: val)")
    parser.add_argument(
        "--tasks",
        type=task_names,
        metavar="TASK[,TASK]",
        help=f"what to score: {', '.join(TASKS)} (default: panoptic)",
    )
    parser.add_argument("--output", default="yoso-eval", metavar="DIR", help="default: yoso-eval")
    parser.add_argument("--limit", type=int, metavar="N", help="take the first N images only")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.add_argument(
        "--tune",
        action="store_true",
        help="search the two thresholds for the highest PQ instead of scoring; one that is given stays as it is",
    )
    parser.add_argument("--write", action="store_true", help="with --tune: put the best pair into the model folder")
    return parser


def task_names(text: str) -> tuple[str, ...]:
    """Read the value of `--tasks`.

    Raises:
        ConfigError: a task that does not exist, or none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in TASKS:
            raise ConfigError(f"--tasks: unknown task {name!r}.{did_you_mean(name, TASKS)}")
    if not names:
        raise ConfigError(f"--tasks: no task is named; known: {', '.join(TASKS)}")
    return names


def main(arguments: list[str]) -> int:
    """Run `yoso eval --model MODEL --data DATASET`.

    Args:
        arguments: what stands after `yoso eval`.

    Returns:
        The exit status.

    Raises:
        YosoError: a model or data set that is missing or damaged, or whose classes differ; an output that cannot be
            written; an option that contradicts another.
    """
    args = build_parser().parse(arguments)
    _check_options(args)
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec

    dataset = PanopticDataset(load_spec(args.data).split(args.split))
    output = make_folder(args.output)
    _spare_truth(output, dataset)
    if args.tune:
        from yoso.apps.tune import tune

        return tune(args, dataset, output)
    tasks = args.tasks or ("panoptic",)
    predictor = open_model(args, logits=set(tasks) != {"panoptic"})
    check_classes(predictor.categories, dataset.categories, args.model, args.data)
    scores = [TASKS[name](dataset, predictor.categories, output) for name in tasks]
    seconds = []
    for example in examples(dataset, args.limit, "evaluating"):
        prediction = predict(predictor, example.image, tasks, args)
        for score in scores:
            score.add(example, prediction)
        seconds.append(prediction.seconds)
    metrics = facts(args, predictor, len(seconds)) | {"median_seconds": statistics.median(seconds)}
    for score in scores:
        metrics |= score.as_json()
    _write_metrics(output / "metrics.json", metrics)
    files = [("metrics", output / "metrics.json"), *(file for score in scores for file in score.write())]
    if args.json:
        show_json(metrics)
    else:
        show(*(table for score in scores for table in score.tables()), _summary(metrics, files))
    return 0


def _check_options(args: argparse.Namespace) -> None:
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: at least one image is needed")
    if args.tune and args.tasks not in (None, ("panoptic",)):
        raise ConfigError("--tune searches for the highest PQ; leave --tasks out, and score the others afterwards")
    if args.write and not args.tune:
        raise ConfigError("--write writes what --tune has found; give both")


def examples(dataset: "PanopticDataset", limit: int | None, what: str) -> "Iterator[PanopticExample]":
    """Yield the first `limit` images of a split, or all, with a bar that says how far it is.

    Raises:
        YosoError: an image or its truth cannot be read.
    """
    num_images = min(len(dataset), limit or len(dataset))
    for index in with_progress(range(num_images), num_images, what):
        yield dataset.example(index)


def predict(predictor: "Predictor", image: "np.ndarray", tasks: Sequence[str], args: argparse.Namespace) -> Prediction:
    """Run the network once on a photograph and return what the tasks need.

    Args:
        predictor: the model.
        image: uint8 RGB array (H, W, 3).
        tasks: names of `TASKS`.
        args: `input_size` and the two thresholds.

    Raises:
        YosoError: not enough memory, or sizes that cannot be.
    """
    thresholds = thresholds_of(args, predictor)
    if tuple(tasks) == ("panoptic",):
        result, took = predictor.timed(image, input_size=args.input_size, **thresholds)
        seconds = took.resize_seconds + took.network_seconds + took.merge_seconds
        return Prediction(seconds, result["segmentation"], result["segments_info"])
    from yoso.postprocess import panoptic

    start = time.perf_counter()
    logits = predictor.outputs(image, input_size=args.input_size)
    if "panoptic" not in tasks:
        # The one number waits for the device, which works on after the call returns.
        float(logits[0].sum())
        return Prediction(time.perf_counter() - start, logits=logits)
    merged = panoptic(*logits, predictor.categories.is_thing, **thresholds)
    id_map = merged.segmentation.cpu().numpy()
    infos = [{"id": s.id, "label_id": s.class_index, "score": s.score} for s in merged.segments]
    return Prediction(time.perf_counter() - start, id_map, infos, logits)


def thresholds_of(args: argparse.Namespace, predictor: "Predictor") -> dict[str, float]:
    """Return the two thresholds: those given, else the model's."""
    names = ("object_mask_threshold", "overlap_threshold")
    return {n: getattr(predictor.inference, n) if getattr(args, n) is None else getattr(args, n) for n in names}


def check_classes(model: Categories, data: Categories, model_name: str, data_name: str) -> None:
    """Check that every class of a model is one of the data set's, under the same id.

    Raises:
        ConfigError: they are not; names the first that differs.
    """
    check_same_classes(model, data, f"model {model_name}", f"data set {data_name}", b_may_have_more=True)


def _spare_truth(output: Path, dataset: "PanopticDataset") -> None:
    """Refuse to write predictions over the ground truth.

    Raises:
        ConfigError: the files would be the same.
    """
    truth = {dataset.split.annotations.resolve(), dataset.split.masks.resolve()}
    if truth & {(output / "panoptic.json").resolve(), (output / "panoptic").resolve()}:
        raise ConfigError(f"--output {output}: predictions would overwrite the ground truth there; choose another")


def facts(args: argparse.Namespace, predictor: "Predictor", num_images: int) -> dict[str, Any]:
    """Return what the figures depend on."""
    from importlib.metadata import version

    return {
        "model": str(args.model),
        "data": str(args.data),
        "split": args.split,
        "images": num_images,
        "input_size": predictor.inference.input_size if args.input_size is None else args.input_size,
        **thresholds_of(args, predictor),
        "runtime": predictor.runtime,
        "device": str(predictor.device),
        "versions": {name: version(name) for name in ("yoso", "torch", "torchvision", "timm")},
    }


def _write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    from yoso.files import write_json

    write_json(path, metrics, indent=1)


def _summary(metrics: dict[str, Any], files: list[tuple[str, Path]]) -> str:
    lines = [f"{name + ':':14}{path}" for name, path in files]
    milliseconds = 1000 * metrics["median_seconds"]
    about = f"{metrics['images']} images, {milliseconds:.0f} ms per image (median, {metrics['device']})"
    return "\n".join([about, *lines])
