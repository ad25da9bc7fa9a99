"""Masks in the forms that clients and annotation tools take: polygons, COCO run lengths, Label Studio's brush."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from yoso.postprocess.segments import Box

Size = tuple[int, int]
Point = tuple[int, int]
Edges = dict[tuple[int, int, int], int]
"""End of each straight piece of outline, by its line, its start, and its direction: 1 to higher positions, or -1."""


def segment_mask(segmentation: np.ndarray, segment_id: int, box: Box) -> np.ndarray:
    """Return the mask of a segment inside its box, bool (h, w).

    Args:
        segmentation: int (H, W), segment ids.
        segment_id: of the segment.
        box: x, y, width, height in pixels; it holds the whole segment.
    """
    x, y, width, height = box
    return segmentation[y : y + height, x : x + width] == segment_id


def polygons(mask: np.ndarray, corner: Point = (0, 0)) -> list[list[int]]:
    """Return the outlines of a mask, exact to the pixel.

    Pixels that touch at a corner only belong to different outlines. Filling all outlines with the even-odd rule gives
    the mask again.

    Args:
        mask: bool (h, w).
        corner: x and y of the mask's upper left pixel in the image.

    Returns:
        One list [x1, y1, x2, y2, ...] per outline, in pixel edges: 0 to the image's width and height. Outer outlines
        run clockwise as displayed, holes counterclockwise.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    horizontal = dict(_runs(padded[1:, 1:-1] - padded[:-1, 1:-1]))
    turned = padded.T
    vertical = dict(_runs(turned[:-1, 1:-1] - turned[1:, 1:-1]))
    outlines = []
    while horizontal:
        outline = _outline(horizontal, vertical)
        outlines.append([value + corner[place % 2] for place, value in enumerate(outline)])
    return outlines


def _outline(horizontal: Edges, vertical: Edges) -> list[int]:
    """Remove the edges of one outline, and return its corners.

    Where two edges start at one point, the outline turns right, so that pixels that touch at a corner are separate:
    right is followed by down, down by left, left by up, up by right.
    """
    (line, start, direction), end = horizontal.popitem()
    first = (start, line)
    outline = list(first)
    x, y = end, line
    while True:
        outline += (x, y)
        turn, y = _next(vertical, (x, y), direction)
        closing = horizontal.pop((y, x, -turn), None)
        if closing is None and (x, y) == first:
            return outline
        outline += (x, y)
        direction, x = (-turn, closing) if closing is not None else _next(horizontal, (y, x), turn)


def _next(edges: Edges, point: Point, preferred: int) -> tuple[int, int]:
    """Remove the edge that starts at a point; return its direction, and where it ends.

    Args:
        edges: see `_runs`.
        point: the edge's line, and its start along it.
        preferred: direction to take if two edges start here.
    """
    direction = preferred if (*point, preferred) in edges else -preferred
    return direction, edges.pop((*point, direction))


def _runs(edges: np.ndarray) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Yield the longest straight pieces of edges.

    Args:
        edges: int8 (lines, n): 1 where an edge leads to higher positions, -1 to lower ones, 0 where there is none.

    Yields:
        (line, start, direction) and end of each piece.
    """
    padded = np.pad(edges, ((0, 0), (1, 1)))
    changes = padded[:, 1:] != padded[:, :-1]
    starts = np.argwhere(changes & (padded[:, 1:] != 0))
    ends = np.argwhere(changes & (padded[:, :-1] != 0))
    directions = edges[starts[:, 0], starts[:, 1]]
    for (line, low), (_, high), direction in zip(starts.tolist(), ends.tolist(), directions.tolist(), strict=True):
        yield ((line, low, 1), high) if direction > 0 else ((line, high, -1), low)


def coco_rle(mask: np.ndarray, corner: Point, size: Size) -> dict[str, object]:
    """Return a mask as COCO's compressed run lengths.

    Args:
        mask: bool (h, w), a part of the image.
        corner: x and y of the mask's upper left pixel in the image.
        size: (H, W) of the image.

    Returns:
        `{"size": [H, W], "counts": text}`, as pycocotools writes it.
    """
    x, y = corner
    padded = np.pad(mask.T, ((0, 0), (1, 1)))
    column, row = np.nonzero(padded[:, 1:] != padded[:, :-1])
    bounds = (column + x) * size[0] + row + y
    # A run that reaches the bottom of one column continues at the top of the next.
    inner = bounds[1:-1].reshape(-1, 2)
    bounds = np.concatenate([bounds[:1], inner[inner[:, 0] != inner[:, 1]].ravel(), bounds[-1:]])
    counts = np.diff(bounds, prepend=0, append=size[0] * size[1])
    if counts[-1] == 0:
        counts = counts[:-1]
    return {"size": list(size), "counts": _compressed(counts.tolist())}


def _compressed(counts: Sequence[int]) -> str:
    """Write counts as differences to the last but one, five bits per character, as COCO does."""
    text = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(48 + bits + 32 * more))
    return "".join(text)


RUN_BITS = (3, 4, 8, 16)
"""Lengths of the numbers with which a brush mask says how long a run is."""


def brush_rle(mask: np.ndarray) -> list[int]:
    """Return a mask as Label Studio's brush format: the runs of an RGBA image, 0 or 255, as a stream of bits.

    Args:
        mask: bool (H, W), of the whole image.

    Returns:
        The bytes, 0 to 255.
    """
    flat = mask.ravel()
    edges = [*np.flatnonzero(np.diff(flat, prepend=~flat[:1])).tolist(), flat.size]
    bits = [f"{4 * flat.size:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in RUN_BITS)]
    value = bool(flat[0])
    for start, end in pairwise(edges):
        length = 4 * (end - start)
        while length:
            part = min(length, 2 ** RUN_BITS[-1])
            place = next(place for place, size in enumerate(RUN_BITS) if part <= 2**size)
            bits.append(f"1{place:02b}{part - 1:0{RUN_BITS[place]}b}{255 * value:08b}")
            length -= part
        value = not value
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
