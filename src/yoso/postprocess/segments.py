"""What every merge shares, without torch: sizes, segments, the rule that keeps or drops, bilinear positions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sizes:
    """The three sizes a mask passes through, each (H, W) in pixels.

    Logits are enlarged to `padded`, cropped at the top left to `image`, and resized to `output`; both resizings are
    bilinear, pixel centres at half positions.

    Attributes:
        padded: the network's input, padding included.
        image: the part of it that is photograph.
        output: the size of the result.
    """

    padded: tuple[int, int]
    image: tuple[int, int]
    output: tuple[int, int]

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be.

        Raises:
            ValueError: a side below 1, or an image larger than its padded self.
        """
        if min(*self.padded, *self.image, *self.output) < 1:
            raise ValueError(f"every side must be at least 1 pixel: {self}")
        if self.image[0] > self.padded[0] or self.image[1] > self.padded[1]:
            raise ValueError(f"the image {self.image} is larger than the padded image {self.padded}")


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic result.

    Attributes:
        id: its value in the segmentation, from 1.
        class_index: 0 to K-1.
        score: class probability of its query, 0 to 1; of the first query where stuff was merged.
        area: pixels.
        bbox: x, y, width, height of the smallest box that holds it, in pixels.
    """

    id: int
    class_index: int
    score: float
    area: int
    bbox: tuple[int, int, int, int]


@dataclass(frozen=True)
class Counts:
    """What the merge needs to know about the pixels of the K' surviving queries, counted over the whole output.

    Attributes:
        won: (K',) pixels where the query has the largest score x mask.
        covered: (K',) pixels where its own mask is at least 0.5, whoever won them.
        owned: (K',) pixels that are both.
        boxes: (K', 4) first row, last row, first column, last column of the owned pixels; anything where there
            are none.
    """

    won: np.ndarray
    covered: np.ndarray
    owned: np.ndarray
    boxes: np.ndarray


def survivors(scores: np.ndarray, class_indices: np.ndarray, num_classes: int, threshold: float) -> np.ndarray:
    """Return the indices of the queries that take part: not `no_object`, and a score **above** the threshold.

    Args:
        scores: (N,) largest class probability of each query.
        class_indices: (N,) the class it belongs to; `num_classes` is `no_object`.
        num_classes: K.
        threshold: the object-mask threshold, 0 to 1.
    """
    return np.flatnonzero((class_indices != num_classes) & (scores > threshold))


LEEWAY = 1e-3
"""By what share the bounds of `contenders` may err, or by how much a logit; far above what rounding does."""

FAINT = 1e-36
"""What is below this may all be the same: float32 loses digits below 1e-38, and exp(-logit) overflows there."""

CONTENDED_ROWS = 32
"""Output rows that queries compete for at a time: fewer rows have fewer contenders, but every strip has its calls."""


def contenders(largest: np.ndarray, least: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return which masks matter where their logits are blended, ascending: what can win a pixel there, or cover one.

    A blend lies between the least and the largest of what is blended. So a mask does not matter if it covers nothing
    there and the least score x sigmoid(mask) of another is above its largest. Most masks are small, so few matter.

    Args:
        largest: (Q,) of the logits that are blended, Q at least 1.
        least: (Q,) of them.
        scores: (Q,) 0 to 1.
    """
    with np.errstate(over="ignore"):
        at_most, at_least = (scores / (1 + np.exp(-bound)) for bound in (largest, least))
    may_win = at_most * (1 + LEEWAY) + FAINT >= at_least.max()
    return np.flatnonzero(may_win | (largest >= -LEEWAY))


def merge_segments(
    class_indices: Sequence[int],
    scores: Sequence[float],
    counts: Counts,
    is_thing: Sequence[bool],
    overlap_threshold: float,
) -> tuple[np.ndarray, list[Segment]]:
    """Decide which surviving queries become segments.

    In query order: a query with no pixel won, covered or owned is dropped, and so is one that won fewer pixels than
    `overlap_threshold` times what its mask covers. Stuff of a class that is there already joins the first piece.

    Returns:
        (K',) int32 segment id of each query, 0 where it is dropped; and the segments, ids 1, 2, ...
    """
    owners = np.zeros(len(scores), np.int32)
    segments: list[Segment] = []
    stuff: dict[int, int] = {}
    for query, class_index in enumerate(class_indices):
        won, covered, owned = (int(c[query]) for c in (counts.won, counts.covered, counts.owned))
        if min(won, covered, owned) == 0 or won / covered < overlap_threshold:
            continue
        box = _box(counts.boxes[query])
        if class_index in stuff:
            first = stuff[class_index]
            owners[query] = first
            segments[first - 1] = _joined(segments[first - 1], owned, box)
            continue
        segment = Segment(len(segments) + 1, class_index, float(scores[query]), owned, box)
        owners[query] = segment.id
        segments.append(segment)
        if not is_thing[class_index]:
            stuff[class_index] = segment.id
    return owners, segments


def _box(extent: np.ndarray) -> tuple[int, int, int, int]:
    top, bottom, left, right = (int(value) for value in extent)
    return left, top, right - left + 1, bottom - top + 1


def _joined(segment: Segment, area: int, box: tuple[int, int, int, int]) -> Segment:
    left, top = min(segment.bbox[0], box[0]), min(segment.bbox[1], box[1])
    right = max(segment.bbox[0] + segment.bbox[2], box[0] + box[2])
    bottom = max(segment.bbox[1] + segment.bbox[3], box[1] + box[3])
    bbox = (left, top, right - left, bottom - top)
    return Segment(segment.id, segment.class_index, segment.score, segment.area + area, bbox)


@dataclass(frozen=True)
class Taps:
    """Where bilinear resizing reads along one axis: `(1 - weight) * x[lower] + weight * x[upper]`, each (n,)."""

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray


def taps(positions: np.ndarray, output_size: int, input_size: int) -> Taps:
    """Return what bilinear resizing (pixel centres at half positions) reads for some output positions.

    In float32, as `torch.nn.functional.interpolate` does, so that both agree on large images too.

    Args:
        positions: (n,) output positions, 0 to `output_size` - 1.
        output_size: length of the whole output axis.
        input_size: length of the input axis.
    """
    scale = np.float32(input_size) / np.float32(output_size)
    source = np.maximum((positions.astype(np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    lower = np.minimum(source.astype(np.int64), input_size - 1)
    upper = np.minimum(lower + 1, input_size - 1)
    return Taps(lower, upper, np.clip(source - lower, 0, 1).astype(np.float32))


@dataclass(frozen=True)
class RowPlan:
    """How some output rows are made from the logits' rows: which to read, then one or two bilinear steps.

    Attributes:
        rows: the logits' rows that are needed, ascending.
        steps: taps of each step; those of the first index into `rows`, those of the second into the first's result.
    """

    rows: np.ndarray
    steps: tuple[Taps, ...]


def plan_rows(start: int, stop: int, logits_height: int, sizes: Sizes) -> RowPlan:
    """Plan the output rows `start` to `stop` - 1 so that nothing else is ever computed."""
    wanted = np.arange(start, stop)
    steps: list[Taps] = []
    if sizes.image != sizes.output:
        second = taps(wanted, sizes.output[0], sizes.image[0])
        wanted, second = _compacted(second)
        steps.append(second)
    rows, first = _compacted(taps(wanted, sizes.padded[0], logits_height))
    return RowPlan(rows, (first, *steps))


def _compacted(step: Taps) -> tuple[np.ndarray, Taps]:
    """Return the rows a step reads, ascending, and the step with its indices counted among those."""
    rows = np.union1d(step.lower, step.upper)
    return rows, Taps(np.searchsorted(rows, step.lower), np.searchsorted(rows, step.upper), step.weight)


def strips(num_masks: int, sizes: Sizes, max_bytes: int, max_rows: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut the output into strips of rows whose float32 masks take at most `max_bytes` (but one row at least)."""
    width = max(sizes.padded[1], sizes.output[1])
    step = max(1, max_bytes // (4 * max(1, num_masks) * width))
    step = min(step, max_rows or step)
    height = sizes.output[0]
    for start in range(0, height, step):
        yield start, min(start + step, height)
