"""A folder or a pattern of numbered images as a video."""

import glob
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from yoso.errors import ImageError, VideoError
from yoso.files import PathLike, image_files, is_image_file, read_image
from yoso.video.frames import Frame, FrameCounts, ReadPixels, Selection, chosen_frames, delivered_frames

_PRINTF = re.compile(r"%0?\d*d")


class ImageSequence:
    """Images in the order of their numbers, `2.png` before `10.png`. No frame is dropped.

    Attributes:
        name: for messages.
        is_live: False.
        counts: what became of the frames.
        time_base: unit of the timestamps in seconds.
        frame_rate: frames per second.
        duration: seconds.
        audio: None.
    """

    is_live = False
    audio: PathLike | None = None

    def __init__(self, source: str, frame_rate: float) -> None:
        """Find the images.

        Args:
            source: a folder, a pattern such as `frames/*.png`, or a numbered name such as `frames/%04d.png`.
            frame_rate: frames per second, above 0.

        Raises:
            VideoError: there is no image.
        """
        self.name, self.counts = source, FrameCounts()
        self.frame_rate = frame_rate
        self.time_base = 1 / Fraction(frame_rate).limit_denominator(1001)
        self.paths = sorted(_images(source), key=_by_numbers)
        if not self.paths:
            raise VideoError(f"{source}: holds no image; give a folder or a pattern of numbered images")
        self.duration: float | None = len(self.paths) / frame_rate

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Yield the frames of a selection; a damaged image is skipped and counted.

        Raises:
            VideoError: see `delivered_frames`.
        """
        chosen = chosen_frames(self._moments(), selection)
        yield from delivered_frames(chosen, self.name, selection.max_frames, self.counts)

    def _moments(self) -> Iterator[tuple[float, ReadPixels]]:
        for number, path in enumerate(self.paths):
            yield float(number * self.time_base), lambda path=path: _read(path)

    def close(self) -> None:
        """Nothing is open."""


def _read(path: Path) -> np.ndarray:
    try:
        return read_image(path)
    except ImageError as error:
        raise VideoError(str(error)) from error


def _images(source: str) -> list[Path]:
    if Path(source).is_dir():
        try:
            return image_files(Path(source), recursive=False)
        except OSError as error:
            raise VideoError(f"{source}: cannot be listed ({error.strerror}); make the folder readable") from error
    if _PRINTF.search(source):
        parts = _PRINTF.split(source)
        numbered = re.compile(r"\d+".join(map(re.escape, parts)))
        names = glob.glob("[0-9]*".join(map(glob.escape, parts)))
        return [Path(name) for name in names if numbered.fullmatch(name)]
    return [path for path in map(Path, glob.glob(source, recursive=True)) if is_image_file(path)]


def is_pattern(source: str) -> bool:
    """Say whether a source is a folder of images or a pattern, rather than one file."""
    return Path(source).is_dir() or (
        not Path(source).exists() and bool(_PRINTF.search(source) or glob.has_magic(source))
    )


def _by_numbers(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers in names by their value."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
