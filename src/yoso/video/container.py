"""Video files and byte streams, decoded by PyAV."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from yoso.errors import VideoError
from yoso.files import PathLike
from yoso.installation import optional_packages
from yoso.video.frames import Frame, FrameCounts, ReadPixels, Selection, chosen_frames, delivered_frames

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

SEEK_SECONDS = 5.0
"""A start later than this is sought; before it, decoding up to there is as fast."""

Say = Callable[[str], None]


def open_container(file: Any, name: str, **options: Any) -> "InputContainer":
    """Open a file, an address or a binary stream that holds video.

    Args:
        file: as PyAV takes it.
        name: for messages.
        options: of `av.open`.

    Raises:
        VideoError: it does not exist, cannot be read, or holds no video.
    """
    with optional_packages("video"), optional_packages("video"):
        import av

    try:
        container = av.open(file, **options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name}: cannot be read as video ({reason_of(error)}); {_advice(error)}") from error
    if not container.streams.video:
        container.close()
        raise VideoError(f"{name}: holds no video; give a file with a video stream")
    return container


def reason_of(error: Exception) -> str:
    """Return the reason that an error of PyAV gives, without the name of the file."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # FFmpeg says so when a time limit ends a read.
    return "no answer in time" if reason == "Immediate exit requested" else reason


def _advice(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "check the name"
    if isinstance(error, PermissionError):
        return "make the file readable"
    if isinstance(error, ValueError):
        return "it may be incomplete, damaged or no video; check that it plays"
    return "check the address and that it is reachable"


class ContainerSource:
    """The frames of a video file, of a finite video behind an address, or of a binary stream. No frame is dropped.

    Attributes:
        name: for messages.
        is_live: False.
        counts: what became of the frames.
        time_base: unit of the timestamps in seconds.
        frame_rate: average frames per second; 0 if the file does not say.
        duration: seconds; None if the file does not say.
        audio: the file to copy audio from, None if there is none.
    """

    is_live = False

    def __init__(self, container: "InputContainer", name: str, say: Say, audio: PathLike | None = None) -> None:
        """Read nothing yet.

        Args:
            container: an open one; it is closed with the source.
            name: for messages.
            say: told once if the video ends before its time.
            audio: the file, if audio can be copied from it.
        """
        self.name, self.counts = name, FrameCounts()
        self._container, self._say = container, say
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.time_base = self._stream.time_base or Fraction(1, 90000)
        self.frame_rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self.duration = container.duration / 1e6 if container.duration and container.duration > 0 else None
        self.audio = audio if container.streams.audio else None

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Yield the frames of a selection.

        Raises:
            VideoError: see `delivered_frames`.
        """
        start = selection.start
        if start is not None and start > SEEK_SECONDS and self._container.format.name != "rawvideo":
            self._seek(start)
        chosen = chosen_frames(self._moments(), selection)
        yield from delivered_frames(chosen, self.name, selection.max_frames, self.counts)

    def _seek(self, seconds: float) -> None:
        with optional_packages("video"):
            import av

        try:
            self._container.seek(int(seconds / self.time_base), stream=self._stream)
        except (av.FFmpegError, ValueError):
            return  # a pipe, or a file without an index: decode from the start

    def _moments(self) -> Iterator[tuple[float, ReadPixels]]:
        period = 1 / self.frame_rate if self.frame_rate else 0.04
        last = None
        for frame in self._decoded():
            timestamp = float(frame.pts * self.time_base) if frame.pts is not None else None
            if timestamp is None or (last is not None and timestamp <= last):
                timestamp = 0.0 if last is None else last + period
            last = timestamp
            yield timestamp, lambda frame=frame: upright_rgb(frame)
        self._check_end(last, period)

    def _decoded(self) -> Iterator["VideoFrame"]:
        """Yield what can be decoded; damaged packets and frames are counted."""
        with optional_packages("video"):
            import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError):
                packet = None  # the file is cut off here: what the decoder still holds is whole
            try:
                decoded = packet.decode() if packet else self._stream.codec_context.decode(None)
            except (av.FFmpegError, ValueError):
                self.counts.corrupt += 1
                decoded = []
            for frame in decoded:
                if frame.is_corrupt:
                    self.counts.corrupt += 1
                else:
                    yield frame
            if packet is None:
                return

    def _check_end(self, last: float | None, period: float) -> None:
        """Report a video that ends long before the duration that its header gives."""
        if last is None or self._stream.duration is None:
            return
        begin = self._stream.start_time or 0
        end = float((begin + self._stream.duration) * self.time_base)
        if end - last > 0.5 + 2 * period:
            self._say(f"{self.name}: ends after {last:.1f} of {end:.1f} s; it is incomplete")

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def upright_rgb(frame: "VideoFrame") -> np.ndarray:
    """Return a decoded frame as RGB, turned as its metadata says.

    Returns:
        uint8 (H, W, 3).

    Raises:
        VideoError: it cannot be converted.
    """
    try:
        pixels = frame.to_ndarray(format="rgb24")
    except Exception as error:  # damaged frames make converters raise errors of any class
        raise VideoError(f"a frame cannot be converted ({error}); it is damaged") from error
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
