"""The entries of a COCO panoptic JSON: what each must have, and a compact collection of all of them."""

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np

from yoso.errors import DatasetError
from yoso.files import PathLike

MAX_SEGMENT_ID = 2**24 - 1
"""The largest id that the three bytes of an RGB pixel hold."""

MAX_CATEGORY_ID = 2**31 - 1

ImageId = int | str

DOCTOR = "`yoso data check` lists all such places"


class Entries:
    """Collects what a panoptic JSON's entries say, in little space, as they are read.

    Attributes:
        images: file name, height and width by id; the name is None where there is none.
        annotations: image id and mask name.
        counts: segments of each annotation.
        segments: id, category_id, iscrowd of all segments, flat.
        categories: as they stand there.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = path
        self.images: dict[ImageId, tuple[str | None, int, int]] = {}
        self.annotations: list[tuple[ImageId, str]] = []
        self.counts, self.segments = array("q"), array("i")
        self.categories: list[Any] = []

    def take(self, key: str, entry: Any) -> None:
        """Take an entry of one of the file's lists."""
        if key == "images":
            self._take_image(entry)
        elif key == "annotations":
            self._take_annotation(entry)
        elif key == "categories":
            self.categories.append(entry)

    def _take_image(self, entry: Any) -> None:
        image_id = _image_id(entry, "id", self.path, "image")
        if image_id in self.images:
            raise DatasetError(f"{self.path}: two images have the id {image_id!r}; {DOCTOR}")
        name = entry.get("file_name")
        name = name if isinstance(name, str) else None
        self.images[image_id] = (name, _side(entry.get("height")), _side(entry.get("width")))

    def _take_annotation(self, entry: Any) -> None:
        if not self.annotations:
            refuse_detection(entry, self.path)
        image_id = _image_id(entry, "image_id", self.path, "annotation")
        name = _text(entry, "file_name", self.path, f"the annotation of image {image_id!r}")
        segments = _segments(entry, self.path, image_id)
        self.annotations.append((image_id, name))
        self.counts.append(len(segments))
        for segment in segments:
            self.segments.extend(segment)


def refuse_detection(first: Any, path: PathLike) -> None:
    """Tell COCO's other format from this one by the first annotation.

    Raises:
        DatasetError: it is one of a detection file.
    """
    if isinstance(first, dict) and "segments_info" not in first and "bbox" in first:
        raise DatasetError(
            f"{path}: is not COCO panoptic: its annotations have no 'segments_info' but a 'bbox', as COCO detection "
            "files have; use the panoptic file of the data set"
        )


def _image_id(entry: Any, key: str, path: PathLike, what: str) -> ImageId:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    if not isinstance(value, int | str):
        raise DatasetError(f"{path}: is not COCO panoptic: an {what} has no {key!r} that is a number or a text")
    return value


def _text(entry: Mapping[str, Any], key: str, path: PathLike, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise DatasetError(f"{path}: is not COCO panoptic: {where} has no {key!r}")
    return value


def _side(value: Any) -> int:
    side = whole(value)
    return side if side is not None and 0 <= side < 2**31 else 0


def whole(value: Any) -> int | None:
    """Return a whole number, also one written as 7.0 or numpy's; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def _segments(annotation: Mapping[str, Any], path: PathLike, image_id: ImageId) -> list[tuple[int, int, int]]:
    entries = annotation.get("segments_info")
    if not isinstance(entries, list):
        raise DatasetError(f"{path}: is not COCO panoptic: the annotation of image {image_id!r} has no 'segments_info'")
    segments = [read_segment(entry, f"{path}: image {image_id!r}", DOCTOR) for entry in entries]
    if len({segment[0] for segment in segments}) != len(segments):
        raise DatasetError(f"{path}: image {image_id!r} has two segments of one id; {DOCTOR}")
    return segments


def read_segment(entry: Any, where: str, advice: str) -> tuple[int, int, int]:
    """Return id, category_id and iscrowd of a segment.

    Args:
        entry: as in `segments_info`.
        where: file and image, for messages.
        advice: how a message ends.

    Raises:
        DatasetError: an id is missing, is no whole number, or is out of range.
    """
    values = [whole(entry.get(key)) if isinstance(entry, Mapping) else None for key in ("id", "category_id")]
    segment_id, category_id = values
    if segment_id is None or category_id is None:
        raise DatasetError(f"{where} has a segment without a whole id and category_id; {advice}")
    if not 0 < segment_id <= MAX_SEGMENT_ID:
        raise DatasetError(f"{where} has a segment of id {segment_id}; ids are 1 to {MAX_SEGMENT_ID}; {advice}")
    if not 0 <= category_id <= MAX_CATEGORY_ID:
        raise DatasetError(no_such_category(where, segment_id, category_id, advice))
    return segment_id, category_id, int(bool(entry.get("iscrowd", 0)))


def no_such_category(where: str, segment_id: int, category_id: int, advice: str) -> str:
    """Return the message for a segment whose category is not listed."""
    return f"{where}, segment {segment_id} is of category {category_id}, which is not among the categories; {advice}"
