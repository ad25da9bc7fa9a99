"""How a model is used: thresholds and test size. Needs neither torch nor NumPy."""

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, cast

from yoso.errors import ConfigError, did_you_mean

T = TypeVar("T")

UNBOUNDED = 10**9
"""The longer side of an input size that does not limit it."""

MAX_SHORTER_SIDE = 2**15
"""Of an input size, in pixels; larger images fit into no memory, and exported networks do not take them."""

MAX_LONGEST_SIDE = 10**10
"""Of an input size; larger numbers, which mean the same, do not fit into the 64 bits of an exported network's input."""

MAX_PIXELS_VARIABLE = "YOSO_MAX_PIXELS"
"""Environment variable that limits the pixels of an image; the option `--max-pixels` sets it for one command."""

DEFAULT_MAX_PIXELS = 200 * 10**6
"""The limit without that variable. Reading an image takes up to 10 bytes a pixel."""


@dataclass(frozen=True)
class Thresholds:
    """Which queries become segments. Both values are checked.

    Attributes:
        object_mask: a query takes part if its class score is above this, 0 to 1.
        overlap: a segment is dropped if its query wins less than this share of its own mask, 0 to 1.
    """

    object_mask: float
    overlap: float

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a value is not a number from 0 to 1.
        """
        for name in ("object_mask", "overlap"):
            object.__setattr__(self, name, _checked_share(f"{name}_threshold", getattr(self, name)))


@dataclass(frozen=True)
class InferenceConfig:
    """How logits become segments, and at what size. All values are checked, wherever they come from.

    Attributes:
        object_mask_threshold: a query takes part if its class score is above this, 0 to 1.
        overlap_threshold: a segment is dropped if its query wins less than this share of its own mask, 0 to 1.
        input_size: (shorter, longest) side in pixels that images are resized to, or None for no resizing.
    """

    object_mask_threshold: float = 0.7
    overlap_threshold: float = 0.8
    input_size: tuple[int, int] | None = (800, 1333)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: see `checked_setting`.
        """
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, checked_setting(field.name, getattr(self, field.name)))

    @property
    def thresholds(self) -> Thresholds:
        """Both thresholds as one value."""
        return Thresholds(self.object_mask_threshold, self.overlap_threshold)


def checked_setting(name: str, value: Any) -> Any:
    """Return the value of a field of `InferenceConfig` in plain Python types.

    Raises:
        ConfigError: a threshold is not a number from 0 to 1, or the size is not two positive whole numbers or None.
    """
    if name != "input_size":
        return _checked_share(name, value)
    if value is None:
        return None
    size = checked_size(name, value, "(shorter, longest)")
    if size[0] > MAX_SHORTER_SIDE:
        raise ConfigError(f"input_size is {size}; the shorter side is at most {MAX_SHORTER_SIDE} pixels")
    return size[0], min(size[1], MAX_LONGEST_SIDE)


def _checked_share(name: str, value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value!r}; give a number from 0 to 1")
    return float(value)


def checked_size(name: str, value: Any, meaning: str) -> tuple[int, int]:
    """Return a pair of sides in pixels as plain integers.

    Args:
        name: of the setting, for the error.
        value: a list or tuple; anything else is refused.
        meaning: of the two sides, such as "(height, width)", for the error.

    Raises:
        ConfigError: `value` is not two whole numbers, or one is below 1.
    """
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    if len(pair) != 2 or not all(isinstance(side, Integral) and not isinstance(side, bool) for side in pair):
        raise ConfigError(f"{name} is {value!r}; give {meaning} in whole pixels")
    if min(pair) < 1:
        raise ConfigError(f"{name} is {value!r}; both sides must be at least 1 pixel")
    return int(pair[0]), int(pair[1])


def config_from_json(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a configuration dataclass from JSON values; lists become tuples.

    Raises:
        ConfigError: `values` is not an object, has a key that the dataclass does not have, or a value that it refuses.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"an object with keys and values is needed, not {type(values).__name__}")
    known = {field.name for field in dataclasses.fields(cast(Any, kind))}
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {key!r}.{did_you_mean(str(key), known)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Read (height, width) in pixels.

    Args:
        text: `HEIGHTxWIDTH`.
        option: named in the error.

    Raises:
        ConfigError: anything else.
    """
    size = _two_sides(text)
    if size is None:
        raise ConfigError(f"{option} {text}: give HEIGHTxWIDTH in pixels, such as 512x800")
    return size


def parse_input_size(text: str, option: str = "--input-size") -> tuple[int, int] | Literal["native"]:
    """Read an input size, as every command takes it.

    Args:
        text: `SHORTER` or `SHORTERxLONGEST` in pixels, or `native` for no resizing; without `LONGEST` the longer side
            is not limited.
        option: named in the error.

    Returns:
        (shorter, longest) in pixels, or "native".

    Raises:
        ConfigError: anything else.
    """
    if text == "native":
        return "native"
    size = _two_sides(text if "x" in text.lower() else f"{text}x{UNBOUNDED}")
    if size is None:
        raise ConfigError(f"{option} {text}: give SHORTER or SHORTERxLONGEST in pixels, such as 512x800, or native")
    return size


def max_pixels() -> int:
    """Return how many pixels an image may have.

    Raises:
        ConfigError: `YOSO_MAX_PIXELS` is not a whole number above 0.
    """
    return parse_max_pixels(os.environ.get(MAX_PIXELS_VARIABLE) or str(DEFAULT_MAX_PIXELS), MAX_PIXELS_VARIABLE)


def parse_max_pixels(text: str, option: str) -> int:
    """Read a number of pixels.

    Args:
        text: a whole number above 0.
        option: named in the error.

    Raises:
        ConfigError: anything else.
    """
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) == 0:
        raise ConfigError(f"{option} {text}: give a number of pixels, such as {DEFAULT_MAX_PIXELS}")
    return int(text)


def _two_sides(text: str) -> tuple[int, int] | None:
    """Return the two sides of a text such as 512x800, from 1 pixel on; None for any other text."""
    found = re.fullmatch(r"0*([1-9][0-9]{0,9})x0*([1-9][0-9]{0,9})", text.lower())
    return (int(found[1]), int(found[2])) if found else None


def is_offline() -> bool:
    """Return whether `YOSO_OFFLINE` forbids all downloads."""
    return os.environ.get("YOSO_OFFLINE", "").strip().lower() not in {"", "0", "false", "no", "off"}
