"""Flicker: how often pixels change their owner and change back, without any ground truth."""

from collections import deque
from collections.abc import Iterable

import numpy as np

from yoso.errors import ConfigError, DatasetError

FRAMES = 3
"""Within how many frames after a change a pixel must change back to count."""


def flicker(track_maps: Iterable[np.ndarray], num_frames: int = FRAMES) -> float:
    """Return the share of pixels, averaged over the frames, that change their owner and change back soon.

    A pixel of frame t flickers if its owner differs from that in frame t-1 and it has the owner of frame t-1 again in
    one of the frames t+1 to t+`num_frames`. The frames that have no frame before them, or fewer after them, are left
    out. What moves on for good does not count, nor does a camera that does.

    Args:
        track_maps: (H, W) integers per frame, the track id of each pixel; read once.
        num_frames: at least 1.

    Returns:
        0 to 1; nan if there are fewer than `num_frames` + 2 frames.

    Raises:
        ConfigError: `num_frames` is below 1.
        DatasetError: frames of different sizes.
    """
    if num_frames < 1:
        raise ConfigError(f"num_frames is {num_frames}; give at least 1")
    recent: deque[np.ndarray] = deque(maxlen=num_frames + 2)
    shares = []
    for number, track_map in enumerate(track_maps):
        if recent and recent[-1].shape != track_map.shape:
            raise DatasetError(
                f"frame {number} is of shape {track_map.shape}, the one before of {recent[-1].shape}; "
                "give the frames of one video"
            )
        recent.append(track_map)
        if len(recent) == recent.maxlen:
            before, now, *after = recent
            changed = np.flatnonzero(before.reshape(-1) != now.reshape(-1))
            owner = before.reshape(-1)[changed]
            back = np.zeros(len(changed), bool)
            for later in after:
                back |= later.reshape(-1)[changed] == owner
            shares.append(back.sum() / max(before.size, 1))
    return float(np.mean(shares)) if shares else float("nan")
