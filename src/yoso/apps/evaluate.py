"""`yoso eval`: run a model on a split of a data set, keep its predictions, score them, show the worst."""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser, add_model_options, open_model
from yoso.apps.console import make_folder, show, show_json, watch
from yoso.apps.scoring import check_classes, circumstances, thresholds_of
from yoso.errors import ConfigError, did_you_mean
from yoso.scoring.loop import TASK_NAMES

if TYPE_CHECKING:
    from yoso.data.dataset import PanopticDataset
    from yoso.inference.predictor import Predictor
    from yoso.scoring.loop import Predict


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
        help=f"what to score: {', '.join(TASK_NAMES)} (default: panoptic)",
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
        if name not in TASK_NAMES:
            raise ConfigError(f"--tasks: unknown task {name!r}.{did_you_mean(name, TASK_NAMES)}")
    if not names:
        raise ConfigError(f"--tasks: no task is named; known: {', '.join(TASK_NAMES)}")
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

        tune(args, dataset, output)
        return 0
    _score(args, dataset, output)
    return 0


def _score(args: argparse.Namespace, dataset: "PanopticDataset", output: Path) -> None:
    """Run the model over the split, print the figures and write what the tasks leave."""
    from yoso.apps.tables import tables_of
    from yoso.files import write_json
    from yoso.scoring.loop import score_split
    from yoso.scoring.tasks import TASKS

    names = args.tasks or ("panoptic",)
    predictor = open_model(args, logits=set(names) != {"panoptic"})
    check_classes(predictor.categories, dataset.categories, args.model, args.data)
    tasks = [TASKS[name](dataset, predictor.categories, output) for name in names]
    predict = _predict(predictor, names, args)
    seconds = score_split(dataset, predict, tasks, limit=args.limit, watch=watch("evaluating"))
    metrics = circumstances(args, predictor, len(seconds)) | {"median_seconds": statistics.median(seconds)}
    for task in tasks:
        metrics |= task.as_json()
    write_json(output / "metrics.json", metrics, indent=1)
    files = [("metrics", output / "metrics.json"), *(file for task in tasks for file in task.write())]
    if args.json:
        show_json(metrics)
    else:
        show(*(table for task in tasks for table in tables_of(task)), _summary(metrics, files))


def _check_options(args: argparse.Namespace) -> None:
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: at least one image is needed")
    if args.tune and args.tasks not in (None, ("panoptic",)):
        raise ConfigError("--tune searches for the highest PQ; leave --tasks out, and score the others afterwards")
    if args.write and not args.tune:
        raise ConfigError("--write writes what --tune has found; give both")


def _predict(predictor: "Predictor", tasks: Sequence[str], args: argparse.Namespace) -> "Predict":
    """Return predictions of what the tasks need, with `input_size` and the two thresholds of `args`."""
    from yoso.scoring.predicting import with_both, with_logits, with_segments

    thresholds = thresholds_of(args, predictor)
    if tuple(tasks) == ("panoptic",):
        return with_segments(
            predictor,
            input_size=args.input_size,
            object_mask_threshold=thresholds.object_mask,
            overlap_threshold=thresholds.overlap,
        )
    if "panoptic" not in tasks:
        return with_logits(predictor, args.input_size)
    return with_both(predictor, args.input_size, thresholds)


def _spare_truth(output: Path, dataset: "PanopticDataset") -> None:
    """Refuse to write predictions over the ground truth.

    Raises:
        ConfigError: the files would be the same.
    """
    truth = {dataset.split.annotations.resolve(), dataset.split.masks.resolve()}
    if truth & {(output / "panoptic.json").resolve(), (output / "panoptic").resolve()}:
        raise ConfigError(f"--output {output}: predictions would overwrite the ground truth there; choose another")


def _summary(metrics: dict[str, Any], files: list[tuple[str, Path]]) -> str:
    lines = [f"{name + ':':14}{path}" for name, path in files]
    milliseconds = 1000 * metrics["median_seconds"]
    about = f"{metrics['images']} images, {milliseconds:.0f} ms per image (median, {metrics['device']})"
    return "\n".join([about, *lines])
