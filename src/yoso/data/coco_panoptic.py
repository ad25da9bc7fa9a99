"""COCO panoptic format: one JSON for a split, one PNG of segment ids per photograph."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from yoso.categories import Categories
from yoso.data.spec import Split
from yoso.errors import DatasetError
from yoso.files import PathLike, read_id_map, read_image, read_json, write_id_map, write_json
from yoso.structures import VOID, Sample

SEGMENT_KEYS = ("id", "category_id")


class ImageRecord(NamedTuple):
    """One photograph of a split.

    Attributes:
        image_id: the data set's.
        file_name: of the photograph, below the split's images.
        mask_name: of the panoptic PNG, below the split's masks.
        height: in pixels, as the JSON says; 0 if it does not.
        width: likewise.
    """

    image_id: int | str
    file_name: str
    mask_name: str
    height: int
    width: int


class PanopticExample(NamedTuple):
    """One photograph with its truth, as it lies on disk.

    Attributes:
        image: RGB (H, W, 3), uint8.
        id_map: (H, W) int32 segment ids, 0 is void.
        segments: `id`, `category_id`, `iscrowd` per segment.
        record: where it comes from.
    """

    image: np.ndarray
    id_map: np.ndarray
    segments: list[dict[str, int]]
    record: ImageRecord


@dataclass(frozen=True)
class Annotations:
    """A panoptic JSON in compact form: plain arrays that worker processes share instead of copying.

    Attributes:
        path: the file.
        categories: its classes.
        text: all names of all images, one after the other, UTF-8.
        ends: (I, 3) where each image's id, file name and mask name end in `text`.
        sizes: (I, 2) height and width.
        segments: (S, 3) id, category_id, iscrowd, image after image.
        firsts: (I + 1,) where each image's segments begin.
        numeric_ids: whether image ids are numbers.
    """

    path: Path
    categories: Categories
    text: np.ndarray
    ends: np.ndarray
    sizes: np.ndarray
    segments: np.ndarray
    firsts: np.ndarray
    numeric_ids: bool

    def __len__(self) -> int:
        return len(self.sizes)

    def record(self, index: int) -> ImageRecord:
        """Return what is known of an image."""
        start = int(self.ends[index - 1, 2]) if index else 0
        names = []
        for end in self.ends[index].tolist():
            names.append(self.text[start:end].tobytes().decode())
            start = end
        height, width = self.sizes[index].tolist()
        return ImageRecord(int(names[0]) if self.numeric_ids else names[0], names[1], names[2], height, width)

    def segments_of(self, index: int) -> np.ndarray:
        """Return (M, 3): id, category_id, iscrowd of an image's segments."""
        return self.segments[self.firsts[index] : self.firsts[index + 1]]


def read_annotations(path: PathLike) -> Annotations:
    """Read a panoptic JSON.

    Raises:
        DatasetError: the file is missing, is not JSON, or is not COCO panoptic; says what it lacks.
    """
    content = read_json(path)
    if not isinstance(content, Mapping) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise DatasetError(f"{path}: is not COCO panoptic; an object with images, annotations and categories is needed")
    categories = Categories.from_json(content.get("categories"), str(path))
    images = {_field(image, "id", path, "image"): image for image in content["images"]}
    rows, names, sizes, counts = [], [], [], []
    for annotation in content["annotations"]:
        image_id = _field(annotation, "image_id", path, "annotation")
        if "segments_info" not in annotation:
            kind = " (this looks like a COCO detection file)" if "bbox" in annotation else ""
            raise DatasetError(f"{path}: the annotation of image {image_id} has no segments_info{kind}")
        if image_id not in images:
            raise DatasetError(f"{path}: an annotation is of image {image_id}, which is not among the images")
        image = images[image_id]
        mask_name = str(_field(annotation, "file_name", path, "annotation"))
        names.append((str(image_id), str(_field(image, "file_name", path, "image")), mask_name))
        sizes.append((int(image.get("height", 0)), int(image.get("width", 0))))
        counts.append(len(annotation["segments_info"]))
        rows += [_segment(segment, categories, path, image_id) for segment in annotation["segments_info"]]
    encoded = [part.encode() for triple in names for part in triple]
    return Annotations(
        path=Path(path),
        categories=categories,
        text=np.frombuffer(b"".join(encoded), np.uint8),
        ends=np.cumsum([len(part) for part in encoded], dtype=np.int64).reshape(-1, 3),
        sizes=np.array(sizes, np.int32).reshape(-1, 2),
        segments=np.array(rows, np.int32).reshape(-1, 3),
        firsts=np.cumsum([0, *counts], dtype=np.int64),
        numeric_ids=all(isinstance(key, int) for key in images),
    )


def _field(entry: Any, key: str, path: PathLike, what: str) -> Any:
    if not isinstance(entry, Mapping) or key not in entry:
        raise DatasetError(f"{path}: is not COCO panoptic; an {what} has no '{key}'")
    return entry[key]


def _segment(segment: Any, categories: Categories, path: PathLike, image_id: Any) -> tuple[int, int, int]:
    try:
        values = int(segment["id"]), int(segment["category_id"]), int(segment.get("iscrowd", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path}: image {image_id} has a segment without a whole id and category_id") from error
    if not categories.has_id(values[1]):
        raise DatasetError(
            f"{path}: image {image_id}, segment {values[0]} is of category {values[1]}, which is not among the "
            "categories; `yoso data check` lists all such segments"
        )
    return values


class PanopticDataset(Dataset[Sample]):
    """One split of a data set."""

    def __init__(self, split: Split, filter_empty: bool = False) -> None:
        """Read the split's annotations.

        Args:
            split: where it lies.
            filter_empty: leave out images without a segment to learn (none, or crowd only), as training does.

        Raises:
            DatasetError: see `read_annotations`; or no image is left.
        """
        self.split = split
        self.annotations = read_annotations(split.annotations)
        self.categories = self.annotations.categories
        keep = range(len(self.annotations))
        if filter_empty:
            keep = [index for index in keep if (self.annotations.segments_of(index)[:, 2] == 0).any()]
        self.indices = np.array(keep, np.int64)
        if len(self.indices) == 0:
            raise DatasetError(f"{split.annotations}: holds no image with a segment")

    def __len__(self) -> int:
        return len(self.indices)

    def record(self, index: int) -> ImageRecord:
        """Return what is known of an image."""
        return self.annotations.record(int(self.indices[index]))

    def example(self, index: int) -> PanopticExample:
        """Read a photograph and its truth.

        Raises:
            ImageError: the photograph cannot be read.
            DatasetError: the PNG cannot be read, or is of another size.
        """
        record = self.record(index)
        image = read_image(self.split.images / record.file_name)
        id_map = read_id_map(self.split.masks / record.mask_name)
        if image.shape[:2] != id_map.shape:
            raise DatasetError(
                f"{self.split.masks / record.mask_name}: is {id_map.shape[1]}x{id_map.shape[0]}, its photograph "
                f"{self.split.images / record.file_name} is {image.shape[1]}x{image.shape[0]}"
            )
        rows = self.annotations.segments_of(int(self.indices[index])).tolist()
        segments = [{"id": i, "category_id": category, "iscrowd": crowd} for i, category, crowd in rows]
        return PanopticExample(image, id_map, segments, record)

    def __getitem__(self, index: int) -> Sample:
        """Read a training sample: ids become 1..M in the order of the JSON; void, crowd and unknown ids become void."""
        example = self.example(index)
        targets = [segment for segment in example.segments if not segment["iscrowd"]]
        ids = np.array([segment["id"] for segment in targets], np.int32)
        labels = [self.categories.index_of(segment["category_id"]) for segment in targets]
        return Sample(
            torch.from_numpy(example.image.copy()).permute(2, 0, 1),
            torch.from_numpy(_renumbered(example.id_map, ids)),
            torch.tensor(labels, dtype=torch.int64),
            example.record.file_name,
        )


def _renumbered(id_map: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return 1 + position in `ids` per pixel, `VOID` where the pixel's id is not among them."""
    order = np.argsort(ids, kind="stable")
    known = ids[order]
    place = np.searchsorted(known, id_map).clip(max=max(len(ids) - 1, 0))
    if len(ids) == 0:
        return np.full(id_map.shape, VOID, np.int32)
    return np.where(known[place] == id_map, order[place] + 1, VOID).astype(np.int32)


class PanopticWriter:
    """Writes predictions or annotations: PNGs as they come, the JSON at the end."""

    def __init__(self, annotations: PathLike, masks: PathLike, categories: Categories) -> None:
        """Write the JSON to `annotations` and the PNGs into the folder `masks`."""
        self.annotations, self.masks, self.categories = Path(annotations), Path(masks), categories
        self.images: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []

    def add(self, record: ImageRecord, id_map: np.ndarray, segments: Iterable[Mapping[str, Any]]) -> None:
        """Write one PNG; area and box of every segment are counted from it.

        Args:
            record: the photograph; its `mask_name` is the PNG's name.
            id_map: (H, W) ids, 0 is void.
            segments: `id`, `category_id` and, if wanted, `iscrowd` and `score`.

        Raises:
            OutputError: the PNG cannot be written.
        """
        boxes = measure(id_map)
        infos = []
        for segment in segments:
            area, bbox = boxes.get(int(segment["id"]), (0, [0, 0, 0, 0]))
            infos.append({"iscrowd": 0, **segment, "area": area, "bbox": bbox})
        write_id_map(self.masks / record.mask_name, id_map)
        height, width = id_map.shape
        self.images.append({"id": record.image_id, "file_name": record.file_name, "height": height, "width": width})
        self.entries.append({"image_id": record.image_id, "file_name": record.mask_name, "segments_info": infos})

    def close(self) -> Path:
        """Write the JSON and return its path."""
        content = {"images": self.images, "annotations": self.entries, "categories": self.categories.to_json()}
        write_json(self.annotations, content)
        return self.annotations


def measure(id_map: np.ndarray) -> dict[int, tuple[int, list[int]]]:
    """Return area in pixels and [x, y, width, height] of every id in a map, void aside."""
    ids, inverse = np.unique(id_map, return_inverse=True)
    inverse = inverse.reshape(id_map.shape)
    height, width = id_map.shape
    areas = np.bincount(inverse.ravel(), minlength=len(ids))
    in_row = np.bincount((inverse * height + np.arange(height)[:, None]).ravel(), minlength=len(ids) * height)
    in_column = np.bincount((inverse * width + np.arange(width)).ravel(), minlength=len(ids) * width)
    result = {}
    for index, segment_id in enumerate(ids.tolist()):
        if segment_id != VOID:
            rows = np.flatnonzero(in_row[index * height : (index + 1) * height])
            columns = np.flatnonzero(in_column[index * width : (index + 1) * width])
            x, y = int(columns[0]), int(rows[0])
            box = [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]
            result[segment_id] = (int(areas[index]), box)
    return result
