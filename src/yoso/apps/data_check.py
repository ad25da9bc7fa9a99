"""`yoso data check`: reports what is wrong with a data set, and repairs what the JSON can."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser, add_max_pixels
from yoso.apps.console import make_folder, progress_report, show, show_json
from yoso.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from yoso.data.doctor import SplitReport
    from yoso.data.spec import DatasetSpec

MAX_ROWS = 40
"""Findings shown per split; the JSON document holds all."""

FOUND_ERRORS = 1


def main(arguments: list[str]) -> int:
    """Run `yoso data check DATASET`.

    Args:
        arguments: what stands after `yoso data check`.

    Returns:
        The exit status: 1 if errors were found; warnings do not count.

    Raises:
        YosoError: no such data set or split, annotations that are not COCO panoptic, a file that cannot be written.
    """
    args = build_parser().parse(arguments)

    from yoso.data.doctor import check_dataset
    from yoso.data.spec import load_spec

    spec = load_spec(args.dataset)
    names = [args.split] if args.split else list(spec.splits)
    outputs = _outputs(spec, names, args.fix)
    with progress_report("checking") as progress:
        reports = check_dataset(spec, names, lambda _, done, total: progress(done, total))
    repairs = {name: _repair(spec, name, reports[name], path) for name, path in outputs.items()}
    if args.json:
        splits = {name: report.to_json() | repairs.get(name, {}) for name, report in reports.items()}
        show_json({"data": spec.name, "splits": splits})
    else:
        for name, report in reports.items():
            _show_report(f"{spec.name}, {name}", report)
        for name in repairs:
            _show_repair(reports[name], repairs[name])
    return FOUND_ERRORS if any(report.errors for report in reports.values()) else 0


def build_parser() -> Parser:
    """Return the parser of `yoso data check`."""
    parser = Parser("data check", "Read every file of a data set and report what is wrong.")
    parser.add_argument("dataset", metavar="DATASET", help="a data set's YAML file, folder or name")
    parser.add_argument("--split", help="train or val (default: both)")
    parser.add_argument(
        "--fix",
        metavar="OUT",
        help="write repaired annotations into this folder, or for a single split into this .json file",
    )
    add_max_pixels(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    return parser


def _outputs(spec: "DatasetSpec", names: list[str], fix: str | None) -> dict[str, Path]:
    """Return where to write each split's repaired annotations; nothing without `--fix`."""
    if fix is None:
        return {}
    is_file = Path(fix).suffix.lower() == ".json"
    if is_file and len(names) > 1:
        raise ConfigError(f"--fix {fix}: the data set has {len(names)} splits; give a folder, or one --split")
    outputs = {name: Path(fix) if is_file else Path(fix) / f"panoptic_{name}.json" for name in names}
    originals = {spec.split(name).annotations.resolve() for name in names}
    for path in outputs.values():
        if path.resolve() in originals:
            raise ConfigError(f"--fix {fix}: would overwrite {path}, the file to check; choose another folder or name")
    return outputs


def _repair(spec: "DatasetSpec", name: str, report: "SplitReport", path: Path) -> dict[str, Any]:
    """Write a split's repaired annotations; return where, how many images are left, and what is still wrong."""
    from yoso.data.doctor import repair
    from yoso.data.findings import LEAVES_PIXELS

    make_folder(path.parent)
    repair(report, path)
    annotations = report.repaired["annotations"]
    kept = {str(spec.split(name).masks / annotation["file_name"]) for annotation in annotations}
    left = [finding.file for finding in report.findings if finding.kind in LEAVES_PIXELS and finding.file in kept]
    return {"repaired": str(path), "repaired_images": len(annotations), "not_repaired": left}


def _show_repair(report: "SplitReport", repair: dict[str, Any]) -> None:
    show(f"repaired annotations: {repair['repaired']} ({repair['repaired_images']} of {report.images} images)")
    if left := repair["not_repaired"]:
        show(
            f"the JSON cannot repair {len(left)} of the findings, the first in {left[0]}: pixels without a segment in "
            "the JSON, which readers take for void; paint them 0 in the PNG, or list the segment and its category"
        )


def _show_report(title: str, report: "SplitReport") -> None:
    if report.findings:
        show(_findings_table(title, report), _kinds_table(report))
        if len(report.findings) > MAX_ROWS:
            show(f"and {len(report.findings) - MAX_ROWS} more findings; --json lists them all\n")
    show(_classes_table(title, report))
    num_errors = len(report.errors)
    counts = {"image": report.images, "error": num_errors, "warning": len(report.findings) - num_errors}
    show(f"{title}: {', '.join(f'{number} {what}' + 's' * (number != 1) for what, number in counts.items())}\n")


def _findings_table(title: str, report: "SplitReport") -> "Table":
    from rich.text import Text

    table = _table(f"{title}: findings", "", "file", "what is wrong")
    # Errors first: warnings must not push them off the list.
    ordered = sorted(report.findings, key=lambda finding: finding.severity != "error")
    for finding in ordered[:MAX_ROWS]:
        table.add_row(finding.severity, Text(finding.file), Text(finding.message))
    return table


def _kinds_table(report: "SplitReport") -> "Table":
    from rich.text import Text

    table = _table("by kind", "kind", "number", "what to do")
    remedies = {finding.kind: finding.remedy for finding in report.findings}
    for kind, number in Counter(finding.kind for finding in report.findings).most_common():
        table.add_row(kind, str(number), Text(remedies[kind]))
    return table


def _classes_table(title: str, report: "SplitReport") -> "Table":
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
