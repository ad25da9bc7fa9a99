"""The work of `yoso predict`: segment images one after the other, and write what belongs to each."""

import argparse
import errno
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import open_model
from yoso.apps.console import with_progress
from yoso.apps.predict_jobs import Failure, InputImage, Job, find_images, find_split, make_jobs
from yoso.apps.scoring import thresholds_of
from yoso.data.prediction_folder import (
    MASKS,
    PANOPTIC_JSON,
    PredictionWriter,
    check_output,
    earlier_predictions,
    reserved,
)
from yoso.errors import OutputError, YosoError
from yoso.files import file_sha256

if TYPE_CHECKING:
    from yoso.data.spec import Split
    from yoso.inference.engine import Timings
    from yoso.inference.predictor import Predictor

FREE_SETTINGS = frozenset({"model"})
"""Settings that may differ when a run is resumed: a model may be named in several ways, its weights tell."""


@dataclass(frozen=True)
class Segmented:
    """One image that was segmented and written.

    Attributes:
        path: of the image.
        overlay: the picture drawn over it, or None if none was wanted.
        panoptic: the PNG of segment ids.
        summary: number and classes of the segments, for people.
        segments_info: of the result; None unless the JSON document needs it, because many images have many.
        size: (height, width) in pixels.
        timings: what the steps took.
    """

    path: Path
    overlay: Path | None
    panoptic: Path
    summary: str
    segments_info: list[dict[str, Any]] | None
    size: tuple[int, int]
    timings: "Timings"


@dataclass
class Outcome:
    """What became of the images.

    Attributes:
        total: how many there are.
        segmented: those of this run.
        failures: those that failed, and arguments that stand for no image.
        num_earlier: how many an earlier run had done.
        stop: the signal that ended the run, if any.
        runtime: what ran the network.
        device: and where.
    """

    total: int = 0
    segmented: list[Segmented] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    num_earlier: int = 0
    stop: KeyboardInterrupt | None = None
    runtime: str | None = None
    device: str | None = None


def run(args: argparse.Namespace) -> Outcome:
    """Segment the images that the arguments stand for.

    An image that fails does not stop the others; a full disk, Ctrl-C and SIGTERM do. What was done until then is
    listed in `panoptic.json`.

    Raises:
        YosoError: nothing can be done at all: no such data set, model or device, an output that cannot be written or
            must not be replaced, or other settings than those of the run to resume.
    """
    split = find_split(args)
    images, failures = find_images(args, split)
    outcome = Outcome(len(images), failures=failures)
    if not images:
        return outcome
    output = Path(args.output)
    with reserved(output):
        earlier = earlier_predictions(output)
        resumed = earlier if args.resume and earlier else {}
        jobs = make_jobs(images, resumed)
        outcome.num_earlier = len(images) - len(jobs)
        check_output(output, _names(args, jobs), _inputs(images, split), earlier is not None)
        predictor = open_model(args)
        outcome.runtime, outcome.device = predictor.runtime, predictor.device
        writer = PredictionWriter(output, predictor.categories, _settings(args, predictor))
        if resumed:
            writer.resume(resumed, FREE_SETTINGS)
        _segment(args, predictor, writer, jobs, outcome)
    return outcome


def _segment(
    args: argparse.Namespace, predictor: "Predictor", writer: PredictionWriter, jobs: list[Job], outcome: Outcome
) -> None:
    """Work through the jobs and write the JSON of those that are done, whatever ends the loop."""
    try:
        for job in with_progress(jobs, len(jobs), "segmenting"):
            try:
                outcome.segmented.append(_segment_one(args, predictor, writer, job))
            except YosoError as error:
                outcome.failures.append(Failure(str(job.path), _with_name(job.path, error)))
                if _is_full(error):
                    break
    except KeyboardInterrupt as stop:
        outcome.stop = stop
    finally:
        if writer.started:
            writer.close()


def _segment_one(args: argparse.Namespace, predictor: "Predictor", writer: PredictionWriter, job: Job) -> Segmented:
    """Segment one image and write what belongs to it."""
    from yoso.drawing.pictures import drawn, write_picture
    from yoso.files import read_image
    from yoso.inference.results import coco_segments

    start = time.perf_counter()
    pixels = read_image(job.path)
    read_seconds = time.perf_counter() - start
    result, timings = predictor.timed(
        pixels,
        input_size=args.input_size,
        object_mask_threshold=args.object_mask_threshold,
        overlap_threshold=args.overlap_threshold,
        tiles=args.tiles,
    )
    infos = result["segments_info"]
    writer.start()
    overlay = None if args.no_overlay else Path(args.output, job.overlay)
    if overlay is not None:
        write_picture(overlay, drawn(pixels, result, predictor.categories))
    writer.add(job.record, result["segmentation"], coco_segments(infos, predictor.categories))
    panoptic = writer.masks / job.record.mask_name
    timings = replace(timings, read_seconds=read_seconds)
    size = (pixels.shape[0], pixels.shape[1])
    return Segmented(job.path, overlay, panoptic, _summary(infos), infos if args.json else None, size, timings)


def _summary(infos: list[dict[str, Any]], limit: int = 6) -> str:
    """Return number and classes of some segments, the most frequent class first: `14: 12 window, 2 car, facade`."""
    counts = Counter((info["label"], info["is_thing"]) for info in infos)
    parts = [f"{number} {label}" if is_thing else label for (label, is_thing), number in counts.most_common(limit)]
    return f"{len(infos)}: {', '.join(parts)}{', ...' if len(counts) > limit else ''}" if infos else "0"


def _names(args: argparse.Namespace, jobs: list[Job]) -> list[str]:
    """Return the names that will be written below the output folder."""
    overlays = [] if args.no_overlay else [job.overlay for job in jobs]
    return [PANOPTIC_JSON, MASKS, *overlays, *(f"{MASKS}/{job.record.mask_name}" for job in jobs)]


def _inputs(images: list[InputImage], split: "Split | None") -> list[Path]:
    """Return the files and folders that are read."""
    return [*(image.path for image in images), *((split.annotations, split.masks) if split else ())]


def _settings(args: argparse.Namespace, predictor: "Predictor") -> dict[str, Any]:
    """Return what the predictions depend on."""
    size = predictor.inference.input_size if args.input_size is None else args.input_size
    thresholds = thresholds_of(args, predictor)
    return {
        "command": "yoso predict",
        "model": args.model,
        "weights_sha256": _weights_sha256(args, predictor),
        "precision": predictor.engine.precision,
        "input_size": size,
        "object_mask_threshold": thresholds.object_mask,
        "overlap_threshold": thresholds.overlap,
        "tiles": args.tiles,
        "data": args.data,
        "split": args.split if args.data else None,
    }


def _weights_sha256(args: argparse.Namespace, predictor: "Predictor") -> str:
    """Return the hash of the model's weights; that of an exported file if it does not name those it was made from."""
    from yoso.weights.find import find_model
    from yoso.weights.layout import WEIGHTS

    recorded = getattr(predictor.engine, "source_sha256", None)
    if recorded:
        return recorded
    # It is loaded, so nothing has to be fetched any more.
    file = Path(args.model)
    return file_sha256(file if file.is_file() else find_model(args.model, offline=True) / WEIGHTS)


def _is_full(error: YosoError) -> bool:
    """Tell whether nothing more can be written, so that continuing would only waste time."""
    cause = error.__cause__
    return isinstance(error, OutputError) and getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def _with_name(path: Path, error: YosoError) -> str:
    """Return the error with the file's name in it, which errors about arrays do not know."""
    text = str(error)
    return text if str(path) in text or isinstance(error, OutputError) else f"{path}: {text}"
