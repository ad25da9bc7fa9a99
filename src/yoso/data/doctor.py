"""The doctor: reads every file of a data set, reports what is wrong with it, and repairs what the JSON can."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from yoso.categories import Categories, check_same_classes
from yoso.data.coco_panoptic import read_panoptic
from yoso.data.findings import Finding, make_finding
from yoso.data.image_check import ImageCheck
from yoso.data.spec import DatasetSpec, Split
from yoso.errors import ConfigError
from yoso.files import PathLike, image_files, write_json
from yoso.values import image_id, mismatched_type


@dataclass(frozen=True)
class ClassCount:
    """How much of a class a split holds.

    Attributes:
        name: of the category.
        is_thing: thing or stuff.
        segments: number of segments that are not crowds.
        crowds: number of segments that are.
        images: number of images it occurs in.
        pixels: number of pixels of all its segments.
    """

    name: str
    is_thing: bool
    segments: int
    crowds: int
    images: int
    pixels: int


@dataclass(frozen=True)
class SplitReport:
    """What was found in a split.

    Attributes:
        annotations: the JSON.
        images: number of images listed.
        findings: in the order of the JSON.
        classes: counts per class, in class-index order.
        categories: of the split.
        repaired: the content of a JSON in which everything is repaired that JSON can repair.
    """

    annotations: Path
    images: int
    findings: list[Finding]
    classes: list[ClassCount]
    categories: Categories
    repaired: dict[str, Any] = field(repr=False)

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a reader or change what it reads."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain dictionaries and lists."""
        return {
            "annotations": str(self.annotations),
            "images": self.images,
            "errors": len(self.errors),
            "findings": [asdict(finding) for finding in self.findings],
            "classes": [asdict(count) for count in self.classes],
        }


def check_dataset(
    spec: DatasetSpec,
    names: Iterable[str] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
    threads: int = 4,
) -> dict[str, SplitReport]:
    """Check the splits of a data set, and whether they have the same classes.

    Args:
        spec: the data set.
        names: of the splits to check; None for all.
        on_progress: called with (split, images done, images in all).
        threads: number of threads that read files.

    Returns:
        Reports by the name of the split.

    Raises:
        ConfigError: there is no such split.
        DatasetError: see `check_split`.
    """
    reports: dict[str, SplitReport] = {}
    for name in spec.splits if names is None else names:
        report = check_split(spec.split(name), partial(on_progress, name) if on_progress else None, threads)
        for other, earlier in reports.items():
            if found := compare_classes(earlier, report, other, name):
                report = replace(report, findings=[*report.findings, found])
        reports[name] = report
    return reports


def compare_classes(earlier: SplitReport, later: SplitReport, earlier_name: str, later_name: str) -> Finding | None:
    """Return a finding about the later of two splits if their classes differ."""
    try:
        check_same_classes(earlier.categories, later.categories, earlier_name, later_name)
    except ConfigError as error:
        return make_finding(later.annotations, "different-classes", str(error))
    return None


def check_split(split: Split, on_progress: Callable[[int, int], None] | None = None, threads: int = 4) -> SplitReport:
    """Read every file of a split and report what is wrong.

    Args:
        split: where its files are.
        on_progress: called with (images done, images in all).
        threads: number of threads that read files.

    Raises:
        DatasetError: the JSON cannot be read or is not COCO panoptic, so that nothing else can be checked.
    """
    content = read_panoptic(split.annotations)
    categories = Categories.from_json(content["categories"], str(split.annotations))
    findings = same_names(categories, split.annotations)
    paired, pairs = pair_up(content, split)
    findings += paired
    images, annotations, counts = [], [], _Counts(categories)
    with ThreadPoolExecutor(threads) as pool:
        results = pool.map(lambda pair: ImageCheck(pair[0], pair[1], split, categories).run(), pairs)
        for done, check in enumerate(results, 1):
            findings += check.findings
            if not check.is_dropped:
                images.append(check.image)
                annotations.append(check.annotation)
                counts.add(check.annotation["segments_info"])
            if on_progress:
                on_progress(done, len(pairs))
    if not counts.counters["segments"]:
        findings.append(make_finding(split.annotations, "nothing-to-learn", "no image has a segment besides crowds"))
    findings += unlisted(split, content)
    entries = [
        {**entry, "id": category.id, "name": category.name, "isthing": int(category.is_thing)}
        for entry, category in zip(content["categories"], categories, strict=True)
    ]
    repaired = {**content, "images": images, "annotations": annotations, "categories": entries}
    return SplitReport(Path(split.annotations), len(content["images"]), findings, counts.rows(), categories, repaired)


def repair(report: SplitReport, path: PathLike) -> None:
    """Write the repaired annotations: segments are dropped or measured again, none is invented.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json(path, report.repaired)


def same_names(categories: Categories, where: PathLike) -> list[Finding]:
    """Report categories that a person cannot tell apart; case and blanks around a name do not count."""
    ids: dict[str, list[int]] = {}
    for category in categories:
        ids.setdefault(category.name.strip().casefold(), []).append(category.id)
    return [
        make_finding(where, "duplicate-category-name", f"the categories {double} are all called {name!r}")
        for name, double in ids.items()
        if len(double) > 1
    ]


def pair_up(content: Mapping[str, Any], split: Split) -> tuple[list[Finding], list[tuple[dict, dict]]]:
    """Match images with annotations; report those that are malformed, without a partner, or there twice."""
    where, findings = split.annotations, []
    annotations = _by_image(_sound(content["annotations"], "annotation", where, findings), where, findings)
    pairs, ids, names = [], {}, set()
    for image in _sound(content["images"], "image", where, findings):
        key, name = image_id(image["id"]), image["file_name"]
        if key in ids:
            findings.append(make_finding(where, "duplicate-image-id", f"id {key!r} is taken, {name} has it too"))
        elif name in names:
            findings.append(make_finding(where, "duplicate-file-name", f"{name} is listed again as image {key!r}"))
        elif key not in annotations:
            text = f"image {key!r} is not annotated"
            findings.append(make_finding(split.images / name, "image-without-annotation", text))
        elif annotation := annotations[key]:
            pairs.append((image, annotation))
        ids[key] = name
        names.add(name)
    for key in annotations:
        if key not in ids:
            text = f"an annotation is of image {key!r}, which is not listed{mismatched_type(key, ids)}"
            findings.append(make_finding(where, "annotation-without-image", text))
    return findings, pairs


def _by_image(entries: list[dict[str, Any]], where: PathLike, findings: list[Finding]) -> dict[Any, dict[str, Any]]:
    """Return annotations by image id, an empty one where the PNG belongs to an earlier annotation."""
    annotations: dict[Any, dict[str, Any]] = {}
    masks = set()
    for entry in entries:
        key, mask = image_id(entry["image_id"]), entry["file_name"]
        if key in annotations:
            findings.append(make_finding(where, "duplicate-annotation", f"image {key!r} has a second annotation"))
        elif mask in masks:
            findings.append(make_finding(where, "duplicate-file-name", f"{mask} is listed again, for image {key!r}"))
            annotations[key] = {}
        else:
            annotations[key] = entry
            masks.add(mask)
    return annotations


_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "image": {"id": lambda value: image_id(value) is not None, "file_name": lambda value: isinstance(value, str)},
    "annotation": {
        "image_id": lambda value: image_id(value) is not None,
        "file_name": lambda value: isinstance(value, str),
        "segments_info": lambda value: isinstance(value, list),
    },
}
"""The fields that an entry needs, with the test of their value."""


def _sound(entries: list[Any], what: str, where: PathLike, findings: list[Finding]) -> list[dict[str, Any]]:
    """Return the entries that have every field needed; report the others."""
    sound = []
    for number, entry in enumerate(entries):
        fields = _FIELDS[what].items()
        missing = [key for key, is_right in fields if not isinstance(entry, dict) or not is_right(entry.get(key))]
        if missing:
            text = f"{what} number {number} has no usable {', '.join(missing)}"
            findings.append(make_finding(where, "bad-entry", text))
        else:
            sound.append(entry)
    return sound


def unlisted(split: Split, content: Mapping[str, Any]) -> list[Finding]:
    """Report image files in the split's folders that its JSON does not list; one finding per folder."""
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
            text = f"{len(files)} image files are not in the JSON, the first is {files[0].relative_to(folder)}"
            findings.append(make_finding(folder, "unlisted-file", text))
    return findings


class _Counts:
    """Segments, crowds, images and pixels per class."""

    def __init__(self, categories: Categories) -> None:
        self.categories = categories
        self.counters: dict[str, Counter] = {key: Counter() for key in ("segments", "crowds", "images", "pixels")}

    def add(self, segments: Iterable[Mapping[str, Any]]) -> None:
        """Add the repaired segments of one image."""
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
