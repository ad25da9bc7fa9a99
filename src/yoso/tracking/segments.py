"""Reading the result of a predictor, ours or another one: what must be there, and what is worked out if it is not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yoso.errors import ConfigError
from yoso.installation import optional_packages
from yoso.tracking.masks import CroppedMask

Result = Mapping[str, Any]
"""A result dictionary: `segmentation`, and `segments_info` with at least `id` and `label_id` per segment."""


@dataclass(frozen=True)
class Detection:
    """A thing in one frame.

    Attributes:
        info: its entry of `segments_info`.
        mask: its pixels.
        label_id: class index.
        score: 0 to 1; 1 if the predictor gives none.
        embedding: (D,) of length 1, or None.
    """

    info: Mapping[str, Any]
    mask: CroppedMask
    label_id: int
    score: float
    embedding: np.ndarray | None


def read_segmentation(result: Result) -> np.ndarray:
    """Return the id map (H, W) of a result.

    Raises:
        ConfigError: there is none, or it is not (H, W) integers.
    """
    if not isinstance(result, Mapping) or not {"segmentation", "segments_info"} <= result.keys():
        raise ConfigError(
            "a result is a dictionary with 'segmentation' and 'segments_info', as yoso.Predictor returns it; "
            f"this is {type(result).__name__}"
        )
    segmentation = np.asarray(result["segmentation"])
    if segmentation.ndim != 2 or segmentation.dtype.kind not in "iu" or not segmentation.size:
        raise ConfigError(
            f"the segmentation is {segmentation.dtype} of shape {segmentation.shape}; give integers of shape (H, W)"
        )
    return segmentation


def is_thing(info: Mapping[str, Any]) -> bool:
    """Say whether a segment is a thing; instance predictors, which do not say, have things only."""
    return bool(info.get("is_thing", True))


def read_things(segmentation: np.ndarray, infos: list[Mapping[str, Any]]) -> list[Detection]:
    """Return the things of a frame that have pixels.

    Args:
        segmentation: (H, W) integers.
        infos: `segments_info`.

    Raises:
        ConfigError: a segment has no usable `id` or `label_id`, or two segments have one `id`.
    """
    ids = [_whole(info, "id") for info in infos]
    for info in infos:
        _whole(info, "label_id")
    if len(set(ids)) < len(ids):
        raise ConfigError(f"two segments have the id {max(ids, key=ids.count)}; every segment of a frame has its own")
    things = [info for info in infos if is_thing(info)]
    masks = [_mask(segmentation, info) for info in things]
    if None in masks:
        masks = _searched(segmentation, [info["id"] for info in things])
    return [
        Detection(info, mask, int(info["label_id"]), float(info.get("score", 1.0)), _embedding(info))
        for info, mask in zip(things, masks, strict=True)
        if mask is not None
    ]


def _whole(info: Mapping[str, Any], key: str) -> int:
    value = info.get(key)
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise ConfigError(f"a segment has {key} {value!r}; every entry of segments_info needs whole id and label_id")
    return int(value)


def _mask(segmentation: np.ndarray, info: Mapping[str, Any]) -> CroppedMask | None:
    """Return the mask in the segment's `bbox`; None if `area` does not confirm that the box holds all of it."""
    if "bbox" not in info or "area" not in info:
        return None
    x, y, width, height = (int(side) for side in info["bbox"])
    if min(x, y) < 0 or min(width, height) < 1:
        return None
    mask = CroppedMask.of(segmentation, info["id"], (x, y, width, height))
    return mask if mask.area == info["area"] else None


def _searched(segmentation: np.ndarray, ids: list[int]) -> list[CroppedMask | None]:
    """Return the masks of some segments wherever they are; None for a segment without pixels."""
    with optional_packages("tracking", "video"):
        from scipy.ndimage import find_objects

    # Ids may be as large as colours, of which `find_objects` would make a list.
    numbers = {segment_id: number for number, segment_id in enumerate(ids, 1)}
    values, inverse = np.unique(segmentation, return_inverse=True)
    table = np.array([numbers.get(value, 0) for value in values.tolist()], np.int32)
    numbered = table[inverse].reshape(segmentation.shape)
    masks: list[CroppedMask | None] = []
    for number, slices in enumerate(find_objects(numbered, max_label=len(ids)), 1):
        if slices is None:
            masks.append(None)
            continue
        rows, columns = slices
        box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        masks.append(CroppedMask.of(numbered, number, box))
    return masks


def _embedding(info: Mapping[str, Any]) -> np.ndarray | None:
    if info.get("embedding") is None:
        return None
    vector = np.asarray(info["embedding"], np.float64).reshape(-1)
    length = math.sqrt(vector @ vector)
    return vector / length if length and math.isfinite(length) else None
