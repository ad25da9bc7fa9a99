"""Score saved predictions: two COCO panoptic files and their folders of PNGs, no model needed."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.errors import DatasetError
from yoso.evaluation.breakdown import Breakdown, break_down
from yoso.evaluation.matching import MatchCounts, Segments, match_segments
from yoso.evaluation.quality import PanopticQualityResult, panoptic_quality
from yoso.files import PathLike, read_id_map, read_json
from yoso.values import ImageId, image_id, mismatched_type


@dataclass(frozen=True)
class ImageCounts:
    """The counts of one image; `image_quality(counts)` gives its figures.

    Attributes:
        image_id: the data set's id of the image.
        file_name: its ground-truth PNG, relative to the folder.
        counts: its matches, mistakes and misses per class.
    """

    image_id: ImageId
    file_name: str
    counts: MatchCounts


@dataclass(frozen=True)
class FolderCounts:
    """The counts of a whole folder.

    Attributes:
        categories: the classes of the ground truth.
        images: one entry per annotated image, in the order of the ground truth.
        breakdown: over all images, where quality is lost.
    """

    categories: Categories
    images: tuple[ImageCounts, ...]
    breakdown: Breakdown

    def result(self) -> PanopticQualityResult:
        """Return the figures over all images."""
        total = sum((image.counts for image in self.images), MatchCounts.zeros(len(self.categories)))
        return panoptic_quality(total, self.categories)


@dataclass(frozen=True)
class _Annotation:
    """One entry of `annotations`."""

    png: Path
    file_name: str
    segments: Segments


def score_folders(
    gt_json: PathLike, gt_dir: PathLike, pred_json: PathLike, pred_dir: PathLike, num_threads: int | None = None
) -> PanopticQualityResult:
    """Return the panoptic quality of saved predictions; see `count_folders`."""
    return count_folders(gt_json, gt_dir, pred_json, pred_dir, num_threads).result()


def count_folders(
    gt_json: PathLike, gt_dir: PathLike, pred_json: PathLike, pred_dir: PathLike, num_threads: int | None = None
) -> FolderCounts:
    """Match saved predictions with the ground truth, image by image.

    Images are paired by `image_id`. In an image without a prediction, every segment is a miss. Predictions for images
    that the ground truth lacks are left out with one warning. The classes are those of the ground truth.

    Args:
        gt_json: COCO panoptic file of the ground truth.
        gt_dir: folder of its PNGs.
        pred_json: COCO panoptic file of the predictions; only its `annotations` are read.
        pred_dir: folder of their PNGs.
        num_threads: images to work on at a time; None means one per core.

    Raises:
        DatasetError: a file is missing, is not COCO panoptic or contradicts its PNG; an image is annotated twice; no
            prediction at all belongs to an image of the ground truth.
    """
    gt_content, pred_content = _read(gt_json), _read(pred_json)
    categories = Categories.from_json(gt_content.get("categories"), str(gt_json))
    gt = _annotations(gt_content, gt_json, gt_dir)
    pred = _annotations(pred_content, pred_json, pred_dir)
    _check_pairing(gt, pred, gt_json, pred_json)

    def count(key: ImageId) -> tuple[ImageCounts, Breakdown]:
        return _count_image(key, gt[key], pred.get(key), categories)

    images, breakdown = [], Breakdown.zeros(len(categories))
    with ThreadPoolExecutor(num_threads or _num_cores()) as pool:
        # Added up as they come: with many classes, an image's matrices take more memory than its map.
        for image, own in pool.map(count, gt):
            images.append(image)
            breakdown = breakdown + own
    return FolderCounts(categories, tuple(images), breakdown)


def _count_image(
    key: ImageId, gt: _Annotation, pred: _Annotation | None, categories: Categories
) -> tuple[ImageCounts, Breakdown]:
    gt_id_map = read_id_map(gt.png)
    if pred is None:
        matching = match_segments(gt_id_map, gt.segments, np.zeros_like(gt_id_map), [], categories, str(gt.png))
    else:
        name = f"{pred.png} against {gt.png}"
        matching = match_segments(gt_id_map, gt.segments, read_id_map(pred.png), pred.segments, categories, name)
    return ImageCounts(key, gt.file_name, matching.counts(len(categories))), break_down(matching, categories)


def _read(path: PathLike) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise DatasetError(f"{path}: is not a COCO panoptic file; it needs a list 'annotations', one entry per image")
    return content


def _annotations(content: dict[str, Any], path: PathLike, folder: PathLike) -> dict[ImageId, _Annotation]:
    if not Path(folder).is_dir():
        raise DatasetError(f"{folder}: no such folder; it should hold the PNGs of {path}")
    annotations: dict[ImageId, _Annotation] = {}
    for number, entry in enumerate(content["annotations"]):
        fault = _fault(entry)
        if fault:
            raise DatasetError(
                f"{path}: annotation number {number} has no usable {fault!r}; "
                "COCO panoptic needs image_id, file_name and a list segments_info per image"
            )
        key = image_id(entry["image_id"])
        assert key is not None
        if key in annotations:
            raise DatasetError(f"{path}: image_id {key!r} is annotated twice; keep one entry per image")
        png = Path(folder, entry["file_name"])
        annotations[key] = _Annotation(png, entry["file_name"], entry["segments_info"])
    return annotations


def _fault(entry: Any) -> str | None:
    """Return the first field of an annotation that is missing or of the wrong type."""
    if not isinstance(entry, dict) or image_id(entry.get("image_id")) is None:
        return "image_id"
    for key, kind in (("file_name", str), ("segments_info", list)):
        if not isinstance(entry.get(key), kind):
            return key
    return None if all(isinstance(segment, dict) for segment in entry["segments_info"]) else "segments_info"


def _check_pairing(
    gt: dict[ImageId, _Annotation],
    pred: dict[ImageId, _Annotation],
    gt_json: PathLike,
    pred_json: PathLike,
) -> None:
    if not gt:
        raise DatasetError(f"{gt_json}: its list 'annotations' is empty; there is nothing to compare with")
    unknown = [key for key in pred if key not in gt]
    if unknown and len(unknown) == len(pred):
        raise DatasetError(
            f"{pred_json}: none of its {len(pred)} image_ids (the first is {unknown[0]!r}) is in {gt_json} "
            f"(the first there is {next(iter(gt))!r}); use the image_id of the ground truth"
            f"{mismatched_type(unknown[0], gt)}"
        )
    if unknown:
        warnings.warn(
            f"{pred_json}: {len(unknown)} of {len(pred)} predictions left out, their image_id is not in {gt_json} "
            f"(the first is {unknown[0]!r})",
            stacklevel=3,
        )


def _num_cores() -> int:
    """Count the cores this process may use, which a container can make fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
