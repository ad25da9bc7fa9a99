"""A chart of bars, drawn without a plotting library."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from yoso.categories import Color
from yoso.drawing.labels import font, shortened

WIDTH, ROW, NAMES, NUMBERS, MARGIN = 1000, 18, 280, 90, 14
BACKGROUND, INK, LINE = (250, 250, 250), (30, 32, 36), (222, 224, 228)


def bar_chart(title: str, bars: Sequence[tuple[str, int, Color]]) -> np.ndarray:
    """Draw one bar per row, longest first, on a logarithmic scale, because classes differ by factors of thousands.

    Args:
        title: one line.
        bars: name, number (0 or more) and color of each.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    ordered = sorted(bars, key=lambda bar: -bar[1])
    decades = max(1, math.ceil(math.log10(max(1, ordered[0][1] if ordered else 1) + 1)))
    room = WIDTH - NAMES - NUMBERS - 2 * MARGIN
    top = 3 * ROW
    chart = Image.new("RGB", (WIDTH, top + ROW * len(ordered) + 2 * MARGIN), BACKGROUND)
    pen = ImageDraw.Draw(chart)
    pen.text((MARGIN, MARGIN + ROW // 2), title, INK, font(15), anchor="lm")
    for decade in range(decades + 1):
        x = NAMES + MARGIN + room * decade / decades
        pen.line([(x, top), (x, chart.height - MARGIN)], LINE)
        pen.text((x, top - ROW // 2), f"{10**decade:,}", INK, font(11), anchor="mm")
    for number, (name, value, color) in enumerate(ordered):
        y, left = top + ROW * number, NAMES + MARGIN
        length = room * math.log10(value) / decades if value else 0
        pen.text((left - 8, y + ROW // 2), shortened(name, 40), INK, font(12), anchor="rm")
        pen.rectangle([(left, y + 3), (left + max(length, 1), y + ROW - 4)], fill=color)
        pen.text((left + length + 8, y + ROW // 2), f"{value:,}", INK, font(11), anchor="lm")
    return np.array(chart)
