"""One track: where its object is, how it moves, what it looks like, which class it has."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yoso.tracking.masks import CroppedMask
from yoso.tracking.segments import Detection

VOTE_MEMORY = 0.9
"""What a vote for a class is worth one frame later."""

GAIN = 0.25
"""Share of a prediction's error by which the velocity changes; more while a track is young."""

LOST_SLOWDOWN = 0.95
"""What is left of the velocity after each frame in which a track was not seen."""

MAX_PARTIAL_FRAMES = 10
"""For how many frames a track that is partly hidden keeps the mask that it had before."""

LOOK_MEMORY = 0.9
"""Weight of a track's former embeddings when it is seen again."""


@dataclass(eq=False)
class Track:
    """What is known about one object.

    Attributes:
        id: its `track_id`.
        mask: its last complete mask, moved to where the track is.
        velocity: (2,) pixels per frame to the right and down, without the camera's.
        num_seen: frames in which it was seen.
        num_lost: frames since then.
        num_partial: frames for which `mask` has been kept because the object is partly hidden.
        embedding: (D,) mean of its embeddings, or None.
        votes: weight per class index.
        labels: the name, or None, per class index.
    """

    id: int
    mask: CroppedMask
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    num_seen: int = 0
    num_lost: int = 0
    num_partial: int = 0
    embedding: np.ndarray | None = None
    votes: dict[int, float] = field(default_factory=dict)
    labels: dict[int, Any] = field(default_factory=dict)

    @property
    def label_id(self) -> int:
        """The class with most votes."""
        return max(self.votes, key=lambda label_id: self.votes[label_id])

    def move(self, shift: np.ndarray, velocity: np.ndarray) -> None:
        """Move to where the track should be in the next frame.

        Args:
            shift: (2,) of the camera.
            velocity: (2,) of the track.
        """
        self.velocity = velocity
        self.mask = self.mask.moved(shift + velocity)

    def see(self, detection: Detection, error: np.ndarray, is_partial: bool) -> None:
        """Take over a detection.

        Args:
            detection: of this frame.
            error: (2,) from where the track should be to where it is.
            is_partial: whether the detection shows only a part of the object, or another one as well.
        """
        gain = max(GAIN, 1 / (1 + self.num_seen))
        self.velocity = self.velocity + gain * error / (1 + self.num_lost)
        if is_partial and self.num_partial < MAX_PARTIAL_FRAMES:
            self.mask = self.mask.moved(error)
            self.num_partial += 1
        else:
            self.mask = detection.mask
            self.num_partial = 0
        self._remember(detection)

    def begin(self, detection: Detection) -> None:
        """Take over the first detection."""
        self._remember(detection)

    def miss(self) -> None:
        """Note that the track was not seen in this frame."""
        self.num_lost += 1
        self.velocity = self.velocity * LOST_SLOWDOWN

    def _remember(self, detection: Detection) -> None:
        self.num_seen += 1
        self.num_lost = 0
        for label_id in self.votes:
            self.votes[label_id] *= VOTE_MEMORY
        self.votes[detection.label_id] = self.votes.get(detection.label_id, 0.0) + detection.score
        self.labels[detection.label_id] = detection.info.get("label")
        look = detection.embedding
        if look is not None and self.embedding is not None and look.shape == self.embedding.shape:
            look = LOOK_MEMORY * self.embedding + (1 - LOOK_MEMORY) * look
        self.embedding = self.embedding if look is None else look
