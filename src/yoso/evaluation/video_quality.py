"""Scores of tracked segments over whole videos: VPQ, STQ, identity switches and IDF1.

- **VPQ** (Kim et al., Video Panoptic Segmentation, 2020): panoptic quality of tubes. In every window of k consecutive
  frames, a segment is a tube of k frames, and the rules of `yoso.evaluation.matching` match tubes. The counts of all
  windows of all videos are added up before the quality is computed; VPQ is the mean over the window lengths. A video
  shorter than a window has no such window.
- **STQ** (Weber et al., STEP, 2021): sqrt(AQ x SQ). AQ, association quality, is the mean over the true thing tracks g
  of `sum over predicted tracks p of TPA(p, g) x IoU(p, g), / |g|`: TPA are shared pixels, IoU is that of whole tracks,
  and classes play no role. Pixels of crowds are left out; predicted pixels on void count towards |p|. SQ is the mean
  IoU of the classes that occur; truly void pixels are left out.
- **Identity switches** (CLEAR MOT on masks): how often a true thing is matched with another track than the last time
  it was matched. A match is one of panoptic quality in that frame.
- **IDF1** (Ristani et al., 2016, on masks): true and predicted tracks are paired one to one so that the number of
  frames in which the pairs match is largest. IDF1 = 2 x these frames / (true + predicted segments).

All figures are between 0 and 1, except the switches, which are a number.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.errors import ConfigError
from yoso.evaluation.association import AssociationCounts, Associations
from yoso.evaluation.identities import Identities, IdentityCounts
from yoso.evaluation.matching import MatchCounts, match_pairs
from yoso.evaluation.quality import PanopticQualityResult, panoptic_quality
from yoso.evaluation.tubes import SharedPixels, TubeFrame, VideoTubes, shared_pixels

WINDOWS = (1, 5, 10, 15)
"""Frames per window of VPQ."""


@dataclass(frozen=True)
class VideoCounts:
    """What the scores are made of, over one video or many; add two with `+`.

    Attributes:
        num_frames: frames that were compared.
        windows: matches of tubes per window length.
        associations: of STQ.
        identities: switches, and the counts of IDF1.
    """

    num_frames: int
    windows: dict[int, MatchCounts]
    associations: AssociationCounts
    identities: IdentityCounts

    @classmethod
    def zeros(cls, num_classes: int, windows: Sequence[int] = WINDOWS) -> "VideoCounts":
        """Return the counts of no video at all."""
        matches = {length: MatchCounts.zeros(num_classes) for length in windows}
        return cls(0, matches, AssociationCounts.zeros(num_classes), IdentityCounts())

    def __add__(self, other: "VideoCounts") -> "VideoCounts":
        if self.windows.keys() != other.windows.keys():
            raise ConfigError("counts of different windows cannot be added; count all videos with the same windows")
        return VideoCounts(
            self.num_frames + other.num_frames,
            {length: counts + other.windows[length] for length, counts in self.windows.items()},
            self.associations + other.associations,
            self.identities + other.identities,
        )


class VideoQuality(NamedTuple):
    """The scores of a set of videos; a figure that does not exist is nan.

    Attributes:
        vpq: mean of the windows' panoptic quality over all classes.
        vpq_things: the same over the things.
        vpq_stuff: the same over the stuff.
        windows: panoptic quality of the tubes per window length; nan if no video is long enough.
        stq: segmentation and tracking quality.
        aq: association quality.
        sq: segmentation quality.
        idf1: identity F1.
        id_switches: how many.
        num_tracks: true thing tracks.
        num_frames: frames that were compared.
    """

    vpq: float
    vpq_things: float
    vpq_stuff: float
    windows: dict[int, PanopticQualityResult]
    stq: float
    aq: float
    sq: float
    idf1: float
    id_switches: int
    num_tracks: int
    num_frames: int


def count_video(
    gt_frames: Iterable[TubeFrame],
    pred_frames: Iterable[TubeFrame],
    categories: Categories,
    windows: Sequence[int] = WINDOWS,
    name: str = "video",
) -> VideoCounts:
    """Compare the frames of one video.

    Args:
        gt_frames: the ground truth in order; read once, one frame at a time.
        pred_frames: the prediction, as many frames of the same sizes.
        categories: the classes of the data set.
        windows: frames per window of VPQ, at least 1 each.
        name: what to call the video in an error.

    Raises:
        ConfigError: no window, a window below 1, or SciPy is not installed.
        DatasetError: frames that contradict their lists or each other; see `yoso.evaluation.tubes`.
    """
    if not windows or min(windows) < 1:
        raise ConfigError(f"windows are {tuple(windows)}; give at least one, of 1 frame or more")
    tubes = VideoTubes.of(categories)
    recent: deque[SharedPixels] = deque(maxlen=max(windows))
    matches = {length: MatchCounts.zeros(len(categories)) for length in windows}
    associations, identities = Associations(tubes), Identities(tubes)
    num_frames = 0
    for num_frames, frame in enumerate(shared_pixels(gt_frames, pred_frames, tubes, name), 1):  # noqa: B007
        recent.append(frame)
        associations.add(frame)
        identities.add(frame)
        for length in matches:
            if len(recent) >= length:
                matches[length] = matches[length] + _window_counts(list(recent)[-length:], categories)
    return VideoCounts(num_frames, matches, associations.counts(), identities.counts())


def video_quality(counts: VideoCounts, categories: Categories) -> VideoQuality:
    """Turn counts into scores.

    Args:
        counts: sums over any number of videos.
        categories: the K classes.
    """
    windows = {length: panoptic_quality(matches, categories) for length, matches in counts.windows.items()}
    groups = np.array([[result.all.pq, result.things.pq, result.stuff.pq] for result in windows.values()])
    vpq, vpq_things, vpq_stuff = (_mean(column) for column in groups.T)
    aq, sq = counts.associations.association_quality(), counts.associations.segmentation_quality()
    return VideoQuality(
        vpq=vpq,
        vpq_things=vpq_things,
        vpq_stuff=vpq_stuff,
        windows=windows,
        stq=float(np.sqrt(aq * sq)),
        aq=aq,
        sq=sq,
        idf1=counts.identities.f1(),
        id_switches=counts.identities.switches,
        num_tracks=counts.associations.num_tracks,
        num_frames=counts.num_frames,
    )


def _window_counts(frames: list[SharedPixels], categories: Categories) -> MatchCounts:
    """Return the matches of the tubes of one window."""
    gt = {segment["id"]: segment for frame in frames for segment in frame.gt}
    pred = {segment["id"]: segment for frame in frames for segment in frame.pred}
    columns = zip(*(frame.pairs for frame in frames), strict=True)
    pairs = frames[0].pairs._replace(
        **dict(zip(("gt_ids", "pred_ids", "pixels"), map(np.concatenate, columns), strict=True))
    )
    return match_pairs(pairs, list(gt.values()), list(pred.values()), categories, "window").counts(len(categories))


def _mean(figures: np.ndarray) -> float:
    known = figures[~np.isnan(figures)]
    return float(known.mean()) if known.size else float("nan")
