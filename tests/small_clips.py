"""Small generated videos, each with one fault or peculiarity."""

from fractions import Fraction

import av
import numpy as np

WIDTH, HEIGHT = 64, 48


def picture(number, width=WIDTH, height=HEIGHT):
    """A frame whose brightness tells its number; its upper left corner is white."""
    pixels = np.full((height, width, 3), 20 + 10 * (number % 20), np.uint8)
    pixels[: height // 4, : width // 4] = 255
    return pixels


def write_clip(path, num_frames=10, codec="libx264", pix_fmt="yuv420p", **how):
    """Write a clip and return its path.

    `times` are timestamps in 1/1000 s, `size` is (width, height), `rotation` degrees, `container` options of the
    container, `audio` adds a tone, `format` names the container.
    """
    width, height = how.get("size", (WIDTH, HEIGHT))
    times = how.get("times") or [40 * number for number in range(num_frames)]
    with av.open(str(path), "w", format=how.get("format"), options=how.get("container", {})) as out:
        options = {"g": "5", "bf": "0"} if codec == "libx264" else {}
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000 if "times" in how else 25)
        if "rotation" in how:
            stream.set_display_rotation(how["rotation"])
        sound = out.add_stream("aac", rate=16000) if how.get("audio") else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24").reformat(format=pix_fmt)
            frame.pts = time if "times" in how else number
            frame.time_base = stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound:
            for start in range(0, 16000 * len(times) // 25, 1024):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                samples.sample_rate, samples.pts = 16000, start
                out.mux(sound.encode(samples))
            out.mux(sound.encode(None))
    return path


def read_clip(path):
    """Return the timestamps in seconds, the size and the mean brightness of each frame."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = [float(frame.time) for frame in frames]
        return times, (frames[0].width, frames[0].height), [frame.to_ndarray(format="gray").mean() for frame in frames]
