"""Figures 4 and 5 as SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from yoso.drawing.svg import svg_disc, svg_document, svg_line, svg_text

WIDTH, HEIGHT = 900, 400
TOP, BOTTOM = 60, 340
PANELS = ((70, 430), (510, 870))
"""Left and right edge of each panel."""

GRID, INK, FAINT = "#dddddd", "#222222", "#6b6b6b"
PAPER, OURS, HERE = "#6b6b6b", "#1f5fa8", "#e08a3c"
LEVELS = {"cfa": (1.5, 2.0, 2.5, 2.8, 3.0), "sdca": (1.5, 2.0, 3.0, 5.0, 8.0, 12.0)}
STEPS = 100


@dataclass(frozen=True)
class PlotAxis:
    """A logarithmic axis.

    Attributes:
        low: value at `start`.
        high: value at `end`.
        start: pixel.
        end: pixel.
    """

    low: float | int
    high: float | int
    start: float | int
    end: float | int

    def place(self, value: float | int) -> float | int:
        """Return the pixel of a value."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)


def speed_accuracy_svg(points: Sequence[dict[str, Any]]) -> str:
    """Draw figure 4: FPS, on a logarithmic axis, against PQ. Ours without a PQ is a line at its FPS.

    Args:
        points: see `speed_accuracy_points`.
    """
    body = [svg_text(20, 26, "FPS against PQ", size=15, weight="bold")]
    for (left, right), table, name in zip(PANELS, ("table1", "table2"), ("COCO", "Cityscapes"), strict=True):
        own = [point for point in points if point["table"] == table]
        body += _scatter(own, name, left, right)
    words = "grey: methods that the paper quotes; blue: YOSO in the paper; orange: YOSO here, on a CPU, PQ not measured"
    return svg_document(WIDTH, HEIGHT, [*body, svg_text(20, HEIGHT - 12, words, size=11, color=FAINT)])


def _scatter(points: Sequence[dict[str, Any]], name: str, left: int, right: int) -> list[str]:
    x = PlotAxis(min([0.1, *(point["fps"] for point in points)]), 100, left, right)
    scores = [point["pq"] for point in points if point["pq"] is not None]
    low, high = math.floor(min(scores)) - 2, math.ceil(max(scores)) + 2
    parts = [svg_text(left, TOP - 10, name, weight="bold")]
    for fps in (0.1, 1, 10, 100):
        parts.append(svg_line([(x.place(fps), TOP), (x.place(fps), BOTTOM)], GRID))
        parts.append(svg_text(x.place(fps), BOTTOM + 16, f"{fps:g} FPS", size=10, anchor="middle", color=FAINT))
    for pq in range(low + -low % 5, high + 1, 5):
        y = BOTTOM - (pq - low) / (high - low) * (BOTTOM - TOP)
        parts += [svg_line([(left, y), (right, y)], GRID)]
        parts.append(svg_text(left - 6, y + 4, f"{pq}", size=10, anchor="end", color=FAINT))
    for point in points:
        place = x.place(point["fps"])
        if point["pq"] is None:
            parts.append(svg_line([(place, TOP), (place, BOTTOM)], HERE, 2))
            parts.append(svg_text(place + 4, TOP + 12, point["scale"], size=9, color=HERE))
            continue
        y = BOTTOM - (point["pq"] - low) / (high - low) * (BOTTOM - TOP)
        color = HERE if point["source"] == "here" else OURS if "ours" in point["method"] else PAPER
        label = "YOSO" if "ours" in point["method"] else point["method"]
        parts += [svg_disc(place, y, 4, color), svg_text(place - 7, y + 3, label, size=9, anchor="end", color=color)]
    return parts


def contours_svg(content: dict[str, Any]) -> str:
    """Draw figure 5: lines of equal FLOPs reduction of CFA by equation 2 and of SDCA by equation 10.

    Args:
        content: see `contours`; its grid gives the range of the axes.
    """
    body = [svg_text(20, 26, "Lines of equal FLOPs reduction", size=15, weight="bold")]
    drawn = (
        ("cfa", "channels", "CFA: input channels c", _width_of_cfa),
        ("sdca", "tokens", "SDCA: tokens n", _width_of_sdca),
    )
    for (left, right), (name, first, words, width_of) in zip(PANELS, drawn, strict=True):
        columns = sorted({row[first] for row in content[name]})
        widths = sorted({row["width"] for row in content[name]})
        x = PlotAxis(columns[0], columns[-1], left, right)
        y = PlotAxis(widths[0], widths[-1], BOTTOM, TOP)
        body += _contour_axes(x, y, columns, widths)
        body.append(svg_text(left, TOP - 10, f"{words}; width d upwards", weight="bold"))
        for level in LEVELS[name]:
            body += _contour(level, width_of, x, y)
    return svg_document(WIDTH, HEIGHT, body)


def _contour_axes(x: PlotAxis, y: PlotAxis, columns: Sequence[int], widths: Sequence[int]) -> list[str]:
    parts = []
    for value in columns:
        parts.append(svg_line([(x.place(value), y.start), (x.place(value), y.end)], GRID))
        parts.append(svg_text(x.place(value), BOTTOM + 16, str(value), size=10, anchor="middle", color=FAINT))
    for value in widths:
        parts.append(svg_line([(x.start, y.place(value)), (x.end, y.place(value))], GRID))
        parts.append(svg_text(x.start - 6, y.place(value) + 4, str(value), size=10, anchor="end", color=FAINT))
    return parts


def _contour(
    level: float | int, width_of: Callable[[float | int, float | int], float], x: PlotAxis, y: PlotAxis
) -> list[str]:
    """Return the line on which the ratio has a value, where it is inside the axes, and its label."""
    points = []
    for step in range(STEPS + 1):
        column = x.low * (x.high / x.low) ** (step / STEPS)
        width = width_of(column, level)
        if y.low <= width <= y.high:
            points.append((x.place(column), y.place(width)))
    if len(points) < 2:
        return []
    right, top = points[-1]
    return [svg_line(points, OURS, 1.5), svg_text(right - 4, top - 4, f"{level:g}x", size=10, anchor="end", color=INK)]


def _width_of_cfa(channels: float | int, ratio: float | int) -> float:
    """Solve equation 2 with equal input channels for d; infinite where no d gives the ratio."""
    rest = ratio * ((1 / 64 + 1 / 16 + 1 / 4 + 1) * channels + 15) - 4 * channels
    return 12 * channels / rest if rest > 0 else math.inf


def _width_of_sdca(tokens: float | int, ratio: float | int, t: int = 3) -> float:
    """Solve equation 10 for d."""
    return (ratio * (t + tokens) - tokens) / 2
