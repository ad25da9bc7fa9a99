"""COCO instances, as most annotation tools export it, and COCO-Stuff: JSON with polygons and run lengths."""

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from yoso.categories import Categories
from yoso.data.formats.annotations import ImageAnnotation, Size
from yoso.data.formats.archive import SourceFile
from yoso.data.formats.coco_layouts import CocoFiles, find_coco_files, locate_images
from yoso.data.formats.counts import (
    MISSING_IMAGE,
    UNKNOWN_IMAGE,
    AnnotationCounts,
    AnnotationError,
    check_systematic,
    read_each,
)
from yoso.data.formats.image_files import SplitBuilder, check_stuff, json_size, mask_name_of
from yoso.data.formats.plan import ConversionRequest, ImagePlan, SplitPlan
from yoso.data.formats.shapes import TOO_FEW_POINTS, Shape, corners, paint, polygons_mask, run_length_mask
from yoso.errors import DatasetError
from yoso.files import read_json
from yoso.values import ImageId, flag, whole
from yoso.values import image_id as key_of

STUFF_OTHER = 183
"""COCO-Stuff's class for all pixels of things."""

UNKNOWN_CATEGORY = "category_id not in 'categories'"
NO_MASK = "no 'segmentation', only a box"
NOT_A_FLAG = "'iscrowd' is neither 0 nor 1"
NOT_AN_ENTRY = "no JSON object with image_id and category_id"
"""Reasons to drop an annotation."""


class _Document(NamedTuple):
    """A JSON file; `is_stuff` says that its classes are stuff unless they say otherwise."""

    path: Path
    images: list[dict[str, Any]]
    annotations: list[Any]
    categories: list[dict[str, Any]]
    is_stuff: bool


class _Found(NamedTuple):
    """An annotation, and which one of which file it is."""

    path: Path
    number: int
    content: dict[str, Any]

    @property
    def where(self) -> str:
        """The annotation's file and id, or its position in the list."""
        own_id = key_of(self.content.get("id"))
        return f"{self.path}: annotation {f'number {self.number}' if own_id is None else own_id}"


def read_coco_instances(request: ConversionRequest) -> tuple[list[SplitPlan], list[str]]:
    """Read COCO instances, and the stuff of COCO-Stuff beside it; see `find_coco_files` for the layouts.

    Raises:
        DatasetError: a JSON is not COCO instances, ids or file names occur twice, ids are numbers in one place and text
            in another, or half of the images are missing.
        ConfigError: `stuff` names a class that does not exist.
    """
    found, notes = find_coco_files(request)
    return [_read_split(files, request.stuff) for files in found], notes


def _read_split(files: CocoFiles, stuff: tuple[str, ...]) -> SplitPlan:
    documents = [_read_document(files.annotations, is_stuff=False)]
    if files.stuff:
        documents.append(_read_document(files.stuff, is_stuff=True))
    table = _classes(documents, stuff)
    images = documents[0].images
    builder = SplitBuilder(files.split, files.annotations)
    annotations = _by_image(documents, {key_of(image["id"]) for image in images}, builder.counts)
    folder, paths = locate_images(images, files)
    sources = tuple(SourceFile(document.path) for document in documents)
    for image, path in zip(images, paths, strict=True):
        image_id = key_of(image["id"])
        assert image_id is not None
        mine = annotations[image_id]
        if path is None:
            builder.skip(MISSING_IMAGE, str(folder / image["file_name"]), len(mine))
            continue
        builder.add(
            ImagePlan(
                image_id=image_id,
                file_name=path,
                mask_name=mask_name_of(path),
                image=SourceFile(folder / path),
                sources=sources,
                decode=partial(_decode, mine, table),
                num_annotations=len(mine),
                json_size=json_size(image.get("height"), image.get("width")),
            )
        )
    return builder.plan(table, folder)


_FIELDS = {"images": ("id", "file_name"), "annotations": (), "categories": ("id", "name")}


def _read_document(path: Path, is_stuff: bool) -> _Document:
    """Read a JSON and make sure that its lists are those of COCO, and that no id occurs twice."""
    content = read_json(path)
    for key, fields in _FIELDS.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DatasetError(f"{path}: is not COCO instances: it has no list {key!r}; export COCO instances")
        if fields and not entries and not (is_stuff and key == "images"):
            raise DatasetError(f"{path}: its list {key!r} is empty; export it again")
        for number, entry in enumerate(entries if fields else []):
            if not isinstance(entry, dict) or any(field not in entry for field in fields):
                raise DatasetError(f"{path}: entry {number} of {key!r} lacks one of {fields}; export it again")
    for number, image in enumerate(content["images"]):
        if key_of(image["id"]) is None or not isinstance(image["file_name"], str):
            raise DatasetError(
                f"{path}: entry {number} of 'images' has id {image['id']!r} and file_name {image['file_name']!r}; the "
                "id is a number or a text, the name a text"
            )
    for key, field in (("images", "id"), ("images", "file_name"), ("annotations", "id"), ("categories", "id")):
        _refuse_duplicates(path, key, field, content[key])
    return _Document(path, content["images"], content["annotations"], content["categories"], is_stuff)


def _refuse_duplicates(path: Path, key: str, field: str, entries: list[Any]) -> None:
    seen = set()
    for entry in entries:
        value = key_of(entry.get(field)) if isinstance(entry, dict) else None
        if value is not None and value in seen:
            raise DatasetError(f"{path}: two entries of {key!r} have the {field} {value!r}; give each its own")
        seen.add(value)


def _classes(documents: list[_Document], stuff: tuple[str, ...]) -> Categories:
    """Return the classes of all documents; a name in `stuff` decides, then 'isthing', then the kind of document."""
    entries = []
    for document in documents:
        for entry in document.categories:
            if not _is_other(document, entry):
                is_thing = entry.get("isthing", int(not document.is_stuff))
                is_thing = 0 if entry["name"] in stuff else is_thing
                entries.append(_with_color(entry) | {"id": entry["id"], "name": entry["name"], "isthing": is_thing})
    table = Categories.from_json(entries, " and ".join(str(document.path) for document in documents))
    check_stuff(stuff, list(table.names))
    return table


def _with_color(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the color if it is three numbers; some tools write something else, such as "#2080c0"."""
    color = entry.get("color")
    is_rgb = isinstance(color, list) and len(color) == 3 and all(whole(value) in range(256) for value in color)
    return {"color": [whole(value) for value in color]} if is_rgb else {}


def _is_other(document: _Document, category: dict[str, Any]) -> bool:
    return document.is_stuff and category["id"] == STUFF_OTHER and category["name"] == "other"


def _by_image(
    documents: list[_Document], image_ids: set[ImageId | None], counts: AnnotationCounts
) -> dict[ImageId | None, list[_Found]]:
    """Return the annotations of each image; those that belong to none are counted as dropped.

    Raises:
        DatasetError: ids are numbers in one place and text in another, or half of the annotations belong to no image.
    """
    grouped: dict[ImageId | None, list[_Found]] = defaultdict(list)
    for document in documents:
        void = {key_of(entry["id"]) for entry in document.categories if _is_other(document, entry)}
        _refuse_other_types(document, "image_id", image_ids)
        _refuse_other_types(document, "category_id", {key_of(entry["id"]) for entry in document.categories})
        for number, content in enumerate(document.annotations):
            found = _Found(document.path, number, content if isinstance(content, dict) else {})
            image_id, category_id = (key_of(found.content.get(field)) for field in ("image_id", "category_id"))
            if image_id is None or category_id is None:
                counts.drop_all(1, NOT_AN_ENTRY, found.where)
            elif category_id in void:
                counts.void += 1
            elif image_id not in image_ids:
                counts.drop_all(1, UNKNOWN_IMAGE, f"{found.where}, image_id {image_id!r}")
            else:
                grouped[image_id].append(found)
    total = counts.read + sum(len(mine) for mine in grouped.values())
    check_systematic(counts.dropped, total, str(documents[0].path))
    return grouped


def _refuse_other_types(document: _Document, field: str, known: set[ImageId | None]) -> None:
    """Refuse annotations that name the id 1 where "1" is listed, or the other way round."""
    twins = {str(key): key for key in known}
    keys = [key_of(entry.get(field)) for entry in document.annotations if isinstance(entry, dict)]
    wrong = [key for key in keys if key is not None and key not in known and str(key) in twins]
    if wrong:
        raise DatasetError(
            f"{document.path}: the {field} of {len(wrong):,} annotations is not listed (first: {wrong[0]!r}, but "
            f"{twins[str(wrong[0])]!r} is listed); write ids as numbers everywhere"
        )


def _decode(annotations: list[_Found], table: Categories, size: Size) -> ImageAnnotation:
    shapes: list[Shape] = []
    counts = AnnotationCounts()
    located = ((found.where, found.content) for found in annotations)
    read_each(located, counts, lambda content: shapes.append(_shape(content, table, size)))
    return paint(shapes, table, size, counts)


def _shape(content: dict[str, Any], table: Categories, size: Size) -> Shape:
    category_id = whole(content["category_id"])
    if category_id is None or not table.has_id(category_id):
        raise AnnotationError(UNKNOWN_CATEGORY, f"category_id {content['category_id']!r}")
    is_crowd = False if content.get("iscrowd") is None else flag(content["iscrowd"])
    if is_crowd is None:
        raise AnnotationError(NOT_A_FLAG, f"{content['iscrowd']!r}")
    segmentation = content.get("segmentation")
    if isinstance(segmentation, dict):
        mask = run_length_mask(segmentation, size)
    elif isinstance(segmentation, list) and segmentation:
        mask = polygons_mask(_polygons(segmentation), size)
    else:
        raise AnnotationError(NO_MASK)
    return Shape(category_id, mask, is_crowd)


def _polygons(segmentation: list[Any]) -> list[Any]:
    """Return the corners of the parts; a part of one or two points has no area, and does not spoil the others."""
    parts, last = [], None
    for part in segmentation:
        try:
            parts.append(corners(part))
        except AnnotationError as error:
            if error.reason != TOO_FEW_POINTS:
                raise
            last = error
    if last is not None and not parts:
        raise last
    return parts
