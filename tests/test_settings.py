"""Settings that every command shares: sizes, and whether downloads are allowed."""

import pytest

from yoso.errors import ConfigError, known_name
from yoso.settings import UNBOUNDED, is_offline, parse_input_size, parse_size


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


@pytest.mark.parametrize(
    ("value", "offline"), [(None, False), ("", False), ("0", False), ("no", False), ("1", True), ("yes", True)]
)
def test_the_environment_forbids_downloads(value, offline, monkeypatch):
    monkeypatch.delenv("YOSO_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("YOSO_OFFLINE", value)
    assert is_offline() is offline


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("coco-r50", "coco-r50"),
        ("coco_r50", "coco-r50"),
        ("a_b", "a_b"),
        ("a-b", "a-b"),
        ("coco r50", None),
        ("", None),
    ],
)
def test_hyphens_and_underscores_are_the_same_in_names(name, found):
    assert known_name(name, ["coco-r50", "a-b", "a_b"]) == found
