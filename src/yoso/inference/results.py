"""Results in the form of COCO panoptic."""

from collections.abc import Iterable, Mapping
from typing import Any

from yoso.categories import Categories


def coco_segments(infos: Iterable[Mapping[str, Any]], categories: Categories) -> list[dict[str, Any]]:
    """Return the segments of a result in COCO panoptic format, with `score` as an additional key.

    Args:
        infos: `segments_info` of a result.
        categories: of the model.
    """
    return [
        {"id": info["id"], "category_id": categories[info["label_id"]].id, "score": round(info["score"], 6)}
        for info in infos
    ]
