"""The doctor: reads every file of a split, says per file what is wrong and how to mend it, and mends what JSON can."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from yoso.categories import Categories
from yoso.data.coco_panoptic import measure
from yoso.data.spec import Split
from yoso.errors import DatasetError, ImageError
from yoso.files import PathLike, read_id_map, read_image, read_json, write_json

REMEDIES = {
    "missing-image": "put the photograph there, or let --fix drop the image",
    "unreadable-image": "replace the photograph, or let --fix drop the image",
    "missing-mask": "put the PNG there, or let --fix drop the image",
    "unreadable-mask": "write the PNG again (RGB, id = R + 256 G + 65536 B), or let --fix drop the image",
    "size-mismatch": "photograph, PNG and JSON must agree in size; export them again, or let --fix drop the image",
    "wrong-size-in-json": "--fix writes the size of the files",
    "id-only-in-png": "add the segment to the JSON, or paint these pixels 0 (void); the JSON alone cannot mend it",
    "id-only-in-json": "--fix drops the segment",
    "wrong-area": "--fix counts it again",
    "wrong-bbox": "--fix measures it again",
    "unknown-category": "add the category, or let --fix drop the segment (its pixels then have an unlisted id)",
    "duplicate-segment-id": "give each segment its own id; --fix keeps the first",
    "bad-segment": "a segment needs a whole id above 0 and a category_id; --fix drops it",
    "duplicate-image-id": "give each image its own id; --fix keeps the first",
    "duplicate-file-name": "two images share a file; --fix keeps the first",
    "image-without-annotation": "annotate it, or let --fix drop the image",
    "annotation-without-image": "list the image, or let --fix drop the annotation",
    "duplicate-annotation": "one annotation per image; --fix keeps the first",
    "no-segments": "nothing to learn here: training passes over it",
}
WARNINGS = {"no-segments", "wrong-area", "wrong-bbox"}
DROPPED = {"missing-image", "unreadable-image", "missing-mask", "unreadable-mask", "size-mismatch"}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        file: which file to look at.
        kind: a short name, a key of `REMEDIES`.
        message: what is wrong.
        severity: a "warning" changes no result: readers count areas and boxes themselves.
        remedy: what to do.
    """

    file: str
    kind: str
    message: str
    severity: Literal["error", "warning"]
    remedy: str


def finding(file: PathLike, kind: str, message: str) -> Finding:
    """Return a finding of a known kind."""
    return Finding(str(file), kind, message, "warning" if kind in WARNINGS else "error", REMEDIES[kind])


@dataclass(frozen=True)
class ClassCount:
    """How much of a class a split holds.

    Attributes:
        name: of the category.
        is_thing: thing or stuff.
        segments: without crowds.
        crowds: segments marked iscrowd.
        images: photographs it occurs in.
        pixels: over all its segments.
    """

    name: str
    is_thing: bool
    segments: int
    crowds: int
    images: int
    pixels: int


@dataclass(frozen=True)
class Report:
    """What was found in a split.

    Attributes:
        annotations: the JSON.
        images: photographs listed.
        findings: in the order of the JSON.
        classes: counts per class, in class-index order.
        repaired: the content of a JSON with everything mended that JSON can mend.
    """

    annotations: Path
    images: int
    findings: list[Finding]
    classes: list[ClassCount]
    repaired: dict[str, Any] = field(repr=False)

    @property
    def errors(self) -> list[Finding]:
        """The findings that change results or stop a reader."""
        return [entry for entry in self.findings if entry.severity == "error"]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain dictionaries and lists."""
        return {
            "annotations": str(self.annotations),
            "images": self.images,
            "errors": len(self.errors),
            "findings": [asdict(entry) for entry in self.findings],
            "classes": [asdict(entry) for entry in self.classes],
        }


def check_split(split: Split, on_progress: Callable[[int, int], None] | None = None, threads: int = 4) -> Report:
    """Read every file of a split and report what is wrong.

    Args:
        split: where it lies.
        on_progress: called with (images done, images in all).
        threads: that read files.

    Raises:
        DatasetError: the JSON cannot be read at all or is not COCO panoptic; nothing else can be said then.
    """
    content = read_json(split.annotations)
    if not isinstance(content, Mapping) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise DatasetError(
            f"{split.annotations}: is not COCO panoptic; an object with images, annotations and categories is needed"
        )
    categories = Categories.from_json(content.get("categories"), str(split.annotations))
    findings, pairs = pair_up(content, split)
    images, annotations, counts = [], [], _Counts(categories)
    with ThreadPoolExecutor(threads) as pool:
        results = pool.map(lambda pair: Patient(pair[0], pair[1], split, categories).examine(), pairs)
        for done, patient in enumerate(results, 1):
            findings += patient.findings
            if not patient.hopeless:
                images.append(patient.image)
                annotations.append(patient.annotation)
                counts.add(patient.annotation["segments_info"])
            if on_progress:
                on_progress(done, len(pairs))
    repaired = {**content, "images": images, "annotations": annotations}
    return Report(Path(split.annotations), len(content["images"]), findings, counts.rows(), repaired)


def repair(report: Report, path: PathLike) -> None:
    """Write the repaired annotations; segments are only dropped or measured again, nothing is invented.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json(path, report.repaired)


def pair_up(content: Mapping[str, Any], split: Split) -> tuple[list[Finding], list[tuple[dict, dict]]]:
    """Match images with annotations; report those without a partner and those that occur twice."""
    where, findings = split.annotations, []
    annotations: dict[Any, dict] = {}
    for entry in content["annotations"]:
        key = _get(entry, "image_id", where, "annotation")
        if not isinstance(entry.get("segments_info"), list) or "file_name" not in entry:
            raise DatasetError(f"{where}: is not COCO panoptic; the annotation of image {key} has no segments_info")
        if key in annotations:
            findings.append(finding(where, "duplicate-annotation", f"image {key} has a second annotation"))
        else:
            annotations[key] = entry
    pairs, ids, names = [], set(), set()
    for image in content["images"]:
        key, name = _get(image, "id", where, "image"), _get(image, "file_name", where, "image")
        if key in ids:
            findings.append(finding(where, "duplicate-image-id", f"id {key} is taken, {name} has it too"))
        elif name in names:
            findings.append(finding(where, "duplicate-file-name", f"{name} is listed again as image {key}"))
        elif key not in annotations:
            findings.append(finding(split.images / name, "image-without-annotation", f"image {key} is not annotated"))
        else:
            pairs.append((image, annotations[key]))
        ids.add(key)
        names.add(name)
    for key in annotations.keys() - ids:
        findings.append(finding(where, "annotation-without-image", f"an annotation is of image {key}, not listed"))
    return findings, pairs


def _get(entry: Any, key: str, where: PathLike, what: str) -> Any:
    if not isinstance(entry, Mapping) or key not in entry:
        raise DatasetError(f"{where}: is not COCO panoptic; an {what} has no '{key}'")
    return entry[key]


class Patient:
    """One image with its annotation, under examination.

    Attributes:
        findings: what is wrong.
        image: its entry, mended.
        annotation: its entry, mended.
        hopeless: JSON cannot mend it; it has to go.
    """

    def __init__(self, image: dict, annotation: dict, split: Split, categories: Categories) -> None:
        """Copy the entries."""
        self.image, self.annotation = dict(image), dict(annotation)
        self.photograph = split.images / str(image["file_name"])
        self.mask = split.masks / str(annotation["file_name"])
        self.categories = categories
        self.findings: list[Finding] = []

    @property
    def hopeless(self) -> bool:
        """Whether the image has to be dropped."""
        return any(entry.kind in DROPPED for entry in self.findings)

    def note(self, file: PathLike, kind: str, message: str) -> None:
        """Add a finding."""
        self.findings.append(finding(file, kind, message))

    def examine(self) -> "Patient":
        """Look at everything."""
        size = self._size_of_photograph()
        id_map = self._read_mask()
        if id_map is not None:
            self._compare_sizes(size, id_map.shape)
            self._examine_segments(id_map)
        return self

    def _size_of_photograph(self) -> tuple[int, ...] | None:
        if not self.photograph.is_file():
            self.note(self.photograph, "missing-image", "no such file")
            return None
        try:
            return read_image(self.photograph).shape[:2]
        except ImageError as error:
            self.note(self.photograph, "unreadable-image", _reason(error, self.photograph))
            return None

    def _read_mask(self) -> np.ndarray | None:
        if not self.mask.is_file():
            self.note(self.mask, "missing-mask", "no such file")
            return None
        try:
            return read_id_map(self.mask)
        except DatasetError as error:
            self.note(self.mask, "unreadable-mask", _reason(error, self.mask))
            return None

    def _compare_sizes(self, size: tuple[int, ...] | None, mask_size: tuple[int, ...]) -> None:
        if size is not None and size != mask_size:
            self.note(self.mask, "size-mismatch", f"is {_by(mask_size)}, its photograph is {_by(size)}")
        listed = self.image.get("height"), self.image.get("width")
        if listed != mask_size:
            said = _by(listed) if None not in listed else "nothing"
            self.note(self.mask, "wrong-size-in-json", f"is {_by(mask_size)}, the JSON says {said}")
            self.image["height"], self.image["width"] = mask_size

    def _examine_segments(self, id_map: np.ndarray) -> None:
        measured = measure(id_map)
        kept, seen = [], set()
        for segment in self.annotation["segments_info"]:
            if self._is_bad(segment, seen):
                continue
            seen.add(segment["id"])
            if not self.categories.has_id(segment["category_id"]):
                text = f"segment {segment['id']} is of category {segment['category_id']}, which is not listed"
                self.note(self.mask, "unknown-category", text)
            elif segment["id"] not in measured:
                self.note(self.mask, "id-only-in-json", f"segment {segment['id']} has no pixel in the PNG")
            else:
                kept.append(self._measured(segment, *measured[segment["id"]]))
        if strange := sorted(measured.keys() - seen):
            shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
            self.note(self.mask, "id-only-in-png", f"{len(strange)} ids are not in the JSON: {shown}")
        if not kept:
            self.note(self.mask, "no-segments", "holds no segment")
        self.annotation["segments_info"] = kept

    def _is_bad(self, segment: Any, seen: set[int]) -> bool:
        if not isinstance(segment, Mapping) or not all(_whole(segment.get(key)) for key in ("id", "category_id")):
            self.note(self.mask, "bad-segment", f"{str(segment)[:80]} has no whole id and category_id")
            return True
        if not 0 < segment["id"] < 2**24:
            self.note(self.mask, "bad-segment", f"segment id {segment['id']} is not between 1 and 2^24 - 1")
            return True
        if segment["id"] in seen:
            self.note(self.mask, "duplicate-segment-id", f"segment id {segment['id']} occurs twice")
            return True
        return False

    def _measured(self, segment: Mapping[str, Any], area: int, bbox: list[int]) -> dict[str, Any]:
        if segment.get("area") != area:
            text = f"segment {segment['id']} has {area} pixels, the JSON says {segment.get('area')}"
            self.note(self.mask, "wrong-area", text)
        if segment.get("bbox") is None or list(segment["bbox"]) != bbox:
            text = f"segment {segment['id']} lies in {bbox}, the JSON says {segment.get('bbox')}"
            self.note(self.mask, "wrong-bbox", text)
        return {**segment, "area": area, "bbox": bbox}


class _Counts:
    """Segments, crowds, images and pixels per class."""

    def __init__(self, categories: Categories) -> None:
        self.categories = categories
        self.counters: dict[str, Counter] = {key: Counter() for key in ("segments", "crowds", "images", "pixels")}

    def add(self, segments: Iterable[Mapping[str, Any]]) -> None:
        """Add the (mended) segments of one image."""
        present = set()
        for segment in segments:
            index = self.categories.index_of(segment["category_id"])
            present.add(index)
            self.counters["crowds" if segment.get("iscrowd") else "segments"][index] += 1
            self.counters["pixels"][index] += segment["area"]
        self.counters["images"].update(present)

    def rows(self) -> list[ClassCount]:
        """Return one row per class."""
        return [
            ClassCount(category.name, category.is_thing, **{key: c[index] for key, c in self.counters.items()})
            for index, category in enumerate(self.categories)
        ]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _by(size: Any) -> str:
    return f"{size[1]}x{size[0]}"


def _reason(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
