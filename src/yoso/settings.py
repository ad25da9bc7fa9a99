"""How a model is meant to be used: what is stored beside its weights, and needs no torch."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from yoso.errors import ConfigError, did_you_mean

T = TypeVar("T")

UNBOUNDED = 10**9
"""The longer side of an input size that does not limit it."""


@dataclass(frozen=True)
class InferenceConfig:
    """How logits become segments, and at what size.

    Attributes:
        object_mask_threshold: a query takes part if its class score is above this, 0 to 1.
        overlap_threshold: a segment is dropped if less than this share of its mask survives the argmax, 0 to 1.
        input_size: (shorter, longest) side in pixels that images are resized to, or None for no resizing.
    """

    object_mask_threshold: float = 0.7
    overlap_threshold: float = 0.8
    input_size: tuple[int, int] | None = (800, 1333)


def config_from_json(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a configuration dataclass from JSON values; lists become tuples.

    Raises:
        ConfigError: a key that the dataclass does not have.
    """
    known = {field.name for field in dataclasses.fields(cast(Any, kind))}
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {key!r}.{did_you_mean(key, known)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


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
    shorter, cross, longest = text.lower().partition("x")
    try:
        size = (int(shorter), int(longest) if cross else UNBOUNDED)
    except ValueError:
        size = (0, 0)
    if min(size) < 1:
        raise ConfigError(f"{option} {text}: give SHORTER or SHORTERxLONGEST in pixels, such as 512x800, or native")
    return size


def is_offline() -> bool:
    """Return whether `YOSO_OFFLINE` forbids all downloads."""
    return os.environ.get("YOSO_OFFLINE", "").strip().lower() not in {"", "0", "false", "no", "off"}
