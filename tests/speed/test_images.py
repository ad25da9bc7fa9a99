import numpy as np
import pytest
from PIL import Image

from yoso.errors import ConfigError, ImageError
from yoso.speed.images import input_image, parse_image_size, synthetic_image


@pytest.mark.parametrize("size", [(64, 64), (70, 133), (256, 64)])
def test_the_synthetic_image_is_always_the_same(size):
    image = synthetic_image(size)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    np.testing.assert_array_equal(image, synthetic_image(size))
    assert image.std() > 20
    assert len(np.unique(image)) > 100


def test_a_file_is_resized(tmp_path):
    Image.fromarray(synthetic_image((80, 100))).save(tmp_path / "a.png")
    assert input_image((64, 70), tmp_path / "a.png").shape == (64, 70, 3)
    with pytest.raises(ImageError, match="no such file"):
        input_image((64, 70), tmp_path / "b.png")


def test_a_size_is_height_by_width():
    assert parse_image_size("512x800", "--sizes") == (512, 800)
    assert parse_image_size("640X640", "--sizes") == (640, 640)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("512", "--sizes 512: give HEIGHTxWIDTH"),
        ("63x800", "--sizes 63x800: is too small; both sides must be at least 64 pixels"),
        ("100000x100000", "--sizes 100000x100000: is too large; the maximum is 64 megapixels"),
    ],
)
def test_a_size_that_no_network_takes_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_image_size(text, "--sizes")
