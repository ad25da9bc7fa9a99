"""Augmentation: one photograph and one integer map of its segments, moved alike.

Geometry is decided first, from one generator, then applied by Pillow: bilinear with anti-aliasing for the photograph,
nearest for the map, as in the official code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tvf

from yoso.errors import ConfigError
from yoso.preprocess import resized_size
from yoso.structures import PADDING, Sample

FILL = 128
"""Value of padded pixels, before normalisation."""

Transform = Callable[[Sample, torch.Generator], Sample]


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image.

    Attributes:
        kind: "large_scale_jitter" (COCO) resizes by a random factor and crops or pads to `size`; "resize_crop" (the
            others) resizes the shorter side to one of `shorter_sides` and crops to at most `size`.
        size: (height, width) in pixels.
        scale: range of the factor on the size that just fits, for "large_scale_jitter".
        shorter_sides: to choose from, for "resize_crop".
        longest: cap on the longer side, for "resize_crop".
        color_jitter: vary brightness, contrast, saturation and hue as SSD does.
        flip: mirror half of the images.
        pad: fill up to `size` after "resize_crop" (ADE20K).
    """

    kind: Literal["large_scale_jitter", "resize_crop"] = "large_scale_jitter"
    size: tuple[int, int] = (1024, 1024)
    scale: tuple[float, float] = (0.1, 2.0)
    shorter_sides: tuple[int, ...] = (640,)
    longest: int = 2560
    color_jitter: bool = False
    flip: bool = True
    pad: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: a size or scale that is not positive, or a range the wrong way round.
        """
        if min(*self.size, self.longest, *self.shorter_sides) < 1:
            raise ConfigError("augmentation: size, longest and shorter_sides must be at least 1 pixel")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"augmentation.scale is {self.scale}; two factors above 0 are needed, smaller one first")


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
    image, segments = resized(image, segments, size)
    shift = draw.uniform()
    top, left = (round(max(side - limit, 0) * shift) for side, limit in zip(size, augmentation.size, strict=True))
    image, segments = image[top : top + height, left : left + width], segments[top : top + height, left : left + width]
    if augmentation.color_jitter:
        image = color_jitter(image, draw)
    return padded(image, segments, augmentation.size)


def resize_crop(
    image: np.ndarray, segments: np.ndarray, augmentation: Augmentation, draw: Draw
) -> tuple[np.ndarray, np.ndarray]:
    """Resize to a random shorter side, crop, vary the colours, flip."""
    shorter = augmentation.shorter_sides[draw.integer(len(augmentation.shorter_sides))]
    size = resized_size(segments.shape, (shorter, augmentation.longest))
    image, segments = resized(image, segments, size)
    height, width = (min(side, limit) for side, limit in zip(size, augmentation.size, strict=True))
    top, left = draw.integer(size[0] - height + 1), draw.integer(size[1] - width + 1)
    image, segments = image[top : top + height, left : left + width], segments[top : top + height, left : left + width]
    if augmentation.color_jitter:
        image = color_jitter(image, draw)
    if augmentation.flip and draw.coin():
        image, segments = mirrored(image, segments)
    return padded(image, segments, augmentation.size) if augmentation.pad else (image, segments)


def mirrored(image: np.ndarray, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Swap left and right."""
    return image[:, ::-1], segments[:, ::-1]


def resized(image: np.ndarray, segments: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Resize both to (height, width)."""
    shape = (size[1], size[0])
    photograph = Image.fromarray(np.ascontiguousarray(image)).resize(shape, Image.Resampling.BILINEAR)
    ids = Image.fromarray(np.ascontiguousarray(segments)).resize(shape, Image.Resampling.NEAREST)
    return np.asarray(photograph), np.asarray(ids)


def padded(image: np.ndarray, segments: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Fill up at the right and the bottom: the photograph with 128, the map with `PADDING`."""
    below = [(0, max(0, limit - side)) for limit, side in zip(size, segments.shape, strict=True)]
    return (
        np.pad(image, [*below, (0, 0)], constant_values=FILL),
        np.pad(segments, below, constant_values=PADDING),
    )


def color_jitter(image: np.ndarray, draw: Draw) -> np.ndarray:
    """Vary the colours as SSD does: brightness, contrast (before or after the rest), saturation, hue, each or not.

    Brightness moves by up to 32 of 255, contrast and saturation by a factor of 0.5 to 1.5, hue by up to 36 degrees.
    """
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)
    contrast_first = draw.coin()
    if draw.coin():
        shift = round(draw.uniform(-32, 32))
        pixels = (pixels.to(torch.int16) + shift).clamp(0, 255).to(torch.uint8)
    if contrast_first:
        pixels = _contrast(pixels, draw)
    if draw.coin():
        pixels = tvf.adjust_saturation(pixels, draw.uniform(0.5, 1.5))
    if draw.coin():
        pixels = tvf.adjust_hue(pixels, draw.uniform(-0.1, 0.1))
    if not contrast_first:
        pixels = _contrast(pixels, draw)
    return pixels.permute(1, 2, 0).numpy()


def _contrast(pixels: torch.Tensor, draw: Draw) -> torch.Tensor:
    # SSD scales about black, not about the mean.
    if not draw.coin():
        return pixels
    return (pixels.float() * draw.uniform(0.5, 1.5)).round().clamp(0, 255).to(torch.uint8)


def collate(samples: list[Sample]) -> list[Sample]:
    """Keep a batch a list: images may differ in size, and every image has its own number of segments."""
    return list(samples)
