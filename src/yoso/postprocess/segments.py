"""What every merge shares, without torch: sizes, segments, which queries are kept, bilinear positions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


@dataclass(frozen=True)
class Sizes:
    """The three sizes that a mask passes through, each (H, W) in pixels.

    Logits are upsampled to `padded`, cropped at the top left to `image`, and resized to `output`. Both resizings are
    bilinear, with pixel centres at half positions.

    Attributes:
        padded: the network's input, with its padding.
        image: the part of `padded` that is not padding.
        output: the result.
    """

    padded: tuple[int, int]
    image: tuple[int, int]
    output: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ValueError: a side is below 1, or the image is larger than the padded image.
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
        score: class probability of its query, 0 to 1; where stuff was merged, of the first query.
        area: in pixels.
        bbox: smallest box that holds the segment.
        query: index of its query, 0 to N-1, of the first one where stuff was merged; -1 if it is not known.
    """

    id: int
    class_index: int
    score: float
    area: int
    bbox: Box
    query: int = field(default=-1, compare=False)


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of the Q kept queries, counted over the whole output.

    Attributes:
        won: (Q,) pixels where the query has the largest score x mask.
        covered: (Q,) pixels where its own mask is at least 0.5, whoever won them.
        owned: (Q,) pixels that are both.
        extents: (Q, 4) first row, last row, first column and last column of the owned pixels; undefined if there are
            none.
    """

    won: np.ndarray
    covered: np.ndarray
    owned: np.ndarray
    extents: np.ndarray


def kept_queries(scores: np.ndarray, class_indices: np.ndarray, num_classes: int, threshold: float) -> np.ndarray:
    """Return the indices of the queries that take part: not `no_object`, and a score **above** the threshold.

    Args:
        scores: (N,) largest class probability of each query.
        class_indices: (N,) the class of that probability; `num_classes` is `no_object`.
        num_classes: K.
        threshold: the object-mask threshold, 0 to 1.
    """
    return np.flatnonzero((class_indices != num_classes) & (scores > threshold))


TOLERANCE = 1e-3
"""Relative error allowed for the bounds of `contenders`, and error of a logit in `contenders`; far above rounding."""

FAINT = 1e-36
"""Values below this count as equal: float32 loses digits below 1e-38, and exp(-logit) overflows there."""

CONTENDED_ROWS = 32
"""Output rows per strip in which queries compete. Fewer rows have fewer contenders, but each strip has overhead."""


def contenders(largest: np.ndarray, smallest: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the masks that matter where their logits are blended: those that can win or cover a pixel there.

    A blend lies between the smallest and the largest blended value. So a mask does not matter if it covers nothing, and
    the smallest score x sigmoid(mask) of another query is above its largest. Most masks are small, so few matter.

    Args:
        largest: (Q,) of the blended logits; Q is at least 1.
        smallest: (Q,) of the blended logits.
        scores: (Q,) 0 to 1.

    Returns:
        Ascending positions, 0 to Q-1; at least one.
    """
    with np.errstate(over="ignore"):
        at_most, at_least = (scores / (1 + np.exp(-bound)) for bound in (largest, smallest))
    may_win = at_most * (1 + TOLERANCE) + FAINT >= at_least.max()
    return np.flatnonzero(may_win | (largest >= -TOLERANCE))


def merge_segments(
    class_indices: Sequence[int],
    scores: Sequence[float],
    counts: PixelCounts,
    is_thing: Sequence[bool],
    overlap_threshold: float,
    queries: Sequence[int] = (),
) -> tuple[np.ndarray, list[Segment]]:
    """Decide which kept queries become segments.

    In query order, a query is dropped if it won, covers or owns no pixel, or if it won fewer pixels than
    `overlap_threshold` times what its mask covers. A stuff query whose class has a segment already joins that segment.
    `queries` are the indices of the kept queries, if the segments are to say which one they come from.

    Returns:
        (Q,) int32 segment id of each query, 0 if it is dropped; and the segments, with ids 1, 2, ...
    """
    segment_ids = np.zeros(len(scores), np.int32)
    segments: list[Segment] = []
    stuff: dict[int, int] = {}
    for position, class_index in enumerate(class_indices):
        won, covered, owned = (int(c[position]) for c in (counts.won, counts.covered, counts.owned))
        if min(won, covered, owned) == 0 or won / covered < overlap_threshold:
            continue
        box = box_of_extent(counts.extents[position])
        if class_index in stuff:
            first = stuff[class_index]
            segment_ids[position] = first
            segments[first - 1] = _joined(segments[first - 1], owned, box)
            continue
        query = queries[position] if queries else -1
        segment = Segment(len(segments) + 1, class_index, float(scores[position]), owned, box, query)
        segment_ids[position] = segment.id
        segments.append(segment)
        if not is_thing[class_index]:
            stuff[class_index] = segment.id
    return segment_ids, segments


def box_of_extent(extent: np.ndarray) -> Box:
    """Return the box of (first row, last row, first column, last column)."""
    top, bottom, left, right = (int(value) for value in extent)
    return left, top, right - left + 1, bottom - top + 1


def _joined(segment: Segment, area: int, box: Box) -> Segment:
    left, top = min(segment.bbox[0], box[0]), min(segment.bbox[1], box[1])
    right = max(segment.bbox[0] + segment.bbox[2], box[0] + box[2])
    bottom = max(segment.bbox[1] + segment.bbox[3], box[1] + box[3])
    bbox = (left, top, right - left, bottom - top)
    return replace(segment, area=segment.area + area, bbox=bbox)


@dataclass(frozen=True)
class Taps:
    """Where bilinear resizing reads along one axis: `(1 - weight) * x[lower] + weight * x[upper]`, each (n,)."""

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray


def taps(positions: np.ndarray, output_size: int, input_size: int) -> Taps:
    """Return what bilinear resizing (pixel centres at half positions) reads for some output positions.

    The arithmetic is float32, as in `torch.nn.functional.interpolate`, so that both agree on large images too.

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
    """How to make some output rows from rows of the logits: which rows to read, then one or two bilinear steps.

    Attributes:
        rows: the rows of the logits that are needed, ascending.
        steps: taps of each step. The first step's taps index into `rows`, the second step's into the first's result.
    """

    rows: np.ndarray
    steps: tuple[Taps, ...]


def plan_rows(start: int, stop: int, logits_height: int, sizes: Sizes) -> RowPlan:
    """Plan the output rows `start` to `stop` - 1 so that no other row is computed."""
    wanted = np.arange(start, stop)
    steps: list[Taps] = []
    if sizes.image != sizes.output:
        second = taps(wanted, sizes.output[0], sizes.image[0])
        wanted, second = _compacted(second)
        steps.append(second)
    rows, first = _compacted(taps(wanted, sizes.padded[0], logits_height))
    return RowPlan(rows, (first, *steps))


def _compacted(step: Taps) -> tuple[np.ndarray, Taps]:
    """Return the rows that a step reads, ascending, and the step with indices into those rows."""
    rows = np.union1d(step.lower, step.upper)
    return rows, Taps(np.searchsorted(rows, step.lower), np.searchsorted(rows, step.upper), step.weight)


def strips(num_masks: int, sizes: Sizes, max_bytes: int, max_rows: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut the output into strips of rows whose float32 masks take at most `max_bytes`, with at least one row each."""
    width = max(sizes.padded[1], sizes.output[1])
    step = max(1, max_bytes // (4 * max(1, num_masks) * width))
    step = min(step, max_rows or step)
    height = sizes.output[0]
    for start in range(0, height, step):
        yield start, min(start + step, height)
