"""`yoso.stream`: a video as an iterator of segmented frames."""

from collections.abc import Generator
from typing import Any

from yoso.files import PathLike
from yoso.inference.loading import load
from yoso.inference.predictor import Predictor
from yoso.video.frames import Selection
from yoso.video.pipeline import Pipeline
from yoso.video.sources import SourceOptions, open_source
from yoso.video.stages import VideoFrame, segmenting, tracking


def stream(
    source: PathLike | int,
    model: PathLike | Predictor = "facades-mnv2",
    track: bool = False,
    smooth: bool = False,
    selection: Selection | None = None,
    **options: Any,
) -> Generator[VideoFrame, None, None]:
    """Segment a video frame by frame; decoding, network and tracking overlap.

    The source and all threads are closed when the iterator ends, is closed, or is dropped, as after a `break`.

    Args:
        source: a video file; a folder or pattern of numbered images; a camera's index; an `rtsp://`, `http://` or
            `https://` address; or `-` for standard input. Of a camera or a stream, the newest frame is taken each time.
        model: a predictor, or what `yoso.load` takes.
        track: give each segment a `track_id` that holds over the frames.
        smooth: with `track`: let pixels that are nearly tied stay with the segment that had them before.
        selection: which frames to take; all by default.
        options: `input_size`, `object_mask_threshold` and `overlap_threshold`, as in a call of a `Predictor`.

    Yields:
        Frames with `index`, `timestamp` in seconds, `image` (H, W, 3) and `result`.

    Raises:
        VideoError: there is no such source, it has no frame, its size changes, or a live one is lost for good.
        CheckpointError: there is no such model.
        ConfigError: a package is not installed, or an option is not valid.
    """
    predictor = model if isinstance(model, Predictor) else load(model)
    opened = open_source(source, SourceOptions())
    try:
        stages = [segmenting(predictor, options), *tracking(track, smooth)]
        frames: Any = opened.frames(selection or Selection())  # the stages turn them into frames with segments
        with Pipeline(frames, stages, eager=not opened.is_live) as pipeline:
            yield from pipeline
    finally:
        opened.close()
