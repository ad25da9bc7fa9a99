"""What a source is, by its name: a file, numbered images, a camera, a stream, or standard input."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from yoso.errors import ConfigError, VideoError
from yoso.files import PathLike
from yoso.video.container import ContainerSource, Say, open_container
from yoso.video.frames import Frame, FrameCounts, Selection
from yoso.video.live import Camera, LiveSource, NetworkStream, StreamPatience
from yoso.video.numbered import ImageSequence, is_pattern

_SUFFIXES = "3gp asf avi flv m2ts m4v mjpeg mjpg mkv mov mp4 mpeg mpg mts ogv ts webm wmv y4m"

VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Suffixes of video files, in lower case."""

_ADDRESS = re.compile(r"(rtsps?|https?)://", re.IGNORECASE)
_RAW = re.compile(r"(\d+)x(\d+)")
_JPEG = b"\xff\xd8"


@runtime_checkable
class Source(Protocol):
    """Frames from anywhere.

    Attributes:
        name: for messages.
        is_live: frames come at their own pace, and only the newest counts.
        counts: what became of the frames.
        time_base: unit of the timestamps in seconds.
        frame_rate: average frames per second; 0 if it is not known.
        duration: seconds; None if it is not known.
        audio: the file to copy audio from, None if there is none.
    """

    name: str
    is_live: bool
    counts: FrameCounts
    time_base: Fraction
    frame_rate: float
    duration: float | None
    audio: PathLike | None

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Yield the frames of a selection, once."""
        ...

    def close(self) -> None:
        """Let the source go."""
        ...


def _silent(text: str) -> None:
    del text


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source.

    Attributes:
        frame_rate: frames per second of numbered images and of raw frames, above 0.
        raw_size: (width, height) in pixels of raw RGB frames on standard input; None reads encoded video there.
        patience: time limits of live sources.
        say: told one line when a live source is lost or returns, or when a file ends early.
    """

    frame_rate: float = 25.0
    raw_size: tuple[int, int] | None = None
    patience: StreamPatience = field(default_factory=StreamPatience)
    say: Say = _silent

    def __post_init__(self) -> None:
        if not 0 < self.frame_rate < 10_000:
            raise ConfigError(f"frame rate {self.frame_rate}: give frames per second above 0")
        if not 0 < self.patience.stall_seconds < float("inf"):
            raise ConfigError(f"timeout {self.patience.stall_seconds}: give seconds above 0")


def is_video(source: str) -> bool:
    """Say whether a source of `yoso predict` is a video rather than images; nothing is opened."""
    if _ADDRESS.match(source):
        return True
    if Path(source).is_dir():
        return False
    return Path(source).suffix.lower() in VIDEO_SUFFIXES or _is_camera(source)


def _is_camera(source: str) -> bool:
    return source.isascii() and source.isdigit() and not Path(source).exists()


def parse_raw_size(text: str) -> tuple[int, int]:
    """Read `WIDTHxHEIGHT`.

    Raises:
        ConfigError: it is something else.
    """
    match = _RAW.fullmatch(text)
    if not match or not 0 < min(int(match[1]), int(match[2])) <= max(int(match[1]), int(match[2])) <= 32768:
        raise ConfigError(f"raw size {text!r}: give WIDTHxHEIGHT in pixels, such as 640x480")
    return int(match[1]), int(match[2])


def open_source(source: PathLike | int, options: SourceOptions | None = None, stdin: Any = None) -> Source:
    """Open a source.

    Args:
        source: a video file; a folder or pattern of numbered images; a camera's index; an `rtsp://`, `http://` or
            `https://` address; or `-` for standard input.
        options: how to read it.
        stdin: a binary stream instead of standard input.

    Raises:
        VideoError: there is no such source, or it holds no video.
        ConfigError: a package is not installed.
    """
    options = options or SourceOptions()
    text = str(source)
    if text == "-":
        return _from_stdin(options, sys.stdin.buffer if stdin is None else stdin)
    if _ADDRESS.match(text):
        return _from_address(text, options)
    if is_pattern(text):
        return ImageSequence(text, options.frame_rate)
    if _is_camera(text):
        return LiveSource(f"camera {text}", lambda: Camera(int(text)), options.patience, options.say)
    if not Path(text).exists():
        raise VideoError(f"{text}: no such file or folder; check the name")
    return ContainerSource(open_container(text, text), text, options.say, audio=text)


def _from_address(address: str, options: SourceOptions) -> Source:
    def connect() -> NetworkStream:
        return NetworkStream(address, options.patience.stall_seconds)

    first = connect()
    if first.is_finite:
        return ContainerSource(first.container, address, options.say, audio=address)
    return LiveSource(address, connect, options.patience, options.say, first)


def _from_stdin(options: SourceOptions, stream: Any) -> Source:
    """Read encoded video, such as JPEG images one after the other, or raw RGB frames; the pipe waits for us."""
    name = "standard input"
    if options.raw_size is not None:
        width, height = options.raw_size
        raw = {"video_size": f"{width}x{height}", "pixel_format": "rgb24", "framerate": f"{options.frame_rate}"}
        return ContainerSource(open_container(stream, name, format="rawvideo", options=raw), name, options.say)
    start = stream.peek(2)[:2] if hasattr(stream, "peek") else b""
    kind = {"format": "mjpeg", "options": {"framerate": f"{options.frame_rate}"}} if start == _JPEG else {}
    return ContainerSource(open_container(stream, name, **kind), name, options.say)
