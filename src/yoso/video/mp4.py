"""MP4 files that browsers play: H.264, yuv420p, the source's timestamps, and its audio where MP4 can hold it.

Frames go into a fragmented file, which is playable at any time. In the end, its packets are copied into one with its
index at the front, together with the audio. If that fails, as on a full disk, the fragmented file is kept.
"""

import os
import secrets
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yoso.errors import OutputError
from yoso.files import PathLike, cannot_write
from yoso.installation import optional_packages

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer, OutputContainer

ENCODER = "libx264"
OPTIONS = {"preset": "veryfast", "crf": "21"}
AUDIO_CODECS = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "opus"})
"""Audio that is copied; others, which few browsers play in an MP4, are left out."""

MARK = "made with YOSO"
"""Comment in a file's metadata, by which a later run knows that it may replace the file."""

_BT709 = 1


def is_own_video(path: Path) -> bool:
    """Say whether a file is an MP4 that this module wrote."""
    with optional_packages("video"):
        import av

    try:
        with av.open(path) as container:
            return container.metadata.get("comment") == MARK
    except (av.FFmpegError, OSError, ValueError):
        return False


class Mp4Writer:
    """Writes one MP4 file beside its final place, and renames it when it is closed.

    Attributes:
        path: the final place.
        num_frames: that are written.
    """

    def __init__(self, path: PathLike, frame_rate: float, time_base: Fraction, audio: PathLike | None = None) -> None:
        """Open nothing yet.

        Args:
            path: of the file; its folder exists.
            frame_rate: frames per second for the header; 0 if it is not known.
            time_base: unit of the timestamps in seconds.
            audio: file to copy the audio from.

        Raises:
            OutputError: there is no encoder.
        """
        with optional_packages("video"):
            import av

        self._av = av
        self.path, self.num_frames = Path(path), 0
        self._rate, self._time_base, self._audio = frame_rate, time_base, audio
        self._temporary = self._beside()
        self._container: OutputContainer | None = None
        self._stream: Any = None
        self._first = self._last = 0
        try:
            av.Codec(ENCODER, "w")
        except (av.FFmpegError, ValueError) as error:
            raise OutputError(
                f"{self.path}: cannot be written (this FFmpeg has no encoder {ENCODER}); write images with --overlay-"
                "format png, or reinstall av"
            ) from error

    def _beside(self) -> Path:
        return self.path.with_name(f".{self.path.stem[:40]}-{secrets.token_hex(6)}.mp4")

    def write(self, picture: np.ndarray, timestamp: float) -> None:
        """Add a frame. Odd sides are extended by one pixel, because yuv420p has even sides only.

        Args:
            picture: uint8 RGB array (H, W, 3), of one size in all calls.
            timestamp: seconds, in ascending order.

        Raises:
            OutputError: the file cannot be written.
        """
        height, width = picture.shape[:2]
        if height % 2 or width % 2:
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        try:
            if self._container is None:
                self._open(picture.shape[1], picture.shape[0])
            frame = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(
                format="yuv420p", src_color_range="JPEG", dst_color_range="MPEG", dst_colorspace="ITU709"
            )
            place = round(timestamp / self._time_base)
            if self.num_frames:
                place = max(place, self._last + 1)
            else:
                self._first = place
            frame.pts, frame.time_base, self._last = place, self._time_base, place
            self._mux(self._stream.encode(frame))
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise _failure(self.path, error) from error
        self.num_frames += 1

    def _open(self, width: int, height: int) -> None:
        self._container = self._av.open(
            str(self._temporary), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        )
        self._container.metadata["comment"] = MARK
        rate = Fraction(self._rate or 25).limit_denominator(1001)
        self._stream = self._container.add_stream(ENCODER, rate=rate, options=dict(OPTIONS))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._time_base
        # Without B-frames, fragments need no shift of the timestamps.
        context.max_b_frames = 0
        context.colorspace = context.color_primaries = context.color_trc = _BT709

    def _mux(self, packets: "list[Packet]") -> None:
        assert self._container is not None
        for packet in packets:
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file and rename it. A file without frames is not written; closing again does nothing.

        Raises:
            OutputError: it cannot be finished; what is written until then is playable and in its place.
        """
        container, self._container = self._container, None
        if container is None:
            return
        copy = self._beside()
        try:
            try:
                for packet in self._stream.encode(None):
                    container.mux(packet)
            finally:
                container.close()
            _copy(self._av, self._temporary, copy, self._audio, (self._first, self._last, self._time_base))
            os.replace(copy, self.path)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            copy.unlink(missing_ok=True)
            with suppress(OSError):
                os.replace(self._temporary, self.path)
            raise _failure(self.path, error, self.num_frames) from error
        finally:
            copy.unlink(missing_ok=True)
            self._temporary.unlink(missing_ok=True)


def _failure(path: Path, error: Exception, num_kept: int | None = None) -> OutputError:
    number = getattr(error, "errno", None)
    reason = error if isinstance(error, OSError) else OSError(number, getattr(error, "strerror", None) or str(error))
    failure = cannot_write(path, reason)
    if num_kept is not None:
        failure = OutputError(f"{failure}; the first {num_kept} frames are there, without audio")
    failure.__cause__ = reason
    return failure


def _copy(av: Any, video: Path, target: Path, audio: PathLike | None, span: tuple[int, int, Fraction]) -> None:
    """Copy the packets of a video, and those of another file's audio, into an MP4 with the index at the front.

    Args:
        av: the package.
        video: the file with the frames.
        target: the file to write.
        audio: where to take the audio from.
        span: first and last timestamp of the video and their unit; the audio is cut to it.
    """
    with ExitStack() as stack:
        source = stack.enter_context(av.open(str(video)))
        sound = _open_audio(av, audio, stack) if audio is not None else None
        output = stack.enter_context(av.open(str(target), "w", options={"movflags": "+faststart"}))
        output.metadata["comment"] = MARK
        pictures = output.add_stream_from_template(source.streams.video[0])
        voice = output.add_stream_from_template(sound.streams.audio[0]) if sound else None
        waiting = _audio_packets(av, sound, span) if sound else iter(())
        following = next(waiting, None)
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is None:
                continue
            while following is not None and following.dts * following.time_base <= packet.dts * packet.time_base:
                following.stream = voice
                output.mux(following)
                following = next(waiting, None)
            packet.stream = pictures
            output.mux(packet)
        while following is not None:
            following.stream = voice
            output.mux(following)
            following = next(waiting, None)


def _open_audio(av: Any, audio: PathLike, stack: ExitStack) -> "InputContainer | None":
    """Return the open file whose audio can be copied, or None."""
    try:
        container = stack.enter_context(av.open(str(audio)))
    except (av.FFmpegError, OSError, ValueError):
        return None
    streams = container.streams.audio
    return container if streams and streams[0].codec_context.name in AUDIO_CODECS else None


def _audio_packets(av: Any, sound: "InputContainer", span: tuple[int, int, Fraction]) -> Any:
    """Yield the audio packets of a span of time; a damaged end is left out."""
    first, last, unit = span
    begin, end = float(first * unit), float(last * unit)
    if begin > 1:
        with suppress(av.FFmpegError, ValueError):
            sound.seek(int((begin - 1) * 1e6))
    try:
        for packet in sound.demux(sound.streams.audio[0]):
            if packet.dts is None or packet.pts is None:
                continue
            seconds = float(packet.pts * packet.time_base)
            if seconds > end + 0.1:
                return
            if seconds >= begin - 0.05:
                yield packet
    except (av.FFmpegError, OSError):
        return
