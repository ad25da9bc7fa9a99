"""Elements of SVG charts, written without a drawing library, so that equal data give equal files."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

Number = float | int

FONT = "font-family='system-ui, sans-serif'"


def svg_document(width: int, height: Number, body: Sequence[str]) -> str:
    """Return an SVG file with a white background."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}'>"
    return "\n".join((head, f"<rect width='{width}' height='{height}' fill='#ffffff'/>", *body, "</svg>", ""))


def svg_rect(x: Number, y: Number, width: Number, color: str, height: int = 12) -> str:
    """Return a filled rectangle; x and y are its upper left corner."""
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height}' fill='{color}'/>"


def svg_text(x: Number, y: Number, words: str, **look: str | int) -> str:
    """Return a line of text; y is its baseline. `look`: size, color, weight, anchor."""
    size, color = look.get("size", 13), look.get("color", "#222222")
    weight, anchor = look.get("weight", "normal"), look.get("anchor", "start")
    style = f"font-size='{size}' fill='{color}' font-weight='{weight}' text-anchor='{anchor}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {FONT} {style}>{escape(words)}</text>"


def svg_line(points: Sequence[tuple[Number, Number]], color: str, width: Number = 1) -> str:
    """Return a line through some points."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f"<polyline points='{places}' fill='none' stroke='{color}' stroke-width='{width}'/>"


def svg_disc(x: Number, y: Number, radius: Number, color: str) -> str:
    """Return a filled circle."""
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius}' fill='{color}'/>"
