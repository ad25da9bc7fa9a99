"""The panoptic merge on torch tensors; the result stays on their device.

No loop over queries touches the device, and the host waits for it twice per image: for the scores, to know which
queries take part, and for the pixel counts, to decide which become segments. `panoptic_arrays` waits once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from yoso.postprocess.segments import PixelCounts, Segment, Sizes, kept_queries, merge_segments
from yoso.postprocess.upsampling import contended_strips
from yoso.settings import Thresholds

LOOKUP_PIXELS = 2**21
"""Pixels whose codes become segment ids at a time; bounds the int64 index that torch needs."""


@dataclass(frozen=True)
class PanopticResult:
    """The segment of every pixel.

    Attributes:
        segmentation: segment id per pixel, 0 is void; on the logits' device.
        segments: in id order, ids 1, 2, ...
    """

    segmentation: Int32[Tensor, "H W"]
    segments: list[Segment]


@dataclass(frozen=True)
class KeptQueries:
    """The queries of one image that compete for its pixels, in query order.

    Attributes:
        queries: (Q,) their indices, 0 to N-1.
        class_indices: (Q,) best class of each, 0 to K-1.
        scores: (Q,) probability of that class, float32, 0 to 1.
    """

    queries: np.ndarray
    class_indices: np.ndarray
    scores: np.ndarray


@torch.no_grad()
def panoptic(
    class_logits: Float[Tensor, "N L"],
    mask_logits: Float[Tensor, "N h w"],
    sizes: Sizes,
    is_thing: Sequence[bool] | Bool[Tensor, " K"],
    thresholds: Thresholds,
) -> PanopticResult:
    """Merge the queries of one image into non-overlapping segments (section 3.1), as the official implementation does.

    A query takes part if its best class is not `no_object` and the probability of that class is above
    `thresholds.object_mask`. Each pixel goes to the query with the largest probability x sigmoid(mask), the first one
    on a tie, and stays void where that query's own mask is below 0.5. A query is dropped if it won less than
    `thresholds.overlap` of the pixels that its mask covers. Queries of one stuff class become one segment, numbered as
    the first of them.

    Only kept queries are upsampled, in strips of rows if the image is large. The memory needed beyond arguments and
    result stays below a few hundred megabytes at any size.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.
        is_thing: per class index; best kept on the CPU.
        thresholds: see above.

    Returns:
        The segmentation at `sizes.output`, with its segments; all void and no segments if no query is kept.
    """
    kept = find_kept_queries(class_logits, thresholds.object_mask)
    if len(kept.queries) == 0:
        void = torch.zeros(sizes.output, dtype=torch.int32, device=mask_logits.device)
        return PanopticResult(void, [])
    codes, counts = compete(mask_logits, kept, sizes)
    things = is_thing.tolist() if isinstance(is_thing, Tensor) else is_thing
    ids, segments = merge_segments(
        kept.class_indices.tolist(), kept.scores.tolist(), counts, things, thresholds.overlap, kept.queries.tolist()
    )
    return PanopticResult(codes_to_ids(codes, torch.from_numpy(ids).to(codes.device, non_blocking=True)), segments)


def find_kept_queries(class_logits: Float[Tensor, "N L"], object_mask_threshold: float) -> KeptQueries:
    """Return the queries that take part at a threshold: not `no_object`, and a score above it.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        object_mask_threshold: 0 to 1.
    """
    # In one transfer.
    both = torch.stack([values.float() for values in best_classes(class_logits)]).cpu().numpy()
    scores, class_indices = both[0], both[1].astype(np.int64)
    kept = kept_queries(scores, class_indices, class_logits.shape[1] - 1, object_mask_threshold)
    return KeptQueries(kept, class_indices[kept], scores[kept])


def best_classes(class_logits: Float[Tensor, "N L"]) -> tuple[Float[Tensor, " N"], Int64[Tensor, " N"]]:
    """Return probability, float32, and index of each query's best class; the last index is `no_object`."""
    scores, class_indices = torch.softmax(class_logits.float(), -1).max(-1)
    return scores, class_indices


@torch.no_grad()
def compete(
    mask_logits: Float[Tensor, "N h w"], kept: KeptQueries, sizes: Sizes
) -> tuple[Int32[Tensor, "H W"], PixelCounts]:
    """Let the kept queries compete for the pixels; `merge_segments` then decides which of them become segments.

    Args:
        mask_logits: any size; usually stride 4 of the padded image.
        kept: at least one query.
        sizes: padded, image and output size in pixels.

    Returns:
        A code per pixel, 2 x (position of the winner among the kept queries) + (its own mask is at least 0.5); and the
        counts.
    """
    device = mask_logits.device
    queries = torch.from_numpy(kept.queries).to(device, non_blocking=True)
    scores = torch.from_numpy(kept.scores).to(device, non_blocking=True)
    codes = torch.empty(sizes.output, dtype=torch.int32, device=device)
    counter = PixelCounter(len(kept.queries), sizes.output, device)
    assign_pixels(codes, counter, contended_strips(mask_logits, queries, scores, sizes), scores)
    return codes, counter.counts()


def assign_pixels(
    codes: Int32[Tensor, "H W"],
    counter: "PixelCounter",
    masks_by_strip: Iterable[tuple[slice, Int[Tensor, " J"], Float[Tensor, "J rows W"]]],
    scores: Float[Tensor, " Q"],
) -> None:
    """Give every pixel to a query, strip by strip, and count.

    Args:
        codes: written; see `compete`.
        counter: counts the pixels.
        masks_by_strip: see `contended_strips`; overwritten.
        scores: of the queries.
    """
    for rows, chosen, masks in masks_by_strip:
        masks = masks.sigmoid_()
        winner = (masks * scores[chosen, None, None]).max(0, keepdim=True).indices
        code = (2 * chosen[winner] + (masks.gather(0, winner) >= 0.5))[0]
        codes[rows] = code
        counter.add(rows, chosen, masks >= 0.5, code)


class PixelCounter:
    """Counts pixels per code, by row and by column, on the device."""

    def __init__(self, num_masks: int, output: tuple[int, int], device: torch.device) -> None:
        """Start at zero, for queries 0 to `num_masks` - 1 and an output of (height, width)."""
        self.covered = torch.zeros(num_masks, dtype=torch.int64, device=device)
        self.by_row = torch.zeros(2 * num_masks, output[0], dtype=torch.int64, device=device)
        self.by_column = torch.zeros(2 * num_masks, output[1], dtype=torch.int64, device=device)
        self.one = torch.ones(1, dtype=torch.int64, device=device)

    def add(
        self,
        rows: slice,
        chosen: Int[Tensor, " J"],
        covered: Bool[Tensor, "J rows W"],
        code: Int64[Tensor, "rows W"],
    ) -> None:
        """Count one strip. Uses `scatter_add_`, because `bincount` makes the host wait for the device."""
        height, width = code.shape
        self.covered.index_add_(0, chosen, covered.flatten(1).sum(1, dtype=torch.int32).long())
        ones = self.one.expand(code.numel())
        at_column = code * width + torch.arange(width, device=code.device)
        self.by_column.view(-1).scatter_add_(0, at_column.view(-1), ones)
        at_row = code * height + torch.arange(height, device=code.device)[:, None]
        table = torch.zeros(len(self.by_row) * height, dtype=torch.int64, device=code.device)
        self.by_row[:, rows] = table.scatter_add_(0, at_row.view(-1), ones).view(-1, height)

    def table(self) -> Int64[Tensor, "7 Q"]:
        """Return the counts, on the device: won, covered, owned, and the four columns of the extents."""
        per_code = self.by_row.sum(1)
        owned = per_code[1::2]
        extents = (*_extent(self.by_row[1::2] > 0), *_extent(self.by_column[1::2] > 0))
        return torch.stack([per_code[0::2] + owned, self.covered, owned, *extents])

    def counts(self) -> PixelCounts:
        """Bring the counts to the host, in one transfer."""
        return counts_of(self.table().cpu().numpy())


def counts_of(table: np.ndarray) -> PixelCounts:
    """Return the content of `PixelCounter.table` as `PixelCounts`."""
    return PixelCounts(table[0], table[1], table[2], table[3:].T)


def _extent(seen: Bool[Tensor, "Q n"]) -> tuple[Int[Tensor, " Q"], Int[Tensor, " Q"]]:
    """Return the first and last True position of each row; (n, -1) if there is none."""
    position = torch.arange(seen.shape[1], device=seen.device)
    return torch.where(seen, position, seen.shape[1]).amin(1), torch.where(seen, position, -1).amax(1)


def codes_to_ids(codes: Int32[Tensor, "H W"], segment_ids: Int32[Tensor, " Q"]) -> Int32[Tensor, "H W"]:
    """Replace every code by the segment id of its query, in place; even codes (mask below 0.5) become void."""
    lookup = torch.stack([torch.zeros_like(segment_ids), segment_ids], 1).flatten()
    for part in codes.view(-1).split(LOOKUP_PIXELS):
        part.copy_(lookup.take(part.long()))
    return codes
