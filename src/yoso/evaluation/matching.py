"""Matching predicted segments with the ground truth: the counts of one image that panoptic quality is made of.

The rules are those of panopticapi, the reference tool of the COCO panoptic challenge:

- A prediction and a ground-truth segment of the same class match if their IoU is above 0.5. The union leaves out the
  predicted pixels that are void in the ground truth. At most one pair can match.
- A crowd segment of the ground truth never matches and is never a false negative.
- An unmatched prediction is ignored, not a false positive, if more than half of it lies on void or on the crowd segment
  of its class. If a class has several crowd segments in one image, only the last one listed counts.
- Ground-truth pixels whose id is not listed are neither void nor a segment; they count towards a prediction's area.
- A ground-truth segment without pixels is a false negative.

One difference: areas are always counted from the id maps; the `area` in a file is not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from yoso.categories import VOID, Categories
from yoso.errors import DatasetError
from yoso.values import read_iscrowd, whole

Segments = Sequence[Mapping[str, Any]]
"""The `segments_info` of one image: `id`, `category_id` and, in a ground truth, `iscrowd` (0 if left out)."""

DENSE_CELLS = 1 << 22
"""Up to this many possible pairs of segments are counted in a dense table; beyond it, only those that occur."""


@dataclass(frozen=True)
class MatchCounts:
    """Sums per class, over one image or many; add two with `+`.

    Attributes:
        iou_sum: (K,) float64, sum of the IoUs of the matches.
        true_positive: (K,) int64, matches.
        false_positive: (K,) int64, unmatched predictions that are not ignored.
        false_negative: (K,) int64, unmatched ground-truth segments.
    """

    iou_sum: np.ndarray
    true_positive: np.ndarray
    false_positive: np.ndarray
    false_negative: np.ndarray

    @classmethod
    def zeros(cls, num_classes: int) -> "MatchCounts":
        """Return the counts of no image at all."""
        return cls(np.zeros(num_classes), *(np.zeros(num_classes, np.int64) for _ in range(3)))

    def __add__(self, other: "MatchCounts") -> "MatchCounts":
        return MatchCounts(
            self.iou_sum + other.iou_sum,
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
        )


class IdPairs(NamedTuple):
    """Pixels per pair of ids, arrays of one length; a pair may occur several times.

    Attributes:
        gt_ids: segment id in the ground truth.
        pred_ids: segment id in the prediction.
        pixels: how many pixels have these two ids.
    """

    gt_ids: np.ndarray
    pred_ids: np.ndarray
    pixels: np.ndarray


class SegmentArrays(NamedTuple):
    """The segments of one image as arrays of one length.

    Attributes:
        ids: as in the id map.
        classes: class indices.
        is_crowd: whether it is a crowd; False throughout a prediction.
    """

    ids: np.ndarray
    classes: np.ndarray
    is_crowd: np.ndarray


class Overlaps(NamedTuple):
    """Pixels per (ground-truth row, prediction column) pair that occurs.

    A row or column is 0 for void, 1 to the number of listed segments, and one more for an id that is not listed.

    Attributes:
        rows: place in the ground truth.
        columns: place in the prediction.
        pixels: how many.
    """

    rows: np.ndarray
    columns: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class Matching:
    """The matched and unmatched segments of one image, M in the ground truth and P in the prediction.

    Attributes:
        gt: the M segments of the ground truth.
        pred: the P segments of the prediction.
        overlaps: pixels per pair of segments.
        gt_area: (M,) pixels of each.
        pred_area: (P,) pixels of each, void ones included.
        gt_index: (T,) for each pair with an IoU above 0.5, **of any two classes**, the position among the M; no crowds.
        pred_index: (T,) the position among the P.
        iou: (T,) the IoU.
        false_negative: (M,) True for the segments without a match; never for a crowd.
        false_positive: (P,) True for the predictions without a match that are not ignored.
    """

    gt: SegmentArrays
    pred: SegmentArrays
    overlaps: Overlaps
    gt_area: np.ndarray
    pred_area: np.ndarray
    gt_index: np.ndarray
    pred_index: np.ndarray
    iou: np.ndarray
    false_negative: np.ndarray
    false_positive: np.ndarray

    @property
    def same_class(self) -> np.ndarray:
        """(T,) True for the pairs of one class: the matches."""
        return self.gt.classes[self.gt_index] == self.pred.classes[self.pred_index]

    def counts(self, num_classes: int) -> MatchCounts:
        """Return the counts (K,) in class-index order."""
        match = self.same_class
        classes = self.gt.classes[self.gt_index[match]]
        return MatchCounts(
            iou_sum=np.bincount(classes, self.iou[match], num_classes),
            true_positive=np.bincount(classes, minlength=num_classes),
            false_positive=np.bincount(self.pred.classes[self.false_positive], minlength=num_classes),
            false_negative=np.bincount(self.gt.classes[self.false_negative], minlength=num_classes),
        )


def count_matches(
    gt_id_map: np.ndarray,
    gt_segments: Segments,
    pred_id_map: np.ndarray,
    pred_segments: Segments,
    categories: Categories,
    name: str = "image",
) -> MatchCounts:
    """Match the segments of one image and return counts (K,) in class-index order; see `match_segments`."""
    matching = match_segments(gt_id_map, gt_segments, pred_id_map, pred_segments, categories, name)
    return matching.counts(len(categories))


def match_segments(
    gt_id_map: np.ndarray,
    gt_segments: Segments,
    pred_id_map: np.ndarray,
    pred_segments: Segments,
    categories: Categories,
    name: str = "image",
) -> Matching:
    """Match the segments of one image; the rules are in the module's docstring.

    Args:
        gt_id_map: (H, W) integers, the segment id of each pixel in the ground truth; 0 is void.
        gt_segments: `segments_info` of the ground truth; empty is fine.
        pred_id_map: (H, W) integers, the same for the prediction.
        pred_segments: `segments_info` of the prediction; empty is fine.
        categories: the classes of the data set.
        name: what to call the image in an error.

    Raises:
        DatasetError: the maps differ in size or are not (H, W) integers; a list has an id twice, an id below 1 or an
            unknown category; map and list of the prediction disagree about its ids.
    """
    _check_maps(gt_id_map, pred_id_map, name)
    return match_pairs(id_pairs(gt_id_map, pred_id_map), gt_segments, pred_segments, categories, name)


def match_pairs(
    pairs: IdPairs, gt_segments: Segments, pred_segments: Segments, categories: Categories, name: str = "image"
) -> Matching:
    """Match the segments of one image whose pixels per pair of ids are counted; see `match_segments`.

    Args:
        pairs: pixels per pair of ids.
        gt_segments: `segments_info` of the ground truth.
        pred_segments: `segments_info` of the prediction.
        categories: the classes of the data set.
        name: what to call the image in an error.

    Raises:
        DatasetError: as `match_segments`, except for sizes.
    """
    gt = _segment_arrays(gt_segments, categories, f"{name}: ground truth")
    pred = _segment_arrays(pred_segments, categories, f"{name}: prediction")
    rows, columns, pixels = overlaps = _overlaps(pairs, gt.ids, pred.ids)

    gt_area = np.bincount(rows, pixels, len(gt.ids) + 2)
    pred_area = np.bincount(columns, pixels, len(pred.ids) + 2)
    _check_prediction(pairs.pred_ids, pred, pred_area, name)
    pred_void = np.bincount(columns, pixels * (rows == VOID), len(pred.ids) + 2)

    both = (rows >= 1) & (rows <= len(gt.ids)) & (columns >= 1)
    g, p, shared = rows[both] - 1, columns[both] - 1, pixels[both]
    iou = shared / (pred_area[p + 1] + gt_area[g + 1] - shared - pred_void[p + 1])
    close = (iou > 0.5) & ~gt.is_crowd[g]
    g, p, iou = g[close], p[close], iou[close]

    match = gt.classes[g] == pred.classes[p]
    false_negative = ~gt.is_crowd
    false_negative[g[match]] = False
    false_positive = (pred_void[1:-1] + _on_crowd(gt, pred, overlaps)) / pred_area[1:-1] <= 0.5
    false_positive[p[match]] = False
    return Matching(gt, pred, overlaps, gt_area[1:-1], pred_area[1:-1], g, p, iou, false_negative, false_positive)


def _on_crowd(gt: SegmentArrays, pred: SegmentArrays, overlaps: Overlaps) -> np.ndarray:
    """Count the pixels of each prediction that lie on the last listed crowd segment of its class."""
    if not gt.is_crowd.any():
        return np.zeros(len(pred.ids))
    crowd_row = {int(gt.classes[i]): i + 1 for i in np.flatnonzero(gt.is_crowd)}
    row_of_pred = np.array([0] + [crowd_row.get(int(c), -1) for c in pred.classes] + [-1])
    on_crowd = (overlaps.columns >= 1) & (overlaps.rows == row_of_pred[overlaps.columns])
    return np.bincount(overlaps.columns[on_crowd], overlaps.pixels[on_crowd], len(pred.ids) + 2)[1:-1]


def id_pairs(gt_id_map: np.ndarray, pred_id_map: np.ndarray) -> IdPairs:
    """Return the runs of equal pairs of ids in two maps (H, W) of one size.

    Id maps are constant over long runs: after two comparisons per pixel, the rest works on about a hundredth of them.
    """
    gt_flat, pred_flat = gt_id_map.reshape(-1), pred_id_map.reshape(-1)
    is_start = np.empty(gt_flat.size, bool)
    is_start[:1] = True
    np.not_equal(gt_flat[1:], gt_flat[:-1], out=is_start[1:])
    is_start[1:] |= pred_flat[1:] != pred_flat[:-1]
    starts = np.flatnonzero(is_start)
    return IdPairs(gt_flat[starts], pred_flat[starts], np.diff(starts, append=gt_flat.size))


def _overlaps(pairs: IdPairs, gt_ids: np.ndarray, pred_ids: np.ndarray) -> Overlaps:
    """Add up the pixels of every pair of ids that occurs."""
    num_columns = len(pred_ids) + 2
    pair = _index(pairs.gt_ids, gt_ids) * num_columns + _index(pairs.pred_ids, pred_ids)
    if (len(gt_ids) + 2) * num_columns <= DENSE_CELLS:
        pixels = np.bincount(pair, pairs.pixels)
        pair = np.flatnonzero(pixels)
        pixels = pixels[pair]
    else:
        pair, inverse = np.unique(pair, return_inverse=True)
        pixels = np.bincount(inverse, pairs.pixels)
    return Overlaps(pair // num_columns, pair % num_columns, pixels)


def _index(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return 0 for void, 1 + the position in `ids`, or `len(ids) + 1` for an id that is not there."""
    values = values.astype(np.int64)
    known = np.concatenate([[VOID], ids])
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)
    nearest = order[place]
    return np.where(known[nearest] == values, nearest, len(known))


def _check_maps(gt_id_map: np.ndarray, pred_id_map: np.ndarray, name: str) -> None:
    for what, id_map in (("ground truth", gt_id_map), ("prediction", pred_id_map)):
        if id_map.ndim != 2 or not np.issubdtype(id_map.dtype, np.integer):
            raise DatasetError(
                f"{name}: the id map of the {what} must be (H, W) integers; "
                f"it is {id_map.dtype} of shape {id_map.shape}"
            )
    if gt_id_map.shape != pred_id_map.shape:
        (gt_height, gt_width), (height, width) = gt_id_map.shape, pred_id_map.shape
        raise DatasetError(
            f"{name}: the prediction is {width}x{height} pixels but the ground truth is {gt_width}x{gt_height}; "
            "save predictions at the size of the ground truth"
        )


def _check_prediction(found_ids: np.ndarray, pred: SegmentArrays, pred_area: np.ndarray, name: str) -> None:
    if pred_area[-1]:
        stray = np.setdiff1d(found_ids, np.append(pred.ids, VOID))
        raise DatasetError(
            f"{name}: the prediction's id map has {_some(stray)} not in its segments_info; "
            "list every segment there, or set such pixels to 0 (void)"
        )
    if not pred_area[1:-1].all():
        empty = pred.ids[pred_area[1:-1] == 0]
        raise DatasetError(
            f"{name}: the prediction's segments_info lists {_some(empty)} without a pixel in its id map; "
            "leave such segments out"
        )


def _some(ids: np.ndarray) -> str:
    shown = ", ".join(str(i) for i in ids[:3])
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return f"id {shown}" if len(ids) == 1 else f"ids {shown}{more}"


def _segment_arrays(segments: Segments, categories: Categories, where: str) -> SegmentArrays:
    """Read and check one `segments_info`."""
    ids = np.zeros(len(segments), np.int64)
    classes = np.zeros(len(segments), np.int64)
    is_crowd = np.zeros(len(segments), bool)
    for position, segment in enumerate(segments):
        ids[position], category_id = _ids_of(segment, f"{where}: segment number {position}")
        try:
            classes[position] = categories.index_of(category_id)
        except DatasetError as error:
            raise DatasetError(f"{where}: segment {ids[position]}: {error}") from None
        is_crowd[position] = read_iscrowd(segment, where)
    _check_ids(ids, where)
    return SegmentArrays(ids, classes, is_crowd)


def _ids_of(segment: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Return the id and the category_id of a segment."""
    values = []
    for key in ("id", "category_id"):
        if isinstance(segment, Mapping) and key not in segment:
            raise DatasetError(f"{where} has no {key!r}; COCO panoptic needs id and category_id")
        value = whole(segment[key]) if isinstance(segment, Mapping) else None
        if value is None or abs(value) >= 2**63:
            raise DatasetError(f"{where} is {segment!r}; id and category_id must be whole numbers, not text")
        values.append(value)
    return values[0], values[1]


def _check_ids(ids: np.ndarray, where: str) -> None:
    if len(ids) and ids.min() < 1:
        raise DatasetError(f"{where}: segment id {ids.min()} is not allowed; 0 is void and ids start at 1")
    if len(set(ids.tolist())) != len(ids):
        unique, times = np.unique(ids, return_counts=True)
        raise DatasetError(f"{where}: {_some(unique[times > 1])} listed more than once; ids must be unique")
