"""How a model is meant to be used: what is stored beside its weights, and needs no torch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from yoso.errors import ConfigError, did_you_mean

T = TypeVar("T")


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
