"""Joining the panoptic results of overlapping tiles into one result, with NumPy alone.

The rule:

1. Every pixel is taken from one tile. In the strip that two neighbours share, the border runs along the middle.
2. Stuff of one class is one segment.
3. Two things of neighbouring tiles are one object if they have the same class and an IoU above 0.5 in the area that
   both tiles see. As in the matching of panoptic quality, no thing then has two partners in one neighbour.
4. A thing without a partner is dropped if most of it lies where another tile is taken: that tile sees it better.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from yoso.errors import ConfigError
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Segment, box_of_extent

MIN_IOU = 0.5
MIN_SIDE = 4
"""Of a tile in pixels."""

STRIP_PIXELS = 2**22
"""Pixels that are renumbered at once."""


class TileGrid(NamedTuple):
    """Where the tiles of an image are; all have the same size.

    Attributes:
        tops: first row of each row of tiles, ascending.
        lefts: first column of each column of tiles, ascending.
        height: of every tile in pixels.
        width: of every tile in pixels.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    height: int
    width: int

    def boxes(self) -> Iterator[tuple[slice, slice]]:
        """Yield the rows and columns of each tile, row by row from the top left."""
        for top in self.tops:
            for left in self.lefts:
                yield slice(top, top + self.height), slice(left, left + self.width)


def checked_tiles(value: Any) -> tuple[int, int]:
    """Return the side and the overlap of tiles in pixels.

    Args:
        value: both, or the side alone, of which a quarter is then the overlap.

    Raises:
        ConfigError: the side is not a whole number of at least 4, or the overlap not one from 1 to half the side.
    """
    pair = tuple(value) if isinstance(value, list | tuple) else (value, None)
    whole = [isinstance(part, Integral) and not isinstance(part, bool) for part in pair]
    if len(pair) != 2 or not whole[0] or not (whole[1] or pair[1] is None):
        raise ConfigError(f"tiles is {value!r}; give the side of a tile in pixels, or (side, overlap)")
    side = int(pair[0])
    if side < MIN_SIDE:
        raise ConfigError(f"tiles is {value!r}; the side of a tile is at least {MIN_SIDE} pixels")
    overlap = side // 4 if pair[1] is None else int(pair[1])
    if not 1 <= overlap <= side // 2:
        raise ConfigError(
            f"tiles of {side} pixels cannot overlap by {overlap}; give an overlap from 1 to half the side, {side // 2}"
        )
    return side, overlap


def tile_grid(size: tuple[int, int], side: int, overlap: int) -> TileGrid:
    """Cover an image with as few equal, evenly spaced tiles as possible.

    Args:
        size: (height, width) of the image in pixels.
        side: of a tile in pixels; an image that is smaller in one direction has one tile in that direction.
        overlap: pixels that neighbours share at least, below `side`.
    """
    tops, lefts = (_starts(length, side, overlap) for length in size)
    return TileGrid(tops, lefts, min(side, size[0]), min(side, size[1]))


def _starts(length: int, side: int, overlap: int) -> tuple[int, ...]:
    steps = ceil(max(length - side, 0) / (side - overlap))
    return tuple(round(step * (length - side) / steps) for step in range(steps + 1)) if steps else (0,)


def _borders(starts: tuple[int, ...], side: int, length: int) -> list[int]:
    """Return where the pixels of each tile begin, and the end of the last one."""
    return [0, *((first + side + second) // 2 for first, second in pairwise(starts)), length]


class _Placed(NamedTuple):
    """A tile that has been placed.

    Attributes:
        ids: int32 (h, w), the provisional id of each pixel, 0 for void.
        top: row of its first pixel.
        left: column of its first pixel.
    """

    ids: np.ndarray
    top: int
    left: int


class Stitcher:
    """Joins tiles one after the other, row by row from the top left; holds the result and about one row of tiles."""

    def __init__(self, size: tuple[int, int], grid: TileGrid, is_thing: Sequence[bool] | np.ndarray) -> None:
        """Begin with an empty image.

        Args:
            size: (height, width) of the image in pixels.
            grid: where the tiles are.
            is_thing: by class index.
        """
        self._grid, self._is_thing = grid, [bool(each) for each in is_thing]
        self._rows = _borders(grid.tops, grid.height, size[0])
        self._columns = _borders(grid.lefts, grid.width, size[1])
        self._map = np.zeros(size, np.int32)
        # By provisional id; 0 is void.
        self._classes, self._scores, self._parents = [-1], [0.0], [0]
        self._inside = [0]  # pixels taken, minus pixels left to other tiles
        self._partnered = [False]
        self._stuff: dict[int, int] = {}
        self._placed: list[_Placed] = []  # the last tiles, as many as a row has
        self._num_placed = 0

    def add(self, tile: PanopticArrays) -> None:
        """Place the next tile.

        Args:
            tile: its segments, at its size in pixels.
        """
        per_row = len(self._grid.lefts)
        row, column = divmod(self._num_placed, per_row)
        top, left = self._grid.tops[row], self._grid.lefts[column]
        placed = _Placed(self._registered(tile), top, left)
        rows, columns = slice(*self._rows[row : row + 2]), slice(*self._columns[column : column + 2])
        taken = placed.ids[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        self._map[rows, columns] = taken
        self._weigh(placed.ids, taken)
        if column:
            self._join(self._placed[-1], placed)
        if row:
            self._join(self._placed[-per_row], placed)
        self._placed = [*self._placed, placed][-per_row:]
        self._num_placed += 1

    def _registered(self, tile: PanopticArrays) -> np.ndarray:
        """Return the tile's map in provisional ids."""
        provisional = np.zeros(1 + max((segment.id for segment in tile.segments), default=0), np.int32)
        for segment in tile.segments:
            own = len(self._classes)
            provisional[segment.id] = own
            self._classes.append(segment.class_index)
            self._scores.append(segment.score)
            self._inside.append(0)
            is_thing = self._is_thing[segment.class_index]
            self._parents.append(own if is_thing else self._stuff.setdefault(segment.class_index, own))
            self._partnered.append(not is_thing)
        return provisional[tile.segmentation]

    def _weigh(self, ids: np.ndarray, taken: np.ndarray) -> None:
        """Count for each segment the pixels that are taken against those that are not."""
        for places, sign in ((ids, -1), (taken, 2)):
            numbers, counts = np.unique(places, return_counts=True)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                self._inside[number] += sign * count

    def _join(self, first: _Placed, second: _Placed) -> None:
        """Join the things of two neighbours that are the same object in the area that both see."""
        top, left = max(first.top, second.top), max(first.left, second.left)
        bottom = min(tile.top + tile.ids.shape[0] for tile in (first, second))
        right = min(tile.left + tile.ids.shape[1] for tile in (first, second))
        a, b = (
            tile.ids[top - tile.top : bottom - tile.top, left - tile.left : right - tile.left]
            for tile in (first, second)
        )
        area = {}
        for ids in (a, b):
            numbers, counts = np.unique(ids, return_counts=True)
            area.update(zip(numbers.tolist(), counts.tolist(), strict=True))
        pairs, counts = np.unique(a.astype(np.int64) << 32 | b, return_counts=True)
        for pair, common in zip(pairs.tolist(), counts.tolist(), strict=True):
            one, other = pair >> 32, pair & 0xFFFFFFFF
            if not one or not other or self._classes[one] != self._classes[other]:
                continue
            if self._is_thing[self._classes[one]] and common > MIN_IOU * (area[one] + area[other] - common):
                self._partnered[one] = self._partnered[other] = True
                roots = sorted((self._root(one), self._root(other)))
                self._parents[roots[1]] = roots[0]

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            number = self._parents[number]
        return number

    def result(self) -> PanopticArrays:
        """Return the whole image, once all tiles are placed; ids count up from 1 in the order of the tiles."""
        height, width = self._map.shape
        roots = np.array([self._root(number) for number in range(len(self._parents))], np.int32)
        dropped = ~np.array(self._partnered) & (np.array(self._inside) < 0)
        roots[dropped] = 0
        boxes = _Extents(len(roots), height, width)
        step = max(1, STRIP_PIXELS // width)
        for start in range(0, height, step):
            strip = self._map[start : start + step]
            strip[...] = roots[strip]
            boxes.add(strip, start)
        present = [number for number in np.flatnonzero(boxes.area).tolist() if number]
        final = np.zeros(len(roots), np.int32)
        final[present] = np.arange(1, len(present) + 1)
        for start in range(0, height, step):
            strip = self._map[start : start + step]
            strip[...] = final[strip]
        best = np.zeros(len(roots))
        np.maximum.at(best, roots, np.array(self._scores))
        segments = [
            Segment(index, self._classes[number], float(best[number]), int(boxes.area[number]), boxes.box(number))
            for index, number in enumerate(present, 1)
        ]
        return PanopticArrays(self._map, segments)


class _Extents:
    """Area, first and last row and column of every id, gathered strip by strip."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.area = np.zeros(count, np.int64)
        self._first = np.tile(np.array([height, width]), (count, 1))
        self._last = np.full((count, 2), -1)

    def add(self, strip: np.ndarray, top: int) -> None:
        """Add a strip of ids whose first row is `top`."""
        numbers, places, counts = np.unique(strip, return_inverse=True, return_counts=True)
        places = places.reshape(strip.shape)
        self.area[numbers] += counts
        rows, columns = np.indices(strip.shape, sparse=True)
        for axis, (positions, offset) in enumerate(((rows, top), (columns, 0))):
            present = np.zeros((len(numbers), strip.shape[axis]), bool)
            present[places, positions] = True
            first = present.argmax(1) + offset
            last = present.shape[1] - 1 - present[:, ::-1].argmax(1) + offset
            self._first[numbers, axis] = np.minimum(self._first[numbers, axis], first)
            self._last[numbers, axis] = np.maximum(self._last[numbers, axis], last)

    def box(self, number: int) -> tuple[int, int, int, int]:
        """Return x, y, width and height of an id."""
        (top, left), (bottom, right) = self._first[number], self._last[number]
        return box_of_extent(np.array([top, bottom, left, right]))
