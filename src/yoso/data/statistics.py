"""Statistics of a split: images, segments, areas and classes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from yoso.data.coco_panoptic import Annotations
from yoso.data.dataset import PanopticDataset
from yoso.data.id_maps import measure
from yoso.data.json_stream import walk_json
from yoso.data.spec import Split
from yoso.files import probe_image, read_id_map

SMALL, LARGE = 32**2, 96**2
"""COCO's bounds in pixels: small segments are below the first, large ones not below the second."""

MAX_AREA = 2**40
"""In pixels; no image has as many."""


@dataclass(frozen=True)
class ClassStatistics:
    """Statistics of one class.

    Attributes:
        name: of the category.
        is_thing: thing or stuff.
        segments: number of segments that are not crowds.
        crowds: number of segments that are.
        images: number of images it occurs in.
        pixels: number of pixels of all its segments, crowds included.
        median_area: of its segments, in pixels; 0 if there is none.
        small: number of segments below 32x32 pixels.
        medium: number of segments in between.
        large: number of segments of 96x96 pixels or more.
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
    """Statistics of a split.

    Attributes:
        images: number of images with an annotation.
        empty: number of those without a segment.
        segments: number of segments, crowds included.
        segments_per_image: minimum, median and maximum.
        widths: of the images, in pixels: minimum, median and maximum.
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


def compute_statistics(split: Split, on_progress: Callable[[int, int], None] | None = None) -> Statistics:
    """Compute the statistics of a split. Areas and sizes are those of the JSON; where it has none, the PNG is measured.

    Args:
        split: where its files are.
        on_progress: called with (images done, images in all).

    Raises:
        DatasetError: the annotations are not COCO panoptic, or a PNG that must be measured cannot be read.
    """
    annotations = PanopticDataset(split).annotations
    areas = _areas(annotations, split, on_progress)
    sizes = _sizes(annotations, split)
    counts = np.diff(annotations.firsts)
    pixels = int(sizes.prod(axis=1).sum())
    return Statistics(
        images=len(annotations),
        empty=int((counts == 0).sum()),
        segments=len(areas),
        segments_per_image=_spread(counts),
        widths=_spread(sizes[:, 1]),
        heights=_spread(sizes[:, 0]),
        labelled=float(areas.sum()) / pixels,
        classes=_classes(annotations, areas),
    )


@dataclass(frozen=True)
class Crowding:
    """How many segments the images of a split have, and of what size; crowds are left out.

    Attributes:
        sizes: (I, 2) height and width of every image in pixels.
        counts: (I,) number of segments of every image.
        thing_sides: (T,) square root of the area of every thing, in pixels.
    """

    sizes: np.ndarray
    counts: np.ndarray
    thing_sides: np.ndarray


def crowding(dataset: PanopticDataset) -> Crowding:
    """Measure the images of a data set that has been read.

    Raises:
        DatasetError: a PNG that must be measured cannot be read.
    """
    annotations = dataset.annotations
    areas = _areas(annotations, dataset.split, None)
    alone = annotations.segments[:, 2] == 0
    image = np.repeat(np.arange(len(annotations)), np.diff(annotations.firsts))
    counts = np.bincount(image[alone], minlength=len(annotations))
    things = np.array([category.is_thing for category in annotations.categories])[class_indices(annotations)]
    return Crowding(
        sizes=_sizes(annotations, dataset.split)[dataset.indices],
        counts=counts[dataset.indices],
        thing_sides=np.sqrt(areas[alone & things]),
    )


def _sizes(annotations: Annotations, split: Split) -> np.ndarray:
    """Return (I, 2) height and width of every image; where the JSON has none, those of the PNG."""
    sizes = annotations.sizes.astype(np.int64)
    for index in np.flatnonzero(sizes.min(axis=1) == 0):
        sizes[index], _ = probe_image(split.masks / annotations.record(int(index)).mask_name)
    return sizes


def _areas(annotations: Annotations, split: Split, on_progress: Callable[[int, int], None] | None) -> np.ndarray:
    """Return the area in pixels of every segment, in the order of `annotations.segments`."""
    areas = np.zeros(len(annotations.segments), np.int64)
    done = 0

    def take(key: str, entry: Any) -> None:
        nonlocal done
        if key != "annotations":
            return
        listed = [segment.get("area") for segment in entry["segments_info"]]
        start = annotations.firsts[done]
        if not all(_is_area(area) for area in listed):
            listed = _measured(annotations, split, done)
        areas[start : start + len(listed)] = listed
        done += 1
        if on_progress:
            on_progress(done, len(annotations))

    walk_json(split.annotations, take)
    return areas


def _is_area(value: Any) -> bool:
    """Tell whether a JSON value can be a number of pixels; NaN and 10^30 cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_AREA


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
    ids = np.array([category.id for category in annotations.categories], np.int64)
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], annotations.segments[:, 1])]


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.min()), float(np.median(values)), float(values.max())
