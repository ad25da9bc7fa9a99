"""A result as a bar chart in SVG, written without a drawing library, so that equal results give equal files."""

from collections.abc import Sequence

from yoso.drawing.svg import Number, svg_document, svg_rect, svg_text
from yoso.speed.entry import STAGES
from yoso.speed.results import Measurement, Result
from yoso.speed.table import milliseconds, mode_words, provenance_line

WIDTH, LEFT, RIGHT = 900, 270, 120
BAR, STEP, HEAD = 20, 30, 44
COLORS = {
    "prepare": "#a3a3a3",
    "backbone": "#1f5fa8",
    "aggregator": "#3f93c9",
    "decoder": "#7cc0d8",
    "network": "#3f7fb8",
    "merge": "#e08a3c",
}


def svg(result: Result) -> str:
    """Return a chart: per size one bar per entry, as long as its median, divided into its stages.

    Stage times come from separate runs, so they are drawn as shares of the median.
    """
    sizes = dict.fromkeys(entry.size for entry in result.entries)
    body, top = _legend(result), 2 * HEAD - 10
    for size in sizes:
        group = [entry for entry in result.entries if entry.size == size]
        body.append(svg_text(20, top + 14, f"{size[0]}x{size[1]}", weight="bold"))
        body += _bars(group, top + 26)
        top += 26 + STEP * len(group) + 20
    body.append(svg_text(20, top + 8, provenance_line(result), size=10, color="#6b6b6b"))
    return svg_document(WIDTH, top + 24, body)


def _legend(result: Result) -> list[str]:
    parts = [svg_text(20, 26, "Milliseconds from decoded image to segments, median", size=15, weight="bold")]
    used = [stage for stage in STAGES if any(stage in entry.stages for entry in result.entries)]
    for index, stage in enumerate(used):
        x = LEFT + 100 * index
        parts += [svg_rect(x, HEAD, 12, COLORS[stage]), svg_text(x + 18, HEAD + 11, stage, size=12)]
    return parts


def _bars(group: Sequence[Measurement], top: Number) -> list[str]:
    longest = max((entry.end_to_end.median for entry in group if entry.end_to_end), default=1.0)
    parts = []
    for index, entry in enumerate(group):
        y = top + STEP * index
        parts.append(svg_text(LEFT - 10, y + 11, entry.name, anchor="end"))
        if entry.end_to_end is None:
            parts.append(svg_text(LEFT, y + 14, entry.error or "failed", size=11, color="#b03030"))
            continue
        parts.append(svg_text(LEFT - 10, y + 22, mode_words(entry.mode), size=9, anchor="end", color="#6b6b6b"))
        length = (WIDTH - LEFT - RIGHT) * entry.end_to_end.median / longest
        parts += _stacked(entry, y, length)
        parts.append(svg_text(LEFT + length + 8, y + 15, f"{milliseconds(entry.end_to_end.median)} ms"))
    return parts


def _stacked(entry: Measurement, y: Number, length: float) -> list[str]:
    shares = entry.stages or {"network": 1.0}
    total, x, parts = sum(shares.values()), float(LEFT), []
    for stage, seconds in shares.items():
        width = length * seconds / total
        parts.append(svg_rect(x, y, width, COLORS[stage], BAR))
        x += width
    return parts
