"""Cameras and network streams: the newest frame at any time, and a connection that comes back."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np

from yoso.errors import VideoError
from yoso.files import PathLike
from yoso.installation import optional_packages
from yoso.video.container import Say, open_container, reason_of, upright_rgb
from yoso.video.frames import Chooser, Frame, FrameCounts, RawFrame, ReadPixels, Selection, delivered_frames

CLOSE_SECONDS = 1.0
"""How long closing waits for a capture that is in the middle of a read."""


@dataclass(frozen=True)
class StreamPatience:
    """How long to wait for a live source.

    Attributes:
        stall_seconds: a source without a frame for so long counts as lost.
        retries: tries to reconnect, one after the other, before the source is given up.
        first_pause_seconds: before the first of them; the pause doubles each time.
        max_pause_seconds: the longest pause.
    """

    stall_seconds: float = 10.0
    retries: int = 6
    first_pause_seconds: float = 0.5
    max_pause_seconds: float = 8.0

    def pause(self, attempt: int) -> float:
        """Return the pause before an attempt in seconds; attempts count from 0."""
        return min(self.first_pause_seconds * 2**attempt, self.max_pause_seconds)

    @property
    def total_seconds(self) -> float:
        """After so long without a frame, all tries have failed."""
        return sum(self.pause(attempt) + self.stall_seconds for attempt in range(self.retries)) + self.stall_seconds


@runtime_checkable
class Connection(Protocol):
    """An open camera or stream."""

    def frames(self) -> Iterator[ReadPixels]:
        """Yield frames as they come; end, or raise `VideoError`, when the source is lost."""
        ...

    def close(self) -> None:
        """Let the source go."""
        ...


class NetworkStream:
    """A stream behind an `rtsp://`, `http://` or `https://` address."""

    def __init__(self, address: str, stall_seconds: float) -> None:
        """Connect.

        Raises:
            VideoError: there is no such stream, or it does not answer in time.
        """
        options = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}
        timeout = (stall_seconds, stall_seconds)
        self.container = open_container(address, address, timeout=timeout, options={"fflags": "nobuffer", **options})
        self._stream = self.container.streams.video[0]
        self._stream.thread_type = "SLICE"  # frame threads would hold frames back

    @property
    def is_finite(self) -> bool:
        """Whether the address is that of a file with an end."""
        return (self.container.duration or 0) > 0 and not self.container.name.startswith("rtsp")

    def frames(self) -> Iterator[ReadPixels]:
        """See `Connection`."""
        with optional_packages("video"):
            import av

        packets = self.container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                raise VideoError(reason_of(error)) from error
            try:
                decoded = packet.decode()
            except (av.FFmpegError, ValueError):
                yield _damaged
                continue
            for frame in decoded:
                yield _damaged if frame.is_corrupt else (lambda frame=frame: upright_rgb(frame))

    def close(self) -> None:
        """See `Connection`."""
        self.container.close()


def _damaged() -> np.ndarray:
    raise VideoError("the frame is damaged")


class Camera:
    """A camera of this machine, by OpenCV."""

    def __init__(self, index: int) -> None:
        """Open the camera.

        Raises:
            VideoError: there is none with this index.
        """
        with optional_packages("a camera"):
            import cv2

        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(f"camera {index}: cannot be opened; check that it is connected and not in use")

    def frames(self) -> Iterator[ReadPixels]:
        """See `Connection`."""
        while True:
            there, pixels = self._capture.read()
            if not there:
                return
            yield lambda pixels=pixels: np.ascontiguousarray(pixels[..., ::-1])

    def close(self) -> None:
        """See `Connection`."""
        self._capture.release()


class _Newest:
    """Holds the newest frame; a frame that is replaced before it is taken was dropped."""

    def __init__(self, counts: FrameCounts) -> None:
        self._counts = counts
        self._changed = threading.Condition()
        self._frame: RawFrame | None = None
        self._error: BaseException | None = None
        self._over = False

    def put(self, frame: RawFrame) -> None:
        with self._changed:
            self._counts.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def end(self, error: BaseException | None = None) -> None:
        with self._changed:
            self._over, self._error = True, error
            self._changed.notify()

    def take(self, seconds: float) -> RawFrame | None:
        """Return the next frame, None at the end.

        Raises:
            VideoError: the source failed, or no frame came in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame is not None or self._over, seconds):
                raise VideoError(f"no frame for {seconds:g} s; check the source")
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame


class LiveSource:
    """Frames of a camera or stream as they come. A reader that is slower than the source gets the newest frame.

    Attributes:
        name: for messages.
        is_live: True.
        counts: what became of the frames.
        time_base: unit of the timestamps in seconds.
        frame_rate: 0, because it is not known.
        duration: None.
        audio: None.
    """

    is_live, frame_rate = True, 0.0
    duration: float | None = None
    audio: PathLike | None = None
    time_base = Fraction(1, 90000)

    def __init__(
        self, name: str, connect: Callable[[], Connection], patience: StreamPatience, say: Say, first: Any = None
    ) -> None:
        """Connect for the first time.

        Args:
            name: for messages.
            connect: opens the source, now and after each loss.
            patience: time limits.
            say: told one line per loss and per return.
            first: a connection that is open already.

        Raises:
            VideoError: the source cannot be opened.
        """
        self.name, self.counts = name, FrameCounts()
        self._connect, self._patience, self._say = connect, patience, say
        self._connection: Connection = first or connect()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Yield the newest frame each time; see `delivered_frames` for errors.

        Raises:
            VideoError: the source stalls or stays lost.
        """
        newest = _Newest(self.counts)
        self._thread = threading.Thread(
            target=self._capture, args=(newest, Chooser(selection)), name="yoso-capture", daemon=True
        )
        self._thread.start()
        yield from delivered_frames(self._taken(newest), self.name, selection.max_frames, self.counts)

    def _taken(self, newest: _Newest) -> Iterator[RawFrame]:
        limit = self._patience.total_seconds
        while True:
            try:
                frame = newest.take(limit)
            except VideoError as error:
                text = str(error)
                raise VideoError(text if text.startswith(self.name) else f"{self.name}: {text}") from error
            if frame is None:
                return
            yield frame

    def _capture(self, newest: _Newest, chooser: Chooser) -> None:
        """Put frames into `newest` until the end of the selection, a stop, or a loss for good."""
        began, error, failures = time.perf_counter(), None, 0
        try:
            while not self._stop.is_set():
                reason = "it ended"
                try:
                    for read in self._connection.frames():
                        failures = self._returned(failures)
                        now = time.perf_counter()
                        if self._stop.is_set() or chooser.is_over(now - began):
                            return
                        index = chooser.index(now - began)
                        if index is not None:
                            newest.put(RawFrame(index, now - began, read, now))
                except VideoError as lost:
                    reason = str(lost)
                failures = self._reconnect(failures, reason)
        except BaseException as failed:
            error = failed
        finally:
            self._connection.close()
            newest.end(error)

    def _returned(self, failures: int) -> int:
        if failures:
            self.counts.losses += 1
            self._say(f"{self.name}: connected again")
        return 0

    def _reconnect(self, failures: int, reason: str) -> int:
        """Connect again with growing pauses, and return the number of failures since the last frame.

        Raises:
            VideoError: all tries failed.
        """
        self._connection.close()
        if not failures:
            self._say(f"{self.name}: connection lost ({reason}); reconnecting")
        while not self._stop.is_set():
            if failures >= self._patience.retries:
                raise VideoError(
                    f"{self.name}: lost ({reason}) and {failures} tries to reconnect failed; check the source"
                )
            self._stop.wait(self._patience.pause(failures))
            failures += 1
            try:
                self._connection = self._connect()
                break
            except VideoError as error:
                reason = str(error)
        return failures

    def close(self) -> None:
        """Stop capturing. A read that is under way ends in the background, within the time limit."""
        self._stop.set()
        if self._thread is None:
            self._connection.close()
        else:
            self._thread.join(CLOSE_SECONDS)
