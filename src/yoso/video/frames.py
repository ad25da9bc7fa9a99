"""A frame, and which frames of a source are taken."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import numpy as np

from yoso.errors import ConfigError, VideoError

ReadPixels = Callable[[], np.ndarray]
"""Returns a frame's pixels; raises `VideoError` if they are damaged."""


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        index: its number among the frames of the source, from 0 at the start of the selection.
        timestamp: seconds; of a live source, since it was opened.
        image: uint8 (H, W, 3), RGB.
        captured: `time.perf_counter()` when the frame arrived.
    """

    index: int
    timestamp: float
    image: np.ndarray
    captured: float


class RawFrame(NamedTuple):
    """A frame whose pixels are not converted yet.

    Attributes:
        index: see `Frame`.
        timestamp: see `Frame`.
        read: returns the pixels.
        captured: see `Frame`.
    """

    index: int
    timestamp: float
    read: ReadPixels
    captured: float


@dataclass
class FrameCounts:
    """What became of a source's frames.

    Attributes:
        delivered: handed to the reader.
        corrupt: skipped because they are damaged.
        dropped: left out because a newer frame of a live source was there.
        losses: how often a live source was lost and came back.
    """

    delivered: int = 0
    corrupt: int = 0
    dropped: int = 0
    losses: int = 0


@dataclass(frozen=True)
class Selection:
    """Which frames to take. All values are checked.

    Attributes:
        start: timestamp of the first frame in seconds; None is the first frame there is.
        end: no frame at or after this timestamp; None is the last frame there is.
        every: take one frame of so many, at least 1.
        fps: take at most so many frames per second of the source; None is all.
        max_frames: stop after so many; None is no limit.
    """

    start: float | int | None = None
    end: float | int | None = None
    every: int = 1
    fps: float | int | None = None
    max_frames: int | None = None

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            _check(name, getattr(self, name), 0.0)
        _check("every", self.every, 1, whole=True)
        _check("max_frames", self.max_frames, 1, whole=True)
        _check("fps", self.fps, 0.0)
        if self.fps == 0:
            raise ConfigError("fps 0: give a number above 0")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ConfigError(f"end {self.end:g} is not after start {self.start:g}; give a later end")


def _check(name: str, value: object, minimum: float | int, whole: bool = False) -> None:
    if value is None and name != "every":
        return
    is_number = isinstance(value, int if whole else Real) and not isinstance(value, bool)
    if not is_number or not minimum <= float(str(value)) < float("inf"):
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"{name.replace('_', '-')} {value}: give {kind} from {minimum:g}")


class Chooser:
    """Takes or leaves the frames of a source, in their order, by their timestamps."""

    def __init__(self, selection: Selection) -> None:
        """Begin with a selection."""
        self._selection = selection
        self._next_index = 0
        self._next_time = -float("inf")

    def is_over(self, timestamp: float) -> bool:
        """Say whether this frame and all later ones are behind the end."""
        return self._selection.end is not None and timestamp >= self._selection.end

    def index(self, timestamp: float) -> int | None:
        """Return the number of a frame that is taken, None for one that is left out."""
        chosen = self._selection
        if chosen.start is not None and timestamp < chosen.start:
            return None
        index, self._next_index = self._next_index, self._next_index + 1
        if index % chosen.every:
            return None
        if chosen.fps is not None:
            if timestamp < self._next_time - 1e-6:
                return None
            # Counted from the moment when it was due, so that the average rate is right; from the frame after a gap.
            due = max(self._next_time, timestamp - 1 / chosen.fps) if self._next_time > 0 else timestamp
            self._next_time = due + 1 / chosen.fps
        return index


def chosen_frames(moments: Iterable[tuple[float, ReadPixels]], selection: Selection) -> Iterator[RawFrame]:
    """Yield the frames of a selection, without converting the others.

    Args:
        moments: timestamp and pixels of every frame, in order.
        selection: which to take; `max_frames` is up to `delivered_frames`.
    """
    chooser = Chooser(selection)
    for timestamp, read in moments:
        if chooser.is_over(timestamp):
            return
        index = chooser.index(timestamp)
        if index is not None:
            yield RawFrame(index, timestamp, read, time.perf_counter())


def delivered_frames(
    raw_frames: Iterable[RawFrame], name: str, max_frames: int | None, counts: FrameCounts
) -> Iterator[Frame]:
    """Yield frames with their pixels; a damaged one is skipped and counted.

    Args:
        raw_frames: the frames to take.
        name: of the source, for messages.
        max_frames: stop after so many.
        counts: to add to.

    Raises:
        VideoError: there is no frame, or a frame has another size than those before it.
    """
    size: tuple[int, ...] | None = None
    for raw in raw_frames:
        try:
            image = raw.read()
        except VideoError:
            counts.corrupt += 1
            continue
        if size not in (None, image.shape):
            raise VideoError(
                f"{name}: frame {raw.index} is {_text(image.shape)}, those before it are {_text(size)}; a video has "
                "one size: resize the frames, or start after the change (--start)"
            )
        size = image.shape
        counts.delivered += 1
        yield Frame(raw.index, raw.timestamp, image, raw.captured)
        if counts.delivered == max_frames:
            return
    if size is None:
        damaged = f" ({counts.corrupt} damaged)" if counts.corrupt else ""
        raise VideoError(f"{name}: has no frame to read{damaged}; check the file, and --start and --end")


def _text(shape: tuple[int, ...] | None) -> str:
    height, width = (shape or (0, 0))[:2]
    return f"{width} x {height}"
