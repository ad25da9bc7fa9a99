"""Scores as dictionaries and lists that `json` can write: values between 0 and 1.

A value that does not exist, such as the PQ of a class that does not occur, is None, which JSON writes as null.
"""

import math
from typing import Any

from yoso.categories import Categories, Category
from yoso.evaluation.breakdown import Breakdown, quality_by_size
from yoso.evaluation.instances import MaskAP
from yoso.evaluation.quality import PanopticQualityResult
from yoso.evaluation.semantic import SemanticQuality
from yoso.evaluation.video_quality import VideoQuality

GROUPS = ("all", "things", "stuff")
NOTHING, VOID_ROW = "nothing", "void"
"""Names of the additional column and rows of a confusion matrix: no segment; void in the ground truth."""


def as_json(result: PanopticQualityResult, categories: Categories) -> dict[str, Any]:
    """Return panoptic quality.

    Args:
        result: the scores.
        categories: their classes.

    Returns:
        `all`, `things`, `stuff`: {pq, sq, rq, n}, and `per_class`: a list of {category_id, name, is_thing} with the
        fields of `ClassQuality`.
    """
    content: dict[str, Any] = {group: _plain(getattr(result, group)._asdict()) for group in GROUPS}
    content["per_class"] = [
        {"category_id": category.id, "name": category.name, "is_thing": category.is_thing, **_plain(row._asdict())}
        for category, row in zip(categories, result.per_class, strict=True)
    ]
    return content


def breakdown_as_json(breakdown: Breakdown, categories: Categories) -> dict[str, Any]:
    """Return `by_size` and `confusion`.

    Args:
        breakdown: the counts.
        categories: their classes.

    Returns:
        `by_size`: {small, medium, large} with the fields of `SizeQuality`; `confusion`: {rows, columns, segments,
        pixels}: the names of rows and columns, and the two matrices as lists of rows.
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


def instances_as_json(result: MaskAP, categories: Categories) -> dict[str, Any]:
    """Return the fields of `MaskAP`, `per_class` with category_id and name.

    Args:
        result: the scores.
        categories: the classes of the data set.
    """
    rows = zip(things_of(categories), result.per_class, strict=True)
    per_class = [{"category_id": c.id, "name": c.name, **_plain(row._asdict())} for c, row in rows]
    return {**_plain(result._asdict()), "per_class": per_class}


def semantic_as_json(result: SemanticQuality, categories: Categories) -> dict[str, Any]:
    """Return the fields of `SemanticQuality`, `per_class` with category_id, name and is_thing.

    Args:
        result: the scores.
        categories: the classes of the data set.
    """
    per_class = [
        {"category_id": c.id, "name": c.name, "is_thing": c.is_thing, **_plain(row._asdict())}
        for c, row in zip(categories, result.per_class, strict=True)
    ]
    return {**_plain(result._asdict()), "per_class": per_class}


def video_as_json(result: VideoQuality, categories: Categories) -> dict[str, Any]:
    """Return the fields of `VideoQuality`; `windows` maps the number of frames to the panoptic quality of tubes.

    Args:
        result: the scores.
        categories: the classes of the data set.
    """
    windows = {str(length): as_json(window, categories) for length, window in result.windows.items()}
    return {**_plain(result._asdict()), "windows": windows}


def things_of(categories: Categories) -> list[Category]:
    """Return the categories that are things, in order."""
    return [category for category in categories if category.is_thing]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in fields.items()}
