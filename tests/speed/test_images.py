import numpy as np
import pytest
from PIL import Image

from yoso.errors import ConfigError, ImageError
from yoso.speed.images import made_photograph, parse_size, photograph


@pytest.mark.parametrize("size", [(64, 64), (70, 133), (256, 64)])
def test_the_photograph_is_always_the_same(size):
    picture = made_photograph(size)
    assert (picture.shape, picture.dtype) == ((*size, 3), np.uint8)
    np.testing.assert_array_equal(picture, made_photograph(size))
    assert picture.std() > 20
    assert len(np.unique(picture)) > 100


def test_a_file_is_resized(tmp_path):
    Image.fromarray(made_photograph((80, 100))).save(tmp_path / "a.png")
    assert photograph((64, 70), tmp_path / "a.png").shape == (64, 70, 3)
    with pytest.raises(ImageError, match="no such file"):
        photograph((64, 70), tmp_path / "b.png")


def test_sizes():
    assert parse_size("512x800") == (512, 800)
    assert parse_size("640X640") == (640, 640)


@pytest.mark.parametrize("text", ["512", "x", "512x", "ax7", "512x800x3", "-5x800", "5.5x70", ""])
def test_sizes_that_are_none(text):
    with pytest.raises(ConfigError, match="give HEIGHTxWIDTH"):
        parse_size(text)


def test_sizes_that_do_not_fit():
    with pytest.raises(ConfigError, match="too small; both sides must be at least 64 pixels"):
        parse_size("63x800")
    with pytest.raises(ConfigError, match="too large"):
        parse_size("100000x100000")
