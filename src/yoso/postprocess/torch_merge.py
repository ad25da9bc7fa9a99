"""The panoptic merge on torch tensors, whose result stays on their device.

No loop over queries touches the device, and the host waits for it twice an image: for the scores, to know which
queries take part, and for the counts, to decide which become segments. `panoptic_arrays` waits once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from yoso.postprocess.segments import Counts, Segment, Sizes, merge_segments, survivors
from yoso.postprocess.upsampling import contended_strips

LOOKUP_PIXELS = 2**21
"""Pixels whose codes are turned into segment ids at a time; bounds the int64 index that torch needs."""


@dataclass(frozen=True)
class PanopticResult:
    """Every pixel's segment.

    Attributes:
        segmentation: segment id per pixel, 0 is void; on the logits' device.
        segments: in id order, ids 1, 2, ...
    """

    segmentation: Int32[Tensor, "H W"]
    segments: list[Segment]


@dataclass(frozen=True)
class Candidates:
    """The queries of one image that compete for its pixels, in query order.

    Attributes:
        queries: (Q,) which they are, 0 to N-1.
        class_indices: (Q,) best class of each, 0 to K-1.
        scores: (Q,) its probability, float32, 0 to 1.
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
    object_mask_threshold: float,
    overlap_threshold: float,
) -> PanopticResult:
    """Merge the queries of one image into non-overlapping segments (section 3.1), as the published code does.

    A query takes part if its best class is not `no_object` and that class's probability is above
    `object_mask_threshold`. Each pixel goes to the largest probability x sigmoid(mask), the first query on a tie, and
    stays void where that query's own mask is below 0.5. A query is dropped if it won less than `overlap_threshold`
    of the pixels that its mask covers. Pieces of one stuff class become one segment, numbered as the first of them.

    Only the surviving queries are ever enlarged, in strips of rows if the image is large, so the memory needed
    beyond the arguments and the result stays below a few hundred megabytes whatever the size.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.
        is_thing: per class index; best kept on the CPU.
        object_mask_threshold: 0 to 1.
        overlap_threshold: 0 to 1.

    Returns:
        The segmentation at `sizes.output`, with its segments; all void and no segments if no query survives.
    """
    found = candidates(class_logits, object_mask_threshold)
    if len(found.queries) == 0:
        void = torch.zeros(sizes.output, dtype=torch.int32, device=mask_logits.device)
        return PanopticResult(void, [])
    codes, counts = compete(mask_logits, found, sizes)
    things = is_thing.tolist() if isinstance(is_thing, Tensor) else is_thing
    owners, segments = merge_segments(
        found.class_indices.tolist(), found.scores.tolist(), counts, things, overlap_threshold
    )
    return PanopticResult(looked_up(codes, torch.from_numpy(owners).to(codes.device, non_blocking=True)), segments)


def candidates(class_logits: Float[Tensor, "N L"], object_mask_threshold: float) -> Candidates:
    """Return the queries that take part at a threshold: not `no_object`, and a score above it.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        object_mask_threshold: 0 to 1.
    """
    # In one transfer.
    both = torch.stack([values.float() for values in best_classes(class_logits)]).cpu().numpy()
    scores, class_indices = both[0], both[1].astype(np.int64)
    kept = survivors(scores, class_indices, class_logits.shape[1] - 1, object_mask_threshold)
    return Candidates(kept, class_indices[kept], scores[kept])


def best_classes(class_logits: Float[Tensor, "N L"]) -> tuple[Float[Tensor, " N"], Int64[Tensor, " N"]]:
    """Return probability, float32, and index of each query's best class; the last index is `no_object`."""
    scores, class_indices = torch.softmax(class_logits.float(), -1).max(-1)
    return scores, class_indices


@torch.no_grad()
def compete(
    mask_logits: Float[Tensor, "N h w"], found: Candidates, sizes: Sizes
) -> tuple[Int32[Tensor, "H W"], Counts]:
    """Let the candidates compete for the pixels; `merge_segments` then decides which of them become segments.

    Args:
        mask_logits: any size; usually stride 4 of the padded image.
        found: at least one candidate.
        sizes: padded, image and output size in pixels.

    Returns:
        Per pixel 2 x (position of the winner among the candidates) + (its own mask is at least 0.5); and the counts.
    """
    device = mask_logits.device
    queries = torch.from_numpy(found.queries).to(device, non_blocking=True)
    scores = torch.from_numpy(found.scores).to(device, non_blocking=True)
    codes = torch.empty(sizes.output, dtype=torch.int32, device=device)
    tally = Tally(len(found.queries), sizes.output, device)
    let_win(codes, tally, contended_strips(mask_logits, queries, scores, sizes), scores)
    return codes, tally.counts()


def let_win(
    codes: Int32[Tensor, "H W"],
    tally: "Tally",
    masks_by_strip: Iterable[tuple[slice, Int[Tensor, " C"], Float[Tensor, "C rows W"]]],
    scores: Float[Tensor, " Q"],
) -> None:
    """Give every pixel to a query, strip by strip, and count.

    Args:
        codes: written; see `compete`.
        tally: added to.
        masks_by_strip: see `contended_strips`; overwritten.
        scores: of the queries.
    """
    for rows, chosen, masks in masks_by_strip:
        masks = masks.sigmoid_()
        winner = (masks * scores[chosen, None, None]).max(0, keepdim=True).indices
        code = (2 * chosen[winner] + (masks.gather(0, winner) >= 0.5))[0]
        codes[rows] = code
        tally.add(rows, chosen, masks >= 0.5, code)


class Tally:
    """Counts of pixels per code, by row and by column, added up on the device."""

    def __init__(self, num_masks: int, output: tuple[int, int], device: torch.device) -> None:
        """Start at zero, for queries 0 to `num_masks` - 1 and an output of (height, width)."""
        self.covered = torch.zeros(num_masks, dtype=torch.int64, device=device)
        self.by_row = torch.zeros(2 * num_masks, output[0], dtype=torch.int64, device=device)
        self.by_column = torch.zeros(2 * num_masks, output[1], dtype=torch.int64, device=device)
        self.one = torch.ones(1, dtype=torch.int64, device=device)

    def add(
        self,
        rows: slice,
        chosen: Int[Tensor, " C"],
        covered: Bool[Tensor, "C rows W"],
        code: Int64[Tensor, "rows W"],
    ) -> None:
        """Count one strip. `scatter_add_`, because `bincount` makes the host wait for the device."""
        height, width = code.shape
        self.covered.index_add_(0, chosen, covered.flatten(1).sum(1, dtype=torch.int32).long())
        ones = self.one.expand(code.numel())
        at_column = code * width + torch.arange(width, device=code.device)
        self.by_column.view(-1).scatter_add_(0, at_column.view(-1), ones)
        at_row = code * height + torch.arange(height, device=code.device)[:, None]
        table = torch.zeros(len(self.by_row) * height, dtype=torch.int64, device=code.device)
        self.by_row[:, rows] = table.scatter_add_(0, at_row.view(-1), ones).view(-1, height)

    def table(self) -> Int64[Tensor, "7 Q"]:
        """Return the counts, on the device: won, covered, owned, and the four columns of the boxes."""
        per_code = self.by_row.sum(1)
        owned = per_code[1::2]
        extents = (*_extent(self.by_row[1::2] > 0), *_extent(self.by_column[1::2] > 0))
        return torch.stack([per_code[0::2] + owned, self.covered, owned, *extents])

    def counts(self) -> Counts:
        """Bring the counts to the host, in one transfer."""
        return counts_of(self.table().cpu().numpy())


def counts_of(table: np.ndarray) -> Counts:
    """Return as `Counts` what `Tally.table` holds."""
    return Counts(table[0], table[1], table[2], table[3:].T)


def _extent(seen: Bool[Tensor, "Q n"]) -> tuple[Int[Tensor, " Q"], Int[Tensor, " Q"]]:
    """Return the first and last position where something was seen; (n, -1) where nothing was."""
    position = torch.arange(seen.shape[1], device=seen.device)
    return torch.where(seen, position, seen.shape[1]).amin(1), torch.where(seen, position, -1).amax(1)


def looked_up(codes: Int32[Tensor, "H W"], owners: Int32[Tensor, " Q"]) -> Int32[Tensor, "H W"]:
    """Replace every code by its query's segment id, in place: even codes (mask below 0.5) become void."""
    lookup = torch.stack([torch.zeros_like(owners), owners], 1).flatten()
    for part in codes.view(-1).split(LOOKUP_PIXELS):
        part.copy_(lookup.take(part.long()))
    return codes
