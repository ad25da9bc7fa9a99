"""Counting and renumbering in maps of segment ids, by runs of equal pixels."""

import numpy as np

from yoso.categories import VOID

STRIP_PIXELS = 2**20
"""Pixels that are measured at a time, so that large maps need no more working memory than small ones."""

Measured = dict[int, tuple[int, list[int]]]


def measure(id_map: np.ndarray) -> Measured:
    """Return the area in pixels and the box [x, y, width, height] of every id in a map (H, W) but void.

    Boxes are in whole pixels from the upper left corner, as in COCO panoptic: a box of one pixel is 1 wide and 1 high.
    """
    height, width = id_map.shape
    if id_map.size == 0:
        return {}
    rows = max(1, STRIP_PIXELS // width)
    found: dict[int, tuple[int, ...]] = {}
    for top in range(0, height, rows):
        for segment_id, *part in _extents(id_map[top : top + rows], top):
            area, left, upper, right, lower = found.get(segment_id, (0, width, height, 0, 0))
            found[segment_id] = (
                area + part[0],
                min(left, part[1]),
                min(upper, part[2]),
                max(right, part[3]),
                max(lower, part[4]),
            )
    return {
        segment_id: (area, [left, upper, right - left, lower - upper])
        for segment_id, (area, left, upper, right, lower) in sorted(found.items())
    }


def _extents(strip: np.ndarray, top: int) -> list[list[int]]:
    """Return [id, area, left, upper, right, lower] of every id but void; right and lower are exclusive."""
    width = strip.shape[1]
    flat = strip.ravel()
    changes = _changes(flat)
    changes[::width] = True
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts, append=flat.size)
    kept = flat[starts] != VOID
    starts, lengths = starts[kept], lengths[kept]
    if starts.size == 0:
        return []
    order = np.argsort(flat[starts], kind="stable")
    starts, lengths = starts[order], lengths[order]
    ids = flat[starts]
    rows, lefts = np.divmod(starts, width)
    firsts = np.flatnonzero(_changes(ids))
    columns = (
        ids[firsts],
        np.add.reduceat(lengths, firsts),
        np.minimum.reduceat(lefts, firsts),
        np.minimum.reduceat(rows, firsts) + top,
        np.maximum.reduceat(lefts + lengths, firsts),
        np.maximum.reduceat(rows, firsts) + top + 1,
    )
    return np.stack(columns, axis=1).tolist()


def _changes(values: np.ndarray) -> np.ndarray:
    """Return True at the first value and where a value differs from the one before it."""
    changes = np.empty(values.size, bool)
    changes[:1] = True
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def renumbered(id_map: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return int32 (H, W): 1 + the position in `ids` of each pixel's id, `VOID` where it is not among them.

    Args:
        id_map: segment ids (H, W).
        ids: (M,) different ids.
    """
    if len(ids) == 0 or id_map.size == 0:
        return np.full(id_map.shape, VOID, np.int32)
    flat = id_map.ravel()
    starts = np.flatnonzero(_changes(flat))
    values = flat[starts]
    order = np.argsort(ids, kind="stable")
    known = ids[order]
    place = np.searchsorted(known, values).clip(max=len(ids) - 1)
    numbers = np.where(known[place] == values, order[place] + 1, VOID).astype(np.int32)
    return np.repeat(numbers, np.diff(starts, append=flat.size)).reshape(id_map.shape)


def first_few(values: list[int], most: int = 5) -> str:
    """Return up to `most` numbers for a message: `3, 7, 12 and 40 more`."""
    text = ", ".join(str(value) for value in values[:most])
    return f"{text} and {len(values) - most} more" if len(values) > most else text
