"""Polygons and run lengths become masks, and overlapping masks become a map of segments."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.data.formats.encodings import Segments, Truth
from yoso.data.formats.plan import Size
from yoso.errors import DatasetError


class Shape(NamedTuple):
    """One object, or one piece of stuff.

    Attributes:
        category_id: the data set's.
        mask: bool (H, W).
        is_crowd: a group of objects.
    """

    category_id: int
    mask: np.ndarray
    is_crowd: bool = False


def polygon_mask(points: np.ndarray, size: Size) -> np.ndarray:
    """Return the pixels whose centres lie inside a polygon, by the even-odd rule.

    Args:
        points: (P, 2) corners x, y in pixels; (0, 0) is the upper left corner of the image, so the centre of the first
            pixel is (0.5, 0.5). Parts outside the image are cut off.
        size: (height, width) of the image.

    Returns:
        bool (H, W).
    """
    height, width = size
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    # An edge crosses the rows whose centres lie from its upper end on, and before its lower end.
    first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), 0, height).astype(np.int64)
    after = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), 0, height).astype(np.int64)
    counts = after - first
    edge = np.repeat(np.arange(len(points)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    slope = (next_x[edge] - x[edge]) / (next_y[edge] - y[edge])
    crossing = x[edge] + (row + 0.5 - y[edge]) * slope
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    flips = np.zeros((height, width + 1), np.int32)
    np.add.at(flips, (row, column), 1)
    return np.cumsum(flips, axis=1)[:, :width] % 2 == 1


def run_length_mask(encoded: Any, size: Size, where: str) -> np.ndarray:
    """Decode COCO's run lengths: columns from left to right, beginning with background.

    Args:
        encoded: `{"size": [H, W], "counts": list or text}`.
        size: (height, width) of the photograph.
        where: for messages.

    Returns:
        bool (H, W).

    Raises:
        DatasetError: the size differs from the photograph's, or the runs do not fill it.
    """
    counts = encoded.get("counts") if isinstance(encoded, dict) else None
    if isinstance(counts, str):
        counts = _numbers(counts, where)
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise DatasetError(f"{where}: is no run-length mask; it needs 'size' and 'counts'; export it again")
    if encoded.get("size") != list(size) or sum(counts) != size[0] * size[1]:
        raise DatasetError(
            f"{where}: is a mask of {encoded.get('size')}, its photograph is {list(size)}; export it again"
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[1], size[0]).T


def _numbers(text: str, where: str) -> list[int]:
    """Decode the text form: six bits a character from code 48 on, five of value and one that says more follow.

    From the fourth number on, each is the difference to the one two places before.
    """
    numbers: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise DatasetError(f"{where}: {character!r} is no character of run lengths; export it again")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
            value, shift = 0, 0
    return numbers


def painted(shapes: Iterable[Shape], categories: Categories, size: Size) -> Truth:
    """Lay shapes over each other: stuff lowest, then crowds, then objects, larger ones below smaller ones.

    Pieces of stuff of one class become one segment. A shape that others cover wholly is no segment.

    Args:
        shapes: of one photograph.
        categories: that they are of.
        size: (height, width).
    """
    id_map = np.zeros(size, np.int32)
    things, owner = [], {}
    segments: Segments = []
    for shape in shapes:
        category = categories[categories.index_of(shape.category_id)]
        if category.is_thing:
            things.append(shape)
        else:
            if shape.category_id not in owner:
                owner[shape.category_id] = len(segments) + 1
                segments.append({"id": len(segments) + 1, "category_id": shape.category_id, "iscrowd": 0})
            id_map[shape.mask] = owner[shape.category_id]
    for shape in sorted(things, key=lambda shape: (not shape.is_crowd, -int(shape.mask.sum()))):
        segments.append({"id": len(segments) + 1, "category_id": shape.category_id, "iscrowd": int(shape.is_crowd)})
        id_map[shape.mask] = len(segments)
    return Truth(id_map, segments)


def corners(values: Any, where: str) -> np.ndarray:
    """Return the corners of a polygon given as x, y pairs or as x, y, x, y, ...: (P, 2).

    Raises:
        DatasetError: fewer than three corners, an odd count, or something else than finite numbers.
    """
    try:
        points = np.array(values, np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.size < 6 or points.size % 2 or points.ndim > 2 or not np.isfinite(points).all():
        raise DatasetError(f"{where}: is no polygon; three or more corners x, y are needed; export it again")
    return points.reshape(-1, 2)


def union(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the pixels of any of some masks."""
    return np.logical_or.reduce(masks)
