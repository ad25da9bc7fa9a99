"""Mask AP, COCO's score of instances, counted by faster-coco-eval; masks are kept as run lengths only.

The truth is the things of a panoptic one, crowds as `iscrowd`: a detection that lies on the crowd of its class is no
mistake. Void is nothing special to COCO's rule: a detection there is a mistake.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.errors import DatasetError
from yoso.evaluation.matching import Segments
from yoso.installation import optional_packages

MAX_DETECTIONS = 100
"""Best detections per image and class that COCO looks at."""

_AREAS = ("all", "small", "medium", "large")
_IOU_50, _IOU_75 = 0, 5
"""Places of two of the IoU thresholds 0.5, 0.55, ..., 0.95."""


class Found(NamedTuple):
    """One instance, in the truth or detected.

    Attributes:
        class_index: 0 to K-1.
        counts: COCO's compressed run lengths of its mask.
        area: pixels.
        score: 0 to 1; 1 in the truth.
        is_crowd: True for a crowd of the truth.
    """

    class_index: int
    counts: str
    area: int
    score: float = 1.0
    is_crowd: bool = False


@dataclass(frozen=True)
class ImageInstances:
    """The instances of one image.

    Attributes:
        name: of the image, each once; images are scored in the order of their names.
        size: height and width in pixels.
        truth: things of the ground truth.
        detected: what was found there.
    """

    name: str
    size: tuple[int, int]
    truth: list[Found]
    detected: list[Found]


class ClassAP(NamedTuple):
    """One class of things.

    Attributes:
        ap: mean over the IoU thresholds 0.5, 0.55, ..., 0.95, 0 to 1; nan, like the next two, if the truth has none.
        ap50: at an IoU of 0.5.
        ap75: at an IoU of 0.75.
        true_instances: in the ground truth, crowds left out.
        detections: how many there are, good or bad.
    """

    ap: float
    ap50: float
    ap75: float
    true_instances: int
    detections: int


class MaskAP(NamedTuple):
    """COCO's figures of a set of images, 0 to 1, each the mean over the classes of things that the truth has.

    Attributes:
        ap: mean over the IoU thresholds 0.5, 0.55, ..., 0.95; nan, like the next five, if there is no such thing.
        ap50: at an IoU of 0.5.
        ap75: at an IoU of 0.75.
        ap_small: of instances up to 32 x 32 pixels.
        ap_medium: between.
        ap_large: from 96 x 96 pixels.
        n: how many classes the means are over.
        per_class: one entry per thing class, in class-index order.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    n: int
    per_class: tuple[ClassAP, ...]


def coco_library() -> ModuleType:
    """Return faster-coco-eval.

    Raises:
        ConfigError: it is not installed.
    """
    with optional_packages("mask AP"):
        import faster_coco_eval
    return faster_coco_eval


def run_lengths(mask: np.ndarray) -> str:
    """Return COCO's compressed run lengths of a mask (H, W) of bool."""
    encoded = coco_library().mask.encode(np.asfortranarray(mask, np.uint8))
    return encoded["counts"].decode("ascii")


def true_instances(id_map: np.ndarray, segments: Segments, categories: Categories) -> list[Found]:
    """Return the things of a panoptic truth; one mask exists at a time, and segments without a pixel are left out.

    Args:
        id_map: (H, W) integers; 0 is void.
        segments: `id`, `category_id` and `iscrowd` (0 if left out) per segment.
        categories: the classes of the data set.

    Raises:
        DatasetError: a segment is of an unknown category.
    """
    found = []
    for segment in segments:
        class_index = categories.index_of(segment["category_id"])
        if categories[class_index].is_thing:
            mask = id_map == segment["id"]
            if area := int(np.count_nonzero(mask)):
                found.append(Found(class_index, run_lengths(mask), area, is_crowd=bool(segment.get("iscrowd", 0))))
    return found


def mask_ap(images: Iterable[ImageInstances], categories: Categories) -> MaskAP:
    """Return the mask AP of a set of images.

    Args:
        images: any number of images. Detections of stuff are left out.
        categories: the classes of the data set.

    Raises:
        ConfigError: faster-coco-eval is not installed.
        DatasetError: two images have one name.
    """
    ordered = sorted(images, key=lambda image: image.name)
    for one, other in pairwise(ordered):
        if one.name == other.name:
            raise DatasetError(f"{one.name}: is among the images to score twice; give each once")
    things = [index for index, category in enumerate(categories) if category.is_thing]
    precision = _precision(ordered, things)
    per_class = []
    for place, class_index in enumerate(things):
        every = [f for image in ordered for f in image.truth if f.class_index == class_index and not f.is_crowd]
        guesses = sum(f.class_index == class_index for image in ordered for f in image.detected)
        own = precision[:, :, place, 0]
        per_class.append(ClassAP(_mean(own), _mean(own[_IOU_50]), _mean(own[_IOU_75]), len(every), guesses))
    overall = precision[:, :, :, 0]
    return MaskAP(
        ap=_mean(overall),
        ap50=_mean(overall[_IOU_50]),
        ap75=_mean(overall[_IOU_75]),
        ap_small=_mean(precision[:, :, :, _AREAS.index("small")]),
        ap_medium=_mean(precision[:, :, :, _AREAS.index("medium")]),
        ap_large=_mean(precision[:, :, :, _AREAS.index("large")]),
        n=sum(row.true_instances > 0 for row in per_class),
        per_class=tuple(per_class),
    )


def _precision(images: list[ImageInstances], things: list[int]) -> np.ndarray:
    """Return precisions per IoU threshold (10), recall (101), class and one of `_AREAS`; -1 where there is no truth."""
    if not images or not things:
        return np.full((10, 101, len(things), len(_AREAS)), -1.0)
    library = coco_library()
    entries = [{"id": number, "height": image.size[0], "width": image.size[1]} for number, image in enumerate(images)]
    sides = []
    for found in ([image.truth for image in images], [image.detected for image in images]):
        side = library.COCO()
        side.dataset = {
            "images": entries,
            "annotations": list(_annotations(images, found)),
            "categories": [{"id": index, "name": str(index)} for index in things],
        }
        side.createIndex()
        sides.append(side)
    evaluation = library.COCOeval_faster(*sides, iouType="segm", print_function=_say_nothing)
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"])[..., -1]


def _annotations(images: list[ImageInstances], found: list[list[Found]]) -> Iterator[dict[str, Any]]:
    # Ids from 1: to the library, 0 means that a detection is matched with nothing.
    annotation_ids = count(1)
    for image_id, (image, instances) in enumerate(zip(images, found, strict=True)):
        for instance in instances:
            yield {
                "id": next(annotation_ids),
                "image_id": image_id,
                "category_id": instance.class_index,
                "segmentation": {"size": list(image.size), "counts": instance.counts},
                "area": instance.area,
                "score": instance.score,
                "iscrowd": int(instance.is_crowd),
            }


def _say_nothing(*_: Any) -> None:
    """Take the library's progress reports."""


def _mean(precision: np.ndarray) -> float:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else float("nan")
