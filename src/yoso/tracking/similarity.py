"""How well the things of a frame fit the tracks, by overlap, place and look, as matrices of m tracks and n things."""

from dataclasses import dataclass

import numpy as np

from yoso.tracking.masks import CroppedMask, boxes_of, shared_pixels
from yoso.tracking.segments import Detection
from yoso.tracking.tracks import Track

OTHER_CLASS = 0.7
"""Factor of a similarity if the classes differ; a network may err about a class."""

CONTAINED = 0.3
"""What a segment that lies within its track counts at least, or the other way round; halves of merged objects do."""

LOST_PENALTY = 0.1
"""What a lost track has behind one that was seen in the last frame."""

LOOK_SHARE = 0.3
"""Share of the embeddings in a similarity."""

REACH = 1.0
REACH_GROWTH = 0.03
"""How far, in diameters, a thing may be from its track if they do not overlap; more for each frame of a lost track."""

MIN_AREA_RATIO = 0.4
"""Segments of more different areas are not compared by place."""

MIN_LOOK = 0.5
"""Segments with a smaller cosine of their embeddings are not compared by place."""


@dataclass(frozen=True)
class TrackComparison:
    """The tracks, moved to this frame, and the things of the frame.

    Attributes:
        tracks: m.
        things: n.
        size: (height, width) of the frame.
        shared: (m, n) pixels in common.
        visible: (m,) pixels of each track's mask inside the frame.
        looks: (m, n) cosines of the embeddings, nan where one has none; None if no pair has.
    """

    tracks: list[Track]
    things: list[Detection]
    size: tuple[int, int]
    shared: np.ndarray
    visible: np.ndarray
    looks: np.ndarray | None

    @classmethod
    def of(cls, tracks: list[Track], things: list[Detection], size: tuple[int, int]) -> "TrackComparison":
        """Compare masks and embeddings."""
        inside = [_inside(track.mask, size) for track in tracks]
        shared = shared_pixels(inside, [thing.mask for thing in things])
        return cls(
            tracks, things, size, shared, np.array([mask.area for mask in inside], float), _looks(tracks, things)
        )

    def by_overlap(self) -> np.ndarray:
        """Return the similarity of overlapping masks, 0 to 1; 0 where they do not overlap.

        It is the IoU of the thing and the part of the track that no other thing covers, times a factor where the
        classes differ. Embeddings have their share in it.
        """
        areas = np.array([thing.mask.area for thing in self.things], float)
        uncovered = self.visible[:, None] - (self.shared.sum(1, keepdims=True) - self.shared)
        iou = self.shared / np.maximum(uncovered + areas - self.shared, 1)
        contained = self.shared / np.maximum(np.minimum(self.visible[:, None], areas), 1)
        similarity = np.maximum(iou, CONTAINED * contained) * self._class_factor()
        return np.where(self.shared > 0, self._with_looks(similarity) - self._lost_penalty(), 0)

    def by_place(self, motion: np.ndarray) -> np.ndarray:
        """Return the similarity of masks of about one size that are close to each other, 0 to 1.

        Args:
            motion: (2,) by which the tracks that were found moved beyond their prediction.
        """
        thing_area = np.array([thing.mask.area for thing in self.things], float)
        track_area = np.array([track.mask.area for track in self.tracks], float)[:, None]
        ratio = np.minimum(track_area, thing_area) / np.maximum(track_area, thing_area)
        offset, is_cut = self._offsets(motion)
        # What is cut by the frame's edge may be a part of something of any size.
        ratio = np.where(is_cut & (thing_area < track_area), 1.0, ratio)
        distance = np.linalg.norm(offset, axis=2) / np.sqrt(np.maximum(track_area, thing_area))
        reach = REACH * (1 + REACH_GROWTH * np.array([track.num_lost for track in self.tracks], float))[:, None]
        similarity = np.maximum(1 - distance / reach, 0) * ratio * self._class_factor()
        similarity = np.where(ratio < MIN_AREA_RATIO, 0, similarity)
        if self.looks is None:
            return similarity
        unlike = self.looks < MIN_LOOK
        return np.where(unlike | (similarity <= 0), 0, self._with_looks(similarity))

    def by_look(self) -> np.ndarray:
        """Return the cosine of the embeddings where the classes agree; 0 elsewhere."""
        if self.looks is None:
            return np.zeros(self.shared.shape)
        return np.where(self._same_class(), np.nan_to_num(self.looks), 0)

    def _same_class(self) -> np.ndarray:
        track_labels = np.array([track.label_id for track in self.tracks])
        return track_labels[:, None] == np.array([thing.label_id for thing in self.things])

    def _class_factor(self) -> np.ndarray:
        return np.where(self._same_class(), 1.0, OTHER_CLASS)

    def _lost_penalty(self) -> np.ndarray:
        return LOST_PENALTY * np.array([track.num_lost > 0 for track in self.tracks], float)[:, None]

    def _with_looks(self, similarity: np.ndarray) -> np.ndarray:
        if self.looks is None:
            return similarity
        mixed = (1 - LOOK_SHARE) * similarity + LOOK_SHARE * np.maximum(self.looks, 0)
        return np.where(np.isnan(self.looks), similarity, mixed)

    def _offsets(self, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the way (m, n, 2) from each track to each thing, and which things (n,) the frame's edge cuts.

        It is that of the centres; for a thing that the frame's edge cuts, that of the opposite sides.
        """
        centres = np.array([thing.mask.centre for thing in self.things])
        offset = centres[None] - (np.array([track.mask.centre for track in self.tracks]) + motion)[:, None]
        boxes = boxes_of([thing.mask for thing in self.things])
        sides = boxes[None] - (boxes_of([track.mask for track in self.tracks]) + np.tile(motion, 2))[:, None]
        is_cut = np.zeros(len(boxes), bool)
        for axis, length in ((0, self.size[1]), (1, self.size[0])):
            low, high = boxes[:, axis] <= 0, boxes[:, axis + 2] >= length
            offset[:, :, axis] = np.where(
                low, sides[:, :, axis + 2], np.where(high, sides[:, :, axis], offset[:, :, axis])
            )
            is_cut |= low | high
        return offset, is_cut


def _inside(mask: CroppedMask, size: tuple[int, int]) -> CroppedMask:
    """Return the part of a mask inside the frame."""
    left, top, right, bottom = mask.box
    x, y = max(left, 0), max(top, 0)
    if (x, y) == (left, top) and right <= size[1] and bottom <= size[0]:
        return mask
    pixels = mask.pixels[y - top : max(size[0] - top, 0), x - left : max(size[1] - left, 0)]
    return CroppedMask(x, y, pixels, int(np.count_nonzero(pixels)), mask.centre)


def _looks(tracks: list[Track], things: list[Detection]) -> np.ndarray | None:
    rows, columns = [track.embedding for track in tracks], [thing.embedding for thing in things]
    sizes = {vector.size for vector in (*rows, *columns) if vector is not None}
    if len(sizes) != 1:
        return None
    ones, others = (_stacked(vectors, sizes.copy().pop()) for vectors in (rows, columns))
    return ones @ others.T


def _stacked(vectors: list[np.ndarray | None], size: int) -> np.ndarray:
    """Return vectors of length 1 as rows; nan for those that are missing."""
    rows = np.array([np.full(size, np.nan) if vector is None else vector for vector in vectors]).reshape(-1, size)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
