"""Results in the forms of other tools."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.errors import MissingPackageError


def coco_segments(infos: Iterable[Mapping[str, Any]], categories: Categories) -> list[dict[str, Any]]:
    """Return the segments of a result in COCO panoptic format, with `score` and any `track_id` as additional keys.

    Args:
        infos: `segments_info` of a result.
        categories: of the model.
    """
    segments = []
    for info in infos:
        category_id = categories[info["label_id"]].id
        segments.append({"id": info["id"], "category_id": category_id, "score": round(info["score"], 6)})
        if "track_id" in info:
            segments[-1]["track_id"] = info["track_id"]
    return segments


def to_supervision(result: Mapping[str, Any]) -> Any:
    """Return a result as `supervision.Detections`, for the annotators, zones and counters of that package.

    Args:
        result: of a `Predictor`, or of `Tracker.update`.

    Returns:
        One detection per segment, in id order, with its mask, box, score and class index; `tracker_id` if every segment
        has a `track_id`; and in `data` the names `class_name` and the flags `is_thing`, so that
        `detections[detections.data["is_thing"]]` are the things.

    Raises:
        MissingPackageError: the package supervision is not installed; it is not a dependency of this one.
    """
    try:
        supervision = import_module("supervision")
    except ImportError as error:
        message = "to_supervision needs the package supervision; install it"
        raise MissingPackageError(message, name="supervision") from error
    infos = result["segments_info"]
    boxes = np.array([info["bbox"] for info in infos], np.float32).reshape(-1, 4)
    ids = np.array([info["id"] for info in infos], np.int64)
    tracks = [info.get("track_id") for info in infos]
    return supervision.Detections(
        xyxy=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1),
        mask=np.asarray(result["segmentation"])[None] == ids[:, None, None],
        confidence=np.array([info["score"] for info in infos], np.float32),
        class_id=np.array([info["label_id"] for info in infos], np.int64),
        tracker_id=None if None in tracks else np.array(tracks, np.int64),
        data={
            "class_name": np.array([info["label"] for info in infos], np.str_),
            "is_thing": np.array([info["is_thing"] for info in infos], np.bool_),
        },
    )
