"""The entries of a COCO panoptic JSON: what each must hold, and a compact form of all of them."""

from array import array
from collections.abc import Mapping
from typing import Any

from yoso.categories import MAX_CATEGORIES, MAX_CATEGORY_ID
from yoso.errors import DatasetError
from yoso.files import PathLike
from yoso.values import ImageId, image_id, read_iscrowd, whole

MAX_SEGMENT_ID = 2**24 - 1
"""The largest id that the three bytes of an RGB pixel can hold."""

DOCTOR = "`yoso data check` lists all such entries"


class AnnotationsBuilder:
    """Collects the entries of a panoptic JSON in compact form, one at a time.

    Attributes:
        images: file name, height and width by image id; the name is None where the JSON has none.
        annotations: image id and mask name of each annotation.
        counts: number of segments of each annotation.
        segments: id, category_id and iscrowd of all segments, in one flat array.
        categories: as the JSON has them.
    """

    def __init__(self, path: PathLike) -> None:
        """Start with no entry; `path` is that of the JSON."""
        self.path = path
        self.images: dict[ImageId, tuple[str | None, int, int]] = {}
        self.annotations: list[tuple[ImageId, str]] = []
        self.counts, self.segments = array("q"), array("i")
        self.categories: list[Any] = []

    def add(self, key: str, entry: Any) -> None:
        """Add an entry of the list that is called `key`.

        Raises:
            DatasetError: it lacks a field, or has a value that is not what the format asks for.
        """
        if key == "images":
            self._add_image(entry)
        elif key == "annotations":
            self._add_annotation(entry)
        elif key == "categories" and len(self.categories) <= MAX_CATEGORIES:  # one more is enough to be refused
            self.categories.append(entry)

    def _add_image(self, entry: Any) -> None:
        key = _image_id(entry, "id", self.path, "image")
        if key in self.images:
            raise DatasetError(f"{self.path}: two images have the id {key!r}; {DOCTOR}")
        name = entry.get("file_name")
        name = name if isinstance(name, str) else None
        self.images[key] = (name, _side(entry.get("height")), _side(entry.get("width")))

    def _add_annotation(self, entry: Any) -> None:
        if not self.annotations:
            refuse_detection(entry, self.path)
        key = _image_id(entry, "image_id", self.path, "annotation")
        name = _text(entry, "file_name", self.path, f"the annotation of image {key!r}")
        segments = _segments(entry, self.path, key)
        self.annotations.append((key, name))
        self.counts.append(len(segments))
        for segment in segments:
            self.segments.extend(segment)


def refuse_detection(first: Any, path: PathLike) -> None:
    """Refuse a COCO detection file, by its first annotation.

    Raises:
        DatasetError: the annotation is one of a detection file.
    """
    if isinstance(first, dict) and "segments_info" not in first and "bbox" in first:
        raise DatasetError(
            f"{path}: is not COCO panoptic: its annotations have no 'segments_info' but a 'bbox', as COCO detection "
            "files have; use the panoptic file of the data set"
        )


def _image_id(entry: Any, key: str, path: PathLike, what: str) -> ImageId:
    value = image_id(entry.get(key)) if isinstance(entry, Mapping) else None
    if value is None:
        raise DatasetError(f"{path}: is not COCO panoptic: an {what} has no {key!r} that is a whole number or a text")
    return value


def _text(entry: Mapping[str, Any], key: str, path: PathLike, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise DatasetError(f"{path}: is not COCO panoptic: {where} has no {key!r}")
    return value


def _side(value: Any) -> int:
    side = whole(value)
    return side if side is not None and 0 <= side < 2**31 else 0


def _segments(annotation: Mapping[str, Any], path: PathLike, key: ImageId) -> list[tuple[int, int, int]]:
    entries = annotation.get("segments_info")
    if not isinstance(entries, list):
        raise DatasetError(f"{path}: is not COCO panoptic: the annotation of image {key!r} has no 'segments_info'")
    segments = [read_segment(entry, f"{path}: image {key!r}", DOCTOR) for entry in entries]
    if len({segment[0] for segment in segments}) != len(segments):
        raise DatasetError(f"{path}: image {key!r} has two segments of one id; {DOCTOR}")
    return segments


def read_segment(entry: Any, where: str, advice: str) -> tuple[int, int, int]:
    """Return the id, category_id and iscrowd (0 or 1) of a segment.

    Args:
        entry: one of `segments_info`.
        where: file and image, for messages.
        advice: how a message ends.

    Raises:
        DatasetError: an id is missing, is not a whole number, or is out of range; or `iscrowd` is neither 0 nor 1.
    """
    if not isinstance(entry, Mapping):
        raise DatasetError(f"{where} has a segment that is not an object with id and category_id; {advice}")
    segment_id, category_id = whole(entry.get("id")), whole(entry.get("category_id"))
    if segment_id is None or category_id is None:
        said = f"id {entry.get('id')!r} and category_id {entry.get('category_id')!r}"
        raise DatasetError(f"{where} has a segment with {said}; both must be whole numbers, not text; {advice}")
    if not 0 < segment_id <= MAX_SEGMENT_ID:
        raise DatasetError(f"{where} has a segment of id {segment_id}; ids are 1 to {MAX_SEGMENT_ID}; {advice}")
    if not 0 <= category_id <= MAX_CATEGORY_ID:
        raise DatasetError(no_such_category(where, segment_id, category_id, advice))
    return segment_id, category_id, int(read_iscrowd(entry, where, advice))


def no_such_category(where: str, segment_id: int, category_id: int, advice: str) -> str:
    """Return the message for a segment whose category is not listed."""
    return f"{where}, segment {segment_id} is of category {category_id}, which is not among the categories; {advice}"
