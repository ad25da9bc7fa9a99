"""`yoso eval`: run a model on a split of a data set, save its predictions and score them."""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser, add_model_options, add_tiles_option, open_model
from yoso.apps.console import show, show_json, watch
from yoso.apps.scoring import COMMAND, METRICS, TUNING, check_classes, conditions, thresholds_of
from yoso.apps.signals import sigterm_raises
from yoso.errors import ConfigError, did_you_mean
from yoso.scoring.loop import TASK_NAMES

if TYPE_CHECKING:
    from yoso.data.dataset import PanopticDataset
    from yoso.inference.predictor import Predictor
    from yoso.scoring.loop import Predict


OUTPUTS = {
    "panoptic": ("panoptic.json", "panoptic", "confusion.png", "worst.png"),
    "instance": ("instances.json",),
    "semantic": (),
}
"""What each task writes, beside `metrics.json`."""

EPILOG = """\
Output in DIR: metrics.json; of the task panoptic, panoptic.json and panoptic/ (predictions in COCO panoptic format), \
confusion.png and worst.png; of instance, instances.json (COCO results). With --tune, tuning.json only.

examples:
  yoso eval --model runs/mine/model --data mine.yaml
  yoso eval --model coco-r50 --data coco --input-size 512x800 --tasks panoptic,instance,semantic
  yoso eval --model runs/mine/model --data mine.yaml --tune --write
"""


def build_parser() -> Parser:
    """Return the parser of `yoso eval`."""
    parser = Parser(
        "eval",
        "Run a model on a data set and score it.",
        usage="yoso eval --model MODEL --data DATASET [options]",
        epilog=EPILOG,
    )
    add_tiles_option(add_model_options(parser, None))
    data = parser.add_argument_group("data set")
    data.add_argument("--data", required=True, metavar="DATASET", help="a data set's YAML file, folder or name")
    data.add_argument("--split", default="val", help="train or val (default: val)")
    data.add_argument("--limit", type=int, metavar="N", help="take the first N images only")
    scores = parser.add_argument_group("scores")
    scores.add_argument(
        "--tasks",
        type=task_names,
        metavar="TASK[,TASK]",
        help=f"what to score: {', '.join(TASK_NAMES)} (default: panoptic)",
    )
    scores.add_argument(
        "--tune",
        action="store_true",
        help="instead of scoring, search the two thresholds with the highest PQ; one that is given stays fixed",
    )
    scores.add_argument("--write", action="store_true", help="with --tune: write the thresholds to the model folder")
    output = parser.add_argument_group("output")
    output.add_argument("--output", default="yoso-eval", metavar="DIR", help="default: yoso-eval")
    output.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")
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
        raise ConfigError(f"--tasks: give at least one task of {', '.join(TASK_NAMES)}")
    return names


def main(arguments: list[str]) -> int:
    """Run `yoso eval --model MODEL --data DATASET`.

    Args:
        arguments: what stands after `yoso eval`.

    Returns:
        The exit status.

    Raises:
        YosoError: a model or data set that is missing or damaged, or whose classes differ; an output that cannot be
            written or replaced; an option that contradicts another.
    """
    args = build_parser().parse(arguments)
    _check_options(args)
    from yoso.data.dataset import PanopticDataset
    from yoso.data.prediction_folder import reserved
    from yoso.data.spec import load_spec

    dataset = PanopticDataset(load_spec(args.data).split(args.split))
    output = Path(args.output)
    with sigterm_raises(), reserved(output):
        _check_output(args, output, dataset)
        if args.tune:
            from yoso.apps.tune import tune

            tune(args, dataset, output)
        else:
            _score(args, dataset, output)
    return 0


def _score(args: argparse.Namespace, dataset: "PanopticDataset", output: Path) -> None:
    """Run the model over the split, print the scores and write the files of the tasks."""
    from yoso.apps.tables import tables_of
    from yoso.files import write_json
    from yoso.scoring.loop import score_split
    from yoso.scoring.tasks import TASKS

    names = _tasks(args)
    predictor = open_model(args, logits=set(names) != {"panoptic"})
    check_classes(predictor.categories, dataset.categories, args.model, args.data)
    tasks = [TASKS[name](dataset, predictor.categories, output) for name in names]
    predict = _predict(predictor, names, args)
    (output / METRICS).unlink(missing_ok=True)  # its scores are not those of the predictions written now
    seconds = score_split(dataset, predict, tasks, limit=args.limit, watch=watch("evaluating"))
    metrics = conditions(args, predictor, len(seconds)) | {"median_seconds": statistics.median(seconds)}
    for task in tasks:
        metrics |= task.as_json()
    write_json(output / METRICS, metrics, indent=1)
    files = [("metrics", output / METRICS), *(file for task in tasks for file in task.write())]
    if args.json:
        show_json(metrics)
    else:
        show(*(table for task in tasks for table in tables_of(task)), _summary(metrics, files))


def _check_options(args: argparse.Namespace) -> None:
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: give a number of images, at least 1")
    if args.tune and args.tasks not in (None, ("panoptic",)):
        raise ConfigError("--tune scores PQ only; leave --tasks out, and score the other tasks afterwards")
    if args.tiles and (args.tune or args.tasks not in (None, ("panoptic",))):
        raise ConfigError("--tiles gives panoptic results only; leave --tune and other tasks out")
    if args.write and not args.tune:
        raise ConfigError("--write needs --tune, whose thresholds it writes; give both")


def _predict(predictor: "Predictor", tasks: Sequence[str], args: argparse.Namespace) -> "Predict":
    """Return a function that predicts what the tasks need, at the input size and thresholds of `args`."""
    from yoso.scoring.predicting import with_both, with_logits, with_segments

    thresholds = thresholds_of(args, predictor)
    if tuple(tasks) == ("panoptic",):
        return with_segments(
            predictor,
            input_size=args.input_size,
            object_mask_threshold=thresholds.object_mask,
            overlap_threshold=thresholds.overlap,
            tiles=args.tiles,
        )
    if "panoptic" not in tasks:
        return with_logits(predictor, args.input_size)
    return with_both(predictor, args.input_size, thresholds)


def _check_output(args: argparse.Namespace, output: Path, dataset: "PanopticDataset") -> None:
    """Make sure that nothing but an earlier output of this command is replaced.

    Raises:
        OutputError: something would be.
    """
    from yoso.data.prediction_folder import check_output, earlier_predictions

    names = [TUNING] if args.tune else [METRICS, *(name for task in _tasks(args) for name in OUTPUTS[task])]
    is_own = earlier_predictions(output) is not None or any(_is_own(output / name) for name in (METRICS, TUNING))
    check_output(output, names, [dataset.split.annotations, dataset.split.masks], is_own)


def _is_own(path: Path) -> bool:
    """Tell whether a JSON file was written by this command."""
    from yoso.errors import DatasetError
    from yoso.files import read_json

    try:
        content = read_json(path)
    except DatasetError:
        return False
    return isinstance(content, dict) and content.get("command") == COMMAND


def _tasks(args: argparse.Namespace) -> tuple[str, ...]:
    return args.tasks or ("panoptic",)


def _summary(metrics: dict[str, Any], files: list[tuple[str, Path]]) -> str:
    lines = [f"{name + ':':14}{path}" for name, path in files]
    milliseconds = 1000 * metrics["median_seconds"]
    about = f"{metrics['images']} images, {milliseconds:.0f} ms per image (median, {metrics['device']})"
    return "\n".join([about, *lines])
