"""A search for the two thresholds with the highest panoptic quality on a split.

The network runs once per image, the queries compete once per set that an object-mask threshold keeps, and overlap
thresholds are applied to counts of pixels. Of an image, only the counts of its matches are kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from yoso.categories import Categories
from yoso.data.coco_panoptic import PanopticExample
from yoso.evaluation.matching import IdPairs, MatchCounts, id_pairs, match_pairs
from yoso.evaluation.quality import panoptic_quality
from yoso.postprocess import KeptQueries, Sizes, compete, find_kept_queries
from yoso.postprocess.segments import Segment, merge_segments
from yoso.scoring.loop import Prediction
from yoso.settings import Thresholds


@dataclass(frozen=True)
class Grid:
    """The pairs to try: every object-mask threshold with every overlap threshold, both ascending, 0 to 1."""

    object_mask_thresholds: tuple[float, ...]
    overlap_thresholds: tuple[float, ...]


class ThresholdSearch:
    """Panoptic quality at every pair of a grid; `add` per image, then `table` and `best`."""

    def __init__(self, grid: Grid, model: Categories, data: Categories) -> None:
        """Start without an image.

        Args:
            grid: the pairs to try.
            model: the model's classes.
            data: the data set's classes, which include the model's.
        """
        self.grid, self.model, self.data = grid, model, data
        shape = (len(grid.object_mask_thresholds), len(grid.overlap_thresholds))
        self.counts = [[MatchCounts.zeros(len(data)) for _ in range(shape[1])] for _ in range(shape[0])]

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Add one image. At each pair, the counts equal those of `panoptic` and `match_segments`.

        Args:
            example: the image.
            prediction: with logits.

        Raises:
            DatasetError: the ground truth contradicts itself.
        """
        class_logits, mask_logits, sizes = prediction.logits
        row: list[MatchCounts] = []
        before = -1
        for number, threshold in enumerate(self.grid.object_mask_thresholds):
            found = find_kept_queries(class_logits, threshold)
            # A higher threshold keeps a subset of the queries, so equal numbers mean equal sets.
            if len(found.queries) != before:
                row = list(self._row(found, mask_logits, sizes, example))
                before = len(found.queries)
            self.counts[number] = [total + own for total, own in zip(self.counts[number], row, strict=True)]

    def _row(
        self, found: KeptQueries, mask_logits: Float[Tensor, "N h w"], sizes: Sizes, example: PanopticExample
    ) -> Iterator[MatchCounts]:
        """Yield the counts at each overlap threshold."""
        if len(found.queries) == 0:
            nothing = id_pairs(example.id_map, np.zeros_like(example.id_map))
            yield from [self._counts(nothing, [], example)] * len(self.grid.overlap_thresholds)
            return
        codes, counts = compete(mask_logits, found, sizes)
        coded = _compact(id_pairs(example.id_map, codes.cpu().numpy()))
        owners, matches = None, MatchCounts.zeros(len(self.data))
        for threshold in self.grid.overlap_thresholds:
            previous = owners
            owners, segments = merge_segments(
                found.class_indices.tolist(), found.scores.tolist(), counts, self.model.is_thing, threshold
            )
            if previous is None or not np.array_equal(owners, previous):
                ids = np.zeros(2 * len(owners), np.int64)
                ids[1::2] = owners
                matches = self._counts(coded._replace(pred_ids=ids[coded.pred_ids]), segments, example)
            yield matches

    def _counts(self, pairs: IdPairs, segments: Sequence[Segment], example: PanopticExample) -> MatchCounts:
        predicted = [{"id": s.id, "category_id": self.model[s.class_index].id} for s in segments]
        return match_pairs(pairs, example.segments, predicted, self.data, example.record.file_name).counts(
            len(self.data)
        )

    def table(self) -> np.ndarray:
        """Return PQ over all classes, 0 to 1, per object-mask threshold (row) and overlap threshold (column).

        All nan if no class occurs in the ground truth and none is ever predicted.
        """
        return np.array([[panoptic_quality(counts, self.data).all.pq for counts in row] for row in self.counts])

    def best(self, current: Thresholds) -> Thresholds | None:
        """Return the pair with the highest PQ, the one with the lowest thresholds if several have it.

        Args:
            current: the pair in use, which is returned if none is better.

        Returns:
            None if no pair has a PQ.
        """
        table = self.table()
        if np.isnan(table).all():
            return None
        place = np.unravel_index(np.nanargmax(table), table.shape)
        rows, columns = self.grid.object_mask_thresholds, self.grid.overlap_thresholds
        if current.object_mask in rows and current.overlap in columns:
            own = table[rows.index(current.object_mask), columns.index(current.overlap)]
            if own == table[place]:
                return current
        return Thresholds(rows[int(place[0])], columns[int(place[1])])


def _compact(pairs: IdPairs) -> IdPairs:
    """Return the pairs of ids, each once."""
    width = int(pairs.pred_ids.max(initial=0)) + 1
    keys, inverse = np.unique(pairs.gt_ids.astype(np.int64) * width + pairs.pred_ids, return_inverse=True)
    return IdPairs(keys // width, keys % width, np.bincount(inverse, pairs.pixels, len(keys)).astype(np.int64))
