"""Settings that every command shares: input sizes, and whether downloads are allowed."""

import pytest

from yoso.errors import ConfigError, known_name
from yoso.settings import UNBOUNDED, is_offline, parse_input_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", (512, UNBOUNDED)), ("512x800", (512, 800)), ("512X800", (512, 800)), ("native", "native")],
)
def test_an_input_size_has_one_grammar(text, size):
    assert parse_input_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "x800", "512x", "0", "-5", "512x800x3", "5.5", "[512,800]", "Native"])
def test_another_text_is_not_an_input_size(text):
    with pytest.raises(ConfigError, match=r"^--size .*: give SHORTER or SHORTERxLONGEST in pixels, .*, or native$"):
        parse_input_size(text, "--size")


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
