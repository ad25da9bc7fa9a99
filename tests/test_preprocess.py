"""One parser reads every size that is written as two sides with an x."""

import pytest

from yoso.errors import ConfigError
from yoso.preprocess import parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("512x800", (512, 800)), ("640X640", (640, 640)), ("1x1", (1, 1)), ("064x800", (64, 800))]
)
def test_two_sides_are_a_size(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["512", "x", "512x", "ax7", "512x800x3", "-5x800", "5.5x70", "", " 5x5", "0x5", "5x00", "٣x٣", "9999999999999x5"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match="give HEIGHTxWIDTH in pixels, as 512x800"):
        parse_size(text)


def test_the_error_names_the_option_and_what_it_takes():
    with pytest.raises(ConfigError, match=r"^--input-size 'big': give SHORTERxLONGEST in pixels, or native$"):
        parse_size("big", "--input-size", "SHORTERxLONGEST in pixels, or native")
