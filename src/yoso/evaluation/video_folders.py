"""Scores of saved video predictions: two COCO panoptic files with track ids, and their folders of PNGs.

The format is COCO panoptic with two more keys. `annotations` has one entry per frame, in the order of the frames; every
thing in `segments_info` has a `track_id`, a whole number that an object keeps over the video and shares with no other
object; `id` remains the value of its pixels in that frame's PNG. A file with several videos names each entry's
`video_id`; without it, all entries are one video.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.errors import DatasetError
from yoso.evaluation.matching import Segments
from yoso.evaluation.tubes import TubeFrame
from yoso.evaluation.video_quality import WINDOWS, VideoCounts, VideoQuality, count_video, video_quality
from yoso.files import PathLike, read_id_map, read_json

ImageId = int | str
VideoId = int | str


@dataclass(frozen=True)
class VideoFolderCounts:
    """The counts of all videos of a folder.

    Attributes:
        categories: the classes of the ground truth.
        videos: counts by `video_id`, in the order of the ground truth; one video without an id is named "video".
    """

    categories: Categories
    videos: dict[VideoId, VideoCounts]

    def result(self) -> VideoQuality:
        """Return the scores over all videos."""
        first, *others = self.videos.values()
        return video_quality(sum(others, first), self.categories)


@dataclass(frozen=True)
class _ListedFrame:
    """One entry of `annotations`."""

    png: Path
    segments: Segments
    video_id: VideoId


def count_videos(
    gt_json: PathLike,
    gt_dir: PathLike,
    pred_json: PathLike,
    pred_dir: PathLike,
    windows: Sequence[int] = WINDOWS,
    num_threads: int | None = None,
) -> VideoFolderCounts:
    """Compare saved video predictions with the ground truth, video by video; the format is at the top.

    Frames are paired by `image_id`. A frame without a prediction counts as void throughout, and predictions for frames
    that the ground truth does not have are left out; a warning says so. Order, videos and classes are those of the
    ground truth.

    Args:
        gt_json: file of the ground truth.
        gt_dir: folder of its PNGs.
        pred_json: file of the predictions; only its `annotations` are read.
        pred_dir: folder of their PNGs.
        windows: frames per window of VPQ.
        num_threads: videos to work on at a time; None means one per core.

    Raises:
        ConfigError: a window below 1, or SciPy is not installed.
        DatasetError: a file is missing, is not in the format or contradicts its PNG; a frame is annotated twice; none
            of the predictions belongs to a frame of the ground truth.
    """
    gt_content, pred_content = _read(gt_json), _read(pred_json)
    categories = Categories.from_json(gt_content.get("categories"), str(gt_json))
    gt, pred = _frames(gt_content, gt_json, gt_dir), _frames(pred_content, pred_json, pred_dir)
    _check_pairing(gt, pred, gt_json, pred_json)
    pairs: dict[VideoId, list[tuple[_ListedFrame, _ListedFrame | None]]] = {}
    for image_id, frame in gt.items():
        pairs.setdefault(frame.video_id, []).append((frame, pred.get(image_id)))

    def count(video_id: VideoId) -> VideoCounts:
        return count_video(*_read_frames(pairs[video_id]), categories, windows, f"{gt_json}, video {video_id!r}")

    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        return VideoFolderCounts(categories, dict(zip(pairs, pool.map(count, pairs), strict=True)))


def _read_frames(
    pairs: Iterable[tuple[_ListedFrame, _ListedFrame | None]],
) -> tuple[Iterator[TubeFrame], Iterator[TubeFrame]]:
    """Return the frames of the ground truth and of the prediction, read as they are asked for."""
    gt, pred = tee(map(_read_pair, pairs))
    return (frames[0] for frames in gt), (frames[1] for frames in pred)


def _read_pair(pair: tuple[_ListedFrame, _ListedFrame | None]) -> tuple[TubeFrame, TubeFrame]:
    gt, pred = pair
    gt_id_map = read_id_map(gt.png)
    if pred is None:
        return TubeFrame(gt_id_map, gt.segments), TubeFrame(np.zeros_like(gt_id_map), [])
    return TubeFrame(gt_id_map, gt.segments), TubeFrame(read_id_map(pred.png), pred.segments)


def _read(path: PathLike) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise DatasetError(f"{path}: is not a COCO panoptic file; it needs a list 'annotations', one entry per frame")
    return content


def _frames(content: dict[str, Any], path: PathLike, folder: PathLike) -> dict[ImageId, _ListedFrame]:
    if not Path(folder).is_dir():
        raise DatasetError(f"{folder}: no such folder; it should hold the PNGs of {path}")
    frames: dict[ImageId, _ListedFrame] = {}
    for number, entry in enumerate(content["annotations"]):
        fault = _fault(entry)
        if fault:
            raise DatasetError(
                f"{path}: annotation number {number} has no usable {fault!r}; every frame needs image_id, file_name "
                "and a list segments_info, and a video_id must be a number or a name"
            )
        if entry["image_id"] in frames:
            raise DatasetError(f"{path}: image_id {entry['image_id']!r} is annotated twice; keep one entry per frame")
        png = Path(folder, entry["file_name"])
        frames[entry["image_id"]] = _ListedFrame(png, entry["segments_info"], entry.get("video_id", "video"))
    return frames


def _fault(entry: Any) -> str | None:
    """Return the first field of an entry that is missing or of the wrong type."""
    if not isinstance(entry, dict):
        return "image_id"
    fields = {"video_id": "video", **entry}
    kinds = {"image_id": int | str, "file_name": str, "segments_info": list, "video_id": int | str}
    wrong = [key for key, kind in kinds.items() if not isinstance(fields.get(key), kind)]
    if not wrong and not all(isinstance(segment, dict) for segment in entry["segments_info"]):
        wrong = ["segments_info"]
    return wrong[0] if wrong else None


def _check_pairing(
    gt: dict[ImageId, _ListedFrame], pred: dict[ImageId, _ListedFrame], gt_json: PathLike, pred_json: PathLike
) -> None:
    if not gt:
        raise DatasetError(f"{gt_json}: its list 'annotations' is empty; there is nothing to compare with")
    missing, unknown = [key for key in gt if key not in pred], [key for key in pred if key not in gt]
    if unknown and len(unknown) == len(pred):
        raise DatasetError(
            f"{pred_json}: none of its {len(pred)} image_ids (the first is {unknown[0]!r}) is in {gt_json} "
            f"(the first there is {next(iter(gt))!r}); use the image_id of the ground truth"
        )
    if missing:
        warnings.warn(
            f"{pred_json}: no prediction for {len(missing)} of {len(gt)} frames of {gt_json} (the first has image_id "
            f"{missing[0]!r}); all of their segments are missed",
            stacklevel=1,
        )
    if unknown:
        warnings.warn(
            f"{pred_json}: {len(unknown)} of {len(pred)} predictions left out, their image_id is not in {gt_json} "
            f"(the first is {unknown[0]!r})",
            stacklevel=1,
        )
