"""The doctor: reads every file of a split, says per file what is wrong and how to mend it, and mends what JSON can."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from yoso.categories import Categories
from yoso.data.coco_panoptic import read_panoptic
from yoso.data.entries import MAX_SEGMENT_ID, whole
from yoso.data.id_maps import measure, shown
from yoso.data.spec import Split
from yoso.errors import DatasetError, ImageError
from yoso.files import PathLike, image_files, read_id_map, read_image, write_json

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
    "bad-entry": "an image needs id and file_name, an annotation image_id, file_name and segments_info; --fix drops it",
    "bad-segment": "a segment needs a whole id above 0 and a category_id; --fix drops it",
    "duplicate-image-id": "give each image its own id; --fix keeps the first",
    "duplicate-file-name": "two images share a file; --fix keeps the first",
    "image-without-annotation": "annotate it, or let --fix drop the image",
    "annotation-without-image": "list the image, or let --fix drop the annotation",
    "duplicate-annotation": "one annotation per image; --fix keeps the first",
    "no-segments": "nothing to learn here: training passes over it",
    "unlisted-file": "list them in the JSON, or move them away; nothing reads them",
}
WARNINGS = {"no-segments", "wrong-area", "wrong-bbox", "unlisted-file"}
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
    content = read_panoptic(split.annotations)
    categories = Categories.from_json(content["categories"], str(split.annotations))
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
    findings += unlisted(split, content)
    repaired = {**content, "images": images, "annotations": annotations}
    return Report(Path(split.annotations), len(content["images"]), findings, counts.rows(), repaired)


def repair(report: Report, path: PathLike) -> None:
    """Write the repaired annotations; segments are only dropped or measured again, nothing is invented.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json(path, report.repaired)


def pair_up(content: Mapping[str, Any], split: Split) -> tuple[list[Finding], list[tuple[dict, dict]]]:
    """Match images with annotations; report those that are malformed, without a partner, or there twice."""
    where, findings = split.annotations, []
    annotations = _by_image(_sound(content["annotations"], "annotation", where, findings), where, findings)
    pairs, ids, names = [], set(), set()
    for image in _sound(content["images"], "image", where, findings):
        key, name = image["id"], image["file_name"]
        if key in ids:
            findings.append(finding(where, "duplicate-image-id", f"id {key!r} is taken, {name} has it too"))
        elif name in names:
            findings.append(finding(where, "duplicate-file-name", f"{name} is listed again as image {key!r}"))
        elif key not in annotations:
            findings.append(finding(split.images / name, "image-without-annotation", f"image {key!r} is not annotated"))
        elif annotation := annotations[key]:
            pairs.append((image, annotation))
        ids.add(key)
        names.add(name)
    text = "an annotation is of image {!r}, not listed"
    findings += [finding(where, "annotation-without-image", text.format(key)) for key in annotations if key not in ids]
    return findings, pairs


def _by_image(entries: list[dict[str, Any]], where: PathLike, findings: list[Finding]) -> dict[Any, dict[str, Any]]:
    """Return annotations by image id, an empty one where the PNG belongs to an earlier annotation."""
    annotations: dict[Any, dict[str, Any]] = {}
    masks = set()
    for entry in entries:
        key, mask = entry["image_id"], entry["file_name"]
        if key in annotations:
            findings.append(finding(where, "duplicate-annotation", f"image {key!r} has a second annotation"))
        elif mask in masks:
            findings.append(finding(where, "duplicate-file-name", f"{mask} is listed again, for image {key!r}"))
            annotations[key] = {}
        else:
            annotations[key] = entry
            masks.add(mask)
    return annotations


_FIELDS: dict[str, dict[str, Any]] = {
    "image": {"id": int | str, "file_name": str},
    "annotation": {"image_id": int | str, "file_name": str, "segments_info": list},
}


def _sound(entries: list[Any], what: str, where: PathLike, findings: list[Finding]) -> list[dict[str, Any]]:
    """Return the entries that have every field needed; report the others."""
    sound = []
    for number, entry in enumerate(entries):
        fields = _FIELDS[what].items()
        lacking = [key for key, kind in fields if not isinstance(entry, dict) or not isinstance(entry.get(key), kind)]
        if lacking:
            findings.append(finding(where, "bad-entry", f"{what} number {number} has no usable {', '.join(lacking)}"))
        else:
            sound.append(entry)
    return sound


def unlisted(split: Split, content: Mapping[str, Any]) -> list[Finding]:
    """Report photographs and PNGs that lie in the split's folders but not in its JSON; one finding per folder."""
    folders = {"images": split.images, "annotations": split.masks}
    listed = {
        folder / entry["file_name"]
        for key, folder in folders.items()
        for entry in content[key]
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)
    }
    findings = []
    for folder in dict.fromkeys(folders.values()):
        files = [path for path in image_files(folder, recursive=True) if path not in listed]
        if files:
            text = f"{len(files)} pictures are not in the JSON, the first is {files[0].relative_to(folder)}"
            findings.append(finding(folder, "unlisted-file", text))
    return findings


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
        self.photograph = split.images / image["file_name"]
        self.mask = split.masks / annotation["file_name"]
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
            pixels = sum(measured[segment_id][0] for segment_id in strange)
            text = f"{len(strange)} ids ({pixels} pixels) are not in the JSON: {shown(strange)}"
            self.note(self.mask, "id-only-in-png", text)
        if not kept:
            self.note(self.mask, "no-segments", "holds no segment")
        self.annotation["segments_info"] = kept

    def _is_bad(self, segment: Any, seen: set[int]) -> bool:
        if not isinstance(segment, Mapping) or None in map(whole, map(segment.get, ("id", "category_id"))):
            self.note(self.mask, "bad-segment", f"{str(segment)[:80]} has no whole id and category_id")
            return True
        if not 0 < segment["id"] <= MAX_SEGMENT_ID:
            self.note(self.mask, "bad-segment", f"segment id {segment['id']} is not between 1 and {MAX_SEGMENT_ID}")
            return True
        if segment["id"] in seen:
            self.note(self.mask, "duplicate-segment-id", f"segment id {segment['id']} occurs twice")
            return True
        return False

    def _measured(self, segment: Mapping[str, Any], area: int, bbox: list[int]) -> dict[str, Any]:
        if segment.get("area") != area:
            text = f"segment {segment['id']} has {area} pixels, the JSON says {segment.get('area')}"
            self.note(self.mask, "wrong-area", text)
        if segment.get("bbox") != bbox:
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


def _by(size: Any) -> str:
    return f"{size[1]}x{size[0]}"


def _reason(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
