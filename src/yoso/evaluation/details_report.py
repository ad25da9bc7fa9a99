"""The other scores for people and for programs: confusion, size, instances, semantics, thresholds.

Layout as in `yoso.evaluation.report`: figures from 0 to 1 in JSON, where None stands for one that does not exist, and
times 100 in tables, where a dash does.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from yoso.categories import Categories
from yoso.evaluation.breakdown import SIZE_BOUNDS, Breakdown, Confusion, largest_mixups, quality_by_size
from yoso.evaluation.instances import MaskAP
from yoso.evaluation.semantic import SemanticQuality

if TYPE_CHECKING:
    from rich.table import Table

NOTHING, VOID_ROW = "nothing", "void"
NUM_MIXUPS = 10


def breakdown_as_json(breakdown: Breakdown, categories: Categories) -> dict[str, Any]:
    """Return `by_size` and `confusion`.

    Args:
        breakdown: the counts.
        categories: the classes they are of.

    Returns:
        `by_size`: {small, medium, large} with the fields of `SizeQuality`; `confusion`: {rows, columns, segments,
        pixels}: the names of the rows and columns and the two matrices, as lists of rows.
    """
    confusion = breakdown.confusion
    sizes = quality_by_size(breakdown.by_size, categories)
    return {
        "by_size": {name: _plain(figures._asdict()) for name, figures in sizes.items()},
        "confusion": {
            "rows": [*categories.names, NOTHING, VOID_ROW],
            "columns": [*categories.names, NOTHING],
            "segments": confusion.segments.tolist(),
            "pixels": confusion.pixels.tolist(),
        },
    }


def size_table(breakdown: Breakdown, categories: Categories) -> "Table":
    """Return a rich table of PQ, SQ and RQ of small, medium and large things."""
    small, large = (math.isqrt(bound) for bound in SIZE_BOUNDS)
    titles = {
        "small": f"small, below {small} x {small} pixels",
        "medium": "medium",
        "large": f"large, from {large} x {large}",
    }
    table = _table("Things by size (x100)", ["things"], ["n", "PQ", "SQ", "RQ", "matched", "mistaken", "missed"])
    for name, row in quality_by_size(breakdown.by_size, categories).items():
        totals = (row.true_positive, row.false_positive, row.false_negative)
        table.add_row(titles[name], str(row.n), *_percent(row.pq, row.sq, row.rq), *(str(total) for total in totals))
    return table


def confusion_table(confusion: Confusion, categories: Categories) -> "Table":
    """Return a rich table of the classes that are confused most, by their share of the true class's pixels."""
    from rich.text import Text

    table = _table("Taken for another class", ["class", "taken for"], ["% of its pixels", "pixels", "segments"])
    names = [*categories.names, NOTHING]
    for mixup in largest_mixups(confusion, NUM_MIXUPS):
        counts = (str(mixup.pixels), str(mixup.segments))
        table.add_row(Text(names[mixup.truth]), Text(names[mixup.prediction]), *_percent(mixup.share), *counts)
    return table


def instances_as_json(result: MaskAP, categories: Categories) -> dict[str, Any]:
    """Return the fields of `MaskAP`, `per_class` with category_id and name.

    Args:
        result: the figures.
        categories: the classes of the data set.
    """
    rows = zip(_things(categories), result.per_class, strict=True)
    per_class = [{"category_id": c.id, "name": c.name, **_plain(row._asdict())} for c, row in rows]
    return {**_plain(result._asdict()), "per_class": per_class}


def instance_table(result: MaskAP, categories: Categories) -> "Table":
    """Return a rich table of mask AP: a row per thing class, then all, then all by size."""
    from rich.text import Text

    table = _table("Instances: mask AP (x100)", ["class"], ["AP", "AP50", "AP75", "true", "detected"])
    for category, row in zip(_things(categories), result.per_class, strict=True):
        counts = (str(row.true_instances), str(row.detections))
        table.add_row(Text(category.name), *_percent(row.ap, row.ap50, row.ap75), *counts)
    table.add_section()
    for name in ("small", "medium", "large"):
        table.add_row(name, *_percent(getattr(result, f"ap_{name}")))
    totals = [str(sum(getattr(row, field) for row in result.per_class)) for field in ("true_instances", "detections")]
    table.add_row(f"things, n = {result.n}", *_percent(result.ap, result.ap50, result.ap75), *totals, style="bold")
    return table


def semantic_as_json(result: SemanticQuality, categories: Categories) -> dict[str, Any]:
    """Return the fields of `SemanticQuality`, `per_class` with category_id, name and is_thing.

    Args:
        result: the figures.
        categories: the classes of the data set.
    """
    per_class = [
        {"category_id": c.id, "name": c.name, "is_thing": c.is_thing, **_plain(row._asdict())}
        for c, row in zip(categories, result.per_class, strict=True)
    ]
    return {**_plain(result._asdict()), "per_class": per_class}


def semantic_table(result: SemanticQuality, categories: Categories) -> "Table":
    """Return a rich table of IoU: a row per class, then the means."""
    from rich.text import Text

    columns = ["IoU", "pixels found", "true pixels", "predicted pixels"]
    table = _table("Semantic segmentation (x100)", ["class", "kind"], columns)
    for category, row in zip(categories, result.per_class, strict=True):
        kind = "thing" if category.is_thing else "stuff"
        counts = (str(row.true_pixels), str(row.predicted_pixels))
        table.add_row(Text(category.name), kind, *_percent(row.iou, row.accuracy), *counts)
    table.add_section()
    table.add_row("mIoU", f"n = {result.n}", *_percent(result.miou), style="bold")
    table.add_row("fwIoU", "", *_percent(result.fwiou), style="bold")
    table.add_row("pixel accuracy", "", "", *_percent(result.pixel_accuracy), style="bold")
    return table


def tuning_table(
    rows: Sequence[float], columns: Sequence[float], pq: np.ndarray, best: tuple[float, float] | None
) -> "Table":
    """Return a rich table of PQ per pair of thresholds, the best one in bold with a star.

    Args:
        rows: object-mask thresholds.
        columns: overlap thresholds.
        pq: (rows, columns) 0 to 1, or nan.
        best: the best pair.
    """
    from rich.text import Text

    table = _table("PQ (x100)", ["object mask \\ overlap"], [f"{value:g}" for value in columns])
    for row, figures in zip(rows, pq.tolist(), strict=True):
        cells = []
        for column, text in zip(columns, _percent(*figures), strict=True):
            cells.append(Text(f"*{text}", "bold") if (row, column) == best else Text(text))
        table.add_row(f"{row:g}", *cells)
    return table


def _table(title: str, names: list[str], figures: list[str]) -> "Table":
    from rich.table import Table

    table = Table(title=title)
    for name in names:
        table.add_column(name)
    for name in figures:
        table.add_column(name, justify="right")
    return table


def _things(categories: Categories) -> list[Any]:
    return [category for category in categories if category.is_thing]


def _percent(*values: float) -> list[str]:
    return ["-" if math.isnan(value) else f"{100 * value:.1f}" for value in values]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in fields.items()}
