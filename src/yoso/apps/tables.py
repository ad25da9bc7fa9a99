"""Scores as tables for the terminal: figures times 100, a dash for one that does not exist."""

import math
from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from yoso.categories import Categories
from yoso.evaluation.breakdown import SIZE_BOUNDS, Breakdown, Confusion, largest_mixups, quality_by_size
from yoso.evaluation.instances import MaskAP
from yoso.evaluation.quality import ClassQuality, PanopticQualityResult
from yoso.evaluation.report import NOTHING, things_of
from yoso.evaluation.semantic import SemanticQuality
from yoso.scoring.tasks import InstanceScore, PanopticScore, SemanticScore, Task

NUM_MIXUPS = 10


def tables_of(task: Task) -> list[Table]:
    """Return the tables of a task's figures."""
    if isinstance(task, PanopticScore):
        categories, breakdown = task.dataset.categories, task.breakdown
        return [
            panoptic_table(task.result, categories),
            size_table(breakdown, categories),
            confusion_table(breakdown.confusion, categories),
        ]
    if isinstance(task, InstanceScore):
        return [instance_table(task.result, task.categories)]
    if isinstance(task, SemanticScore):
        return [semantic_table(task.result, task.categories)]
    raise TypeError(f"no table for {type(task).__name__}")


def panoptic_table(result: PanopticQualityResult, categories: Categories) -> Table:
    """Return a rich table: a row per class, then things, stuff and all; PQ, SQ, RQ times 100.

    A dash stands for a figure of a class or group that does not occur.

    Args:
        result: the figures.
        categories: the classes they are of.
    """
    table = Table(title="Panoptic quality (x100)")
    table.add_column("class")
    table.add_column("kind")
    for column in ("PQ", "SQ", "RQ", "matched", "mistaken", "missed"):
        table.add_column(column, justify="right")
    rows = list(zip(categories, result.per_class, strict=True))
    for category, row in rows:
        kind = "thing" if category.is_thing else "stuff"
        table.add_row(Text(category.name), kind, *_percent(row.pq, row.sq, row.rq), *_totals([row]))
    table.add_section()
    for group, members in (
        ("things", [row for category, row in rows if category.is_thing]),
        ("stuff", [row for category, row in rows if not category.is_thing]),
        ("all", [row for _, row in rows]),
    ):
        quality = getattr(result, group)
        table.add_row(
            group, f"n = {quality.n}", *_percent(quality.pq, quality.sq, quality.rq), *_totals(members), style="bold"
        )
    return table


def size_table(breakdown: Breakdown, categories: Categories) -> Table:
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


def confusion_table(confusion: Confusion, categories: Categories) -> Table:
    """Return a rich table of the classes that are confused most, by their share of the true class's pixels."""
    table = _table("Taken for another class", ["class", "taken for"], ["% of its pixels", "pixels", "segments"])
    names = [*categories.names, NOTHING]
    for mixup in largest_mixups(confusion, NUM_MIXUPS):
        counts = (str(mixup.pixels), str(mixup.segments))
        table.add_row(Text(names[mixup.truth]), Text(names[mixup.prediction]), *_percent(mixup.share), *counts)
    return table


def instance_table(result: MaskAP, categories: Categories) -> Table:
    """Return a rich table of mask AP: a row per thing class, then all, then all by size."""
    table = _table("Instances: mask AP (x100)", ["class"], ["AP", "AP50", "AP75", "true", "detected"])
    for category, row in zip(things_of(categories), result.per_class, strict=True):
        counts = (str(row.true_instances), str(row.detections))
        table.add_row(Text(category.name), *_percent(row.ap, row.ap50, row.ap75), *counts)
    table.add_section()
    for name in ("small", "medium", "large"):
        table.add_row(name, *_percent(getattr(result, f"ap_{name}")))
    totals = [str(sum(getattr(row, field) for row in result.per_class)) for field in ("true_instances", "detections")]
    table.add_row(f"things, n = {result.n}", *_percent(result.ap, result.ap50, result.ap75), *totals, style="bold")
    return table


def semantic_table(result: SemanticQuality, categories: Categories) -> Table:
    """Return a rich table of IoU: a row per class, then the means."""
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
) -> Table:
    """Return a rich table of PQ per pair of thresholds, the best one in bold with a star.

    Args:
        rows: object-mask thresholds.
        columns: overlap thresholds.
        pq: (rows, columns) 0 to 1, or nan.
        best: the best pair.
    """
    table = _table("PQ (x100)", ["object mask \\ overlap"], [f"{value:g}" for value in columns])
    for row, figures in zip(rows, pq.tolist(), strict=True):
        cells = []
        for column, text in zip(columns, _percent(*figures), strict=True):
            cells.append(Text(f"*{text}", "bold") if (row, column) == best else Text(text))
        table.add_row(f"{row:g}", *cells)
    return table


def _table(title: str, names: list[str], figures: list[str]) -> Table:
    table = Table(title=title)
    for name in names:
        table.add_column(name)
    for name in figures:
        table.add_column(name, justify="right")
    return table


def _totals(rows: list[ClassQuality]) -> list[str]:
    fields = ("true_positive", "false_positive", "false_negative")
    return [str(sum(getattr(row, field) for row in rows)) for field in fields]


def _percent(*values: float) -> list[str]:
    return ["-" if math.isnan(value) else f"{100 * value:.1f}" for value in values]
