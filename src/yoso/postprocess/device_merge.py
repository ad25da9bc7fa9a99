"""The panoptic merge for a GPU: everything is launched without waiting for anything, and one transfer has it all."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Sizes, merge_segments
from yoso.postprocess.torch_merge import Tally, best_classes, counts_of, let_win, looked_up, panoptic
from yoso.postprocess.upsampling import uncontended_strips

MOST_SURVIVORS = 32
"""Masks that are enlarged, whether their queries take part or not: how many do is not known before the host waits.

More of them cost time on every image; images on which more queries take part are merged again, with two waits."""

NOWHERE = -1e4
"""Mask logit of a query that does not take part: its sigmoid is zero, so that it wins and covers nothing."""

WAITED_FOR = ("cuda",)
"""Kinds of devices that work on after a call returns; on a CPU, enlarging only what takes part is faster."""

LARGEST_OUTPUT = 2**31
"""Pixels, from which on counts of them do not fit beside the int32 map."""


@torch.no_grad()
def panoptic_arrays(
    class_logits: Float[Tensor, "N L"],
    mask_logits: Float[Tensor, "N h w"],
    sizes: Sizes,
    is_thing: Sequence[bool],
    object_mask_threshold: float,
    overlap_threshold: float,
) -> PanopticArrays:
    """Merge the queries of one image into segments, as `panoptic` does, and bring them to the host.

    On a CUDA device the host waits once, in the transfer of the result, if at most `MOST_SURVIVORS` queries take part;
    else three times. The segments are those of `panoptic` in any case.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.
        is_thing: per class index.
        object_mask_threshold: 0 to 1.
        overlap_threshold: 0 to 1.

    Returns:
        The segmentation at `sizes.output`, with its segments.
    """
    thresholds = (object_mask_threshold, overlap_threshold)
    fits = len(class_logits) > 0 and sizes.output[0] * sizes.output[1] < LARGEST_OUTPUT
    if mask_logits.device.type in WAITED_FOR and fits:
        things = torch.tensor(is_thing, dtype=torch.bool).to(mask_logits.device, non_blocking=True)
        packed = packed_merge(class_logits, mask_logits, sizes, things, *thresholds)
        result = unpacked(packed.cpu().numpy(), sizes, is_thing, overlap_threshold)
        if result is not None:
            return result
    merged = panoptic(class_logits, mask_logits, sizes, is_thing, *thresholds)
    return PanopticArrays(merged.segmentation.cpu().numpy(), merged.segments)


def packed_merge(
    class_logits: Float[Tensor, "N L"],
    mask_logits: Float[Tensor, "N h w"],
    sizes: Sizes,
    is_thing: Bool[Tensor, " K"],
    object_mask_threshold: float,
    overlap_threshold: float,
) -> Int32[Tensor, " n"]:
    """Merge on the device that the logits are on; the host never waits.

    Args:
        class_logits: see `panoptic_arrays`.
        mask_logits: likewise.
        sizes: likewise.
        is_thing: on the same device.
        object_mask_threshold: 0 to 1.
        overlap_threshold: 0 to 1.

    Returns:
        One tensor with everything that `unpacked` needs: the map; per query that may take part its counts, class, and
        the bits of its score; how many take part. If those are more than `MOST_SURVIVORS`, the rest means nothing.
    """
    device = mask_logits.device
    scores, classes = best_classes(class_logits)
    takes_part = (classes != class_logits.shape[1] - 1) & (scores > object_mask_threshold)
    # Those that take part come first, in query order.
    queries = takes_part.to(torch.uint8).sort(stable=True, descending=True).indices[:MOST_SURVIVORS]
    kept, scores, classes = takes_part[queries], scores[queries], classes[queries]
    masks = mask_logits[queries].float().masked_fill(~kept[:, None, None], NOWHERE)
    num_pixels, count = sizes.output[0] * sizes.output[1], len(queries)
    packed = torch.empty(num_pixels + 9 * count + 1, dtype=torch.int32, device=device)
    codes = packed[:num_pixels].view(sizes.output)
    tally = Tally(count, sizes.output, device)
    strips = uncontended_strips(masks, torch.arange(count, device=device), sizes)
    let_win(codes, tally, strips, scores.where(kept, 0))
    table = tally.table()
    looked_up(codes, _owners(table, classes, is_thing, overlap_threshold))
    facts = [table.int(), classes.int()[None], scores.view(torch.int32)[None]]
    packed[num_pixels:-1].view(9, count).copy_(torch.cat(facts))
    packed[-1:].copy_(takes_part.sum()[None])
    return packed


def _owners(
    table: Int64[Tensor, "7 Q"], classes: Int[Tensor, " Q"], is_thing: Bool[Tensor, " K"], overlap_threshold: float
) -> Int32[Tensor, " Q"]:
    """Return the segment id of each query, 0 where it is dropped: the rule of `merge_segments`, all at once."""
    won, covered, owned = table[:3]
    stays = (won > 0) & (covered > 0) & (owned > 0) & ~(won.double() / covered.double() < overlap_threshold)
    # A query that does not take part may be of the class after the last; it owns nothing.
    things = is_thing[classes.clamp(max=len(is_thing) - 1)]
    stuff = stays & ~things
    position = torch.arange(len(classes), device=classes.device)
    together = stuff[:, None] & stuff & (classes[:, None] == classes)
    first = torch.where(together, position, position[:, None]).amin(1)
    ids = (stays & (first == position)).cumsum(0)
    return ids[first].where(stays, 0).int()


def unpacked(
    packed: np.ndarray, sizes: Sizes, is_thing: Sequence[bool], overlap_threshold: float
) -> PanopticArrays | None:
    """Return the result that `packed_merge` packed; None if more queries take part than it looked at.

    Args:
        packed: int32, on the host.
        sizes: as given to `packed_merge`.
        is_thing: per class index.
        overlap_threshold: 0 to 1.
    """
    num_pixels, kept = sizes.output[0] * sizes.output[1], int(packed[-1])
    facts = packed[num_pixels:-1].reshape(9, -1)
    if kept > facts.shape[1]:
        return None
    classes, scores = facts[7, :kept].tolist(), facts[8, :kept].view(np.float32).tolist()
    _, segments = merge_segments(classes, scores, counts_of(facts[:7, :kept]), is_thing, overlap_threshold)
    return PanopticArrays(packed[:num_pixels].reshape(sizes.output), segments)
