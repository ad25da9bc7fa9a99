"""The paper's own figures, from paper.yaml."""

from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from yoso.files import read_yaml

Row = dict[str, Any]

OURS = "YOSO, ours"
"""The method of this paper in tables 1 to 4."""


@cache
def _tables() -> dict[str, Any]:
    return read_yaml(Path(str(package_files("yoso"))) / "reproduction" / "paper.yaml")


def paper_rows(table: str) -> list[Row]:
    """Return the rows of a table as printed, each by column; a dash in the paper is None.

    Args:
        table: "table1" to "table10".
    """
    content = _tables()[table]
    return [dict(zip(content["columns"], row, strict=True)) for row in content["rows"]]


def paper_row(table: str, name: str) -> Row:
    """Return a row of tables 5 to 10 by its name."""
    return next(row for row in paper_rows(table) if row["row"] == name)


def paper_seconds(text: str) -> float:
    """Return the mean of a latency such as "1877±52", in seconds."""
    return float(text.partition("±")[0]) / 1e6
