"""What several commands share: results as COCO segments, drawn in the data set's colours, written as PNG."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from yoso.categories import Categories
from yoso.files import PathLike, written_whole

if TYPE_CHECKING:
    import numpy as np


def coco_segments(infos: Iterable[Mapping[str, Any]], categories: Categories) -> list[dict[str, Any]]:
    """Return a result's segments as COCO panoptic names them; `score` is added to the format's own keys.

    Args:
        infos: `segments_info` of a result.
        categories: the model's.
    """
    return [
        {"id": info["id"], "category_id": categories[info["label_id"]].id, "score": round(info["score"], 6)}
        for info in infos
    ]


def drawable(segments: Iterable[Mapping[str, Any]], categories: Categories) -> list[dict[str, Any]]:
    """Return COCO segments as a result has them, as far as drawing needs it.

    Args:
        segments: `id` and `category_id` each.
        categories: that they are of.
    """
    infos = []
    for segment in segments:
        class_index = categories.index_of(segment["category_id"])
        category = categories[class_index]
        infos.append(
            {"id": segment["id"], "label_id": class_index, "label": category.name, "is_thing": category.is_thing}
        )
    return infos


def drawn(pixels: "np.ndarray", result: Mapping[str, Any], categories: Categories) -> "np.ndarray":
    """Draw a result over its photograph, in the colours of its categories.

    Args:
        pixels: uint8 RGB array (H, W, 3).
        result: as `Predictor` returns it.
        categories: the model's.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    from yoso.drawing.rendering import render

    infos = [{**info, "color": categories[info["label_id"]].color} for info in result["segments_info"]]
    return render(pixels, {**result, "segments_info": infos})


def write_picture(path: PathLike, pixels: "np.ndarray") -> None:
    """Write a uint8 RGB array (H, W, 3) as PNG, whole or not at all; see `written_whole` for errors."""
    from PIL import Image

    with written_whole(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=3)
