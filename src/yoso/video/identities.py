"""What was seen of each identity: class, first and last second, frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Identity:
    """One track.

    Attributes:
        track_id: of the tracker.
        label: name of its class, as last seen.
        is_thing: thing or stuff.
        first_seconds: timestamp of the first frame with it.
        last_seconds: timestamp of the last one.
        num_frames: with it.
    """

    track_id: int
    label: str
    is_thing: bool
    first_seconds: float
    last_seconds: float
    num_frames: int = 0


class IdentityList:
    """Collects the identities of a video, without things that the tracker never confirmed: they may be mistakes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[int, Identity] = {}
        self._confirmed: set[int] = set()

    def update(self, result: Mapping[str, Any], timestamp: float) -> None:
        """Add the tracks of a frame.

        Args:
            result: with a `track_id` in its segments; those without are left out.
            timestamp: of the frame in seconds.
        """
        for info in result["segments_info"]:
            track_id = info.get("track_id")
            if track_id is None:
                continue
            known = self._found.setdefault(
                track_id, Identity(track_id, info["label"], info["is_thing"], timestamp, timestamp)
            )
            known.label, known.last_seconds = info["label"], timestamp
            known.num_frames += 1
            if info.get("is_confirmed", True):
                self._confirmed.add(track_id)

    def all(self) -> list[Identity]:
        """Return the identities in the order in which they appeared."""
        return [identity for identity in self._found.values() if identity.track_id in self._confirmed]
