"""The settings of augmentation. Loads no torch, so that a command line is parsed at once."""

from dataclasses import dataclass
from typing import Literal

from yoso.errors import ConfigError


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image.

    Attributes:
        kind: "large_scale_jitter" (COCO) resizes by a random factor and crops or pads to `size`; "resize_crop" (the
            other benchmarks) resizes the shorter side to one of `shorter_sides` and crops to at most `size`.
        size: (height, width) in pixels.
        scale: smallest and largest factor on the size that just fits, for "large_scale_jitter".
        shorter_sides: lengths of the shorter side to choose from, for "resize_crop".
        longest: maximum longer side, for "resize_crop".
        color_jitter: vary brightness, contrast, saturation and hue, as SSD does.
        flip: mirror half of the images.
        turn: turn each image by a random number of quarter turns; for images that have no upper side (microscopes,
            aircraft).
        window: side in image pixels of a random square that is cut out first, where the image is larger; 0 for none.
            Objects outside it are no targets.
        pad: pad to `size` after "resize_crop" (ADE20K).
    """

    kind: Literal["large_scale_jitter", "resize_crop"] = "large_scale_jitter"
    size: tuple[int, int] = (1024, 1024)
    scale: tuple[float, float] = (0.1, 2.0)
    shorter_sides: tuple[int, ...] = (640,)
    longest: int = 2560
    color_jitter: bool = False
    flip: bool = True
    turn: bool = False
    window: int = 0
    pad: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: a size or scale is not positive, a window is negative, or a range is reversed.
        """
        if min(*self.size, self.longest, *self.shorter_sides) < 1:
            raise ConfigError("augmentation: size, longest and shorter_sides must be at least 1 pixel")
        if self.window < 0:
            raise ConfigError(f"augmentation.window is {self.window}; give a number of pixels, or 0 for none")
        if self.kind == "resize_crop" and not self.shorter_sides:
            raise ConfigError("augmentation.shorter_sides is empty; resize_crop needs at least one to choose from")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"augmentation.scale is {self.scale}; give two factors above 0, the smaller one first")
