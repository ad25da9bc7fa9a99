"""Confusion matrices as a picture: the darker a cell, the larger its share of the row."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from yoso.drawing.labels import font, shortened

CELL_PIXELS = (48, 11)
"""Maximum and minimum side of a cell."""

PANEL_PIXELS = 1400
"""Side that the cells of a matrix together stay below, unless the minimum side of a cell is too large for that."""

PAPER, INK, DEEP = (250, 250, 250), (30, 32, 36), (16, 60, 120)


class ConfusionMatrix(NamedTuple):
    """Counts to draw.

    Attributes:
        title: one line.
        counts: (rows, columns).
    """

    title: str
    counts: np.ndarray


def draw_confusion(matrices: Sequence[ConfusionMatrix], rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """Draw matrices side by side.

    Args:
        matrices: all of the same shape.
        rows: names of the rows.
        columns: names of the columns.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    return np.concatenate([_panel(matrix, rows, columns) for matrix in matrices], axis=1)


def _panel(matrix: ConfusionMatrix, row_names: Sequence[str], column_names: Sequence[str]) -> np.ndarray:
    title, counts = matrix
    num_rows, num_columns = counts.shape
    cell = int(np.clip(PANEL_PIXELS // num_rows, CELL_PIXELS[1], CELL_PIXELS[0]))
    size = min(15, cell)
    rows, columns = [shortened(name) for name in row_names], [shortened(name) for name in column_names]
    margin = round(max(font(size).getlength(name) for name in rows)) + 2 * size
    top = margin + 3 * size
    picture = Image.new("RGB", (margin + num_columns * cell + size, top + num_rows * cell + size), PAPER)
    writer = ImageDraw.Draw(picture)
    writer.text((size, size), title, INK, font(max(size, 12)))
    for place, name in enumerate(rows):
        writer.text((margin - size // 2, top + (place + 0.5) * cell), name, INK, font(size), anchor="rm")
    for place, name in enumerate(columns):
        _write_upwards(picture, name, margin + place * cell, top, (cell, size))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for row, column in np.ndindex(*counts.shape):
        corner = (margin + column * cell, top + row * cell)
        _draw_cell(writer, corner, cell, float(share[row, column]))
    return np.array(picture)


def _write_upwards(picture: Image.Image, name: str, left: int, bottom: int, sizes: tuple[int, int]) -> None:
    """Write the name of a column upwards; `sizes` are those of a cell and of the text, in pixels."""
    cell, size = sizes
    length = round(font(size).getlength(name)) + 1
    label = Image.new("RGB", (length, cell), PAPER)
    ImageDraw.Draw(label).text((0, cell / 2), name, INK, font(size), anchor="lm")
    picture.paste(label.transpose(Image.Transpose.ROTATE_90), (left, bottom - length - size // 2))


def _draw_cell(writer: ImageDraw.ImageDraw, corner: tuple[int, int], cell: int, share: float) -> None:
    left, top = corner
    # The square root makes small shares visible, which are what matters off the diagonal.
    depth = share**0.5
    color = tuple(round(paper + depth * (deep - paper)) for paper, deep in zip((255, 255, 255), DEEP, strict=True))
    writer.rectangle((left, top, left + cell - 2, top + cell - 2), color)
    if share >= 0.005 and cell >= 24:
        ink = PAPER if depth > 0.6 else INK
        writer.text((left + cell / 2 - 1, top + cell / 2), f"{100 * share:.0f}", ink, font(cell // 3), anchor="mm")
