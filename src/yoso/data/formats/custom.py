"""Data sets of one's own: four customary formats, read into a plan for `preparation`.

Photographs stay where they are. What overlaps is laid over each other as `shapes.painted` says.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from yoso.categories import Categories, Category, default_color
from yoso.class_tables import benchmark_categories
from yoso.data.formats.archive import Entry, files_below
from yoso.data.formats.benchmarks import cityscapes_pairs
from yoso.data.formats.encodings import Truth, cityscapes_truth
from yoso.data.formats.plan import Plan, Scene, Size, SplitPlan
from yoso.data.formats.shapes import Shape, corners, painted, polygon_mask, run_length_mask, union
from yoso.errors import ConfigError, DatasetError, did_you_mean
from yoso.files import image_files, read_json, read_labels, read_text, read_yaml
from yoso.values import read_iscrowd

IGNORED_LABELS = {"__ignore__", "_background_"}
"""What labelme's own converters pass over."""

STUFF_OTHER = 183
"""COCO-Stuff's class for all that is a thing."""


@dataclass(frozen=True)
class Request:
    """What to convert.

    Attributes:
        source: a folder, or for YOLO its YAML.
        stuff: names of the classes that are stuff.
        categories: COCO list of categories, for formats that have none of their own.
    """

    source: Path
    stuff: tuple[str, ...] = ()
    categories: Path | None = None


def plan_custom(kind: str, request: Request) -> Plan:
    """Read a data set of a customary format.

    Args:
        kind: a key of `FORMATS`.
        request: what to convert.

    Raises:
        ConfigError: no such source, or stuff that is no class.
        DatasetError: a file is missing, or is not what the format asks for.
    """
    if not request.source.exists():
        raise ConfigError(f"{request.source}: no such file or folder; give the data set to convert")
    splits, notes = FORMATS[kind](request)
    if not splits:
        raise DatasetError(
            f"{request.source}: has neither train nor val; see `yoso data convert --help` for the layout"
        )
    return Plan(kind, request.source.resolve().name, splits, notes=notes)


def classes(names: Iterable[str], stuff: tuple[str, ...]) -> Categories:
    """Return categories with ids from 1, in the order given.

    Raises:
        ConfigError: a name of `stuff` is none of them.
    """
    known = list(names)
    check_stuff(stuff, known)
    return Categories(
        Category(number, name, name not in stuff, default_color(number - 1)) for number, name in enumerate(known, 1)
    )


def check_stuff(stuff: tuple[str, ...], names: list[str]) -> None:
    """Make sure that what is called stuff is a class.

    Raises:
        ConfigError: one of `stuff` is none of `names`.
    """
    for name in stuff:
        if name not in names:
            raise ConfigError(f"--stuff {name}: the data set has no such class.{did_you_mean(name, names)}")


def read_yolo(request: Request) -> tuple[list[SplitPlan], list[str]]:
    """Read YOLO segmentation: a YAML with `names`, `train`, `val`; per photograph a text file of polygons.

    Labels lie in `labels/` where photographs lie in `images/`; a photograph without a text file has no object.
    """
    path = _yolo_yaml(request.source)
    content = _yaml(path)
    names = content.get("names")
    names = list(names.values()) if isinstance(names, dict) else names
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{path}: has no 'names'; a YOLO data set lists its classes there")
    root = (path.parent / str(content.get("path") or ".")).resolve()
    table = classes((str(name) for name in names), request.stuff)
    splits = []
    for split in ("train", "val"):
        places = content.get(split) or []
        files = [
            file for place in ([places] if isinstance(places, str) else places) for file in _yolo_files(root, place)
        ]
        scenes = []
        for file in files:
            label = _yolo_label(file)
            sources = (Entry(label),) if label.is_file() else ()
            scenes.append(_scene(file, root, sources, partial(_yolo_truth, label, table)))
        if places:
            splits.append(SplitPlan(split, table, _checked(scenes, path, split), root))
    return splits, []


def _yolo_yaml(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(source.glob("*.yaml")) + sorted(source.glob("*.yml"))
    if len(found) != 1:
        raise DatasetError(f"{source}: holds {len(found)} YAML files; give the data set's YAML itself")
    return found[0]


def _yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path, DatasetError)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: is not the YAML of a YOLO data set; it needs 'names', 'train' and 'val'")
    return content


def _yolo_files(root: Path, place: Any) -> list[Path]:
    """Return the photographs of a folder or of a text file that lists them."""
    path = root / str(place)
    if path.is_dir():
        return image_files(path, recursive=True)
    if path.is_file():
        return [(root / line.strip()).resolve() for line in read_text(path).splitlines() if line.strip()]
    raise DatasetError(f"{path}: no such folder; the data set's YAML names it, correct it or its 'path'")


def _yolo_label(photograph: Path) -> Path:
    parts = list(photograph.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _yolo_truth(label: Path, table: Categories, size: Size) -> Truth:
    shapes = []
    lines = read_text(label).splitlines() if label.is_file() else []
    for number, line in enumerate(lines, 1):
        words, where = line.split(), f"{label}, line {number}"
        if not words:
            continue
        try:
            index, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            raise DatasetError(f"{where}: is no class number with a polygon; export YOLO segmentation") from None
        if len(values) == 4:
            raise DatasetError(f"{where}: is a box; polygons are needed; export YOLO segmentation, not detection")
        if not 0 <= index < len(table):
            raise DatasetError(f"{where}: class {index} is none of the {len(table)} of the YAML; correct either")
        points = corners(values, where) * [size[1], size[0]]
        shapes.append(Shape(table[index].id, polygon_mask(points, size)))
    return painted(shapes, table, size)


def read_coco_instances(request: Request) -> tuple[list[SplitPlan], list[str]]:
    """Read COCO instances, and stuff if it is there: `annotations/instances_NAME.json`, `annotations/stuff_NAME.json`.

    Photographs lie in `NAME/` or `images/NAME/`. Train and val are told by how NAME begins.
    """
    splits = []
    for split in ("train", "val"):
        found = sorted((request.source / "annotations").glob(f"instances_{split}*.json"))
        if len(found) > 1:
            raise DatasetError(f"{found[1]}: there are {len(found)} files of {split}; leave one, move the others away")
        for path in found:
            splits.append(_coco_split(request, split, path))
    return splits, []


def _coco_split(request: Request, split: str, path: Path) -> SplitPlan:
    name = path.stem.removeprefix("instances_")
    folders = [request.source / name, request.source / "images" / name, request.source / split]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise DatasetError(f"{request.source}: has no folder {name} with the photographs of {path.name}; put it there")
    documents = [(path, True)]
    if (stuff := path.with_name(f"stuff_{name}.json")).is_file():
        documents.append((stuff, False))
    entries: list[dict[str, Any]] = []
    annotations: dict[Any, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    for document, is_thing in documents:
        content = _coco_document(document)
        listed = [c | {"isthing": int(is_thing and c["name"] not in request.stuff)} for c in content["categories"]]
        entries += [c for c in listed if is_thing or c["id"] != STUFF_OTHER]
        for annotation in content["annotations"]:
            annotations[annotation["image_id"]].append((annotation, str(document)))
    table = Categories.from_json(entries, str(path))
    check_stuff(request.stuff, list(table.names))
    scenes = []
    for image in _coco_document(path)["images"]:
        sources = tuple(Entry(document) for document, _ in documents)
        truth = partial(_coco_truth, annotations[image["id"]], table)
        scene = _scene(folder / image["file_name"], folder, sources, truth)
        scenes.append(scene._replace(image_id=image["id"]))
    return SplitPlan(split, table, _checked(scenes, path, split), folder)


_COCO_FIELDS = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}


def _coco_document(path: Path) -> dict[str, Any]:
    content = read_json(path)
    for key, fields in _COCO_FIELDS.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and all(field in entry for field in fields) for entry in entries
        ):
            raise DatasetError(f"{path}: is not COCO instances: it needs a list {key!r} of entries with {fields}")
    return content


def _coco_truth(annotations: list[tuple[dict[str, Any], str]], table: Categories, size: Size) -> Truth:
    shapes = []
    for annotation, path in annotations:
        where = f"{path}: annotation {annotation.get('id')}"
        if annotation["category_id"] == STUFF_OTHER and not table.has_id(STUFF_OTHER):
            continue
        if not table.has_id(annotation["category_id"]):
            raise DatasetError(f"{where} is of category {annotation['category_id']}, which is not listed; list it")
        segmentation = annotation.get("segmentation")
        if isinstance(segmentation, list) and segmentation:
            mask = union([polygon_mask(corners(part, where), size) for part in segmentation])
        elif isinstance(segmentation, dict):
            mask = run_length_mask(segmentation, size, where)
        else:
            raise DatasetError(f"{where} has a box but no 'segmentation'; export masks, not boxes")
        shapes.append(Shape(annotation["category_id"], mask, read_iscrowd(annotation, where)))
    return painted(shapes, table, size)


def read_cityscapes_style(request: Request) -> tuple[list[SplitPlan], list[str]]:
    """Read the layout of Cityscapes: `leftImg8bit/` and the instance ids of `gtFine/`, by the classes given.

    Labels that the categories lack become void. Without categories, the 19 of Cityscapes are taken.
    """
    table = benchmark_categories("cityscapes")
    if request.categories:
        content = read_json(request.categories)
        entries = content.get("categories") if isinstance(content, dict) else content
        table = Categories.from_json(entries, str(request.categories))
    splits = []
    for split in ("train", "val"):
        folder = request.source / "leftImg8bit" / split
        if not folder.is_dir():
            continue
        scenes = []
        labels = files_below(request.source / "gtFine" / split)
        for stem, photograph, label in cityscapes_pairs(files_below(folder), labels):
            truth = partial(_cityscapes_truth, label, table)
            scenes.append(_scene(photograph.path, folder, (label,), truth)._replace(image_id=stem))
        splits.append(SplitPlan(split, table, _checked(scenes, folder, split), folder))
    return splits, []


def _cityscapes_truth(label: Entry, table: Categories, size: Size) -> Truth:
    return cityscapes_truth(read_labels(label.path), table, str(label), num_labels=None)


def read_labelme(request: Request) -> tuple[list[SplitPlan], list[str]]:
    """Read labelme's JSON files, one beside each photograph, in `train/` and `val/`, or all in one folder for `train`.

    Polygons, rectangles and circles are taken. Shapes of one label and one `group_id` are one object.
    """
    places = {split: request.source / split for split in ("train", "val") if (request.source / split).is_dir()}
    places = places or {"train": request.source}
    documents = {
        split: [(path, _labelme(path)) for path in sorted(folder.rglob("*.json"))] for split, folder in places.items()
    }
    shapes = [shape for part in documents.values() for _, content in part for shape in content["shapes"]]
    table = classes(sorted({shape["label"] for shape in shapes} - IGNORED_LABELS), request.stuff) if shapes else None
    splits = []
    for split, part in documents.items():
        if table and part:
            folder = places[split]
            scenes = [
                _scene(path.parent / content["imagePath"].replace("\\", "/"), folder, (Entry(path),), truth)
                for path, content in part
                for truth in [partial(_labelme_truth, path, content, table)]
            ]
            splits.append(SplitPlan(split, table, _checked(scenes, folder, split), folder))
    others = [shape["shape_type"] for shape in shapes if shape["shape_type"] not in _OUTLINES]
    note = f"{request.source}: {len(others)} shapes were passed over ({', '.join(sorted(set(others)))}); draw polygons"
    return splits, [note] if others else []


def _labelme(path: Path) -> dict[str, Any]:
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    sound = isinstance(shapes, list) and all(
        isinstance(shape, dict) and isinstance(shape.get("label"), str) and isinstance(shape.get("points"), list)
        for shape in shapes
    )
    if not sound or not isinstance(content.get("imagePath"), str):
        raise DatasetError(f"{path}: is not labelme's: it needs 'imagePath' and 'shapes' with 'label' and 'points'")
    for shape in content["shapes"]:
        shape.setdefault("shape_type", "polygon")
    return content


def _rectangle(points: np.ndarray) -> np.ndarray:
    (left, top), (right, bottom) = points[:2]
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _circle(points: np.ndarray) -> np.ndarray:
    """Return a polygon of 64 corners about the first point, through the second."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.hypot(*(points[1] - points[0]))
    return points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


_OUTLINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "polygon": lambda points: points,
    "rectangle": _rectangle,
    "circle": _circle,
}


def _labelme_truth(path: Path, content: dict[str, Any], table: Categories, size: Size) -> Truth:
    said = (content.get("imageHeight"), content.get("imageWidth"))
    if None not in said and said != size:
        raise DatasetError(
            f"{path}: is of a photograph of {said[1]}x{said[0]}, this one is {size[1]}x{size[0]}; draw anew"
        )
    ids = {category.name: category.id for category in table}
    groups: dict[Any, list[np.ndarray]] = defaultdict(list)
    for number, shape in enumerate(content["shapes"]):
        outline = _OUTLINES.get(shape["shape_type"])
        if outline is None or shape["label"] in IGNORED_LABELS:
            continue
        where = f"{path}: shape number {number}"
        points = shape["points"]
        if shape["shape_type"] != "polygon":
            points = [*points, points[-1]] if len(points) == 2 else []
        group = shape.get("group_id")
        key = (ids[shape["label"]], number if group is None else f"group {group}")
        groups[key].append(polygon_mask(outline(corners(points, where)), size))
    return painted((Shape(key[0], union(masks)) for key, masks in groups.items()), table, size)


def _scene(photograph: Path, folder: Path, sources: tuple[Entry, ...], truth: Callable[[Size], Truth]) -> Scene:
    """Return a scene of a photograph that stays where it is, below `folder`."""
    if not photograph.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"{photograph}: lies outside {folder}; put it there")
    name = PurePosixPath(photograph.resolve().relative_to(folder.resolve()).as_posix())
    return Scene(str(name.with_suffix("")), str(name), str(name.with_suffix(".png")), Entry(photograph), sources, truth)


def _checked(scenes: list[Scene], where: Path, split: str) -> list[Scene]:
    """Return the scenes if there are any, each of a photograph that exists and no other has.

    Raises:
        DatasetError: there is none, or one is missing or there twice.
    """
    if not scenes:
        raise DatasetError(f"{where}: {split} holds no photograph; put them there")
    masks = set()
    for scene in scenes:
        if not scene.photograph.path.is_file():
            raise DatasetError(f"{where}: the photograph {scene.photograph} is missing; put it there")
        if scene.mask_name in masks:
            raise DatasetError(
                f"{where}: two photographs are called {scene.mask_name.removesuffix('.png')}; rename one"
            )
        masks.add(scene.mask_name)
    return scenes


FORMATS: dict[str, Callable[[Request], tuple[list[SplitPlan], list[str]]]] = {
    "yolo": read_yolo,
    "coco": read_coco_instances,
    "cityscapes": read_cityscapes_style,
    "labelme": read_labelme,
}
