"""Polygons and run lengths become masks, and overlapping masks become a map of segments."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.data.formats.annotations import ImageAnnotation, Segments, Size
from yoso.data.formats.counts import COVERED, SAME_OBJECT, SAME_STUFF, AnnotationCounts, AnnotationError

TOO_FEW_POINTS = "fewer than three points"
NOT_POINTS = "coordinates that are not pairs of finite numbers"
OUTSIDE = "outside the image"
TOO_COMPLEX = "more crossings of rows than pixels"
NO_PIXEL = "no pixel inside, thinner than a pixel"
NOT_RUN_LENGTHS = "malformed run-length mask"
OTHER_MASK_SIZE = "mask size differs from the image"

MAX_COORDINATE = 1e7
"""A coordinate beyond it, in pixels, is a fault of the file; no image is as large."""

MIN_CROSSINGS = 2**18
"""Crossings of rows that any polygon may have, and that are computed at a time."""

MAX_DIGITS = 8
"""Characters of a number in the text form of run lengths: 40 bits. No image has as many pixels."""


class Shape(NamedTuple):
    """One object, or one piece of stuff.

    Attributes:
        category_id: the data set's.
        mask: bool (H, W).
        is_crowd: a group of objects.
        num_annotations: the number of annotations that it is made of.
    """

    category_id: int
    mask: np.ndarray
    is_crowd: bool = False
    num_annotations: int = 1


def polygons_mask(polygons: Sequence[np.ndarray], size: Size) -> np.ndarray:
    """Return the pixels inside any of the polygons of one object: bool (H, W).

    Args:
        polygons: see `polygon_mask`.
        size: (height, width) of the image.

    Raises:
        AnnotationError: no pixel is inside.
    """
    mask = np.logical_or.reduce([polygon_mask(points, size) for points in polygons])
    if not mask.any():
        points, (height, width) = np.concatenate(polygons), size
        is_outside = (points.max(axis=0) <= 0).any() or (points.min(axis=0) >= [width, height]).any()
        raise AnnotationError(OUTSIDE if is_outside else NO_PIXEL)
    return mask


def polygon_mask(points: np.ndarray, size: Size) -> np.ndarray:
    """Return the pixels whose centers lie inside a polygon, by the even-odd rule.

    Args:
        points: (P, 2) corners x, y in pixels; (0, 0) is the upper left corner of the image, so the center of the first
            pixel is (0.5, 0.5). Parts outside the image are cut off.
        size: (height, width) of the image.

    Returns:
        bool (H, W).

    Raises:
        AnnotationError: the polygon crosses more rows than the image has pixels.
    """
    height, width = size
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    # An edge crosses the rows whose centers lie between its upper end, included, and its lower end.
    first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), 0, height).astype(np.int64)
    after = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), 0, height).astype(np.int64)
    counts = after - first
    ends = np.cumsum(counts)
    if ends[-1] > height * width + MIN_CROSSINGS:
        raise AnnotationError(TOO_COMPLEX, f"{ends[-1]:,} crossings of rows, {height * width:,} pixels")
    flips = np.zeros((height, width + 1), np.uint8)  # of which only the parity counts
    start = 0
    while start < len(points):  # some edges at a time: large polygons in large images cross millions of rows
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] - counts[start] + MIN_CROSSINGS, "right")))
        own = counts[start:stop]
        edge = np.repeat(np.arange(start, stop), own)
        row = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own) + first[edge]
        slope = (next_x[edge] - x[edge]) / (next_y[edge] - y[edge])
        crossing = x[edge] + (row + 0.5 - y[edge]) * slope
        column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
        np.add.at(flips, (row, column), np.uint8(1))
        start = stop
    return np.cumsum(flips, axis=1, dtype=np.uint8)[:, :width] % 2 == 1


def run_length_mask(encoded: Any, size: Size) -> np.ndarray:
    """Decode COCO's run lengths: columns from left to right, beginning with background.

    Args:
        encoded: `{"size": [H, W], "counts": list or text}`.
        size: (height, width) of the image.

    Returns:
        bool (H, W), not empty.

    Raises:
        AnnotationError: the size is not the image's, the runs do not fill it, or no pixel is inside.
    """
    counts = encoded.get("counts") if isinstance(encoded, dict) else None
    if isinstance(counts, str):
        if len(counts) > MAX_DIGITS * (size[0] * size[1] + 2):
            raise AnnotationError(NOT_RUN_LENGTHS, "more runs than pixels")
        counts = _numbers(counts)
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise AnnotationError(NOT_RUN_LENGTHS)
    if encoded.get("size") != list(size):
        raise AnnotationError(OTHER_MASK_SIZE, f"[height, width] {encoded.get('size')}, image {list(size)}")
    if sum(counts) != size[0] * size[1]:
        raise AnnotationError(NOT_RUN_LENGTHS, f"{sum(counts)} pixels, image {size[0] * size[1]}")
    values = np.arange(len(counts)) % 2 == 1
    mask = np.repeat(values, counts).reshape(size[1], size[0]).T
    if not mask.any():
        raise AnnotationError(NO_PIXEL)
    return mask


def _numbers(text: str) -> list[int]:
    """Decode the text form: a character holds five bits of a value from code 48 on, and a bit that says "continued".

    From the fourth number on, each is the difference to the second last one.
    """
    numbers: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise AnnotationError(NOT_RUN_LENGTHS, f"character {character!r}")
        value |= (code & 31) << shift
        shift += 5
        if shift > 5 * MAX_DIGITS:
            raise AnnotationError(NOT_RUN_LENGTHS, f"a number of more than {MAX_DIGITS} characters")
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
            value, shift = 0, 0
    return numbers


def paint(shapes: Iterable[Shape], categories: Categories, size: Size, counts: AnnotationCounts) -> ImageAnnotation:
    """Lay shapes over each other: stuff lowest, then crowds, then objects, larger ones below smaller ones.

    Stuff of one class becomes one segment. A shape that others cover wholly is no segment.

    Args:
        shapes: of one image.
        categories: that they are of.
        size: (height, width).
        counts: of the annotations that were read; what becomes of the shapes is added.
    """
    id_map = np.zeros(size, np.int32)
    things, stuff = [], {}
    segments: Segments = []
    members: list[list[Shape]] = []
    for shape in shapes:
        if categories[categories.index_of(shape.category_id)].is_thing:
            things.append(shape)
            continue
        if shape.category_id not in stuff:
            stuff[shape.category_id] = len(segments) + 1
            segments.append({"id": len(segments) + 1, "category_id": shape.category_id, "iscrowd": 0})
            members.append([])
        id_map[shape.mask] = stuff[shape.category_id]
        members[stuff[shape.category_id] - 1].append(shape)
    for shape in sorted(things, key=lambda shape: (not shape.is_crowd, -int(shape.mask.sum()))):
        segments.append({"id": len(segments) + 1, "category_id": shape.category_id, "iscrowd": int(shape.is_crowd)})
        members.append([shape])
        id_map[shape.mask] = len(segments)
    is_visible = np.bincount(id_map.ravel(), minlength=len(segments) + 1)[1:] > 0
    for visible, parts in zip(is_visible.tolist(), members, strict=True):
        num_annotations = sum(shape.num_annotations for shape in parts)
        counts.written += visible
        counts.merge(SAME_STUFF, len(parts) - 1 if visible else 0)
        counts.merge(SAME_OBJECT, num_annotations - len(parts) if visible else 0)
        counts.merge(COVERED, 0 if visible else num_annotations)
    kept = [segment for segment, visible in zip(segments, is_visible.tolist(), strict=True) if visible]
    return ImageAnnotation(id_map, kept, counts)


def corners(values: Any) -> np.ndarray:
    """Return the corners of a polygon given as x, y pairs or as x, y, x, y, ...: (P, 2).

    Raises:
        AnnotationError: there are fewer than three corners, or something else than pairs of finite numbers.
    """
    try:
        points = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.full(1, np.nan)
    is_flat = points.ndim == 1 and points.size % 2 == 0
    is_paired = points.shape[1:] == (2,)
    if not (is_flat or is_paired) or not (np.abs(points) < MAX_COORDINATE).all():
        raise AnnotationError(NOT_POINTS)
    if points.size < 6:
        raise AnnotationError(TOO_FEW_POINTS)
    return points.reshape(-1, 2)
