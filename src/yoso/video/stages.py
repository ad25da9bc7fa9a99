"""What is done with each frame: segment it, give its segments identities, draw it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.drawing.rendering import render
from yoso.inference.predictor import Predictor
from yoso.installation import optional_packages
from yoso.video.frames import Frame
from yoso.video.pipeline import Stage


@dataclass(frozen=True)
class VideoFrame:
    """A frame with its segments.

    Attributes:
        index: number of the frame in the source, from 0 at the start of the selection.
        timestamp: seconds; of a live source, since it was opened.
        image: uint8 (H, W, 3), RGB.
        result: as `Predictor` returns it; with tracking, each segment has a `track_id`.
        captured: `time.perf_counter()` when the frame arrived.
        picture: the drawn frame (H, W, 3), RGB; None if none was asked for.
    """

    index: int
    timestamp: float
    image: np.ndarray
    result: dict[str, Any]
    captured: float
    picture: np.ndarray | None = None


def segmenting(predictor: Predictor, options: Mapping[str, Any]) -> Stage:
    """Return the stage that makes a `VideoFrame` of a `Frame`.

    Args:
        predictor: segments it.
        options: of a call of the predictor.
    """

    def segment(frame: Frame) -> VideoFrame:
        result = predictor(frame.image, **options)
        return VideoFrame(frame.index, frame.timestamp, frame.image, result, frame.captured)

    return Stage("network", segment)


def tracking(track: bool, smooth: bool) -> list[Stage]:
    """Return the stage that gives segments identities that hold, if one is asked for.

    Args:
        track: add a `track_id` to each segment.
        smooth: let pixels that are nearly tied stay with the segment that had them before.
    """
    if not track:
        return []
    with optional_packages("tracking", "video"):
        from yoso.tracking.settings import TrackerSettings
        from yoso.tracking.smoothing import Smoother
        from yoso.tracking.tracker import Tracker

    tracker, smoother = Tracker(TrackerSettings()), Smoother() if smooth else None

    def identify(frame: VideoFrame) -> VideoFrame:
        result = tracker.update(frame.result)
        return replace(frame, result=smoother.update(result) if smoother else result)

    return [Stage("track", identify)]


def drawing(categories: Categories) -> Stage:
    """Return the stage that draws the segments over the frame.

    Args:
        categories: the model's, for the colors.
    """
    return Stage("draw", lambda frame: replace(frame, picture=drawn_frame(frame.image, frame.result, categories)))


def drawn_frame(pixels: np.ndarray, result: Mapping[str, Any], categories: Categories) -> np.ndarray:
    """Draw a result over its frame; a thing with an identity shows it and keeps its shade of color.

    Args:
        pixels: uint8 RGB array (H, W, 3).
        result: as `VideoFrame` has it.
        categories: the model's.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    infos = []
    for info in result["segments_info"]:
        own = {**info, "color": categories[info["label_id"]].color}
        if info["is_thing"] and info.get("track_id") is not None:
            own |= {"label": f"{info['label']} {info['track_id']}", "shade": info["track_id"]}
        infos.append(own)
    return render(pixels, {**result, "segments_info": infos})
