"""`yoso reproduce`: the paper's tables and figures, measured on this machine."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show, show_json
from yoso.apps.fitted_table import FittedTable
from yoso.apps.signals import sigterm_raises
from yoso.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from yoso.reproduction.plan import PaperItem, ReproductionPlan
    from yoso.reproduction.runner import PartOutcome

LAUNCHERS = ("local", "torchrun", "ray")

EPILOG = """\
Without ITEM, the command lists all tables and figures. Results go to DIR/ITEM.json, part by part. Finished parts are \
not measured again, and an interrupted command resumes when you run it again.

examples:
  yoso reproduce table5 table6 figure5
  yoso reproduce table1 --data coco --model coco-r50
  yoso reproduce table9 --scale small --jobs 2
  yoso reproduce --page docs/paper.md
"""


def build_parser() -> Parser:
    """Return the parser of `yoso reproduce`."""
    description = "Measure the paper's tables and figures, and show them beside the paper's figures."
    parser = Parser("reproduce", description, epilog=EPILOG, usage="yoso reproduce [ITEM ...] [options]")
    parser.add_argument("items", nargs="*", metavar="ITEM", help="table1 to table10, figure1 to figure5, ..., or all")
    what = parser.add_argument_group("what to measure").add_argument
    what("--scale", default="small", help="of trainings: paper (COCO, on GPUs) or small (default: small)")
    what("--parts", nargs="+", default=[], metavar="PART", help="only these parts, such as flops; the list names them")
    what("--data", metavar="DATASET", help="data set to score on or train with (default: that of the table)")
    what("--model", metavar="MODEL", help="weights to score (default: the official ones of the table)")
    what("--again", action="store_true", help="measure finished parts again")
    how = parser.add_argument_group("how to measure").add_argument
    how("--device", help="cpu, cuda or cuda:1 (default: a GPU if there is one)")
    how("--repeats", type=int, metavar="N", help="timed runs of each entry (default: depends on the table)")
    how("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="setting of all trainings")
    how("--launcher", default="local", help=f"of trainings: {', '.join(LAUNCHERS)} (default: local)")
    jobs = "trainings at a time; for torchrun, processes per training (default: 1)"
    how("--jobs", type=int, default=1, metavar="N", help=jobs)
    output = parser.add_argument_group("output").add_argument
    output("--output", default="benchmarks/paper", metavar="DIR", help="result files (default: benchmarks/paper)")
    output("--runs", default="runs/reproduce", metavar="DIR", help="trainings (default: runs/reproduce)")
    output("--page", metavar="FILE.md", help="measure nothing; write the page of all results, with its plots")
    output("--json", action="store_true", help="print one JSON document instead of the tables")
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso reproduce`.

    Args:
        arguments: what stands after `yoso reproduce`.

    Returns:
        The exit status.

    Raises:
        YosoError: an unknown table, a device that is not there, a result file that was edited by hand or has another
            schema, weights or data of another benchmark, a sweep that was stopped.
    """
    args = build_parser().parse(arguments)
    plan = _plan(args)
    from yoso.reproduction.registry import find_items

    items = find_items(args.items)
    if args.page:
        return _write_page(args, plan)
    if not items:
        return _list(args, plan)
    from yoso.reproduction.runner import check_parts, run_item

    check_parts(items, args.parts)
    outcomes: list[PartOutcome] = []
    with sigterm_raises():
        for item in items:
            for outcome in run_item(item, plan, args.again, args.parts):
                outcomes.append(outcome)
                if not args.json:
                    show(f"{outcome.item} {outcome.part}: {outcome.words}")
            if not args.json:
                _show_item(item, plan)
    if args.json:
        show_json([asdict(outcome) | _saved(outcome, plan) for outcome in outcomes])
    return 0


def _plan(args: argparse.Namespace) -> "ReproductionPlan":
    from yoso.reproduction.plan import SCALES, ReproductionPlan

    for name, value, known in (("scale", args.scale, SCALES), ("launcher", args.launcher, LAUNCHERS)):
        if value not in known:
            raise ConfigError(f"--{name}: unknown {name} {value!r}.{did_you_mean(value, known)}")
    output = Path(args.output)
    names = ("scale", "data", "model", "device", "repeats", "launcher", "jobs")
    options: dict[str, Any] = {name: getattr(args, name) for name in names}
    return ReproductionPlan(
        **options, settings=tuple(args.settings), output=output, runs=Path(args.runs), results=output.parent / "results"
    )


def _write_page(args: argparse.Namespace, plan: "ReproductionPlan") -> int:
    from yoso.reproduction.page import write_page

    if args.items:
        raise ConfigError("--page measures nothing and shows all results; give no table or figure with it")
    for path in write_page(Path(args.page), plan):
        show(f"written: {path}")
    return 0


def _list(args: argparse.Namespace, plan: "ReproductionPlan") -> int:
    from yoso.reproduction.registry import ITEMS
    from yoso.reproduction.runner import listing
    from yoso.speed.table import Table

    rows = listing(list(ITEMS.values()), plan)
    if args.json:
        show_json(rows)
        return 0
    cells = []
    for row in rows:
        if row["drawing"]:
            cells.append([row["id"], row["title"], "-", "-", "-", "nothing to measure"])
        for place, part in enumerate(row["parts"]):
            first = [row["id"], row["title"]] if place == 0 else ["", ""]
            state = "damaged" if row["problem"] else part["run"] or "not run"
            cells.append([*first, part["name"], part["needs"] or "-", part["time"], state])
    title = f"Tables and figures of the paper; results in {plan.output}"
    show(
        FittedTable(Table(title, ["item", "shows", "part", "needs", "time", "run"], cells, ("time", "needs", "shows"))),
        "",
    )
    for row in rows:
        if row["problem"]:
            show(row["problem"])
    show("Parts without needs run on any machine in minutes; `yoso reproduce ITEM` runs them.")
    return 0


def _show_item(item: "PaperItem", plan: "ReproductionPlan") -> None:
    """Print the paper's figures and the measured ones side by side."""
    from yoso.reproduction.collected import saved_result
    from yoso.reproduction.report import item_notes, item_tables, provenance_words

    if item.drawing:
        show(f"{item.id}: {item.drawing}; there is nothing to measure")
    result = saved_result(plan, item.id)
    for table in item_tables(item, result):
        show(FittedTable(table), "")
    show(*item_notes(item, result))
    for name, part in (result.parts if result else {}).items():
        show(f"{name}: {provenance_words(part)}")
    show("")


def _saved(outcome: "PartOutcome", plan: "ReproductionPlan") -> dict[str, Any]:
    """Return the result of a part, None if it has none."""
    from yoso.reproduction.collected import saved_result

    result = saved_result(plan, outcome.item)
    part = result.parts.get(outcome.part) if result else None
    return {"result": asdict(part) if part else None}
