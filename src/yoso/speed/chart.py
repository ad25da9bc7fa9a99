"""A result as a bar chart in SVG, written without a drawing library, so that equal results give equal files."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

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
Number = float | int
FONT = "font-family='system-ui, sans-serif'"


def svg(result: Result) -> str:
    """Return a chart: per size one bar per entry, as long as its median, divided into its stages.

    Stage times come from separate runs, so they are drawn as shares of the median.
    """
    sizes = dict.fromkeys(entry.size for entry in result.entries)
    body, top = _legend(result), 2 * HEAD - 10
    for size in sizes:
        group = [entry for entry in result.entries if entry.size == size]
        body.append(_text(20, top + 14, f"{size[0]}x{size[1]}", weight="bold"))
        body += _bars(group, top + 26)
        top += 26 + STEP * len(group) + 20
    body.append(_text(20, top + 8, provenance_line(result), size=10, color="#6b6b6b"))
    height = top + 24
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}'>"
    return "\n".join((head, f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>", *body, "</svg>", ""))


def _legend(result: Result) -> list[str]:
    parts = [_text(20, 26, "Milliseconds from decoded image to segments, median", size=15, weight="bold")]
    used = [stage for stage in STAGES if any(stage in entry.stages for entry in result.entries)]
    for index, stage in enumerate(used):
        x = LEFT + 100 * index
        parts += [_rect(x, HEAD, 12, COLORS[stage]), _text(x + 18, HEAD + 11, stage, size=12)]
    return parts


def _bars(group: Sequence[Measurement], top: Number) -> list[str]:
    longest = max((entry.end_to_end.median for entry in group if entry.end_to_end), default=1.0)
    parts = []
    for index, entry in enumerate(group):
        y = top + STEP * index
        parts.append(_text(LEFT - 10, y + 11, entry.name, anchor="end"))
        if entry.end_to_end is None:
            parts.append(_text(LEFT, y + 14, entry.error or "failed", size=11, color="#b03030"))
            continue
        parts.append(_text(LEFT - 10, y + 22, mode_words(entry.mode), size=9, anchor="end", color="#6b6b6b"))
        length = (WIDTH - LEFT - RIGHT) * entry.end_to_end.median / longest
        parts += _stacked(entry, y, length)
        parts.append(_text(LEFT + length + 8, y + 15, f"{milliseconds(entry.end_to_end.median)} ms"))
    return parts


def _stacked(entry: Measurement, y: Number, length: float) -> list[str]:
    shares = entry.stages or {"network": 1.0}
    total, x, parts = sum(shares.values()), float(LEFT), []
    for stage, seconds in shares.items():
        width = length * seconds / total
        parts.append(_rect(x, y, width, COLORS[stage], BAR))
        x += width
    return parts


def _rect(x: Number, y: Number, width: Number, color: str, height: int = 12) -> str:
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height}' fill='{color}'/>"


def _text(x: Number, y: Number, words: str, **look: str | int) -> str:
    size, color = look.get("size", 13), look.get("color", "#222222")
    weight, anchor = look.get("weight", "normal"), look.get("anchor", "start")
    style = f"font-size='{size}' fill='{color}' font-weight='{weight}' text-anchor='{anchor}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {FONT} {style}>{escape(words)}</text>"
