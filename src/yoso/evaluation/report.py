"""Panoptic quality for people and for programs."""

import math
from typing import TYPE_CHECKING, Any

from yoso.categories import Categories
from yoso.evaluation.quality import ClassQuality, PanopticQualityResult, Quality

if TYPE_CHECKING:
    from rich.table import Table

GROUPS = ("all", "things", "stuff")


def as_json(result: PanopticQualityResult, categories: Categories) -> dict[str, Any]:
    """Return plain dictionaries and lists that `json` can write; figures between 0 and 1.

    Args:
        result: the figures.
        categories: the classes they are of.

    Returns:
        `all`, `things`, `stuff`: {pq, sq, rq, n}, and `per_class`: a list of {category_id, name, is_thing} with the
        fields of `ClassQuality`. A figure of a class or group that does not occur is None, which JSON writes as null.
    """
    content: dict[str, Any] = {group: _plain(getattr(result, group)) for group in GROUPS}
    content["per_class"] = [
        {"category_id": category.id, "name": category.name, "is_thing": category.is_thing, **_plain(row)}
        for category, row in zip(categories, result.per_class, strict=True)
    ]
    return content


def as_table(result: PanopticQualityResult, categories: Categories) -> "Table":
    """Return a rich table: a row per class, then things, stuff and all; PQ, SQ, RQ times 100.

    A dash stands for a figure of a class or group that does not occur.

    Args:
        result: the figures.
        categories: the classes they are of.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Panoptic quality (x100)")
    table.add_column("class")
    table.add_column("kind")
    for column in ("PQ", "SQ", "RQ", "matched", "mistaken", "missed"):
        table.add_column(column, justify="right")
    rows = list(zip(categories, result.per_class, strict=True))
    for category, row in rows:
        kind = "thing" if category.is_thing else "stuff"
        table.add_row(Text(category.name), kind, *_percent(row), *_totals([row]))
    table.add_section()
    for group, members in (
        ("things", [row for category, row in rows if category.is_thing]),
        ("stuff", [row for category, row in rows if not category.is_thing]),
        ("all", [row for _, row in rows]),
    ):
        quality = getattr(result, group)
        table.add_row(group, f"n = {quality.n}", *_percent(quality), *_totals(members), style="bold")
    return table


def _totals(rows: list[ClassQuality]) -> list[str]:
    fields = ("true_positive", "false_positive", "false_negative")
    return [str(sum(getattr(row, field) for row in rows)) for field in fields]


def _percent(row: Quality | ClassQuality) -> list[str]:
    return ["-" if math.isnan(value) else f"{100 * value:.1f}" for value in (row.pq, row.sq, row.rq)]


def _plain(row: Quality | ClassQuality) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row._asdict().items()
    }
