"""Identities that hold: which segment of a frame is which object of the frames before.

In every frame, each track is moved to where its velocity and the camera's shift put it. The tracks and the things of
the frame are then paired one to one: by overlap of their masks; those that are left by place; then by look, where the
predictor gives embeddings. Things without a track begin one. Tracks without a thing are lost, and may be found again.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from yoso.errors import ConfigError
from yoso.installation import optional_packages
from yoso.tracking.camera import CameraShift
from yoso.tracking.segments import Detection, Result, is_thing, read_segmentation, read_things
from yoso.tracking.settings import TrackerSettings
from yoso.tracking.similarity import TrackComparison
from yoso.tracking.tracks import Track

__all__ = ["Tracker", "TrackerSettings"]

MIN_NEARNESS = 0.2
"""Minimum similarity of a segment and its track by place."""

MIN_LOOK = 0.75
"""Minimum cosine of the embeddings of a segment and its track, where nothing else speaks for the pair. Kernels of one
window in two frames have a cosine of 0.76 to 0.94, those of two windows of 0.17 to 0.66 (5th and 95th percentiles)."""

MAX_LOST_UNCONFIRMED = 2
"""After how many frames an unconfirmed track is forgotten."""

COVERED = 0.05
"""Share of a track's mask that others cover, or that is outside the frame, from which the track counts as hidden."""

SHRUNK, GROWN = 0.95, 1.3
"""Share of a mask's area below which a hidden track shows a part, and above which it may have swallowed another."""

SWALLOWED = 0.5
"""Share of a track's mask that lies in another's segment if the network made one segment of both."""

INWARD_PIXELS = 2.0
"""If both sides of a box moved inwards by more than this, they do not tell where the object is."""


class Tracker:
    """Gives the segments of successive frames identities.

    Attributes:
        settings: its parameters.
    """

    def __init__(self, settings: TrackerSettings = TrackerSettings()) -> None:  # noqa: B008 - it is frozen
        """Begin without tracks.

        Raises:
            ConfigError: SciPy is not installed.
        """
        with optional_packages("tracking", "video"):
            from scipy.optimize import linear_sum_assignment

        self._assign = linear_sum_assignment
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget all tracks, and number them from 1 again: the next frame is the first of another video."""
        self._tracks: list[Track] = []
        self._stuff: dict[int, int] = {}
        self._next_id = 1
        self._size: tuple[int, int] | None = None
        self._camera = CameraShift()

    def update(self, result: Result) -> dict[str, Any]:
        """Give the segments of the next frame their identities.

        Args:
            result: as `yoso.Predictor` returns it. From another predictor, `segmentation` (H, W) and, per segment, `id`
                and `label_id` are enough; a segment without `is_thing` is a thing.

        Returns:
            A new dictionary. Every entry of `segments_info` has a `track_id`, from 1. A thing keeps it, and all stuff
            of a class has one, which no thing has. Things also have `is_confirmed`: False for a track that was seen in
            fewer than `confirm_frames` frames, whose `track_id` may be a mistake of one frame. `label_id` and `label`
            of a thing are those that its track has had most often of late. All else is as it was.

        Raises:
            ConfigError: the result is not in this form, or of another size than the frames before.
        """
        segmentation, infos = read_segmentation(result), list(result["segments_info"])
        size = (segmentation.shape[0], segmentation.shape[1])
        before = self._size or size
        if size != before:
            raise ConfigError(
                f"this frame is {size[1]}x{size[0]} pixels and the ones before were {before[1]}x{before[0]}; "
                "resize it, or call reset() before another video"
            )
        things = read_things(segmentation, infos)
        self._size = size
        self._move(segmentation, infos)
        pairs = self._pairs(things)
        by_id = self._updated(things, pairs)
        return {**result, "segments_info": [self._with_track(info, by_id) for info in infos]}

    def _move(self, segmentation: np.ndarray, infos: list[Mapping[str, Any]]) -> None:
        """Move all tracks to where they should be in this frame."""
        if not self.settings.use_motion:
            return
        height, width = segmentation.shape
        shift = self._camera.shift(segmentation, {int(info["id"]): int(info["label_id"]) for info in infos})
        for track in self._tracks:
            x, y = track.mask.centre.tolist()
            # What has left the picture waits at its edge, because it may come back there.
            is_inside = 0 <= x <= width and 0 <= y <= height
            track.move(shift, track.velocity if is_inside else np.zeros(2))

    def _pairs(self, things: list[Detection]) -> "_Pairs":
        """Find the things of the frame among the tracks."""
        pairs = _Pairs(TrackComparison.of(self._tracks, things, self._size or (0, 0)))
        if not things or not self._tracks:
            return pairs
        self._match(pairs, pairs.compared.by_overlap(), self.settings.min_iou)
        if self.settings.use_motion and pairs.are_open:
            motion = np.median(pairs.errors(), 0) if len(pairs.thing_of) >= 3 else np.zeros(2)
            self._match(pairs, pairs.compared.by_place(motion), MIN_NEARNESS)
        if pairs.compared.looks is not None and pairs.are_open:
            self._match(pairs, pairs.compared.by_look(), MIN_LOOK)
        return pairs

    def _match(self, pairs: "_Pairs", similarity: np.ndarray, least: float) -> None:
        """Pair tracks and things that have no partner so that the sum of the similarities is largest."""
        rows = [row for row in range(similarity.shape[0]) if row not in pairs.thing_of]
        used = set(pairs.thing_of.values())
        columns = [column for column in range(similarity.shape[1]) if column not in used]
        part = similarity[np.ix_(rows, columns)]
        part = np.where(part >= max(least, 1e-9), part, 0)
        for row, column in zip(*self._assign(part, maximize=True), strict=True):
            if part[row, column] > 0:
                pairs.thing_of[rows[row]] = columns[column]

    def _updated(self, things: list[Detection], pairs: "_Pairs") -> dict[int, Track]:
        """Update, begin and forget tracks; return the track of each thing by segment id."""
        by_id, unexplained = {}, []
        for row, column in pairs.thing_of.items():
            track, thing = self._tracks[row], things[column]
            error, is_partial = pairs.seen(row) if self.settings.use_motion else (np.zeros(2), False)
            if not track.num_lost:
                unexplained.append(track.velocity + error)
            track.see(thing, error, is_partial)
            by_id[int(thing.info["id"])] = track
        self._camera.correct(np.array(unexplained).reshape(-1, 2))
        for row, track in enumerate(self._tracks):
            if row not in pairs.thing_of:
                track.miss()
        self._tracks = [track for track in self._tracks if track.num_lost <= self._patience(track)]
        found = set(pairs.thing_of.values())
        for column, thing in enumerate(things):
            if column not in found:
                track = Track(self._new_id(), thing.mask)
                track.begin(thing)
                self._tracks.append(track)
                by_id[int(thing.info["id"])] = track
        return by_id

    def _patience(self, track: Track) -> int:
        longest = self.settings.max_lost_frames
        return longest if self._is_confirmed(track) else min(MAX_LOST_UNCONFIRMED, longest)

    def _is_confirmed(self, track: Track) -> bool:
        return track.num_seen >= self.settings.confirm_frames

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _with_track(self, info: Mapping[str, Any], by_id: dict[int, Track]) -> dict[str, Any]:
        if not is_thing(info):
            label_id = int(info["label_id"])
            if label_id not in self._stuff:
                self._stuff[label_id] = self._new_id()
            return {**info, "track_id": self._stuff[label_id]}
        track = by_id.get(int(info["id"]))
        if track is None:  # a thing without pixels
            return {**info, "track_id": self._new_id(), "is_confirmed": False}
        known = {**info, "label_id": track.label_id, "track_id": track.id}
        if "label" in info:
            known["label"] = track.labels[track.label_id]
        return {**known, "is_confirmed": self._is_confirmed(track)}


class _Pairs:
    """Which thing of a frame each track is, and where that puts the track."""

    def __init__(self, compared: TrackComparison) -> None:
        self.compared = compared
        self.thing_of: dict[int, int] = {}

    @property
    def are_open(self) -> bool:
        """Whether a track and a thing are left."""
        return len(self.thing_of) < min(len(self.compared.tracks), len(self.compared.things))

    def errors(self) -> np.ndarray:
        """Return the way (p, 2) from each track's predicted centre to that of its thing."""
        compared = self.compared
        return np.array(
            [
                compared.things[column].mask.centre - compared.tracks[row].mask.centre
                for row, column in self.thing_of.items()
            ]
        ).reshape(-1, 2)

    def seen(self, row: int) -> tuple[np.ndarray, bool]:
        """Return how far (2,) a track is from its prediction, and whether its thing shows only a part of it.

        The centre of a part is not that of the object, so hidden tracks are measured by the sides of their boxes.
        """
        compared, column = self.compared, self.thing_of[row]
        track, thing = compared.tracks[row].mask, compared.things[column].mask
        others = compared.shared[row].sum() - compared.shared[row, column]
        hidden = (others + track.area - compared.visible[row]) / track.area
        growth = thing.area / track.area
        is_partial = hidden > COVERED and growth < SHRUNK
        is_partial |= growth > GROWN and self._has_swallowed(column)
        if not is_partial and hidden <= COVERED:
            return thing.centre - track.centre, False
        sides = np.subtract(thing.box, track.box).tolist()
        return np.array([_side_motion(sides[0], sides[2]), _side_motion(sides[1], sides[3])]), bool(is_partial)

    def _has_swallowed(self, column: int) -> bool:
        """Say whether most of a track that has no thing of its own lies in a thing."""
        areas = np.array([track.mask.area for track in self.compared.tracks])
        swallowed = np.flatnonzero(self.compared.shared[:, column] > SWALLOWED * areas)
        return any(row not in self.thing_of for row in swallowed.tolist())


def _side_motion(low: int, high: int) -> float:
    """Return how far a box moved along one axis: as far as the side that moved least."""
    motion = low if abs(low) < abs(high) else high
    return 0.0 if low > 0 > high and abs(motion) > INWARD_PIXELS else float(motion)
