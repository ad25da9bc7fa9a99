"""Scores of saved predictions: two COCO panoptic files and their folders of PNGs."""

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
from yoso.evaluation.pairing import Listing, file_names, pair_images
from yoso.evaluation.quality import PanopticQualityResult, panoptic_quality
from yoso.files import PathLike, read_id_map, read_json
from yoso.values import ImageId, image_id

SHOWN_NAMES = 3
"""File names in a warning; the others are counted."""


@dataclass(frozen=True)
class ImageCounts:
    """The counts of one image; `image_quality(counts)` gives its panoptic quality.

    Attributes:
        image_id: the data set's id of the image.
        file_name: its ground-truth PNG, relative to the folder.
        counts: per class.
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
        breakdown: over all images.
    """

    categories: Categories
    images: tuple[ImageCounts, ...]
    breakdown: Breakdown

    def result(self) -> PanopticQualityResult:
        """Return the panoptic quality over all images."""
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

    Images are paired by `image_id`, or by the file names of `images` where these contradict the ids. In an image
    without a prediction every segment is a false negative, and predictions for other images are left out; a warning
    says so. The classes are those of the ground truth.

    Args:
        gt_json: COCO panoptic file of the ground truth.
        gt_dir: folder of its PNGs.
        pred_json: COCO panoptic file of the predictions; `images` and `categories` may be missing.
        pred_dir: folder of their PNGs.
        num_threads: images to work on at a time; None means one per core.

    Raises:
        DatasetError: a file is missing, is not COCO panoptic or contradicts its PNG; an image is annotated twice; none
            of the predictions belongs to an image of the ground truth.
    """
    gt_content, pred_content = _read(gt_json), _read(pred_json)
    categories = Categories.from_json(gt_content.get("categories"), str(gt_json))
    gt = _annotations(gt_content, gt_json, gt_dir)
    pred = _annotations(pred_content, pred_json, pred_dir)
    if not gt:
        raise DatasetError(f"{gt_json}: its list 'annotations' is empty; there is nothing to compare with")
    gt_images, pred_images = _listing(gt_json, gt_content, gt), _listing(pred_json, pred_content, pred)
    pairs = pair_images(gt_images, pred_images)
    _warn_of_categories(pred_content, categories, pred_json, gt_json)
    _warn_of_unpaired(gt_images, pred_images, pairs)

    def count(key: ImageId) -> tuple[ImageCounts, Breakdown]:
        prediction = pred[pairs[key]] if key in pairs else None
        return _count_image(key, gt[key], prediction, categories)

    images, breakdown = [], Breakdown.zeros(len(categories))
    with ThreadPoolExecutor(num_threads or _num_cores()) as pool:
        # Summed as they come: with many classes, the matrices of an image take more memory than its map.
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


def _listing(path: PathLike, content: dict[str, Any], annotations: dict[ImageId, _Annotation]) -> Listing:
    names = file_names(content.get("images"))
    return Listing(str(path), {image_id: names.get(image_id) for image_id in annotations})


def _warn_of_unpaired(gt: Listing, pred: Listing, pairs: dict[ImageId, ImageId]) -> None:
    missing = [image_id for image_id in gt.names if image_id not in pairs]
    if missing:
        warnings.warn(
            f"{pred.source}: no prediction for {len(missing)} of {len(gt.names)} images of {gt.source} "
            f"({_named(missing, gt)}); their segments count as false negatives",
            stacklevel=1,
        )
    used = set(pairs.values())
    unknown = [image_id for image_id in pred.names if image_id not in used]
    if unknown:
        warnings.warn(
            f"{pred.source}: {len(unknown)} of {len(pred.names)} predictions left out, their images are not in "
            f"{gt.source} ({_named(unknown, pred)})",
            stacklevel=1,
        )


def _named(image_ids: list[ImageId], listing: Listing) -> str:
    names = [listing.names[image_id] or f"image {image_id!r}" for image_id in image_ids[:SHOWN_NAMES]]
    return ", ".join(names) + (", ..." if len(image_ids) > SHOWN_NAMES else "")


def _warn_of_categories(pred: dict[str, Any], categories: Categories, pred_json: PathLike, gt_json: PathLike) -> None:
    """Warn if the predictions name classes otherwise, which may then be other classes."""
    entries = pred.get("categories")
    for entry in entries if isinstance(entries, list) else ():
        category_id, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if isinstance(category_id, int) and categories.has_id(category_id):
            ours = categories[categories.index_of(category_id)].name
            if name != ours:
                warnings.warn(
                    f"{pred_json}: category {category_id} is {name!r}, but {ours!r} in {gt_json}; are the predictions "
                    "of the same classes?",
                    stacklevel=1,
                )
                return


def _num_cores() -> int:
    """Return how many cores this process may use; in a container they may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
