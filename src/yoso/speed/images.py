"""The image that is segmented: a synthetic one, always the same for a size, or a file."""

import numpy as np
from PIL import Image, ImageDraw

from yoso.errors import ConfigError
from yoso.files import PathLike, read_image
from yoso.preprocess import Size, resize
from yoso.settings import parse_size

MIN_SIDE = 64
"""Pixels. From here on the coarsest map of every network has at least two positions per axis."""

MAX_PIXELS = 2**26


def parse_image_size(text: str, option: str) -> Size:
    """Read HEIGHTxWIDTH.

    Args:
        text: what the user wrote.
        option: named in the error.

    Raises:
        ConfigError: anything else, a side below `MIN_SIDE`, or more than `MAX_PIXELS` pixels.
    """
    size = parse_size(text, option)
    if min(size) < MIN_SIDE:
        raise ConfigError(f"{option} {text}: is too small; both sides must be at least {MIN_SIDE} pixels")
    if size[0] * size[1] > MAX_PIXELS:
        raise ConfigError(f"{option} {text}: is too large; the maximum is {MAX_PIXELS // 2**20} megapixels")
    return size


def input_image(size: Size, file: PathLike | None = None) -> np.ndarray:
    """Return the image to segment.

    Args:
        size: (height, width) in pixels.
        file: resized to `size`; None is the synthetic image.

    Returns:
        uint8 array (H, W, 3), RGB.

    Raises:
        ImageError: the file cannot be read.
    """
    return synthetic_image(size) if file is None else np.array(resize(read_image(file), size))


def synthetic_image(size: Size, seed: int = 0) -> np.ndarray:
    """Draw an image with what photographs have: smooth light, edges, texture and grain.

    Returns:
        uint8 array (H, W, 3), RGB, the same for the same arguments.
    """
    height, width = size
    random = np.random.default_rng(seed)
    light = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 6):
        light += _smooth_noise(random, size, 2**octave + 1) * np.float32(90 / 2**octave)
    canvas = Image.fromarray(_to_uint8(light + 120))
    draw = ImageDraw.Draw(canvas)
    for index in range(24):
        center = random.uniform((0, 0), (width, height))
        radius = random.uniform(0.02, 0.15) * min(size) * np.array((1, random.uniform(0.5, 2)))
        box = [*(center - radius), *(center + radius)]
        color = tuple(int(value) for value in random.integers(20, 236, 3))
        (draw.ellipse if index % 2 else draw.rectangle)(box, fill=color)
    grain = random.normal(0, 4, (height, width, 1)).astype(np.float32)
    return _to_uint8(np.asarray(canvas, np.float32) + grain)


def _smooth_noise(random: np.random.Generator, size: Size, cells: int) -> np.ndarray:
    """Return (H, W, 3) float32 noise from -1 to 1 that changes over 1/`cells` of each side."""
    coarse = random.uniform(-1, 1, (3, cells, cells)).astype(np.float32)
    shape = (size[1], size[0])
    planes = [np.asarray(Image.fromarray(plane).resize(shape, Image.Resampling.BICUBIC)) for plane in coarse]
    return np.stack(planes, axis=2)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
