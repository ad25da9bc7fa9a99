"""A table that fits the terminal: it wraps between words and leaves out its least important columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

    from yoso.speed.table import Table

GAP = 2
"""Blank characters between two columns."""

MIN_NAME = 12
"""Characters that remain of a word in the first column, if no terminal could hold it."""


@dataclass(frozen=True)
class FittedTable:
    """A table, for `rich` to print.

    Attributes:
        table: its first column may be shortened, its second may be wrapped, its others are printed whole.
    """

    table: "Table"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator[Any]:
        """Yield what rich prints at the width of the terminal."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table, left_out = fit_columns(self.table, options.max_width)
        drawn = RichTable(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_edge=False)
        columns = list(zip(table.header, *table.rows, strict=True))
        for name, cells, width in zip(table.header, columns, column_widths(table, options.max_width), strict=True):
            numeric = all(cell[:1].isdigit() or cell == "-" for cell in cells[1:])
            drawn.add_column(name, width=width, justify="right" if numeric else "left", overflow="ellipsis")
        for row in table.rows:
            drawn.add_row(*(Text(cell) for cell in row))
        yield Text(table.title, style="bold")
        yield drawn
        if left_out:
            words = f"not shown here: {', '.join(left_out)}; use a wider terminal, or --json and --render"
            yield Text(words, style="dim")


def fit_columns(table: "Table", width: int) -> tuple["Table", list[str]]:
    """Leave out optional columns until the longest word of every column fits.

    Args:
        table: any.
        width: characters per line.

    Returns:
        The table, and the names of the columns that were left out.
    """
    left_out: list[str] = []
    for column in table.optional:
        if sum(_longest_words(table)) + GAP * (len(table.header) - 1) <= width:
            break
        if column in table.header:
            table, left_out = table.without(column), [*left_out, column]
    return table, left_out


def column_widths(table: "Table", width: int) -> list[int]:
    """Return the width of each column: that of its longest cell, or where `width` is too small, of fewer words.

    The first column alone becomes narrower than its longest word, if nothing else helps.
    """
    minimum = _longest_words(table)
    widths = [max(map(len, cells)) for cells in zip(table.header, *table.rows, strict=True)]
    room = width - GAP * (len(widths) - 1)
    while sum(widths) > room and widths != minimum:
        widest = max((index for index in range(len(widths)) if widths[index] > minimum[index]), key=widths.__getitem__)
        widths[widest] -= 1
    widths[0] = max(min(widths[0], MIN_NAME), widths[0] - max(0, sum(widths) - room))
    return widths


def _longest_words(table: "Table") -> list[int]:
    columns: Sequence[Sequence[str]] = list(zip(table.header, *table.rows, strict=True))
    return [max(len(word) for cell in cells for word in cell.split()) for cells in columns]
