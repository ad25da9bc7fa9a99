"""YOLO segmentation: a YAML with classes and image folders, and a text file of polygons per image."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yoso.categories import MAX_CATEGORY_ID, Categories, Category, default_color
from yoso.data.formats.annotations import ImageAnnotation, Size
from yoso.data.formats.archive import SourceFile
from yoso.data.formats.counts import (
    MISSING_IMAGE,
    NOT_NORMALIZED,
    UNUSABLE_FILE,
    AnnotationCounts,
    AnnotationError,
    read_each,
)
from yoso.data.formats.image_files import (
    SplitBuilder,
    check_stuff,
    files_in,
    find_image,
    mask_name_of,
)
from yoso.data.formats.plan import ConversionRequest, ImagePlan, SplitPlan
from yoso.data.formats.shapes import Shape, corners, paint, polygons_mask
from yoso.errors import DatasetError
from yoso.files import IMAGE_SUFFIXES, is_hidden, read_text, read_yaml

SPLIT_KEYS = {"train": ("train",), "val": ("val", "valid", "validation")}
"""What the YAML calls the splits."""

TOLERANCE = 0.1
"""How far a normalized coordinate may lie outside 0 to 1: a polygon may cross the edge of its image a little."""

IS_BOX = "box instead of a polygon"
NOT_A_LINE = "no class number with coordinates"
UNKNOWN_CLASS = "class number not in 'names'"


def read_yolo(request: ConversionRequest) -> tuple[list[SplitPlan], list[str]]:
    """Read YOLO segmentation: a YAML with `names`, `train` and `val`; per image, a text file of polygons.

    Paths are those that ultralytics accepts. Labels lie in `labels/` where images lie in `images/`; an image without a
    text file has no objects.

    Raises:
        DatasetError: the YAML is damaged or lacks something, a path does not exist, or no image has a text file.
        ConfigError: `stuff` names a class that does not exist.
    """
    path = _yaml_path(request.source)
    content = _read_yaml(path)
    table, notes = _classes(content.get("names"), path, request.stuff)
    root = _root(path, content)
    splits, labels = [], set()
    for split, keys in SPLIT_KEYS.items():
        places = next((content[key] for key in keys if content.get(key)), [])
        places = places if isinstance(places, list) else [places]
        pairs = [(file, _label_path(file)) for place in places for file in _image_files(root, place, path, request)]
        if places:
            splits.append(_read_split(SplitBuilder(split, path), root, pairs, table))
            notes += _images_without_label(split, path, pairs)
        labels |= {label for file, label in pairs if label.parent != file.parent}
    return splits, notes + _labels_without_image(labels)


def _read_split(builder: SplitBuilder, root: Path, pairs: list[tuple[Path, Path]], table: Categories) -> SplitPlan:
    """Plan a split, given its images and their text files; names are relative to the root if all lie below it."""
    if not all(file.is_relative_to(root) for file, _ in pairs):
        root = Path(os.path.commonpath([root, *(file for file, _ in pairs)]))
    for file, label in pairs:
        try:
            num_annotations = len(_lines(label))
        except DatasetError as error:
            builder.skip(UNUSABLE_FILE, str(error))
            continue
        if not os.path.isfile(file):
            builder.skip(MISSING_IMAGE, str(file), num_annotations)
            continue
        name = file.relative_to(root).as_posix()
        mask_name = mask_name_of(name)
        sources = (SourceFile(label),) if os.path.isfile(label) else ()
        decode = partial(_decode, label, table)
        image_id = mask_name.removesuffix(".png")
        builder.add(ImagePlan(image_id, name, mask_name, SourceFile(file), sources, decode, num_annotations))
    return builder.plan(table, root)


def _images_without_label(split: str, path: Path, pairs: list[tuple[Path, Path]]) -> list[str]:
    """Return a note on the images of a split that have no text file.

    Raises:
        DatasetError: none has one.
    """
    without = [(file, label) for file, label in pairs if not os.path.isfile(label)]
    if not without:
        return []
    file, label = without[0]
    if len(without) == len(pairs):
        raise DatasetError(
            f"{path}: none of the {len(pairs):,} images of {split} has a label file; put that of {file} at {label}"
        )
    return [f"{split}: {len(without):,} of {len(pairs):,} images have no label file (first: {file})"]


def _labels_without_image(known: set[Path]) -> list[str]:
    """Return a note on text files in the folders of the known ones that belong to no image."""
    others = sorted(
        path
        for folder in {label.parent for label in known}
        for path in folder.glob("*.txt")
        if path not in known and path.name != "classes.txt" and not is_hidden(path.name)
    )
    note = f"{len(others):,} label files belong to no image of train or val (first: {others[0] if others else ''})"
    return [note] if others else []


def _yaml_path(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(
        path for path in source.iterdir() if path.suffix.lower() in {".yaml", ".yml"} and not is_hidden(path.name)
    )
    if len(found) != 1:
        raise DatasetError(f"{source}: holds {len(found)} YAML files; give the YAML of the data set itself")
    return found[0]


def _read_yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path, DatasetError)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: is not the YAML of a YOLO data set; it needs 'names', 'train' and 'val'")
    return content


def _classes(names: Any, path: Path, stuff: tuple[str, ...]) -> tuple[Categories, list[str]]:
    """Return the classes of 'names', a list or a mapping by class number, and what is odd about them.

    The category id is the class number plus 1.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DatasetError(f"{path}: has no 'names'; a YOLO data set lists its classes there")
    try:
        numbered = {int(str(number)): str(name) for number, name in names.items()}
    except ValueError:
        numbered = {}
    if len(numbered) != len(names) or not 0 <= min(numbered) <= max(numbered) < MAX_CATEGORY_ID:
        raise DatasetError(
            f"{path}: the keys of 'names' are class numbers from 0, each once; correct {list(names)[:5]}"
        )
    check_stuff(stuff, list(numbered.values()))
    gap = next((number for number, known in enumerate(sorted(numbered)) if number != known), None)
    num_missing = max(numbered) + 1 - len(numbered)
    notes = [] if gap is None else [f"{path}: 'names' has no class {gap} ({num_missing:,} numbers are missing)"]
    table = Categories(
        Category(number + 1, name, name not in stuff, default_color(number))
        for number, name in sorted(numbered.items())
    )
    return table, notes


def _root(path: Path, content: dict[str, Any]) -> Path:
    """Return the folder that the paths of a YAML are relative to.

    That is 'path', or the YAML's own folder if 'path' does not exist, because the YAML comes from another machine.
    """
    named = path.parent / _slashes(content.get("path") or ".")
    return Path(os.path.abspath(named if os.path.isdir(named) else path.parent))


def _slashes(path: Any) -> str:
    return str(path).replace("\\", "/")


def _image_files(root: Path, place: Any, path: Path, request: ConversionRequest) -> list[Path]:
    """Return the images of a folder, or those that a text file lists.

    Like ultralytics, take `../train/images`, as Roboflow writes it, relative to the root if it does not exist.
    """
    text = _slashes(place)
    tried = [root / text, root / _without_climbing(text)]
    for candidate in (Path(os.path.abspath(candidate)) for candidate in tried):
        if os.path.isdir(candidate):
            return files_in(candidate, IMAGE_SUFFIXES, request)
        if os.path.isfile(candidate):
            return _listed_files(root, candidate)
    raise DatasetError(f"{path}: names {text!r}, but {tried[0]} does not exist; correct the name or 'path'")


def _without_climbing(text: str) -> str:
    while text.startswith("../"):
        text = text.removeprefix("../")
    return text


def _listed_files(root: Path, path: Path) -> list[Path]:
    """Return the images that a text file lists, one a line, relative to the root or to the text file."""
    files = []
    for _, line in _lines(path):
        text = _slashes(line)
        candidates = [root / text, path.parent / text]
        found = next((file for file in candidates if os.path.isfile(file)), None)
        tail = None if found else find_image(root, text)
        files.append(Path(os.path.abspath(found or root / (tail or _without_climbing(text)))))
    return files


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return number and text of the lines that are not empty; none if there is no such file.

    Raises:
        DatasetError: the file cannot be read.
    """
    lines = read_text(path).split("\n") if os.path.isfile(path) else []
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def _label_path(image: Path) -> Path:
    """Return the text file of an image: in 'labels' for the last folder 'images' of its path, else beside it."""
    parts = list(image.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _decode(label: Path, table: Categories, size: Size) -> ImageAnnotation:
    shapes: list[Shape] = []
    counts = AnnotationCounts()
    lines = ((f"{label}, line {number}", line) for number, line in _lines(label))
    read_each(lines, counts, lambda line: shapes.append(_shape(line, table, size)))
    return paint(shapes, table, size, counts)


def _shape(line: str, table: Categories, size: Size) -> Shape:
    try:
        number, *values = [float(word) for word in line.split()]
    except ValueError:
        raise AnnotationError(NOT_A_LINE, line[:40]) from None
    if number % 1 != 0 or not table.has_id(int(number) + 1):
        raise AnnotationError(UNKNOWN_CLASS, f"class {number:g}")
    if len(values) == 4:
        raise AnnotationError(IS_BOX)
    points = corners(values)
    if points.min() < -TOLERANCE or points.max() > 1 + TOLERANCE:
        raise AnnotationError(NOT_NORMALIZED, f"{points.min():g} to {points.max():g}")
    return Shape(int(number) + 1, polygons_mask([points * np.array([size[1], size[0]])], size))
