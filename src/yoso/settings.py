"""How a model is meant to be used: what is stored beside its weights, and needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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


def read_inference(values: Mapping[str, Any]) -> InferenceConfig:
    """Return the configuration that a JSON object holds, whose lists are tuples here.

    Raises:
        TypeError: a key that there is not.
    """
    converted: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in values.items()}
    return InferenceConfig(**converted)
