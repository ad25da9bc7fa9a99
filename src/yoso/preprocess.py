"""Preparing an image for the network: its size, resizing, padding."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

Size = tuple[int, int]

SIZE_DIVISOR = 32
"""Padded sides are multiples of the coarsest stride."""


def resized_size(size: Size, input_size: Size | None) -> Size:
    """Return the (height, width) an image is resized to.

    Args:
        size: (height, width) of the image.
        input_size: (shorter, longest) in pixels, both at least 1. The shorter side is scaled to `shorter`, or to less
            if the longer side would exceed `longest`; sides are rounded to the nearest pixel, as in the official
            implementation. None is no resizing.
    """
    if input_size is None:
        return size
    shorter, longest = input_size
    scale = min(shorter / min(size), longest / max(size))
    height, width = (max(1, int(side * scale + 0.5)) for side in size)
    return height, width


def resize(image: np.ndarray, size: Size) -> np.ndarray:
    """Resize a uint8 RGB image (H, W, 3) to (height, width), bilinear with Pillow's antialiasing, as official."""
    if image.shape[:2] == tuple(size):
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def pad_with(image: np.ndarray, mean: Sequence[float], divisor: int = SIZE_DIVISOR) -> np.ndarray:
    """Return a uint8 RGB image (H, W, 3) as float32, padded at the right and at the bottom with one colour.

    Args:
        image: 0 to 255.
        mean: the colour: the network's `pixel_mean`, which normalisation turns into zeros.
        divisor: of both padded sides.
    """
    height, width = (-(-side // divisor) * divisor for side in image.shape[:2])
    padded = np.empty((height, width, 3), np.float32)
    padded[...] = np.asarray(mean, np.float32)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded
