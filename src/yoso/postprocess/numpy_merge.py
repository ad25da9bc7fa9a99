"""The panoptic merge with NumPy alone, for machines that run an exported network without torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yoso.postprocess.segments import (
    CONTENDED_ROWS,
    PixelCounts,
    RowPlan,
    Segment,
    Sizes,
    Taps,
    contenders,
    kept_queries,
    merge_segments,
    plan_rows,
    strips,
    taps,
)
from yoso.settings import Thresholds

STRIP_BYTES = 2**22
"""Size of the float32 masks of one strip of rows."""


@dataclass(frozen=True)
class PanopticArrays:
    """The segment of every pixel, as arrays.

    Attributes:
        segmentation: int32 (H, W), segment id per pixel, 0 is void.
        segments: in id order, ids 1, 2, ...
        embeddings: float32 (s, C), the kernel of each segment's query; None if they were not asked for.
    """

    segmentation: np.ndarray
    segments: list[Segment]
    embeddings: np.ndarray | None = None


def panoptic_numpy(
    class_logits: np.ndarray,
    mask_logits: np.ndarray,
    sizes: Sizes,
    is_thing: Sequence[bool] | np.ndarray,
    thresholds: Thresholds,
) -> PanopticArrays:
    """Merge the queries of one image into non-overlapping segments, as `panoptic` does.

    Args:
        class_logits: (N, K+1) after the temperature; the last one is `no_object`.
        mask_logits: (N, h, w), any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.
        is_thing: (K,) per class index.
        thresholds: see `panoptic`.

    Returns:
        The segmentation at `sizes.output`, with its segments; equal to the result of `panoptic` except for pixels where
        two queries tie to the last bit of a float32.
    """
    probabilities = _softmax(class_logits.astype(np.float32))
    class_indices = probabilities.argmax(1)
    scores = probabilities[np.arange(len(probabilities)), class_indices]
    kept = kept_queries(scores, class_indices, class_logits.shape[1] - 1, thresholds.object_mask)
    if len(kept) == 0:
        return PanopticArrays(np.zeros(sizes.output, np.int32), [])
    codes, counts = _compete(mask_logits, scores, kept, sizes)
    segment_ids, segments = merge_segments(
        class_indices[kept].tolist(), scores[kept].tolist(), counts, list(is_thing), thresholds.overlap, kept.tolist()
    )
    table = np.zeros(2 * len(kept), np.int32)
    table[1::2] = segment_ids
    for start, stop in strips(1, sizes, STRIP_BYTES):
        codes[start:stop] = table[codes[start:stop]]
    return PanopticArrays(codes, segments)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def _compete(
    mask_logits: np.ndarray, scores: np.ndarray, kept: np.ndarray, sizes: Sizes
) -> tuple[np.ndarray, PixelCounts]:
    """Return a code per pixel, 2 x (position of the winner in `kept`) + (its mask is at least 0.5), and the counts."""
    height, width = sizes.output
    codes = np.empty((height, width), np.int32)
    covered = np.zeros(len(kept), np.int64)
    by_row = np.zeros((2 * len(kept), height), np.int64)
    by_column = np.zeros((2 * len(kept), width), np.int64)
    for start, stop in strips(len(kept), sizes, STRIP_BYTES, CONTENDED_ROWS):
        plan = plan_rows(start, stop, mask_logits.shape[1], sizes)
        needed = mask_logits[kept[:, None], plan.rows].astype(np.float32)
        chosen = contenders(needed.max((1, 2)), needed.min((1, 2)), scores[kept])
        masks = _sigmoid(_upsampled(needed[chosen], plan, sizes))
        winner = (masks * scores[kept[chosen], None, None]).argmax(0)
        inside = np.take_along_axis(masks, winner[None], 0)[0] >= 0.5
        code = 2 * chosen[winner] + inside
        codes[start:stop] = code
        covered[chosen] += np.count_nonzero(masks >= 0.5, axis=(1, 2))
        by_row[:, start:stop] = _histogram(code, np.arange(stop - start)[:, None], stop - start, len(by_row))
        by_column += _histogram(code, np.arange(width), width, len(by_column))
    per_code = by_row.sum(1)
    extents = np.stack([*_extent(by_row[1::2] > 0), *_extent(by_column[1::2] > 0)], 1)
    return codes, PixelCounts(per_code[0::2] + per_code[1::2], covered, per_code[1::2], extents)


def _upsampled(masks: np.ndarray, plan: RowPlan, sizes: Sizes) -> np.ndarray:
    """Return the logits (J, rows, W) of a plan's output rows from the rows that it needs; vertical steps first."""
    num_columns = masks.shape[2]
    for step in plan.steps:
        masks = _blended(masks, step, axis=1)
    masks = _blended(masks, taps(np.arange(sizes.image[1]), sizes.padded[1], num_columns), axis=2)
    if sizes.image[1] != sizes.output[1]:
        masks = _blended(masks, taps(np.arange(sizes.output[1]), sizes.output[1], sizes.image[1]), axis=2)
    return masks


def _blended(masks: np.ndarray, step: Taps, axis: int) -> np.ndarray:
    weight = step.weight[:, None] if axis == 1 else step.weight
    blended = masks.take(step.lower, axis) * (1 - weight)
    blended += masks.take(step.upper, axis) * weight
    return blended


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))


def _histogram(code: np.ndarray, position: np.ndarray, num_positions: int, num_codes: int) -> np.ndarray:
    counts = np.bincount((code * num_positions + position).ravel(), minlength=num_codes * num_positions)
    return counts.reshape(num_codes, num_positions)


def _extent(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return seen.argmax(1), seen.shape[1] - 1 - seen[:, ::-1].argmax(1)
