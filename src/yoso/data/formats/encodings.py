"""Decoders for the PNGs in which three benchmarks store segments.

Each function returns a map (H, W) of segment ids, 0 for void, and its segments. An id depends on the label and the
instance number alone, so the same file gives the same map on every machine.
"""

import numpy as np

from yoso.categories import Categories
from yoso.data.formats.annotations import ImageAnnotation
from yoso.data.formats.counts import SAME_STUFF, AnnotationCounts
from yoso.errors import DatasetError

CITYSCAPES_LABELS = 34
"""Label ids 0 to 33; 19 of them are evaluated, the others are void."""

ADE20K_LABELS = 150


def decode_cityscapes(
    values: np.ndarray, categories: Categories, where: str, num_labels: int | None = CITYSCAPES_LABELS
) -> ImageAnnotation:
    """Decode `*_gtFine_instanceIds.png`.

    A pixel is its label id, or 1000 x label id + instance number for an object. Pixels of an object class without an
    instance number are a group of objects that annotators could not separate: a crowd. Stuff of one class is one
    segment. Labels that are not evaluated become void.

    Args:
        values: (H, W) 16-bit values.
        categories: the evaluated classes; their ids are label ids.
        where: the file, for messages.
        num_labels: the number of labels, evaluated or not; None if any label may occur.

    Raises:
        DatasetError: the image is of another kind, or a value is not a label.
    """
    if values.ndim != 2 or values.dtype != np.int32:
        raise DatasetError(f"{where}: instance ids are 16-bit grey values; use the file *_gtFine_instanceIds.png")
    present, inverse = np.unique(values, return_inverse=True)
    labels = np.where(present < 1000, present, present // 1000)
    if num_labels and (wrong := present[labels >= num_labels]).size:
        raise DatasetError(f"{where}: the value {wrong[0]} is not a Cityscapes label; use *_gtFine_instanceIds.png")
    ids = np.zeros(len(present), np.int32)
    segments: dict[int, dict[str, int]] = {}
    counts = AnnotationCounts()
    for index, (value, label) in enumerate(zip(present.tolist(), labels.tolist(), strict=True)):
        if value and categories.has_id(label):
            is_thing = categories[categories.index_of(label)].is_thing
            ids[index] = value if is_thing else label
            segments[int(ids[index])] = {
                "id": int(ids[index]),
                "category_id": label,
                "iscrowd": int(is_thing and value < 1000),
            }
            counts.read += 1
        else:
            counts.void += value > 0
    counts.written = len(segments)
    counts.merge(SAME_STUFF, counts.read - counts.written)
    return ImageAnnotation(ids[inverse].reshape(values.shape), list(segments.values()), counts)


def decode_ade20k(
    semantic: np.ndarray, instances: np.ndarray, categories: Categories, where: tuple[str, str]
) -> ImageAnnotation:
    """Combine ADE20K's class map with its instance map, as the official preparation does.

    The class map holds 1 to 150, and 0 for void. In the instance map, red is the number of the thing class, 1 to 100 in
    the order of the 150, and green is the number of the object, 0 where there is none. Stuff comes from the class map;
    objects come from the instance map and lie on top. Pixels of a thing class without an object are void.

    Args:
        semantic: uint8 (H, W).
        instances: uint8 (H, W, 3).
        categories: the 150 classes, ids 0 to 149.
        where: the two files, for messages.

    Raises:
        DatasetError: an image is of another kind, the two differ in size, or a value is not a class.
    """
    if semantic.ndim != 2 or semantic.dtype != np.uint8:
        raise DatasetError(f"{where[0]}: class labels are 8-bit grey values; use the file of annotations/")
    if instances.ndim != 3:
        raise DatasetError(f"{where[1]}: instances are encoded in red and green; use the file of annotations_instance/")
    if semantic.shape != instances.shape[:2]:
        raise DatasetError(
            f"{where[1]}: is {_by(instances.shape)}, {where[0]} is {_by(semantic.shape)}; they belong to two "
            "images; unpack both archives again"
        )
    if (highest := int(semantic.max())) > ADE20K_LABELS:
        raise DatasetError(f"{where[0]}: the value {highest} is not one of the 150 classes; use the file of ADE20K")
    things = np.array([0, *(category.id + 1 for category in categories if category.is_thing)], np.int32)
    kind, number = instances[..., 0].astype(np.int32), instances[..., 1].astype(np.int32)
    is_object = number > 0
    named = kind[is_object]
    if named.size and not 0 < named.min() <= named.max() < len(things):
        wrong = named.max() if named.min() else 0
        raise DatasetError(f"{where[1]}: red {wrong} is not one of the 100 thing classes; use the file of ADE20K")
    is_stuff = np.array([False, *(not category.is_thing for category in categories)])
    id_map = np.where(is_stuff[semantic], semantic.astype(np.int32), 0)
    id_map[is_object] = 256 * things[named] + number[is_object]
    ids = [int(value) for value in np.unique(id_map) if value]
    segments = [{"id": i, "category_id": (i if i < 256 else i // 256) - 1, "iscrowd": 0} for i in ids]
    return ImageAnnotation(id_map, segments)


def decode_mapillary(values: np.ndarray, categories: Categories, num_labels: int, where: str) -> ImageAnnotation:
    """Decode a Mapillary Vistas instance map: 256 x label + number of the object.

    Args:
        values: (H, W) 16-bit values.
        categories: the evaluated classes; an id is the label plus 1. Other labels are void.
        num_labels: the number of labels, evaluated or not.
        where: the file, for messages.

    Raises:
        DatasetError: the image is of another kind, or a value is not a label.
    """
    if values.ndim != 2 or values.dtype != np.int32:
        raise DatasetError(f"{where}: instances are 16-bit grey values; use the file of instances/, not of labels/")
    if (highest := int(values.max()) // 256) >= num_labels:
        raise DatasetError(
            f"{where}: label {highest} is not one of the {num_labels}; use the file of this version of Mapillary Vistas"
        )
    is_thing = np.zeros(num_labels, bool)
    is_known = np.zeros(num_labels, bool)
    for category in categories:
        is_thing[category.id - 1] = category.is_thing
        is_known[category.id - 1] = True
    labels, numbers = np.divmod(values, 256)
    id_map = np.where(is_known[labels], 256 * (labels + 1) + np.where(is_thing[labels], numbers, 0), 0)
    ids = [int(value) for value in np.unique(id_map) if value]
    return ImageAnnotation(id_map.astype(np.int32), [{"id": i, "category_id": i // 256, "iscrowd": 0} for i in ids])


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
