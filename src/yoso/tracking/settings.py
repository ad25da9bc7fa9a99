"""The parameters of tracking, checked."""

import dataclasses
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from yoso.errors import ConfigError

LEAST = {"confirm_frames": 1, "max_lost_frames": 0}
"""Smallest value of the parameters that count frames."""


@dataclass(frozen=True)
class TrackerSettings:
    """How tracks are born, found again and forgotten. All values are checked.

    Attributes:
        min_iou: minimum similarity (IoU, less for another class) of a segment and the predicted mask of its track,
            0 to 1.
        confirm_frames: a track is confirmed when it was seen in this many frames, at least 1.
        max_lost_frames: a confirmed track is forgotten when it was not seen for more frames than this, 0 or more. An
            unconfirmed one is forgotten after 2.
        use_motion: predict where a track is from its velocity and from the shift of the camera.
    """

    min_iou: float = 0.15
    confirm_frames: int = 2
    max_lost_frames: int = 30
    use_motion: bool = True

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a value is of another kind or out of its range.
        """
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, checked_parameter(field.name, getattr(self, field.name)))


def checked_parameter(name: str, value: Any) -> Any:
    """Return the value of a field of `TrackerSettings` in plain Python types.

    Raises:
        ConfigError: it is of another kind or out of its range.
    """
    is_flag = isinstance(value, bool)
    if name == "use_motion":
        if not is_flag:
            raise ConfigError(f"{name} is {value!r}; give True or False")
        return value
    if name == "min_iou":
        if is_flag or not isinstance(value, Real) or not 0 <= float(value) <= 1:
            raise ConfigError(f"{name} is {value!r}; give a number from 0 to 1")
        return float(value)
    least = LEAST[name]
    if is_flag or not isinstance(value, Integral) or value < least:
        raise ConfigError(f"{name} is {value!r}; give a whole number of at least {least}")
    return int(value)
