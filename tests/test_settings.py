"""One parser reads every size that is written as two sides with an x."""

import pytest

from yoso.errors import ConfigError
from yoso.settings import UNBOUNDED, parse_input_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("512x800", (512, 800)), ("640X640", (640, 640)), ("1x1", (1, 1)), ("064x800", (64, 800))]
)
def test_two_sides_are_a_size(text, size):
    assert parse_size(text, "size") == size
    assert parse_input_size(text) == size


WRONG = ["512x", "x", "ax7", "512x800x3", "-5x800", "5.5x70", "", " 5x5", "0x5", "5x00", "٣x٣", "9999999999999x5"]


@pytest.mark.parametrize("text", ["512", *WRONG])
def test_anything_else_is_no_size(text):
    with pytest.raises(ConfigError, match=r"^size .*: give HEIGHTxWIDTH in pixels, such as 512x800$"):
        parse_size(text, "size")


@pytest.mark.parametrize("text", ["0", "-3", "big", "5_0", *WRONG])
def test_anything_else_is_no_input_size(text):
    with pytest.raises(
        ConfigError, match=r"^--size .*: give SHORTER or SHORTERxLONGEST in pixels, such as 512x800, or"
    ):
        parse_input_size(text, "--size")


def test_an_input_size_may_be_native_or_the_shorter_side_alone():
    assert parse_input_size("native") == "native"
    assert parse_input_size("320") == (320, UNBOUNDED)
