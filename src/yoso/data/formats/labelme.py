"""Files of labelme: a JSON of shapes per image, most often beside it."""

import base64
import glob
import os
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.data.formats.annotations import ImageAnnotation, Size
from yoso.data.formats.archive import SourceFile
from yoso.data.formats.counts import (
    MISSING_IMAGE,
    UNUSABLE_FILE,
    AnnotationCounts,
    AnnotationError,
    read_each,
)
from yoso.data.formats.image_files import (
    SplitBuilder,
    files_in,
    find_image,
    json_size,
    mask_name_of,
    number_classes,
)
from yoso.data.formats.plan import ConversionRequest, ImagePlan, SplitPlan
from yoso.data.formats.shapes import NO_PIXEL, OUTSIDE, Shape, corners, paint, polygons_mask
from yoso.errors import DatasetError
from yoso.files import IMAGE_SUFFIXES, read_json, read_mask

VOID_LABELS = {"__ignore__", "_background_"}
"""Labels that labelme's own converters skip."""

NO_LABEL = "shape without a label"
NOT_A_MASK = "'mask' is not a PNG in base64"
OTHER_BOX = "mask size differs from its box"


class _File(NamedTuple):
    """A JSON of labelme; `shapes` are those that do not mark void, with their positions."""

    path: Path
    image_path: str
    size: Size | None
    shapes: list[tuple[int, Any]]
    num_void: int


def read_labelme(request: ConversionRequest) -> tuple[list[SplitPlan], list[str]]:
    """Read labelme's JSON files, in `train/` and `val/`, or all in one folder for `train`.

    Polygons, rectangles, circles and masks are read. Shapes of one label and one `group_id` are one object.

    Raises:
        DatasetError: there is no JSON of labelme with an area, or half of the files or images cannot be used.
        ConfigError: `stuff` names a class that does not exist.
    """
    places = {split: request.source / split for split in ("train", "val") if (request.source / split).is_dir()}
    places = places or {"train": request.source}
    builders = {split: SplitBuilder(split, folder) for split, folder in places.items()}
    files = {split: _read_files(builders[split], request) for split in places}
    labels = {shape["label"] for part in files.values() for file in part for _, shape in file.shapes if _is_area(shape)}
    if not labels:
        raise DatasetError(f"{request.source}: holds no JSON of labelme with a polygon, rectangle, circle or mask")
    table = number_classes(sorted(labels), request.stuff)
    splits, notes = [], []
    for split, part in files.items():
        if part:
            splits.append(_plan_split(builders[split], part, table, request.source))
            notes += _images_without_json(split, places[split], splits[-1], request)
    return splits, notes


def _read_files(builder: SplitBuilder, request: ConversionRequest) -> list[_File]:
    files = []
    for path in files_in(builder.where, {".json"}, request):
        try:
            files.append(_read_file(path))
        except DatasetError as error:
            builder.skip(UNUSABLE_FILE, str(error))
    return files


def _read_file(path: Path) -> _File:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DatasetError(f"{path}: is not a JSON of labelme; it needs 'shapes'")
    name = content.get("imagePath")
    shapes = [
        (number, shape)
        for number, shape in enumerate(content["shapes"])
        if not (isinstance(shape, dict) and str(shape.get("label")) in VOID_LABELS)
    ]
    size = json_size(content.get("imageHeight"), content.get("imageWidth"))
    num_void = len(content["shapes"]) - len(shapes)
    return _File(path, name if isinstance(name, str) else "", size, shapes, num_void)


def _plan_split(builder: SplitBuilder, files: list[_File], table: Categories, source: Path) -> SplitPlan:
    """Plan a split; names are relative to its folder, or to the source if some of its images lie elsewhere."""
    images = [_find_image(file, source) for file in files]
    found = [image for image in images if image]
    folder = builder.where if all(image.is_relative_to(builder.where) for image in found) else source
    for file, image in zip(files, images, strict=True):
        if image is None:
            where = f"{file.image_path or 'its image'}, named by {file.path}"
            builder.skip(MISSING_IMAGE, where, len(file.shapes))
            continue
        name = image.relative_to(folder).as_posix()
        mask_name = mask_name_of(name)
        decode = partial(_decode, file, table)
        image_id = mask_name.removesuffix(".png")
        plan = ImagePlan(image_id, name, mask_name, SourceFile(image), (SourceFile(file.path),), decode)
        builder.add(plan._replace(num_annotations=len(file.shapes), json_size=file.size))
    return builder.plan(table, folder)


def _find_image(file: _File, source: Path) -> Path | None:
    """Return the image of a JSON: where its imagePath says, else by that name, or the JSON's own, beside the JSON.

    Nothing outside the source is looked at.
    """
    beside = file.path.parent
    named = os.path.abspath(beside / file.image_path.replace("\\", "/"))
    if Path(named).is_relative_to(os.path.abspath(source)) and os.path.isfile(named):
        return source / Path(named).relative_to(os.path.abspath(source))
    if tail := find_image(beside, file.image_path):
        return beside / tail
    tail = find_image(source, file.image_path)
    if tail and "/" in tail:  # a bare name below the source may well be another image
        return source / tail
    twins = (path for path in beside.glob(f"{glob.escape(file.path.stem)}.*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return next(iter(sorted(twins)), None)


def _images_without_json(split: str, folder: Path, plan: SplitPlan, request: ConversionRequest) -> list[str]:
    """Return a note on images that no JSON names, which labelme leaves for images without shapes."""
    known = {image.image.path for image in plan.images}
    others = [path for path in files_in(folder, IMAGE_SUFFIXES, request) if path not in known]
    note = f"{split}: {len(others):,} images have no JSON and are left out"
    return [f"{note} (first: {others[0]})"] if others else []


def _shape_type(shape: dict[str, Any]) -> str:
    """Return the type of a shape; old files leave it out or null for polygons."""
    return str(shape.get("shape_type") or "polygon")


def _is_area(shape: Any) -> bool:
    """Tell whether a shape can become a segment, judging by its label and type."""
    label = shape.get("label") if isinstance(shape, dict) else None
    return isinstance(label, str) and label != "" and _shape_type(shape) in {*_OUTLINES, "mask"}


def _decode(file: _File, table: Categories, size: Size) -> ImageAnnotation:
    ids = {category.name: category.id for category in table}
    groups: dict[tuple[int, str], list[np.ndarray]] = defaultdict(list)
    counts = AnnotationCounts(void=file.num_void)

    def take(numbered: tuple[int, Any]) -> None:
        number, shape = numbered
        mask = _mask(shape, size)
        group = shape.get("group_id")
        groups[ids[shape["label"]], f"shape {number}" if group is None else f"group {group}"].append(mask)

    read_each(((f"{file.path}: shape number {shape[0]}", shape) for shape in file.shapes), counts, take)
    shapes = (
        Shape(category_id, np.logical_or.reduce(masks), num_annotations=len(masks))
        for (category_id, _), masks in groups.items()
    )
    return paint(shapes, table, size, counts)


def _mask(shape: Any, size: Size) -> np.ndarray:
    """Return the pixels of a shape: bool (H, W)."""
    if not _is_area(shape):
        has_label = isinstance(shape, dict) and isinstance(shape.get("label"), str) and shape["label"]
        raise AnnotationError(f"shape type {_shape_type(shape)!r} has no area" if has_label else NO_LABEL)
    kind, points = _shape_type(shape), shape.get("points")
    if kind == "mask":
        return _pasted(shape, size)
    if kind != "polygon" and isinstance(points, list) and len(points) == 2:
        return polygons_mask([_OUTLINES[kind](corners([*points, points[1]])[:2])], size)
    if kind == "circle":
        raise AnnotationError("circle without its two points")
    return polygons_mask([corners(points)], size)


def _rectangle(points: np.ndarray) -> np.ndarray:
    (left, top), (right, bottom) = points
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _circle(points: np.ndarray) -> np.ndarray:
    """Return a polygon of 64 corners around the first point, through the second."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.hypot(*(points[1] - points[0]))
    return points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


_OUTLINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "polygon": lambda points: points,
    "rectangle": _rectangle,
    "circle": _circle,
}


def _pasted(shape: dict[str, Any], size: Size) -> np.ndarray:
    """Return the mask of a shape, laid with its upper left corner on that of its box."""
    try:
        mask = read_mask(BytesIO(base64.b64decode(shape["mask"], validate=True)), "mask")
        (left, top), (right, bottom) = np.array(shape["points"], np.float64).reshape(2, 2).astype(np.int64).tolist()
    except (KeyError, TypeError, ValueError, DatasetError) as error:
        raise AnnotationError(NOT_A_MASK, str(error)[:60]) from error
    height, width = mask.shape
    if abs(right - left + 1 - width) > 1 or abs(bottom - top + 1 - height) > 1:
        raise AnnotationError(OTHER_BOX, f"{width}x{height}, box {right - left + 1}x{bottom - top + 1}")
    pasted = np.zeros(size, bool)
    inside = mask[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
    top, left = max(0, top), max(0, left)
    pasted[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    if not pasted.any():
        raise AnnotationError(OUTSIDE if mask.any() else NO_PIXEL)
    return pasted
