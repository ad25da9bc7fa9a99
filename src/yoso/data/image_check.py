"""Checks one image of a split: its file, its PNG, and whether they agree with the JSON."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.data.entries import MAX_SEGMENT_ID
from yoso.data.findings import DROPS_IMAGE, Finding, make_finding
from yoso.data.id_maps import first_few, measure
from yoso.data.spec import Split
from yoso.errors import DatasetError, ImageError
from yoso.files import PathLike, read_id_map, read_image
from yoso.values import flag, whole


class ImageCheck:
    """The check of one image; `run` it once.

    Attributes:
        findings: what is wrong.
        image: the image's JSON entry, repaired.
        annotation: the annotation's JSON entry, repaired.
    """

    def __init__(self, image: dict, annotation: dict, split: Split, categories: Categories) -> None:
        """Copy the entries.

        Args:
            image: entry of `images` with id and file_name.
            annotation: its entry of `annotations` with file_name and segments_info.
            split: where the files are.
            categories: of the split.
        """
        self.image, self.annotation = dict(image), dict(annotation)
        self.image_path = split.images / image["file_name"]
        self.mask_path = split.masks / annotation["file_name"]
        self.categories = categories
        self.findings: list[Finding] = []

    @property
    def is_dropped(self) -> bool:
        """Whether a repair drops the image."""
        return any(finding.kind in DROPS_IMAGE for finding in self.findings)

    def run(self) -> "ImageCheck":
        """Read both files, compare them with the entries and repair the entries."""
        size = self._read_size()
        id_map = self._read_mask()
        if id_map is not None:
            self._compare_sizes(size, id_map.shape)
            self._check_segments(id_map)
        return self

    def _note(self, file: PathLike, kind: str, message: str) -> None:
        self.findings.append(make_finding(file, kind, message))

    def _read_size(self) -> tuple[int, ...] | None:
        """Return (height, width) of the image in pixels, None if it cannot be read."""
        if not self.image_path.is_file():
            self._note(self.image_path, "missing-image", "no such file")
            return None
        try:
            return read_image(self.image_path).shape[:2]
        except ImageError as error:
            self._note(self.image_path, "unreadable-image", _reason(error, self.image_path))
            return None

    def _read_mask(self) -> np.ndarray | None:
        if not self.mask_path.is_file():
            self._note(self.mask_path, "missing-mask", "no such file")
            return None
        try:
            return read_id_map(self.mask_path)
        except DatasetError as error:
            self._note(self.mask_path, "unreadable-mask", _reason(error, self.mask_path))
            return None

    def _compare_sizes(self, size: tuple[int, ...] | None, mask_size: tuple[int, ...]) -> None:
        if size is not None and size != mask_size:
            self._note(self.mask_path, "size-mismatch", f"is {_by(mask_size)}, its image is {_by(size)}")
        listed = self.image.get("height"), self.image.get("width")
        if listed != mask_size:
            said = _by(listed) if None not in listed else "nothing"
            self._note(self.mask_path, "wrong-size-in-json", f"is {_by(mask_size)}, the JSON says {said}")
            self.image["height"], self.image["width"] = mask_size

    def _check_segments(self, id_map: np.ndarray) -> None:
        measured = measure(id_map)
        kept, seen = [], set()
        for entry in self.annotation["segments_info"]:
            segment = self._read_segment(entry, seen)
            if segment is None:
                continue
            seen.add(segment["id"])
            if not self._is_usable(segment):
                continue
            if segment["id"] in measured:
                kept.append(self._measured(segment, *measured[segment["id"]]))
            else:
                self._note(self.mask_path, "id-only-in-json", f"segment {segment['id']} has no pixel in the PNG")
        if unlisted := sorted(measured.keys() - seen):
            pixels = sum(measured[segment_id][0] for segment_id in unlisted)
            text = f"{len(unlisted)} ids ({pixels} pixels) are not in the JSON: {first_few(unlisted)}"
            self._note(self.mask_path, "id-only-in-png", text)
        if not kept:
            self._note(self.mask_path, "no-segments", "has no segment")
        self._check_stuff(kept)
        self.annotation["segments_info"] = kept

    def _read_segment(self, entry: Any, seen: set[int]) -> dict[str, Any] | None:
        """Return an entry of `segments_info` with its ids as integers, None if it is not a segment."""
        is_object = isinstance(entry, Mapping)
        segment_id, category_id = (whole(entry.get(key)) if is_object else None for key in ("id", "category_id"))
        if segment_id is None or category_id is None:
            text = f"{str(entry)[:80]} has no id and category_id that are whole numbers"
            self._note(self.mask_path, "bad-segment", text)
        elif not 0 < segment_id <= MAX_SEGMENT_ID:
            text = f"segment id {segment_id} is not between 1 and {MAX_SEGMENT_ID}"
            self._note(self.mask_path, "bad-segment", text)
        elif segment_id in seen:
            self._note(self.mask_path, "duplicate-segment-id", f"segment id {segment_id} occurs twice")
        else:
            return {**entry, "id": segment_id, "category_id": category_id}
        return None

    def _is_usable(self, segment: dict[str, Any]) -> bool:
        """Check a segment's category and `iscrowd`; `iscrowd`, where it is given, becomes 0 or 1."""
        if not self.categories.has_id(segment["category_id"]):
            text = f"segment {segment['id']} is of category {segment['category_id']}, which is not listed"
            self._note(self.mask_path, "unknown-category", text)
            return False
        if "iscrowd" in segment:
            is_crowd = flag(segment["iscrowd"])
            if is_crowd is None:
                text = f"segment {segment['id']} has iscrowd {segment['iscrowd']!r}, neither 0 nor 1"
                self._note(self.mask_path, "bad-iscrowd", text)
                return False
            segment["iscrowd"] = int(is_crowd)
        return True

    def _measured(self, segment: dict[str, Any], area: int, bbox: list[int]) -> dict[str, Any]:
        """Return a segment with its area and box as the PNG has them."""
        for key, value in (("area", area), ("bbox", bbox)):
            if segment.get(key) != value:
                said = f"the JSON says {segment[key]!r}" if key in segment else "the JSON does not say it"
                self._note(self.mask_path, f"wrong-{key}", f"the {key} of segment {segment['id']} is {value}; {said}")
        return {**segment, "area": area, "bbox": bbox}

    def _check_stuff(self, segments: list[dict[str, Any]]) -> None:
        """Report stuff classes of several segments: a prediction has one, so the others count as missed."""
        numbers = Counter(segment["category_id"] for segment in segments if not segment.get("iscrowd"))
        for category_id, number in numbers.items():
            category = self.categories[self.categories.index_of(category_id)]
            if number > 1 and not category.is_thing:
                text = f"stuff class {category.name!r} has {number} segments, of which a prediction can match one"
                self._note(self.mask_path, "stuff-in-parts", text)


def _by(size: Any) -> str:
    return f"{size[1]}x{size[0]}"


def _reason(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
