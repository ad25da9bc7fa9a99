"""`yoso data prepare`: a benchmark's downloads become a data set that the other commands take."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import progress_report, show, show_json
from yoso.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from yoso.data.formats.plan import Plan
    from yoso.data.formats.preparation import Prepared, Target


BENCHMARK_NAMES = ("coco", "cityscapes", "ade20k", "mapillary", "mapillary_v2")
"""Known here, so that `--help` and a slip need not wait for PyTorch."""


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
        epilog="Archives may be unpacked or zips. What is unpacked stays where it is and is used from there. A run "
        "that was interrupted goes on where it stopped.",
    )
    parser.add_argument("benchmark", metavar="BENCHMARK", help=" | ".join(BENCHMARK_NAMES))
    parser.add_argument("--root", required=True, metavar="R", help="the folder that holds the downloads")
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
    from yoso.data.formats.preparation import Target, check_target

    output = Path(args.output or os.environ.get("YOSO_DATA") or "datasets")
    target = Target(output / f"{args.benchmark}.yaml", output / f"{args.benchmark}_prepared")
    check_target(target)
    with open_tree(args.root, output / f".{args.benchmark}-unpacked") as tree:
        plan = plan_benchmark(args.benchmark, tree, [args.split] if args.split else ["train", "val"])
        carry_out(plan, target, args.threads, args.json)
    return 0


def add_work_options(parser: Parser) -> None:
    """Add the options of commands that write a data set."""
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="files at a time (default: one per processor)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")


def carry_out(plan: "Plan", target: "Target", threads: int, as_json: bool) -> None:
    """Write a data set and report what it holds; warn where the official number of photographs differs.

    Raises:
        YosoError: see `prepare`.
    """
    from yoso.data.formats.preparation import prepare

    if threads < 0:
        raise ConfigError(f"--threads {threads}: at least one is needed; 0 takes one per processor")
    with progress_report("preparing") as report:
        prepared = prepare(plan, target, threads, lambda _, done, total: report(done, total))
    for part in prepared:
        if part.expected not in (None, part.images):
            warnings.warn(
                f"{plan.title}, {part.name}: {part.images:,} photographs, but the official split has "
                f"{part.expected:,}; figures on it cannot be compared with published ones",
                stacklevel=1,
            )
    for note in plan.notes:
        warnings.warn(note, stacklevel=1)
    if as_json:
        show_json({"data": str(target.yaml), "splits": {part.name: _facts(part) for part in prepared}})
    else:
        show(*(_table(plan, part) for part in prepared), *(_summary(plan, part) for part in prepared))
        show(f"data set: {target.yaml}", f"to check: yoso data check {target.yaml}")


def _facts(part: "Prepared") -> dict[str, Any]:
    return {
        "images": part.images,
        "made": part.made,
        "expected": part.expected,
        "annotations": str(part.split.annotations),
        "classes": [row._asdict() for row in part.classes],
    }


def _table(plan: "Plan", part: "Prepared") -> "Table":
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


def _summary(plan: "Plan", part: "Prepared") -> str:
    official = f" of {part.expected:,}" if part.expected else ""
    things = sum(row.is_thing for row in part.classes)
    return (
        f"{plan.title}, {part.name}: {part.images:,}{official} photographs, {part.made:,} of them worked on now; "
        f"{sum(row.segments for row in part.classes):,} segments, {sum(row.crowds for row in part.classes):,} crowds; "
        f"{things} thing and {len(part.classes) - things} stuff classes"
    )
