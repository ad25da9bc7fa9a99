"""COCO panoptic format: a JSON per split, and a PNG of segment ids per image."""

import json
import weakref
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.data.entries import (
    DOCTOR,
    AnnotationsBuilder,
    no_such_category,
    read_segment,
    refuse_detection,
)
from yoso.data.id_maps import first_few, measure
from yoso.data.json_stream import walk_json
from yoso.errors import DatasetError
from yoso.files import PathLike, cannot_write, read_json, safe_child, write_id_map, written_whole
from yoso.values import ImageId, mismatched_type

MAX_SPOOL_BYTES = 2**21
"""Of what a writer keeps in memory until it writes the JSON."""


class ImageRecord(NamedTuple):
    """One image of a split.

    Attributes:
        image_id: the data set's.
        file_name: of the image, relative to the split's images.
        mask_name: of the panoptic PNG, relative to the split's masks.
        height: in pixels, as the JSON says; 0 if it does not.
        width: in pixels, likewise.
    """

    image_id: ImageId
    file_name: str
    mask_name: str
    height: int
    width: int


class PanopticExample(NamedTuple):
    """One image with its ground truth, as the files hold it.

    Attributes:
        image: uint8 RGB (H, W, 3).
        id_map: int32 segment ids (H, W); 0 is void.
        segments: `id`, `category_id` and `iscrowd` of each segment.
        record: which image it is.
    """

    image: np.ndarray
    id_map: np.ndarray
    segments: list[dict[str, int]]
    record: ImageRecord


@dataclass(frozen=True)
class Annotations:
    """A panoptic JSON of I images and S segments in compact form: plain arrays, which worker processes share.

    Attributes:
        path: the JSON.
        categories: its classes.
        text: (bytes,) uint8: id as JSON, file name and mask name of all images, one after the other, in UTF-8.
        ends: (I, 3) where the id, the file name and the mask name of each image end in `text`.
        sizes: (I, 2) height and width in pixels; 0 where the JSON does not say.
        segments: (S, 3) id, category_id and iscrowd of all segments, in the order of the images.
        firsts: (I + 1,) the first segment of each image, and S.
    """

    path: Path
    categories: Categories
    text: np.ndarray
    ends: np.ndarray
    sizes: np.ndarray
    segments: np.ndarray
    firsts: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    def record(self, index: int) -> ImageRecord:
        """Return the record of an image, 0 to I - 1."""
        start = int(self.ends[index - 1, 2]) if index else 0
        parts = []
        for end in self.ends[index].tolist():
            parts.append(self.text[start:end].tobytes().decode())
            start = end
        height, width = self.sizes[index].tolist()
        return ImageRecord(json.loads(parts[0]), parts[1], parts[2], height, width)

    def segments_of(self, index: int) -> np.ndarray:
        """Return (M, 3): id, category_id and iscrowd of an image's segments, in the order of the JSON."""
        return self.segments[self.firsts[index] : self.firsts[index + 1]]


def read_panoptic(path: PathLike) -> dict[str, Any]:
    """Read a JSON and check that its top level is COCO panoptic; single entries are not checked.

    Raises:
        DatasetError: the file is missing, is not JSON, or is not COCO panoptic; says what it lacks or what it is.
    """
    content = read_json(path)
    check_panoptic(content, path)
    refuse_detection(next(iter(content["annotations"]), None), path)
    return content


def check_panoptic(content: Any, path: PathLike) -> None:
    """Check that the top level of a JSON is COCO panoptic.

    Raises:
        DatasetError: it is not; says what it lacks.
    """
    needed = "an object with the lists images, annotations and categories is needed"
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: is not COCO panoptic: it holds a {type(content).__name__}; {needed}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise DatasetError(f"{path}: is not COCO panoptic: it has no list {key!r}; {needed}")


def read_annotations(path: PathLike) -> Annotations:
    """Read a panoptic JSON: the images with an annotation, in the order of the annotations.

    The file is read entry by entry, so that even COCO's takes little more memory than the result.

    Raises:
        DatasetError: the file is missing, is not JSON, or is not COCO panoptic; says what it lacks.
    """
    found = AnnotationsBuilder(path)
    content = walk_json(path, found.add)
    check_panoptic(content, path)
    categories = Categories.from_json(found.categories, str(path))
    encoded, sizes = [], []
    for image_id, mask_name in found.annotations:
        if image_id not in found.images:
            hint = mismatched_type(image_id, found.images)
            raise DatasetError(
                f"{path}: an annotation is of image {image_id!r}, unknown or annotated twice{hint}; {DOCTOR}"
            )
        file_name, height, width = found.images.pop(image_id)
        if file_name is None:
            raise DatasetError(f"{path}: is not COCO panoptic: image {image_id!r} has no 'file_name'")
        encoded += [part.encode() for part in (json.dumps(image_id), file_name, mask_name)]
        sizes.append((height, width))
    annotations = Annotations(
        path=Path(path),
        categories=categories,
        text=np.frombuffer(b"".join(encoded), np.uint8),
        ends=np.cumsum([len(part) for part in encoded], dtype=np.int64).reshape(-1, 3),
        sizes=np.array(sizes, np.int32).reshape(-1, 2),
        segments=np.array(found.segments, np.int32).reshape(-1, 3),
        firsts=np.cumsum([0, *found.counts], dtype=np.int64),
    )
    _check_categories(annotations)
    return annotations


def _check_categories(annotations: Annotations) -> None:
    """Check that every segment is of a category that is listed."""
    known = np.array([category.id for category in annotations.categories], np.int64)
    wrong = np.flatnonzero(~np.isin(annotations.segments[:, 1], known))
    if wrong.size:
        segment_id, category_id, _ = annotations.segments[wrong[0]].tolist()
        image_id = annotations.record(int(np.searchsorted(annotations.firsts, wrong[0], "right")) - 1).image_id
        where = f"{annotations.path}: image {image_id!r}"
        raise DatasetError(no_such_category(where, segment_id, category_id, DOCTOR))


def segments_info(
    path: PathLike, id_map: np.ndarray, segments: Iterable[Mapping[str, Any]], categories: Categories
) -> list[dict[str, Any]]:
    """Return the `segments_info` of a map, with areas and boxes; segments without a pixel are left out.

    Args:
        path: of the PNG, for messages.
        id_map: segment ids (H, W); 0 is void.
        segments: `id`, `category_id` and optionally `iscrowd` and more.
        categories: of the segments.

    Raises:
        DatasetError: map and segments contradict each other.
    """
    measured = measure(id_map)
    named, infos = set(), []
    for segment in segments:
        where, advice = f"{path}: this map", "nothing was written"
        segment_id, category_id, crowd = read_segment(segment, where, advice)
        if not categories.has_id(category_id):
            raise DatasetError(no_such_category(where, segment_id, category_id, advice))
        if segment_id in named:
            raise DatasetError(f"{path}: two segments have the id {segment_id}; give each its own")
        named.add(segment_id)
        if segment_id in measured:
            area, bbox = measured[segment_id]
            own = {"id": segment_id, "category_id": category_id, "iscrowd": crowd, "area": area, "bbox": bbox}
            infos.append({**segment, **own})
    if nameless := sorted(measured.keys() - named):
        raise DatasetError(f"{path}: pixels have the ids {first_few(nameless)}, which are not among the segments")
    return infos


class PanopticWriter:
    """Writes predictions or annotations: a PNG with each image, the JSON at the end."""

    def __init__(
        self, annotations: PathLike, masks: PathLike, categories: Categories, info: Mapping[str, Any] | None = None
    ) -> None:
        """Write the JSON to `annotations` and the PNGs into the folder `masks`.

        Args:
            annotations: the JSON.
            masks: the folder.
            categories: that the segments are of.
            info: for the format's key of that name.
        """
        self.annotations, self.masks, self.categories = Path(annotations), Path(masks), categories
        self.info = dict(info or {})
        self._listed = _Spool(self.annotations.parent)
        self._names: set[str] = set()
        self._ids: set[ImageId] = set()

    def __len__(self) -> int:
        """Return the number of images so far."""
        return len(self._listed)

    def entry(self, index: int) -> dict[str, Any]:
        """Return the annotation of an image, in the order in which they were added."""
        return json.loads(self._listed.pair(index)[1])

    def add(
        self,
        record: ImageRecord,
        id_map: np.ndarray,
        segments: Iterable[Mapping[str, Any]],
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one PNG and keep its entry for the JSON; areas and boxes are counted from the map.

        Args:
            record: the image; its `mask_name` is the name of the PNG.
            id_map: segment ids (H, W); 0 is void.
            segments: `id`, `category_id` and optionally `iscrowd` and more that JSON can hold, such as `score`.
                Segments without a pixel are left out.
            facts: more keys of the image's entry, such as `timestamp`.

        Raises:
            DatasetError: map and segments contradict each other, the image or its PNG was added before, or the PNG
                would be outside the folder.
            OutputError: the PNG cannot be written.
        """
        path = safe_child(self.masks, record.mask_name, record.file_name)
        if record.mask_name in self._names or record.image_id in self._ids:
            raise DatasetError(
                f"{path}: this PNG or its image {record.image_id!r} was added before; add each only once"
            )
        infos = segments_info(path, id_map, segments, self.categories)
        write_id_map(path, id_map)
        height, width = id_map.shape
        self._keep(
            {"id": record.image_id, "file_name": record.file_name, "height": height, "width": width, **(facts or {})},
            {"image_id": record.image_id, "file_name": record.mask_name, "segments_info": infos},
        )

    def _keep(self, image: dict[str, Any], entry: dict[str, Any]) -> None:
        """List an image whose PNG is written."""
        self._listed.add(json.dumps(image), json.dumps(entry))
        self._names.add(entry["file_name"])
        self._ids.add(image["id"])

    def close(self) -> Path:
        """Write the JSON and return its path.

        Raises:
            OutputError: it cannot be written.
        """
        opening = f'{{"info": {json.dumps(self.info)}, ' if self.info else "{"
        with written_whole(self.annotations) as temporary, temporary.open("w", encoding="utf-8") as sink:
            for key, part in (("images", 0), ("annotations", 1)):
                sink.write(f'{opening}"{key}": [')
                pairs = (self._listed.pair(index) for index in range(len(self)))
                sink.writelines(", " * (index > 0) + pair[part] for index, pair in enumerate(pairs))
                opening = "], "
            sink.write(f'], "categories": {json.dumps(self.categories.to_json())}}}')
        return self.annotations


class _Spool:
    """Pairs of JSON texts, an image and its annotation: in memory while they are few, then in a temporary file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = SpooledTemporaryFile(MAX_SPOOL_BYTES, dir=str(folder))  # noqa: SIM115 - it lives as long as this object
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) // 2

    def add(self, image: str, entry: str) -> None:
        """Append a pair, whole or not at all."""
        try:
            self._file.seek(self._ends[-1])
            self._file.write(f"{image}{entry}".encode())
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        self._ends.extend((self._ends[-1] + len(image), self._ends[-1] + len(image) + len(entry)))

    def pair(self, index: int) -> tuple[str, str]:
        """Return the pair of an index."""
        start, middle, stop = self._ends[2 * index : 2 * index + 3]
        self._file.seek(start)
        text = self._file.read(stop - start).decode()
        return text[: middle - start], text[middle - start :]
