"""Mask AP, COCO's score of instances, computed by faster-coco-eval; masks are kept as run lengths only.

The ground truth is the things of a panoptic one, crowds as `iscrowd`: a detection on a crowd of its class is ignored.
COCO's rule does not know void: a detection there is a false positive.
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
from yoso.values import read_iscrowd

MAX_DETECTIONS = 100
"""COCO scores this many detections per image and class, the best ones."""

_AREAS = ("all", "small", "medium", "large")
_IOU_50, _IOU_75 = 0, 5
"""Positions of two of the IoU thresholds 0.5, 0.55, ..., 0.95."""


class Instance(NamedTuple):
    """One instance, of the ground truth or detected.

    Attributes:
        class_index: 0 to K-1.
        counts: COCO's compressed run lengths of its mask.
        area: pixels.
        score: 0 to 1; 1 in the ground truth.
        is_crowd: True for a crowd of the ground truth.
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
        name: of the image, unique; images are scored in the order of their names.
        size: height and width in pixels.
        truth: things of the ground truth.
        detected: instances that were predicted.
    """

    name: str
    size: tuple[int, int]
    truth: list[Instance]
    detected: list[Instance]


class ClassAP(NamedTuple):
    """Mask AP of one thing class.

    Attributes:
        ap: mean over the IoU thresholds 0.5, 0.55, ..., 0.95, 0 to 1; nan, like the next two, without ground truth.
        ap50: at an IoU of 0.5.
        ap75: at an IoU of 0.75.
        true_instances: in the ground truth, without crowds.
        detections: number of predicted instances.
    """

    ap: float
    ap50: float
    ap75: float
    true_instances: int
    detections: int


class MaskAP(NamedTuple):
    """COCO's scores of a set of images, 0 to 1, each the mean over the thing classes of the ground truth.

    Attributes:
        ap: mean over the IoU thresholds 0.5, 0.55, ..., 0.95; nan, like the next five, if there is none.
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


def true_instances(id_map: np.ndarray, segments: Segments, categories: Categories) -> list[Instance]:
    """Return the things of a panoptic ground truth; segments without a pixel are left out.

    Args:
        id_map: (H, W) integers; 0 is void.
        segments: `id`, `category_id` and `iscrowd` (0 if left out) per segment.
        categories: the classes of the data set.

    Raises:
        DatasetError: a segment is of an unknown category, or its `iscrowd` is neither 0 nor 1.
    """
    found = []
    for segment in segments:
        class_index = categories.index_of(segment["category_id"])
        if categories[class_index].is_thing:
            mask = id_map == segment["id"]
            if area := int(np.count_nonzero(mask)):
                is_crowd = read_iscrowd(segment, "ground truth")
                found.append(Instance(class_index, run_lengths(mask), area, is_crowd=is_crowd))
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
            raise DatasetError(f"{one.name}: occurs twice among the images to score; give each image once")
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
    """Return the precision per IoU threshold (10), recall (101), class and one of `_AREAS`; -1 without ground truth."""
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


def _annotations(images: list[ImageInstances], found: list[list[Instance]]) -> Iterator[dict[str, Any]]:
    # Ids start at 1: to the library, 0 means that a detection matches nothing.
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
    """Swallow the library's progress reports."""


def _mean(precision: np.ndarray) -> float:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else float("nan")
