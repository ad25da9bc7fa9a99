"""Scores as tables for the terminal: values times 100, a dash for one that does not exist.

Numbers are never broken, and names only between words where a terminal has 80 columns.
"""

import math
from collections.abc import Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from yoso.categories import Categories
from yoso.evaluation.breakdown import SIZE_BOUNDS, Breakdown, Confusion, largest_confusions, quality_by_size
from yoso.evaluation.instances import MaskAP
from yoso.evaluation.quality import ClassQuality, PanopticQualityResult
from yoso.evaluation.report import NOTHING, things_of
from yoso.evaluation.semantic import SemanticQuality
from yoso.evaluation.video_quality import VideoQuality
from yoso.scoring.tasks import InstanceTask, PanopticTask, SemanticTask, Task

NUM_CONFUSIONS = 10
"""Rows of the table of confused classes."""

COUNTS = ("TP", "FP", "FN")


def tables_of(task: Task) -> list[Table]:
    """Return the tables of a task's scores."""
    if isinstance(task, PanopticTask):
        categories, breakdown = task.dataset.categories, task.breakdown
        return [
            panoptic_table(task.result, categories),
            size_table(breakdown, categories),
            confusion_table(breakdown.confusion, categories),
        ]
    if isinstance(task, InstanceTask):
        return [instance_table(task.result, task.categories)]
    if isinstance(task, SemanticTask):
        return [semantic_table(task.result, task.categories)]
    raise TypeError(f"no table for {type(task).__name__}")


def panoptic_table(result: PanopticQualityResult, categories: Categories) -> Table:
    """Return a table of panoptic quality: a row per class, then things, stuff and all.

    Args:
        result: the scores.
        categories: their classes.
    """
    table = _table("Panoptic quality (x100)", ["class", "kind"], ["PQ", "SQ", "RQ", *COUNTS])
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
    """Return a table of the panoptic quality of small, medium and large things."""
    small, large = (math.isqrt(bound) for bound in SIZE_BOUNDS)
    titles = {
        "small": f"small (area below {small} x {small})",
        "medium": "medium",
        "large": f"large (from {large} x {large})",
    }
    table = _table("Things by size (x100)", ["things"], ["n", "PQ", "SQ", "RQ", *COUNTS])
    for name, row in quality_by_size(breakdown.by_size, categories).items():
        totals = (row.true_positive, row.false_positive, row.false_negative)
        table.add_row(titles[name], str(row.n), *_percent(row.pq, row.sq, row.rq), *(str(total) for total in totals))
    return table


def confusion_table(confusion: Confusion, categories: Categories) -> Table:
    """Return a table of the classes that are confused most, by their share of the true class's pixels."""
    table = _table("Most confused classes", ["class", "predicted as"], ["% of its\npixels", "pixels", "segments"])
    names = [*categories.names, NOTHING]
    for pair in largest_confusions(confusion, NUM_CONFUSIONS):
        counts = (str(pair.pixels), str(pair.segments))
        table.add_row(Text(names[pair.truth]), Text(names[pair.prediction]), *_percent(pair.share), *counts)
    return table


def instance_table(result: MaskAP, categories: Categories) -> Table:
    """Return a table of mask AP: a row per thing class, then all things by size, then all."""
    table = _table("Instances: mask AP (x100)", ["class"], ["AP", "AP50", "AP75", "true", "predicted"])
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
    """Return a table of IoU and pixel accuracy: a row per class, then the means."""
    columns = ["IoU", "accuracy", "true\npixels", "predicted\npixels"]
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


def vpq_table(result: VideoQuality, categories: Categories) -> Table:
    """Return a table of video panoptic quality: a row per class, then groups; a column per window, then the mean.

    Args:
        result: the scores.
        categories: their classes.
    """
    columns = [*(f"{length} frame{'s' * (length > 1)}" for length in result.windows), "VPQ"]
    table = _table("Video panoptic quality by window (x100)", ["class", "kind"], columns)
    windows = list(result.windows.values())
    for index, category in enumerate(categories):
        figures = [window.per_class[index].pq for window in windows]
        known = [figure for figure in figures if not math.isnan(figure)]
        mean = sum(known) / len(known) if known else math.nan
        kind = "thing" if category.is_thing else "stuff"
        table.add_row(Text(category.name), kind, *_percent(*figures, mean))
    table.add_section()
    for group, mean in (("things", result.vpq_things), ("stuff", result.vpq_stuff), ("all", result.vpq)):
        figures = [getattr(window, group).pq for window in windows]
        table.add_row(group, "", *_percent(*figures, mean), style="bold")
    return table


def identity_table(result: VideoQuality) -> Table:
    """Return a table of one row: the scores of identities, and how many tracks and frames they are of."""
    counts = ("true\ntracks", "identity\nswitches", "frames")
    table = _table("Identities (x100)", [], ["STQ", "AQ", "SQ", "IDF1", *counts])
    totals = (str(total) for total in (result.num_tracks, result.id_switches, result.num_frames))
    table.add_row(*_percent(result.stq, result.aq, result.sq, result.idf1), *totals)
    return table


def tuning_table(
    rows: Sequence[float], columns: Sequence[float], pq: np.ndarray, best: tuple[float, float] | None
) -> Table:
    """Return a table of PQ per pair of thresholds, the best one in bold with a star.

    Args:
        rows: object-mask thresholds.
        columns: overlap thresholds.
        pq: (rows, columns) 0 to 1, or nan.
        best: the best pair.
    """
    table = _table("PQ (x100)", ["object mask\n\\ overlap"], [f"{value:g}" for value in columns])
    for row, figures in zip(rows, pq.tolist(), strict=True):
        cells = []
        for column, text in zip(columns, _percent(*figures), strict=True):
            cells.append(Text(f"*{text}", "bold") if (row, column) == best else Text(text))
        table.add_row(f"{row:g}", *cells)
    return table


def _table(title: str, names: list[str], figures: list[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _totals(rows: list[ClassQuality]) -> list[str]:
    fields = ("true_positive", "false_positive", "false_negative")
    return [str(sum(getattr(row, field) for row in rows)) for field in fields]


def _percent(*values: float) -> list[str]:
    return ["-" if math.isnan(value) else f"{100 * value:.1f}" for value in values]
