"""Shape annotations use the letters of the legend in `structures.py`, and the legend lists no others."""

import re
from pathlib import Path

import yoso.structures

SOURCES = sorted((Path(__file__).parents[2] / "src" / "yoso").rglob("*.py"))
ANNOTATION = re.compile(r'(?:Float|Int|Int32|Int64|Bool|UInt8|Shaped)\[[\w.]+, f?"([^"]*)"\]')
LEGEND = re.compile(r"^    ((?:[A-Za-z] )*[A-Za-z]) {2,}\S", re.MULTILINE)


def letters_of(text):
    """The single letters of all annotations in a text; `2*H` counts as H."""
    tokens = (token for shape in ANNOTATION.findall(text) for token in shape.split())
    return {letter for token in tokens for letter in re.findall(r"(?<![\w.])[A-Za-z](?![\w.])", token)}


def legend():
    return {letter for line in LEGEND.findall(yoso.structures.__doc__) for letter in line.split()}


def test_the_letters_of_an_annotation():
    assert letters_of('Float[Tensor, "B _ 2*H rows"] Int[Tensor, " Q"] Bool[Tensor, "..."]') == {"B", "H", "Q"}


def test_every_letter_is_in_the_legend():
    used = {path.name: letters_of(path.read_text()) - legend() for path in SOURCES}
    assert not {name: letters for name, letters in used.items() if letters}


def test_every_letter_of_the_legend_is_used():
    assert legend() <= set().union(*(letters_of(path.read_text()) for path in SOURCES))
