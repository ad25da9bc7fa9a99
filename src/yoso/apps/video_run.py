"""The work of `yoso predict` and `yoso track` on a video: from the source through all stages to the outputs."""

import argparse
import json
import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import open_model
from yoso.apps.console import frame_progress
from yoso.apps.scoring import thresholds_of
from yoso.apps.video_options import call_options, selection_of, source_options
from yoso.data.prediction_folder import reserved
from yoso.errors import ConfigError, YosoError
from yoso.files import cannot_write

if TYPE_CHECKING:
    from yoso.inference.predictor import Predictor
    from yoso.video.frames import Frame, FrameCounts, Selection
    from yoso.video.identities import Identity
    from yoso.video.outputs import Output
    from yoso.video.places import PlaceCounter
    from yoso.video.sources import Source
    from yoso.video.stages import VideoFrame

NUM_LATENCIES = 10_000
"""Latest frames whose latency is kept."""


@dataclass(frozen=True)
class TrackOptions:
    """What `yoso track` adds.

    Attributes:
        track: give segments identities.
        smooth: let near-ties stay with their previous owner.
        places: zones and lines to count in.
    """

    track: bool = False
    smooth: bool = False
    places: tuple[Any, ...] = ()


@dataclass
class VideoOutcome:
    """What became of a video.

    Attributes:
        source: its name.
        counts: of its frames.
        num_frames: that passed all stages.
        seconds: wall time.
        stages: mean milliseconds per frame of each stage.
        outputs: files and folders that were written.
        identities: with tracking.
        places: totals of zones and lines.
        latencies: seconds from the arrival of a frame to its result, of a live source.
        runtime: what ran the network, and on which device.
        error: that ended the video early.
        stop: the signal that did.
    """

    source: str
    counts: "FrameCounts"
    num_frames: int = 0
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    outputs: list[Path] = field(default_factory=list)
    identities: list["Identity"] = field(default_factory=list)
    places: dict[str, Any] = field(default_factory=dict)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=NUM_LATENCIES))
    runtime: str = ""
    error: YosoError | None = None
    stop: KeyboardInterrupt | None = None


def run_video(args: argparse.Namespace, source: str, extra: TrackOptions) -> VideoOutcome:
    """Segment a video and write what is asked for. What is done when it ends, for whatever reason, stays usable.

    Args:
        args: of the command.
        source: the video.
        extra: of `yoso track`.

    Raises:
        YosoError: nothing can be done at all.
    """
    from yoso.video.outputs import OutputGroup
    from yoso.video.places import PlaceCounter
    from yoso.video.sources import open_source
    from yoso.video.window import Window

    selection, options, counter = selection_of(args), source_options(args), PlaceCounter(list(extra.places))
    with ExitStack() as stack:
        opened = open_source(source, options)
        stack.callback(opened.close)
        window = Window(source) if args.show else None
        if window:
            stack.callback(window.close)
        predictor = open_model(args)
        stack.enter_context(reserved(Path(args.output)))
        outputs = OutputGroup(_outputs(args, opened, predictor))
        outcome = VideoOutcome(opened.name, opened.counts, runtime=f"{predictor.runtime} on {predictor.device}")
        begin = time.perf_counter()
        try:
            with outputs:
                _pass_through(args, opened, selection, extra, (predictor, outputs, counter, window, outcome))
        except YosoError as error:
            outcome.error = error
        except KeyboardInterrupt as stop:
            outcome.stop = stop
        outcome.seconds = time.perf_counter() - begin
        outcome.outputs = [output.path for output in outputs.outputs if output.path.exists()]
        outcome.places = counter.totals()
    return outcome


def _pass_through(
    args: argparse.Namespace, source: "Source", selection: "Selection", extra: TrackOptions, parts: Any
) -> None:
    """Pass all frames through the stages, and note the results."""
    from yoso.video.identities import IdentityList
    from yoso.video.pipeline import Pipeline, Stage
    from yoso.video.stages import drawing, segmenting, tracking

    predictor, outputs, counter, window, outcome = parts
    stages = [segmenting(predictor, call_options(args)), *tracking(extra.track, extra.smooth)]
    if not args.no_overlay or window:
        stages.append(drawing(predictor.categories))
    if outputs.outputs:
        stages.append(Stage("encode", outputs.write))
    identities = IdentityList()
    frames: Any = _fitting(source.frames(selection), counter)  # the stages turn them into frames with segments
    with Pipeline(frames, stages, eager=not source.is_live) as pipeline:
        try:
            with frame_progress(expected_frames(source, selection)) as step:
                for frame in pipeline:
                    if source.is_live:
                        outcome.latencies.append(time.perf_counter() - frame.captured)
                    identities.update(frame.result, frame.timestamp)
                    inside = counter.update(frame.result)
                    if args.json:
                        print(json.dumps(frame_line(frame, inside)), flush=True)
                    step()
                    if window and not _shown(window, frame):
                        break
        finally:
            outcome.stages = {name: spent.milliseconds for name, spent in pipeline.times.items()}
            outcome.num_frames = [spent.num_items for spent in pipeline.times.values()][-1]
            outcome.identities = identities.all()


def _fitting(frames: "Iterator[Frame]", counter: "PlaceCounter") -> "Iterator[Frame]":
    """Pass frames on; zones and lines outside the first one are noticed before anything is written."""
    for number, frame in enumerate(frames):
        if number == 0:
            counter.fit(frame.image.shape[0], frame.image.shape[1])
        yield frame


def _shown(window: Any, frame: "VideoFrame") -> bool:
    window.show(frame.picture)
    return window.is_open


def frame_line(frame: "VideoFrame", inside: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Return what `--json` prints of a frame.

    Args:
        frame: with its result.
        inside: the things in each zone, by class.
    """
    keys = ("id", "label_id", "label", "is_thing", "score", "area", "bbox", "track_id")
    infos = [{key: info[key] for key in keys if key in info} for info in frame.result["segments_info"]]
    line = {"frame": frame.index, "timestamp": round(frame.timestamp, 6), "segments_info": infos}
    return line | ({"zones": inside} if inside else {})


def expected_frames(source: "Source", selection: "Selection") -> int | None:
    """Return about how many frames there will be, None if it is not known."""
    if source.duration is None or not source.frame_rate:
        return selection.max_frames
    end = source.duration if selection.end is None else min(selection.end, source.duration)
    rate = source.frame_rate / selection.every
    rate = rate if selection.fps is None else min(rate, selection.fps)
    frames = max(1, round((end - (selection.start or 0.0)) * rate))
    return frames if selection.max_frames is None else min(frames, selection.max_frames)


def _outputs(args: argparse.Namespace, source: "Source", predictor: "Predictor") -> "list[Output]":
    """Return the outputs that the options ask for; nothing is written yet."""
    from yoso.video.mp4 import Mp4Writer
    from yoso.video.outputs import IdMaps, OverlayPictures, OverlayVideo, check_replaceable

    folder, stem = Path(args.output), output_name(source.name)
    video, pictures, ids = (folder / f"{stem}{ending}" for ending in (".overlay.mp4", ".overlay", ".panoptic"))
    wanted: list[Output] = []
    paths: list[Path] = []
    if not args.no_overlay and args.overlay_format == "mp4":
        paths.append(video)
        wanted.append(OverlayVideo(Mp4Writer(video, source.frame_rate, source.time_base, source.audio)))
    elif not args.no_overlay:
        paths.append(pictures)
        wanted.append(OverlayPictures(pictures, args.overlay_format))
    if args.ids:
        paths += [ids, folder / f"{ids.name}.json"]
        thresholds = thresholds_of(args, predictor)
        settings = {"model": args.model, "source": source.name, "input_size": args.input_size}
        settings |= {"object_mask_threshold": thresholds.object_mask, "overlap_threshold": thresholds.overlap}
        wanted.append(IdMaps(ids, predictor.categories, settings))
    for path in paths:
        try:
            check_replaceable(path, source.name)
        except OSError as error:
            raise cannot_write(path, error) from error
    return wanted


def output_name(source: str) -> str:
    """Return how the outputs of a source are called: by its file or folder, or else by its kind."""
    if source == "standard input":
        return "stdin"
    if source.startswith("camera "):
        return source.replace(" ", "-")
    path = re.sub(r"^\w+://[^/]*/?|[?#].*", "", source) if "://" in source else source
    parts = [part for part in Path(path).parts if not re.search(r"[*?\[%]", part)]
    stem = Path(parts[-1]).stem if parts and parts[-1] not in {"/", "..", "."} else ""
    return stem or "video"


def check_one(sources: list[str], command: str) -> str:
    """Return the only source.

    Raises:
        ConfigError: there are several, or none.
    """
    if len(sources) != 1:
        raise ConfigError(f"{command}: give one video at a time; there are {len(sources)} sources")
    return sources[0]
