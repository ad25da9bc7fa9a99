"""Augmentation: one photograph and one integer map of its segments, moved alike.

Geometry is decided first, from one generator, then applied by Pillow: bilinear with anti-aliasing for the photograph,
nearest for the map, as in the official code.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from yoso.data.augmentation import Augmentation
from yoso.preprocess import resized_size
from yoso.structures import PADDING, Sample

FILL = 128
"""Value of padded pixels, before normalisation."""

Transform = Callable[[Sample, torch.Generator], Sample]


def build_transform(augmentation: Augmentation) -> Transform:
    """Return the transform of an augmentation: `transform(sample, generator) -> sample`.

    Every random number comes from the generator.
    """

    def transform(sample: Sample, generator: torch.Generator) -> Sample:
        image = sample.image.permute(1, 2, 0).numpy()
        segments = sample.segment_map.numpy()
        draw = Draw(generator)
        if augmentation.kind == "large_scale_jitter":
            image, segments = large_scale_jitter(image, segments, augmentation, draw)
        else:
            image, segments = resize_crop(image, segments, augmentation, draw)
        moved = torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous()
        return sample._replace(image=moved, segment_map=torch.from_numpy(segments.copy()))

    return transform


class Draw:
    """Random numbers of one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        """Keep the generator."""
        self.generator = generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number from `low` up to, not including, `high`."""
        return low + (high - low) * torch.rand((), generator=self.generator, dtype=torch.float64).item()

    def integer(self, count: int) -> int:
        """Return a whole number from 0 to `count - 1`."""
        return int(torch.randint(count, (), generator=self.generator))

    def coin(self) -> bool:
        """Return True half of the time."""
        return self.uniform() < 0.5


def large_scale_jitter(
    image: np.ndarray, segments: np.ndarray, augmentation: Augmentation, draw: Draw
) -> tuple[np.ndarray, np.ndarray]:
    """Flip, resize by a random factor of what just fits, crop or pad to the size.

    One random number drives both axes of the crop, as in the official code; the padding is at the right and bottom.
    """
    height, width = augmentation.size
    if augmentation.flip and draw.coin():
        image, segments = mirrored(image, segments)
    factor = draw.uniform(*augmentation.scale)
    factor = min(height * factor / segments.shape[0], width * factor / segments.shape[1])
    size = (max(1, round(segments.shape[0] * factor)), max(1, round(segments.shape[1] * factor)))
    shift = draw.uniform()
    top, left = (round(max(side - limit, 0) * shift) for side, limit in zip(size, augmentation.size, strict=True))
    part = (left, top, min(left + width, size[1]), min(top + height, size[0]))
    image, segments = resized(image, segments, size, part)
    if augmentation.color_jitter:
        image = color_jitter(image, draw)
    return padded(image, segments, augmentation.size)


def resize_crop(
    image: np.ndarray, segments: np.ndarray, augmentation: Augmentation, draw: Draw
) -> tuple[np.ndarray, np.ndarray]:
    """Resize to a random shorter side, crop, vary the colours, flip."""
    shorter = augmentation.shorter_sides[draw.integer(len(augmentation.shorter_sides))]
    size = resized_size(segments.shape, (shorter, augmentation.longest))
    height, width = (min(side, limit) for side, limit in zip(size, augmentation.size, strict=True))
    top, left = draw.integer(size[0] - height + 1), draw.integer(size[1] - width + 1)
    image, segments = resized(image, segments, size, (left, top, left + width, top + height))
    if augmentation.color_jitter:
        image = color_jitter(image, draw)
    if augmentation.flip and draw.coin():
        image, segments = mirrored(image, segments)
    return padded(image, segments, augmentation.size) if augmentation.pad else (image, segments)


def mirrored(image: np.ndarray, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Swap left and right."""
    return image[:, ::-1], segments[:, ::-1]


def resized(
    image: np.ndarray, segments: np.ndarray, size: tuple[int, int], part: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Resize both to (height, width) and cut out (left, top, right, bottom); what is cut off is never copied.

    A map of fewer than 256 segments is moved as bytes, a quarter of the memory.
    """
    shape = (size[1], size[0])
    photograph = Image.fromarray(np.ascontiguousarray(image)).resize(shape, Image.Resampling.BILINEAR).crop(part)
    narrow = np.uint8 if segments.min() >= 0 and segments.max() < 256 else segments.dtype
    ids = Image.fromarray(segments.astype(narrow, "C")).resize(shape, Image.Resampling.NEAREST).crop(part)
    return np.asarray(photograph), np.asarray(ids).astype(segments.dtype)


def padded(image: np.ndarray, segments: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Fill up at the right and the bottom: the photograph with 128, the map with `PADDING`."""
    below = [(0, max(0, limit - side)) for limit, side in zip(size, segments.shape, strict=True)]
    return (
        np.pad(image, [*below, (0, 0)], constant_values=FILL),
        np.pad(segments, below, constant_values=PADDING),
    )


def color_jitter(image: np.ndarray, draw: Draw) -> np.ndarray:
    """Vary the colours as SSD does: brightness, contrast (before or after the rest), saturation, hue, each or not.

    Brightness moves by up to 32 of 255, contrast and saturation by a factor of 0.5 to 1.5, hue by up to 36 degrees in
    steps of 2. The official code rounds hue to 2 degrees and saturation to 8 bits on the way; here neither is rounded.

    Args:
        image: (H, W, 3) uint8 RGB; left as it is.
        draw: where the random numbers come from.
    """
    contrast_first = draw.coin()
    if draw.coin():
        image = _scaled(image, 1.0, draw.uniform(-32.0, 32.0))
    if contrast_first and draw.coin():
        image = _scaled(image, draw.uniform(0.5, 1.5))
    saturation = draw.uniform(0.5, 1.5) if draw.coin() else 1.0
    degrees = 2.0 * (draw.integer(37) - 18) if draw.coin() else 0.0
    if saturation != 1 or degrees:
        image = recoloured(image, saturation, degrees)
    if not contrast_first and draw.coin():
        image = _scaled(image, draw.uniform(0.5, 1.5))
    return image


def _scaled(image: np.ndarray, factor: float, shift: float = 0.0) -> np.ndarray:
    """Return `factor * image + shift`, cut to 0 to 255 and truncated, as the official code does it."""
    table = np.clip(np.arange(256) * factor + shift, 0, 255).astype(np.uint8)
    return table[image]


def recoloured(image: np.ndarray, saturation: float, degrees: float) -> np.ndarray:
    """Scale the saturation and turn the hue of uint8 RGB (H, W, 3), in the HSV sense: the largest channel stays.

    Args:
        image: (H, W, 3) uint8 RGB.
        saturation: factor, at least 0; the result is cut at full saturation.
        degrees: -60 to 60.
    """
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.maximum(chroma, 1)
    # The hue in sixths of a turn: 0 red, 2 green, 4 blue, down to -1 for a red that leans to blue.
    hue = np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    hue = np.where(value == red, (green - blue) / divisor, hue) + np.float32(degrees / 60)
    chroma = np.minimum(chroma * np.float32(saturation), value)
    result = np.empty_like(image)
    for channel, offset in enumerate((5, 3, 1)):
        place = hue + offset
        place -= 6 * (place >= 6)
        share = np.clip(np.minimum(place, 4 - place), 0, 1)
        result[..., channel] = value - chroma * share + np.float32(0.5)
    return result


def collate(samples: list[Sample]) -> list[Sample]:
    """Keep a batch a list: images may differ in size, and every image has its own number of segments."""
    return list(samples)
