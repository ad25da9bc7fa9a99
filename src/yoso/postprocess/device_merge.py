"""The panoptic merge for a GPU: all work is launched without waiting, and one transfer brings the whole result."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Sizes, merge_segments
from yoso.postprocess.torch_merge import (
    PixelCounter,
    assign_pixels,
    best_classes,
    codes_to_ids,
    counts_of,
    panoptic,
)
from yoso.postprocess.upsampling import uncontended_strips
from yoso.settings import Thresholds

MAX_KEPT_QUERIES = 32
"""Masks that are upsampled, whether their queries take part or not, because the number that does is on the device.

A higher number costs time on every image; an image that keeps more queries is merged again, with two waits."""

NOWHERE = -1e4
"""Mask logit of a query that does not take part: its sigmoid is zero, so that it wins and covers nothing."""

WAITED_FOR = ("cuda",)
"""Kinds of devices that work on after a call returns; on a CPU, upsampling only the kept queries is faster."""

PER_QUERY = 10
"""Numbers per query: seven counts, class, score, index."""

LARGEST_OUTPUT = 2**31
"""Pixels from which on counts do not fit beside the int32 map."""


@torch.no_grad()
def panoptic_arrays(
    class_logits: Float[Tensor, "N L"],
    mask_logits: Float[Tensor, "N h w"],
    sizes: Sizes,
    is_thing: Sequence[bool],
    thresholds: Thresholds,
) -> PanopticArrays:
    """Merge the queries of one image into segments, as `panoptic` does, and bring them to the host.

    On a CUDA device the host waits once, in the transfer of the result, if at most `MAX_KEPT_QUERIES` queries take
    part; otherwise three times. The segments are those of `panoptic` in any case.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.
        is_thing: per class index.
        thresholds: see `panoptic`.

    Returns:
        The segmentation at `sizes.output`, with its segments.
    """
    fits = len(class_logits) > 0 and sizes.output[0] * sizes.output[1] < LARGEST_OUTPUT
    if mask_logits.device.type in WAITED_FOR and fits:
        things = torch.tensor(is_thing, dtype=torch.bool).to(mask_logits.device, non_blocking=True)
        packed = packed_merge(class_logits, mask_logits, sizes, things, thresholds)
        result = unpack(packed.cpu().numpy(), sizes, is_thing, thresholds.overlap)
        if result is not None:
            return result
    merged = panoptic(class_logits, mask_logits, sizes, is_thing, thresholds)
    return PanopticArrays(merged.segmentation.cpu().numpy(), merged.segments)


def packed_merge(
    class_logits: Float[Tensor, "N L"],
    mask_logits: Float[Tensor, "N h w"],
    sizes: Sizes,
    is_thing: Bool[Tensor, " K"],
    thresholds: Thresholds,
) -> Int32[Tensor, " n"]:
    """Merge on the device of the logits; the host never waits.

    Args:
        class_logits: see `panoptic_arrays`.
        mask_logits: see `panoptic_arrays`.
        sizes: see `panoptic_arrays`.
        is_thing: on the same device.
        thresholds: see `panoptic`.

    Returns:
        One tensor with everything that `unpack` needs: the map; counts, class, the bits of the score and the index of
        each query that may take part; the number of queries that do. If that is more than `MAX_KEPT_QUERIES`, the rest
        is meaningless.
    """
    device = mask_logits.device
    scores, classes = best_classes(class_logits)
    takes_part = (classes != class_logits.shape[1] - 1) & (scores > thresholds.object_mask)
    # Those that take part come first, in query order.
    queries = takes_part.to(torch.uint8).sort(stable=True, descending=True).indices[:MAX_KEPT_QUERIES]
    kept, scores, classes = takes_part[queries], scores[queries], classes[queries]
    masks = mask_logits[queries].float().masked_fill(~kept[:, None, None], NOWHERE)
    num_pixels, count = sizes.output[0] * sizes.output[1], len(queries)
    packed = torch.empty(num_pixels + PER_QUERY * count + 1, dtype=torch.int32, device=device)
    codes = packed[:num_pixels].view(sizes.output)
    counter = PixelCounter(count, sizes.output, device)
    strips = uncontended_strips(masks, torch.arange(count, device=device), sizes)
    assign_pixels(codes, counter, strips, scores.where(kept, 0))
    table = counter.table()
    codes_to_ids(codes, _segment_ids(table, classes, is_thing, thresholds.overlap))
    per_query = [table.int(), classes.int()[None], scores.view(torch.int32)[None], queries.int()[None]]
    packed[num_pixels:-1].view(PER_QUERY, count).copy_(torch.cat(per_query))
    packed[-1:].copy_(takes_part.sum()[None])
    return packed


def _segment_ids(
    table: Int64[Tensor, "7 Q"], classes: Int[Tensor, " Q"], is_thing: Bool[Tensor, " K"], overlap_threshold: float
) -> Int32[Tensor, " Q"]:
    """Return the segment id of each query, 0 if it is dropped: the rule of `merge_segments` for all queries at once."""
    won, covered, owned = table[:3]
    stays = (won > 0) & (covered > 0) & (owned > 0) & ~(won.double() / covered.double() < overlap_threshold)
    # A query that does not take part may have the class after the last; it owns nothing.
    things = is_thing[classes.clamp(max=len(is_thing) - 1)]
    stuff = stays & ~things
    position = torch.arange(len(classes), device=classes.device)
    together = stuff[:, None] & stuff & (classes[:, None] == classes)
    first = torch.where(together, position, position[:, None]).amin(1)
    ids = (stays & (first == position)).cumsum(0)
    return ids[first].where(stays, 0).int()


def unpack(
    packed: np.ndarray, sizes: Sizes, is_thing: Sequence[bool], overlap_threshold: float
) -> PanopticArrays | None:
    """Return the result that `packed_merge` packed; None if more queries take part than it upsampled.

    Args:
        packed: int32, on the host.
        sizes: as given to `packed_merge`.
        is_thing: per class index.
        overlap_threshold: 0 to 1.
    """
    num_pixels, kept = sizes.output[0] * sizes.output[1], int(packed[-1])
    per_query = packed[num_pixels:-1].reshape(PER_QUERY, -1)
    if kept > per_query.shape[1]:
        return None
    classes, scores = per_query[7, :kept].tolist(), per_query[8, :kept].view(np.float32).tolist()
    counts, queries = counts_of(per_query[:7, :kept]), per_query[9, :kept].tolist()
    _, segments = merge_segments(classes, scores, counts, is_thing, overlap_threshold, queries)
    return PanopticArrays(packed[:num_pixels].reshape(sizes.output), segments)
