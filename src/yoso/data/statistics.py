"""What a split holds, in figures: photographs, segments, areas, and how the classes share them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.data.coco_panoptic import Annotations
from yoso.data.dataset import PanopticDataset
from yoso.data.id_maps import measure
from yoso.data.spec import Split
from yoso.files import read_id_map, read_json

SMALL, LARGE = 32**2, 96**2
"""COCO's bounds in pixels: small objects are below the first, large ones from the second on."""


@dataclass(frozen=True)
class ClassStatistics:
    """Figures of one class.

    Attributes:
        name: of the category.
        is_thing: thing or stuff.
        segments: without crowds.
        crowds: segments marked iscrowd.
        images: photographs it occurs in.
        pixels: over all its segments, crowds included.
        median_area: of a segment, in pixels; 0 if there is none.
        small: segments below 32x32 pixels.
        medium: segments between.
        large: segments of 96x96 pixels and more.
    """

    name: str
    is_thing: bool
    segments: int
    crowds: int
    images: int
    pixels: int
    median_area: float
    small: int
    medium: int
    large: int


@dataclass(frozen=True)
class Statistics:
    """Figures of a split.

    Attributes:
        images: photographs with an annotation.
        empty: those without a segment.
        segments: all of them, crowds included.
        segments_per_image: least, median and most.
        widths: least, median and largest width of a photograph in pixels.
        heights: likewise.
        labelled: share of the pixels that belong to a segment, 0 to 1.
        classes: in class-index order.
    """

    images: int
    empty: int
    segments: int
    segments_per_image: tuple[float, float, float]
    widths: tuple[float, float, float]
    heights: tuple[float, float, float]
    labelled: float
    classes: list[ClassStatistics]


def gather(split: Split, on_progress: Callable[[int, int], None] | None = None) -> Statistics:
    """Count what a split holds. Areas are the JSON's; where it has none, the PNG is measured.

    Args:
        split: where it lies.
        on_progress: called with (images done, images in all).

    Raises:
        DatasetError: the annotations are not COCO panoptic, or a PNG that has to be measured cannot be read.
    """
    annotations = PanopticDataset(split).annotations
    areas = _areas(annotations, split, on_progress)
    sizes = annotations.sizes.astype(np.int64)
    counts = np.diff(annotations.firsts)
    pixels = int(sizes.prod(axis=1).sum())
    return Statistics(
        images=len(annotations),
        empty=int((counts == 0).sum()),
        segments=len(areas),
        segments_per_image=_spread(counts),
        widths=_spread(sizes[:, 1]),
        heights=_spread(sizes[:, 0]),
        labelled=float(areas.sum()) / pixels if pixels else float("nan"),
        classes=_classes(annotations, areas),
    )


def _areas(annotations: Annotations, split: Split, on_progress: Callable[[int, int], None] | None) -> np.ndarray:
    """Return the area in pixels of every segment, in the order of `annotations.segments`."""
    areas = np.zeros(len(annotations.segments), np.int64)
    entries = read_json(split.annotations)["annotations"]
    for index, entry in enumerate(entries):
        listed = [segment.get("area") for segment in entry["segments_info"]]
        start = annotations.firsts[index]
        if not all(isinstance(area, int | float) for area in listed):
            listed = _measured(annotations, split, index)
        areas[start : start + len(listed)] = listed
        if on_progress:
            on_progress(index + 1, len(entries))
    return areas


def _measured(annotations: Annotations, split: Split, index: int) -> list[int]:
    found = measure(read_id_map(split.masks / annotations.record(index).mask_name))
    nothing: tuple[int, Any] = (0, None)
    return [found.get(segment_id, nothing)[0] for segment_id in annotations.segments_of(index)[:, 0].tolist()]


def _classes(annotations: Annotations, areas: np.ndarray) -> list[ClassStatistics]:
    indices = class_indices(annotations)
    crowd = annotations.segments[:, 2] == 1
    image = np.repeat(np.arange(len(annotations)), np.diff(annotations.firsts))
    rows = []
    for index, category in enumerate(annotations.categories):
        mine = indices == index
        own = areas[mine & ~crowd]
        small, large = int((own < SMALL).sum()), int((own >= LARGE).sum())
        rows.append(
            ClassStatistics(
                name=category.name,
                is_thing=category.is_thing,
                segments=len(own),
                crowds=int((mine & crowd).sum()),
                images=len(np.unique(image[mine])),
                pixels=int(areas[mine].sum()),
                median_area=float(np.median(own)) if len(own) else 0.0,
                small=small,
                medium=len(own) - small - large,
                large=large,
            )
        )
    return rows


def class_indices(annotations: Annotations) -> np.ndarray:
    """Return the class index of every segment, in the order of `annotations.segments`."""
    ids = np.array(_ids(annotations.categories), np.int64)
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], annotations.segments[:, 1])]


def _ids(categories: Categories) -> list[int]:
    return [category.id for category in categories]


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.min()), float(np.median(values)), float(values.max())
