"""The photograph that is segmented: made, always the same for a size, or a file."""

import numpy as np
from PIL import Image, ImageDraw

from yoso.errors import ConfigError
from yoso.files import PathLike, read_image
from yoso.preprocess import Size, resize

LEAST_SIDE = 64
"""Pixels; the coarsest map of every network has at least two positions then."""

MOST_PIXELS = 2**26


def parse_size(text: str) -> Size:
    """Read HEIGHTxWIDTH.

    Raises:
        ConfigError: anything else, a side below `LEAST_SIDE`, or more than `MOST_PIXELS` pixels.
    """
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ConfigError(f"size {text!r}: give HEIGHTxWIDTH in pixels, as 512x800")
    size = (int(height), int(width))
    if min(size) < LEAST_SIDE:
        raise ConfigError(f"size {text!r}: is too small; both sides must be at least {LEAST_SIDE} pixels")
    if size[0] * size[1] > MOST_PIXELS:
        raise ConfigError(f"size {text!r}: is too large; {MOST_PIXELS // 2**20} megapixels are the most")
    return size


def photograph(size: Size, image: PathLike | None = None) -> np.ndarray:
    """Return the photograph of a size.

    Args:
        size: (height, width) in pixels.
        image: a file that is resized to it; None makes a picture.

    Returns:
        uint8 array (H, W, 3), RGB.

    Raises:
        ImageError: the file cannot be read.
    """
    return made_photograph(size) if image is None else np.array(resize(read_image(image), size))


def made_photograph(size: Size, seed: int = 0) -> np.ndarray:
    """Make a picture with what photographs have: smooth light, edges, texture and grain.

    Returns:
        uint8 array (H, W, 3), RGB, the same for the same arguments.
    """
    height, width = size
    random = np.random.default_rng(seed)
    light = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 6):
        light += _smooth_noise(random, size, 2**octave + 1) * np.float32(90 / 2**octave)
    canvas = Image.fromarray(_bytes(light + 120))
    draw = ImageDraw.Draw(canvas)
    for index in range(24):
        center = random.uniform((0, 0), (width, height))
        radius = random.uniform(0.02, 0.15) * min(size) * np.array((1, random.uniform(0.5, 2)))
        box = [*(center - radius), *(center + radius)]
        color = tuple(int(value) for value in random.integers(20, 236, 3))
        (draw.ellipse if index % 2 else draw.rectangle)(box, fill=color)
    grain = random.normal(0, 4, (height, width, 1)).astype(np.float32)
    return _bytes(np.asarray(canvas, np.float32) + grain)


def _smooth_noise(random: np.random.Generator, size: Size, cells: int) -> np.ndarray:
    """Return (H, W, 3) float32 noise from -1 to 1 that changes over 1/`cells` of each side."""
    coarse = random.uniform(-1, 1, (3, cells, cells)).astype(np.float32)
    shape = (size[1], size[0])
    planes = [np.asarray(Image.fromarray(plane).resize(shape, Image.Resampling.BICUBIC)) for plane in coarse]
    return np.stack(planes, axis=2)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
