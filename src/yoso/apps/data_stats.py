"""`yoso data stats`: counts images, segments, areas and classes of a data set, as tables and as a chart."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from yoso.apps.arguments import Parser, add_max_pixels
from yoso.apps.console import progress_report, show, show_json

if TYPE_CHECKING:
    from rich.table import Table

    from yoso.data.statistics import Statistics

BAR_CHARACTERS = 16


def main(arguments: list[str]) -> int:
    """Run `yoso data stats DATASET`.

    Args:
        arguments: what stands after `yoso data stats`.

    Returns:
        The exit status.

    Raises:
        YosoError: no such data set or split, annotations that are not COCO panoptic, a chart that cannot be written.
    """
    parser = Parser("data stats", "Count the images, segments, areas and classes of a data set.")
    parser.add_argument("dataset", metavar="DATASET", help="a data set's YAML file, folder or name")
    parser.add_argument("--split", help="train or val (default: both)")
    parser.add_argument("--chart", metavar="PNG", help="draw the number of segments per class of the first split")
    add_max_pixels(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    args = parser.parse(arguments)

    from yoso.data.coco_panoptic import read_annotations
    from yoso.data.spec import load_spec
    from yoso.data.statistics import compute_statistics

    spec = load_spec(args.dataset)
    found: dict[str, Statistics] = {}
    for name in [args.split] if args.split else list(spec.splits):
        split = spec.split(name)
        with progress_report(f"counting {name}") as progress:
            found[name] = compute_statistics(split, progress)
    if args.json:
        show_json({"data": spec.name, "splits": {name: asdict(statistics) for name, statistics in found.items()}})
    else:
        for name, statistics in found.items():
            show(_table(f"{spec.name}, {name}", statistics), _summary(f"{spec.name}, {name}", statistics))
    if args.chart:
        name, statistics = next(iter(found.items()))
        colors = [category.color for category in read_annotations(spec.split(name).annotations).categories]
        bars = [(row.name, row.segments, color) for row, color in zip(statistics.classes, colors, strict=True)]
        from yoso.drawing.charts import bar_chart
        from yoso.drawing.pictures import write_picture

        write_picture(args.chart, bar_chart(f"{spec.name}, {name}: segments per class", bars))
        if not args.json:
            show(f"chart: {args.chart}")
    return 0


def _table(title: str, statistics: "Statistics") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{title}: classes"), title_justify="left", box=SIMPLE_HEAD)
    for column in ("class", "kind"):
        table.add_column(column, overflow="fold")
    for column in ("segments", "small", "medium", "large", "crowds", "images", "median area", "pixels"):
        table.add_column(column, justify="right")
    table.add_column("", no_wrap=True)
    total = sum(row.pixels for row in statistics.classes) or 1
    largest = max(row.pixels for row in statistics.classes) or 1
    for row in statistics.classes:
        numbers = (row.segments, row.small, row.medium, row.large, row.crowds, row.images, row.median_area)
        bar = "█" * round(BAR_CHARACTERS * row.pixels / largest)
        table.add_row(
            Text(row.name),
            "thing" if row.is_thing else "stuff",
            *(f"{number:,.0f}" for number in numbers),
            f"{100 * row.pixels / total:.1f}%",
            bar,
        )
    return table


def _summary(title: str, statistics: "Statistics") -> str:
    def spread(values: tuple[float, float, float]) -> str:
        return f"{values[0]:,.0f} to {values[2]:,.0f} (median {values[1]:,.0f})"

    return (
        f"{title}: {statistics.images:,} images, {statistics.empty:,} of them without a segment; "
        f"{spread(statistics.widths)} pixels wide, {spread(statistics.heights)} high\n"
        f"{statistics.segments:,} segments, {spread(statistics.segments_per_image)} per image; "
        f"{100 * statistics.labelled:.1f}% of the pixels are labelled\n"
    )
