"""Tubes: the segments of a video that belong together over time, and the pixels that two sets of them share.

A thing's tube is its class and its `track_id`. All stuff segments of a class are one tube, whatever their ids; crowds
are tubes of their own. A video's frames are read one at a time, so that its length costs no memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from operator import index
from typing import Any, NamedTuple

import numpy as np

from yoso.categories import VOID, Categories
from yoso.errors import DatasetError
from yoso.evaluation.matching import IdPairs, Segments, id_pairs, match_segments

UNLISTED = -1
"""Tube number of ground-truth pixels whose id is not listed: neither void nor a segment."""


class TubeFrame(NamedTuple):
    """One frame of a ground truth or a prediction.

    Attributes:
        id_map: (H, W) integers, the segment id of each pixel; 0 is void.
        segments: `id`, `category_id`, `track_id` and, in a ground truth, `iscrowd` per segment. Stuff and crowds need
            no `track_id`.
    """

    id_map: np.ndarray
    segments: Segments


class Tube(NamedTuple):
    """What a tube is known by.

    Attributes:
        class_index: 0 to K-1.
        track_id: of a thing; None for stuff, and for crowds without one.
        is_crowd: whether it is a crowd.
    """

    class_index: int
    track_id: int | None
    is_crowd: bool


@dataclass(frozen=True)
class SharedPixels:
    """The tubes of one frame and the pixels they share.

    Attributes:
        gt: the tubes of the ground truth as segments whose `id` is the tube's number.
        pred: the same for the prediction.
        pairs: pixels per pair of tube numbers that occurs, each pair once; 0 is void, `UNLISTED` an id that the
            ground truth does not list.
    """

    gt: Segments
    pred: Segments
    pairs: IdPairs


@dataclass
class TubeNumbers:
    """Numbers the tubes of a video in the order in which they appear, from 1.

    Attributes:
        categories: the classes of the data set.
        is_truth: the ground truth; there, a `track_id` has one class throughout.
        tubes: the tubes, in the order of their numbers.
    """

    categories: Categories
    is_truth: bool
    tubes: list[Tube] = field(default_factory=list)
    _numbers: dict[Tube, int] = field(default_factory=dict)
    _classes: dict[int, int] = field(default_factory=dict)

    def read(self, segments: Segments, where: str) -> dict[int, int]:
        """Return the tube number of each segment id of one frame.

        Args:
            segments: of the frame, already checked but for their track ids.
            where: what to call the frame in an error.

        Raises:
            DatasetError: a thing has no usable `track_id`, two things of a frame have the same, or an object of the
                ground truth changes its class.
        """
        numbers, seen = {}, set()
        for segment in segments:
            tube = self._tube(segment, where)
            if tube.track_id is not None and not tube.is_crowd:
                if tube.track_id in seen:
                    raise DatasetError(
                        f"{where}: two segments have the track_id {tube.track_id}; a track has one segment per frame"
                    )
                seen.add(tube.track_id)
            if tube not in self._numbers:
                self.tubes.append(tube)
                self._numbers[tube] = len(self.tubes)
            numbers[index(segment["id"])] = self._numbers[tube]
        return numbers

    def tube(self, number: int) -> Tube | None:
        """Return the tube of a number; None for void and for pixels that are not listed."""
        return self.tubes[number - 1] if number > VOID else None

    def segments(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Return tubes as segments, each once, in the order given."""
        return [
            {
                "id": number,
                "category_id": self.categories[self.tubes[number - 1].class_index].id,
                "iscrowd": int(self.tubes[number - 1].is_crowd),
            }
            for number in dict.fromkeys(numbers)
        ]

    def _tube(self, segment: Mapping[str, Any], where: str) -> Tube:
        class_index = self.categories.index_of(segment["category_id"])
        is_crowd = self.is_truth and bool(segment.get("iscrowd", 0))
        if not self.categories[class_index].is_thing:
            return Tube(class_index, None, is_crowd)
        if is_crowd and "track_id" not in segment:
            return Tube(class_index, None, True)
        try:
            track_id = index(segment["track_id"])
        except (KeyError, TypeError):
            raise DatasetError(
                f"{where}: segment {segment['id']} has track_id {segment.get('track_id')!r}; "
                "every thing needs a whole number that stays the same over the video"
            ) from None
        if self.is_truth and self._classes.setdefault(track_id, class_index) != class_index:
            names = [self.categories[i].name for i in (self._classes[track_id], class_index)]
            raise DatasetError(
                f"{where}: track_id {track_id} is {names[0]!r} in an earlier segment and {names[1]!r} here; "
                "give every object of the video a track_id of its own"
            )
        return Tube(class_index, track_id, is_crowd)


@dataclass
class VideoTubes:
    """The tubes of a video, ground truth and prediction, as far as its frames were read.

    Attributes:
        gt: of the ground truth.
        pred: of the prediction.
    """

    gt: TubeNumbers
    pred: TubeNumbers

    @classmethod
    def of(cls, categories: Categories) -> "VideoTubes":
        """Return the tubes of a video of which no frame was read."""
        return cls(TubeNumbers(categories, True), TubeNumbers(categories, False))

    def share(self, gt: TubeFrame, pred: TubeFrame, name: str) -> SharedPixels:
        """Count the pixels that the tubes share in the next frame.

        Args:
            gt: the frame in the ground truth.
            pred: the same frame in the prediction.
            name: what to call the frame in an error.

        Raises:
            DatasetError: see `match_segments` and `TubeNumbers.read`.
        """
        # For its checks alone: what it returns is about segments, not tubes.
        match_segments(gt.id_map, gt.segments, pred.id_map, pred.segments, self.gt.categories, name)
        pairs = id_pairs(gt.id_map, pred.id_map)
        gt_numbers = self.gt.read(gt.segments, f"{name}: ground truth")
        pred_numbers = self.pred.read(pred.segments, f"{name}: prediction")
        gt_tubes, pred_tubes = _renumbered(pairs.gt_ids, gt_numbers), _renumbered(pairs.pred_ids, pred_numbers)
        codes, inverse = np.unique(gt_tubes << 32 | pred_tubes, return_inverse=True)
        shared = pairs._replace(
            gt_ids=codes >> 32,
            pred_ids=codes & 0xFFFFFFFF,
            pixels=np.bincount(inverse, pairs.pixels, len(codes)).astype(np.int64),
        )
        return SharedPixels(self.gt.segments(gt_numbers.values()), self.pred.segments(pred_numbers.values()), shared)


def shared_pixels(
    gt_frames: Iterable[TubeFrame], pred_frames: Iterable[TubeFrame], tubes: VideoTubes, name: str
) -> Iterator[SharedPixels]:
    """Yield what the tubes of a video share, frame by frame.

    Args:
        gt_frames: the ground truth in order.
        pred_frames: the prediction, as many frames.
        tubes: filled on the way.
        name: what to call the video in an error.

    Raises:
        DatasetError: one of the two has more frames, a frame is of another size, or see `VideoTubes.share`.
    """
    size = None
    for number, (gt, pred) in enumerate(zip_longest(gt_frames, pred_frames)):
        if gt is None or pred is None:
            shorter = "ground truth" if gt is None else "prediction"
            raise DatasetError(f"{name}: the {shorter} ends after {number} frames; give as many frames of both")
        shared = tubes.share(gt, pred, f"{name}, frame {number}")
        height, width = gt.id_map.shape
        if (height, width) != (size := size or (height, width)):
            raise DatasetError(
                f"{name}, frame {number}: is {width}x{height} pixels, but the frames before are {size[1]}x{size[0]}; "
                "a video has one size, so give frames of another size a video_id of their own"
            )
        yield shared


def _renumbered(ids: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    """Return the tube numbers of segment ids, int64; `VOID` stays, ids without a number become `UNLISTED`."""
    known = np.array([VOID, *numbers], np.int64)
    values = np.array([VOID, *numbers.values()], np.int64)
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
    return np.where(known[place] == ids, values[place], UNLISTED)
