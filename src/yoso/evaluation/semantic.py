"""Semantic segmentation scores from a confusion matrix: mean IoU, frequency-weighted IoU and pixel accuracy.

The ground truth is the panoptic one: all segments of a class, crowds included, are one region. Void pixels and pixels
whose id is not listed are left out, whatever is predicted there.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.errors import DatasetError
from yoso.evaluation.matching import Segments

IGNORED = -1
"""Class of a pixel that is left out: void, or of an id that is not listed."""


@dataclass(frozen=True)
class SemanticCounts:
    """Pixels per true and predicted class, over one image or many; add two with `+`.

    Attributes:
        confusion: (K, K) int64, true class by row, predicted class by column.
    """

    confusion: np.ndarray

    @classmethod
    def zeros(cls, num_classes: int) -> "SemanticCounts":
        """Return the counts of no images."""
        return cls(np.zeros((num_classes, num_classes), np.int64))

    def __add__(self, other: "SemanticCounts") -> "SemanticCounts":
        return SemanticCounts(self.confusion + other.confusion)


class ClassIoU(NamedTuple):
    """Scores of one class.

    Attributes:
        iou: intersection over union, 0 to 1; nan if the class is not in the ground truth.
        accuracy: share of its true pixels that are predicted as this class, 0 to 1; nan likewise.
        true_pixels: its pixels in the ground truth.
        predicted_pixels: its predicted pixels, except those on void.
    """

    iou: float
    accuracy: float
    true_pixels: int
    predicted_pixels: int


class SemanticQuality(NamedTuple):
    """The scores of a set of images.

    Attributes:
        miou: mean IoU over the classes of the ground truth, 0 to 1; nan, like the next two, if there is none.
        fwiou: IoU weighted by the classes' share of the true pixels, 0 to 1.
        pixel_accuracy: share of the true pixels whose class is predicted correctly, 0 to 1.
        n: how many classes the means are over.
        per_class: one entry per class of the data set, in class-index order.
    """

    miou: float
    fwiou: float
    pixel_accuracy: float
    n: int
    per_class: tuple[ClassIoU, ...]


def class_map(id_map: np.ndarray, segments: Segments, categories: Categories) -> np.ndarray:
    """Return the class index of every pixel of a ground truth, (H, W) int32, `IGNORED` where it has none.

    Args:
        id_map: (H, W) integers; 0 is void.
        segments: `id` and `category_id` per segment.
        categories: the classes of the data set.

    Raises:
        DatasetError: a segment is of an unknown category.
    """
    ids = np.array([0, *(segment["id"] for segment in segments)], np.int64)
    classes = np.array([IGNORED, *(categories.index_of(segment["category_id"]) for segment in segments)], np.int32)
    order = np.argsort(ids, kind="stable")
    place = np.searchsorted(ids[order], id_map).clip(max=len(ids) - 1)
    return np.where(ids[order][place] == id_map, classes[order][place], IGNORED).astype(np.int32)


def count_pixels(
    true_classes: np.ndarray, predicted_classes: np.ndarray, num_classes: int, name: str = "image"
) -> SemanticCounts:
    """Count the pixels of one image.

    Args:
        true_classes: (H, W) class indices, `IGNORED` where a pixel is left out.
        predicted_classes: (H, W) class indices, 0 to K-1.
        num_classes: K.
        name: what to call the image in an error.

    Raises:
        DatasetError: the maps differ in size.
    """
    if true_classes.shape != predicted_classes.shape:
        raise DatasetError(
            f"{name}: the predicted classes are of shape {predicted_classes.shape}, the true ones of "
            f"{true_classes.shape}; save predictions at the size of the ground truth"
        )
    part = true_classes != IGNORED
    cells = true_classes[part].astype(np.int64) * num_classes + predicted_classes[part]
    return SemanticCounts(np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes))


def semantic_quality(counts: SemanticCounts) -> SemanticQuality:
    """Return the scores of some counts.

    As in the official implementation, the means are over the classes of the ground truth. A class that is only
    predicted lowers the IoU of the classes it covers.

    Args:
        counts: sums over any number of images.
    """
    right = counts.confusion.diagonal().astype(np.float64)
    true, predicted = counts.confusion.sum(1), counts.confusion.sum(0)
    occurs = true > 0
    iou, accuracy = np.full((2, len(right)), np.nan)
    iou[occurs] = right[occurs] / (true + predicted - right)[occurs]
    accuracy[occurs] = right[occurs] / true[occurs]
    columns = (values.tolist() for values in (iou, accuracy, true, predicted))
    per_class = tuple(ClassIoU(*row) for row in zip(*columns, strict=True))
    if not occurs.any():
        return SemanticQuality(float("nan"), float("nan"), float("nan"), 0, per_class)
    return SemanticQuality(
        miou=float(iou[occurs].mean()),
        fwiou=float((iou[occurs] * true[occurs]).sum() / true.sum()),
        pixel_accuracy=float(right.sum() / true.sum()),
        n=int(occurs.sum()),
        per_class=per_class,
    )
