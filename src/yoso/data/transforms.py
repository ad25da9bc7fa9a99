"""Augmentation of an image together with the map of its segments.

Random numbers from one generator decide the geometry; Pillow then applies it: bilinear with anti-aliasing to the image,
nearest to the map, as in the official implementation.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from yoso.data.augmentation import Augmentation
from yoso.preprocess import resized_size
from yoso.structures import PADDING, Sample

FILL = 128
"""Value of padded pixels, before normalization."""

Transform = Callable[[Sample, torch.Generator], Sample]


def build_transform(augmentation: Augmentation) -> Transform:
    """Return the transform of an augmentation, `transform(sample, generator) -> sample`.

    Every random number comes from the generator.
    """

    def transform(sample: Sample, generator: torch.Generator) -> Sample:
        random = RandomSource(generator)
        if augmentation.window:
            sample = cut_out(sample, augmentation.window, random)
        image = sample.image.permute(1, 2, 0).numpy()
        segments = sample.segment_map.numpy()
        if augmentation.turn:
            image, segments = turned(image, segments, random.integer(4))
        if augmentation.kind == "large_scale_jitter":
            image, segments = large_scale_jitter(image, segments, augmentation, random)
        else:
            image, segments = resize_crop(image, segments, augmentation, random)
        moved = torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous()
        return sample._replace(image=moved, segment_map=torch.from_numpy(segments.copy()))

    return transform


class RandomSource:
    """Random numbers from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        """Keep the generator."""
        self.generator = generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number from `low` to `high`, which is excluded."""
        return low + (high - low) * torch.rand((), generator=self.generator, dtype=torch.float64).item()

    def integer(self, count: int) -> int:
        """Return a whole number from 0 to `count - 1`."""
        return int(torch.randint(count, (), generator=self.generator))

    def coin(self) -> bool:
        """Return True with a probability of one half."""
        return self.uniform() < 0.5


def cut_out(sample: Sample, side: int, random: RandomSource) -> Sample:
    """Cut out a random square, where the image is larger; targets without a pixel in it are dropped."""
    height, width = sample.segment_map.shape
    top, left = (random.integer(max(length - side, 0) + 1) for length in (height, width))
    segments = sample.segment_map[top : top + side, left : left + side]
    kept = segments[segments > 0].unique().long()
    renumbered = torch.zeros(len(sample.labels) + 1, dtype=segments.dtype)
    renumbered[kept] = torch.arange(1, len(kept) + 1, dtype=segments.dtype)
    return sample._replace(
        image=sample.image[:, top : top + side, left : left + side],
        segment_map=torch.where(segments > 0, renumbered[segments.clamp(min=0).long()], segments),
        labels=sample.labels[kept - 1],
    )


def turned(image: np.ndarray, segments: np.ndarray, quarters: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn both counterclockwise by a number of quarter turns."""
    return np.rot90(image, quarters), np.rot90(segments, quarters)


def large_scale_jitter(
    image: np.ndarray, segments: np.ndarray, augmentation: Augmentation, random: RandomSource
) -> tuple[np.ndarray, np.ndarray]:
    """Flip, resize by a random factor of what just fits, crop or pad to the size.

    One random number drives both axes of the crop, as in the official implementation; the padding is at the right and
    at the bottom.
    """
    height, width = augmentation.size
    if augmentation.flip and random.coin():
        image, segments = mirrored(image, segments)
    factor = random.uniform(*augmentation.scale)
    factor = min(height * factor / segments.shape[0], width * factor / segments.shape[1])
    size = (max(1, round(segments.shape[0] * factor)), max(1, round(segments.shape[1] * factor)))
    shift = random.uniform()
    top, left = (round(max(side - limit, 0) * shift) for side, limit in zip(size, augmentation.size, strict=True))
    part = (left, top, min(left + width, size[1]), min(top + height, size[0]))
    image, segments = resized(image, segments, size, part)
    if augmentation.color_jitter:
        image = color_jitter(image, random)
    return padded(image, segments, augmentation.size)


def resize_crop(
    image: np.ndarray, segments: np.ndarray, augmentation: Augmentation, random: RandomSource
) -> tuple[np.ndarray, np.ndarray]:
    """Resize to a random shorter side, crop, vary the colors, flip."""
    shorter = augmentation.shorter_sides[random.integer(len(augmentation.shorter_sides))]
    size = resized_size(segments.shape, (shorter, augmentation.longest))
    height, width = (min(side, limit) for side, limit in zip(size, augmentation.size, strict=True))
    top, left = random.integer(size[0] - height + 1), random.integer(size[1] - width + 1)
    image, segments = resized(image, segments, size, (left, top, left + width, top + height))
    if augmentation.color_jitter:
        image = color_jitter(image, random)
    if augmentation.flip and random.coin():
        image, segments = mirrored(image, segments)
    return padded(image, segments, augmentation.size) if augmentation.pad else (image, segments)


def mirrored(image: np.ndarray, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Swap left and right."""
    return image[:, ::-1], segments[:, ::-1]


def resized(
    image: np.ndarray, segments: np.ndarray, size: tuple[int, int], part: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Resize both to (height, width) and crop to (left, top, right, bottom); what is cropped is never copied.

    A map of fewer than 256 segments is resized as bytes, in a quarter of the memory.
    """
    shape = (size[1], size[0])
    resized_image = Image.fromarray(np.ascontiguousarray(image)).resize(shape, Image.Resampling.BILINEAR).crop(part)
    narrow = np.uint8 if segments.min() >= 0 and segments.max() < 256 else segments.dtype
    ids = Image.fromarray(segments.astype(narrow, "C")).resize(shape, Image.Resampling.NEAREST).crop(part)
    return np.asarray(resized_image), np.asarray(ids).astype(segments.dtype)


def padded(image: np.ndarray, segments: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pad at the right and at the bottom: the image with `FILL`, the map with `PADDING`."""
    below = [(0, max(0, limit - side)) for limit, side in zip(size, segments.shape, strict=True)]
    return (
        np.pad(image, [*below, (0, 0)], constant_values=FILL),
        np.pad(segments, below, constant_values=PADDING),
    )


def color_jitter(image: np.ndarray, random: RandomSource) -> np.ndarray:
    """Vary the colors as SSD does: brightness, contrast (before or after the rest), saturation and hue, each or not.

    Brightness changes by up to 32 of 255, contrast and saturation by a factor of 0.5 to 1.5, hue by up to 36 degrees in
    steps of 2. The official implementation rounds hue to 2 degrees and saturation to 8 bits in between; this one does
    not.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        random: where the random numbers come from.
    """
    contrast_first = random.coin()
    if random.coin():
        image = _scaled(image, 1.0, random.uniform(-32.0, 32.0))
    if contrast_first and random.coin():
        image = _scaled(image, random.uniform(0.5, 1.5))
    saturation = random.uniform(0.5, 1.5) if random.coin() else 1.0
    degrees = 2.0 * (random.integer(37) - 18) if random.coin() else 0.0
    if saturation != 1 or degrees:
        image = recolored(image, saturation, degrees)
    if not contrast_first and random.coin():
        image = _scaled(image, random.uniform(0.5, 1.5))
    return image


def _scaled(image: np.ndarray, factor: float, shift: float = 0.0) -> np.ndarray:
    """Return `factor * image + shift`, clipped to 0-255 and truncated, as the official implementation does."""
    table = np.clip(np.arange(256) * factor + shift, 0, 255).astype(np.uint8)
    return table[image]


def recolored(image: np.ndarray, saturation: float, degrees: float) -> np.ndarray:
    """Scale the saturation and shift the hue in HSV; the largest channel of each pixel stays.

    Args:
        image: uint8 RGB (H, W, 3).
        saturation: factor, at least 0; the result is clipped at full saturation.
        degrees: shift of the hue, -60 to 60.
    """
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.maximum(chroma, 1)
    # The hue in units of 60 degrees: 0 red, 2 green, 4 blue, down to -1 for a red with some blue.
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
    """Return a batch as a list: images can differ in size and in their number of segments."""
    return list(samples)
