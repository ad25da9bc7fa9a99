"""What a client receives: the three tasks as results, and results as JSON and PNG."""

import base64
from collections.abc import Collection, Iterable
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from yoso.categories import Categories
from yoso.drawing.rendering import render
from yoso.files import id_to_rgb
from yoso.inference.predictor import Result
from yoso.serve.masks import coco_rle, polygons, segment_mask

TASKS = ("panoptic", "semantic", "instance")
OUTPUTS = ("segments", "panoptic_png", "overlay", "polygons", "rle")
"""What a client may ask for. `segments` is always there."""


def as_task(result: Result, task: str) -> Result:
    """Turn a panoptic result into that of another task.

    All three come from the panoptic merge, so that they agree, and so that exported files with the merge inside have
    them all.

    Args:
        result: of a `Predictor`.
        task: "panoptic" is the result itself; "semantic" joins the segments of each class, with the id `label_id` + 1,
            the sum of areas, and the highest score; "instance" keeps the things only.
    """
    if task == "panoptic":
        return result
    infos = result["segments_info"]
    if task == "instance":
        kept = [info for info in infos if info["is_thing"]]
        return {"segmentation": _relabelled(result, {info["id"]: info["id"] for info in kept}), "segments_info": kept}
    joined: dict[int, dict[str, Any]] = {}
    for info in infos:
        label_id = info["label_id"]
        joined[label_id] = _joined(joined[label_id], info) if label_id in joined else {**info, "id": label_id + 1}
    new_ids = {info["id"]: info["label_id"] + 1 for info in infos}
    return {"segmentation": _relabelled(result, new_ids), "segments_info": [joined[key] for key in sorted(joined)]}


def _relabelled(result: Result, new_ids: dict[int, int]) -> np.ndarray:
    """Return the segmentation with other ids; ids that are not in `new_ids` become void."""
    table = np.zeros(max((info["id"] for info in result["segments_info"]), default=0) + 1, np.int32)
    for old, new in new_ids.items():
        table[old] = new
    return table[result["segmentation"]]


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    boxes = np.array([one["bbox"], other["bbox"]])
    low, high = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    score = max(one["score"], other["score"])
    return {**one, "score": score, "area": one["area"] + other["area"], "bbox": [*low.tolist(), *(high - low).tolist()]}


def described(pixels: np.ndarray, result: Result, categories: Categories, outputs: Collection[str]) -> dict[str, Any]:
    """Return a result as JSON values.

    Args:
        pixels: uint8 (H, W, 3), the image.
        result: of any task.
        categories: of the model, for the overlay's colors.
        outputs: names in `OUTPUTS`.
    """
    segmentation = result["segmentation"]
    height, width = segmentation.shape
    content: dict[str, Any] = {
        "image_size": {"height": height, "width": width},
        "segments_info": [_with_masks(segmentation, info, outputs) for info in result["segments_info"]],
    }
    if "panoptic_png" in outputs:
        content["panoptic_png"] = _base64(id_to_rgb(segmentation))
    if "overlay" in outputs:
        content["overlay_png"] = _base64(render(pixels, _colored(result, categories)))
    return content


def _with_masks(segmentation: np.ndarray, info: dict[str, Any], outputs: Collection[str]) -> dict[str, Any]:
    if "polygons" not in outputs and "rle" not in outputs:
        return info
    mask, corner = segment_mask(segmentation, info["id"], tuple(info["bbox"])), (info["bbox"][0], info["bbox"][1])
    more: dict[str, Any] = {}
    if "polygons" in outputs:
        more["polygons"] = polygons(mask, corner)
    if "rle" in outputs:
        more["rle"] = coco_rle(mask, corner, (segmentation.shape[0], segmentation.shape[1]))
    return info | more


def _colored(result: Result, categories: Categories) -> Result:
    infos: Iterable[dict[str, Any]] = result["segments_info"]
    return {**result, "segments_info": [info | {"color": categories[info["label_id"]].color} for info in infos]}


def _base64(picture: np.ndarray) -> str:
    stream = BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=1)
    return base64.b64encode(stream.getvalue()).decode("ascii")
