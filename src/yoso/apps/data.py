"""`yoso data`: finds the subcommand; and `yoso data check`: what is wrong with a data set, and how to mend it."""

import importlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import make_folder, progress_report, show, show_json
from yoso.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from yoso.data.doctor import Report
    from yoso.data.spec import DatasetSpec

MOST_ROWS = 40
"""Findings shown per split; the JSON holds all."""

FOUND_ERRORS = 1

UNMENDABLE = {"id-only-in-png", "unknown-category"}
"""Kinds that leave pixels whose id no segment of the repaired JSON has."""


SUBCOMMANDS = {
    "check": "yoso.apps.data",
    "convert": "yoso.apps.data_convert",
    "prepare": "yoso.apps.data_prepare",
    "show": "yoso.apps.data_view",
    "stats": "yoso.apps.data_stats",
}
"""The module of each, by name; all but `check` have `main(arguments) -> exit status`."""


def main(arguments: list[str]) -> int:
    """Run `yoso data SUBCOMMAND ...`.

    Args:
        arguments: what stands after `yoso data`.

    Returns:
        The exit status.

    Raises:
        YosoError: no such subcommand; or see there.
    """
    name = arguments[0] if arguments and not arguments[0].startswith("-") else "check"
    if name not in SUBCOMMANDS:
        raise ConfigError(f"unknown command 'data {name}'.{did_you_mean(name, SUBCOMMANDS)}")
    if name == "check":
        return check(arguments[1:] if arguments[:1] == ["check"] else arguments)
    return importlib.import_module(SUBCOMMANDS[name]).main(arguments[1:])


def check(arguments: list[str]) -> int:
    """Run `yoso data check DATASET`.

    Args:
        arguments: what stands after `yoso data check`.

    Returns:
        The exit status: 1 if errors were found (warnings do not count).

    Raises:
        YosoError: no such data set or split, annotations that are not COCO panoptic, a file that cannot be written.
    """
    parser = Parser(
        "data check",
        "Read every file of a data set and report what is wrong.",
        epilog="Other subcommands: prepare, show, stats, convert; each has --help.",
    )
    parser.add_argument("dataset", metavar="DATASET", help="a data set's YAML, folder or name")
    parser.add_argument("--split", help="train or val (default: all there are)")
    parser.add_argument(
        "--fix", metavar="OUT", help="write repaired annotations to this folder, or for one split to this .json file"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")
    args = parser.parse(arguments)

    from yoso.data.spec import load_spec

    spec = load_spec(args.dataset)
    names = [args.split] if args.split else list(spec.splits)
    outputs = _outputs(spec, names, args.fix)
    reports = {name: _examine(spec, name) for name in names}
    repaired = {name: _repair(spec, name, reports[name], path) for name, path in outputs.items()}
    if args.json:
        splits = {name: report.to_json() | repaired.get(name, {}) for name, report in reports.items()}
        show_json({"data": spec.name, "splits": splits})
    else:
        for name, report in reports.items():
            _show_report(f"{spec.name}, {name}", report)
        for name in repaired:
            _show_repair(reports[name], repaired[name])
    return FOUND_ERRORS if any(report.errors for report in reports.values()) else 0


def _outputs(spec: "DatasetSpec", names: list[str], fix: str | None) -> dict[str, Path]:
    """Return where to write each split's repaired annotations; nothing if none are wanted."""
    if fix is None:
        return {}
    if Path(fix).suffix == ".json" and len(names) > 1:
        raise ConfigError(f"--fix {fix}: there are {len(names)} splits; give a folder, or one --split")
    single = Path(fix).suffix == ".json"
    outputs = {name: Path(fix) if single else Path(fix) / f"panoptic_{name}.json" for name in names}
    originals = {spec.split(name).annotations.resolve() for name in names}
    for path in outputs.values():
        if path.resolve() in originals:
            raise ConfigError(f"--fix {fix}: {path} is the file that is checked; write the repaired one elsewhere")
    return outputs


def _examine(spec: "DatasetSpec", name: str) -> "Report":
    from yoso.data.doctor import check_split

    split = spec.split(name)
    with progress_report(f"checking {name}") as report:
        return check_split(split, on_progress=report)


def _repair(spec: "DatasetSpec", name: str, report: "Report", path: Path) -> dict[str, Any]:
    """Write a split's repaired annotations; return where, how many images are left, and what is still wrong."""
    from yoso.data.doctor import repair

    make_folder(path.parent)
    repair(report, path)
    annotations = report.repaired["annotations"]
    kept = {str(spec.split(name).masks / annotation["file_name"]) for annotation in annotations}
    unmended = [found.file for found in report.findings if found.kind in UNMENDABLE and found.file in kept]
    return {"repaired": str(path), "repaired_images": len(annotations), "unmended": unmended}


def _show_repair(report: "Report", repaired: dict[str, Any]) -> None:
    show(f"repaired annotations: {repaired['repaired']} ({repaired['repaired_images']} of {report.images} images)")
    if unmended := repaired["unmended"]:
        show(
            f"JSON alone cannot mend {len(unmended)} of the findings, the first in {unmended[0]}: pixels without a "
            "segment in the JSON, which readers take for void; paint them 0 in the PNG, or list the segment and its "
            "category"
        )


def _show_report(title: str, report: "Report") -> None:
    if report.findings:
        show(_findings_table(title, report), _kinds_table(report))
        if len(report.findings) > MOST_ROWS:
            show(f"and {len(report.findings) - MOST_ROWS} more findings; --json lists them all\n")
    show(_classes_table(title, report))
    num_errors = len(report.errors)
    num_warnings = len(report.findings) - num_errors
    show(f"{title}: {report.images} images, {num_errors} errors, {num_warnings} warnings\n")


def _findings_table(title: str, report: "Report") -> "Table":
    from rich.text import Text

    table = _table(f"{title}: what is wrong", "", "file", "what")
    # Errors first: warnings must not push them off the list.
    ordered = sorted(report.findings, key=lambda finding: finding.severity != "error")
    for finding in ordered[:MOST_ROWS]:
        table.add_row(finding.severity, Text(finding.file), Text(finding.message))
    return table


def _kinds_table(report: "Report") -> "Table":
    from rich.text import Text

    table = _table("by kind", "kind", "number", "what to do")
    remedies = {finding.kind: finding.remedy for finding in report.findings}
    for kind, number in Counter(finding.kind for finding in report.findings).most_common():
        table.add_row(kind, str(number), Text(remedies[kind]))
    return table


def _classes_table(title: str, report: "Report") -> "Table":
    from rich.text import Text

    table = _table(f"{title}: classes", "class", "kind", "segments", "crowds", "images", "pixels")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in report.classes:
        numbers = (f"{number:,}" for number in (row.segments, row.crowds, row.images, row.pixels))
        table.add_row(Text(row.name), "thing" if row.is_thing else "stuff", *numbers)
    return table


def _table(title: str, *columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
