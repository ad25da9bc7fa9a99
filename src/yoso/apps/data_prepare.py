"""`yoso data prepare`: turns the downloads of a benchmark into a data set for the other commands."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser, add_max_pixels
from yoso.apps.console import progress_report, show, show_json
from yoso.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from yoso.data.formats.counts import Losses
    from yoso.data.formats.plan import ConversionPlan
    from yoso.data.formats.preparation import ConvertedSplit, OutputLayout

BENCHMARK_NAMES = ("coco", "cityscapes", "ade20k", "mapillary", "mapillary_v2")
"""Known here, so that `--help` and a wrong name need not wait for PyTorch."""


def main(arguments: list[str]) -> int:
    """Run `yoso data prepare BENCHMARK --root R [--output O]`.

    Args:
        arguments: what stands after `yoso data prepare`.

    Returns:
        The exit status.

    Raises:
        YosoError: no such benchmark; a download that is missing, damaged or of another kind; a folder that cannot be
            written or holds somebody else's files.
    """
    parser = Parser(
        "data prepare",
        "Turn the downloads of a benchmark into a data set in COCO panoptic format.",
        epilog="Archives may be zips, or unpacked. Unpacked files stay where they are. An interrupted run continues "
        "where it stopped.",
    )
    parser.add_argument("benchmark", metavar="BENCHMARK", help=" | ".join(BENCHMARK_NAMES))
    parser.add_argument("--root", required=True, metavar="R", help="folder with the downloads")
    parser.add_argument(
        "--output",
        metavar="O",
        help="folder for BENCHMARK.yaml and BENCHMARK_prepared/ (default: $YOSO_DATA, or datasets), where `--data "
        "BENCHMARK` finds it",
    )
    parser.add_argument("--split", choices=("train", "val"), help="prepare one split only (default: both)")
    add_work_options(parser)
    args = parser.parse(arguments)
    if args.benchmark not in BENCHMARK_NAMES:
        raise ConfigError(f"no benchmark {args.benchmark!r}.{did_you_mean(args.benchmark, BENCHMARK_NAMES)}")

    from yoso.data.formats.archive import open_tree
    from yoso.data.formats.benchmarks import plan_benchmark
    from yoso.data.formats.preparation import OutputLayout, check_output

    output = Path(args.output or os.environ.get("YOSO_DATA") or "datasets")
    layout = OutputLayout(output / f"{args.benchmark}.yaml", output / f"{args.benchmark}_prepared")
    check_output(layout)
    with open_tree(args.root, output / f".{args.benchmark}-unpacked") as tree:
        plan = plan_benchmark(args.benchmark, tree, [args.split] if args.split else ["train", "val"])
        write_and_report(plan, layout, args.threads, args.json)
    return 0


def add_work_options(parser: Parser) -> None:
    """Add the options of commands that write a data set."""
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="number of threads (default: one per processor)"
    )
    add_max_pixels(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")


def write_and_report(
    plan: "ConversionPlan", layout: "OutputLayout", threads: int, as_json: bool
) -> list["ConvertedSplit"]:
    """Write a data set and report what it holds; warn where the official number of images differs.

    Raises:
        YosoError: see `write_dataset`.
    """
    from yoso.data.formats.preparation import write_dataset

    if threads < 0:
        raise ConfigError(f"--threads {threads}: give a positive number, or 0 for one per processor")
    with progress_report("preparing") as report:
        converted = write_dataset(plan, layout, threads, lambda _, done, total: report(done, total))
    for part in converted:
        if part.expected not in (None, part.images):
            warnings.warn(
                f"{plan.title}, {part.name}: {part.images:,} images, but the official split has {part.expected:,}; "
                "scores on it cannot be compared with published ones",
                stacklevel=1,
            )
        for reason, loss in part.outcome.empty.items():
            warnings.warn(f"{part.name}: {loss.count:,} {reason} (first: {loss.first})", stacklevel=1)
    for note in plan.notes:
        warnings.warn(note, stacklevel=1)
    if as_json:
        show_json({"data": str(layout.yaml), "splits": {part.name: _as_json(part) for part in converted}})
    else:
        show(*(_table(plan, part) for part in converted), *(_summary(plan, part) for part in converted))
        show(f"data set: {layout.yaml}", f"to check: yoso data check {layout.yaml}")
    return converted


def _as_json(part: "ConvertedSplit") -> dict[str, Any]:
    content: dict[str, Any] = {
        "images": part.images,
        "made": part.made,
        "expected": part.expected,
        "annotations": str(part.split.annotations),
        "classes": [row._asdict() for row in part.classes],
    }
    if part.outcome.is_counted:
        content["counts"] = part.outcome.counts.to_json()
        content["skipped_files"] = part.outcome.skipped.to_json()
        content["images_without_annotations"] = part.outcome.empty.total
    return content


def _table(plan: "ConversionPlan", part: "ConvertedSplit") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{plan.title}, {part.name}"), title_justify="left", box=SIMPLE_HEAD)
    for column in ("class", "kind", "segments", "crowds", "images"):
        table.add_column(column, overflow="fold", justify="left" if column in {"class", "kind"} else "right")
    for row in part.classes:
        numbers = (f"{number:,}" for number in (row.segments, row.crowds, row.images))
        table.add_row(Text(row.name), "thing" if row.is_thing else "stuff", *numbers)
    return table


def _summary(plan: "ConversionPlan", part: "ConvertedSplit") -> str:
    official = f" of {part.expected:,}" if part.expected else ""
    things = sum(row.is_thing for row in part.classes)
    summary = (
        f"{plan.title}, {part.name}: {part.images:,}{official} images, {part.made:,} of them processed in this run; "
        f"{sum(row.segments for row in part.classes):,} segments, {sum(row.crowds for row in part.classes):,} crowds; "
        f"{things} thing and {len(part.classes) - things} stuff classes"
    )
    return "\n".join([summary, *_balance(part)]) if part.outcome.is_counted else summary


def _balance(part: "ConvertedSplit") -> list[str]:
    """Return the lines that account for every annotation of the source."""
    counts, skipped = part.outcome.counts, part.outcome.skipped
    void = f" ({counts.void:,} more mark void)" if counts.void else ""
    total = (
        f"  {counts.read:,} annotations read{void}, {counts.written:,} segments written, {counts.num_merged:,} merged, "
        f"{counts.dropped.total:,} dropped"
    )
    merged = [f"  merged {count:,}: {reason}" for reason, count in counts.merged.items()]
    return [total, *merged, *_lost("dropped", counts.dropped), *_lost("skipped files", skipped)]


def _lost(what: str, losses: "Losses") -> list[str]:
    return [f"  {what} {loss.count:,}: {reason} (first: {loss.first})" for reason, loss in losses.ordered()]
