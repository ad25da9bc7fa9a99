"""How a model is meant to be used: what is stored beside its weights, and needs no torch."""

from dataclasses import dataclass


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
