"""What runs a network: one interface for every runtime, so that a `Predictor` need not know which it has."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Sizes
from yoso.preprocess import Size


@dataclass(frozen=True)
class Timings:
    """Seconds that the steps of one prediction took; on a GPU, if it was `timed` (see `Request`).

    Attributes:
        read_seconds: from file to RGB array; almost nothing for an array.
        resize_seconds: to the network's input, on the device.
        network_seconds: to class and mask logits; to the segments, where resizing and merge are in the exported graph.
        merge_seconds: from logits to segments, back on the host.
    """

    read_seconds: float
    resize_seconds: float
    network_seconds: float
    merge_seconds: float


@dataclass(frozen=True)
class Request:
    """How one photograph is to be segmented; checked.

    Attributes:
        input_size: (shorter, longest) side in pixels, or None for no resizing.
        output_size: (height, width) of the result in pixels.
        object_mask_threshold: 0 to 1.
        overlap_threshold: 0 to 1.
        timed: wait for a GPU after each step, so that it is known what each took; a prediction takes longer then.
    """

    input_size: Size | None
    output_size: Size
    object_mask_threshold: float
    overlap_threshold: float
    timed: bool = False


@runtime_checkable
class Engine(Protocol):
    """A network in one runtime, ready to run. Calls from several threads do not disturb each other.

    Attributes:
        runtime: "torch", "onnxruntime" or "openvino".
        device: "cpu", "cuda:0", ...
        precision: "fp32", "fp16", "bf16" or "int8": of most of the network.
    """

    runtime: str
    device: str

    @property
    def precision(self) -> str:
        """See above."""
        ...

    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one photograph.

        Args:
            pixels: uint8 (H, W, 3), RGB.
            request: sizes and thresholds.

        Returns:
            The segments at the output size, and how long the steps took (`read_seconds` is 0).

        Raises:
            ConfigError: the network was exported for another size.
            ImageError: there is not enough memory for this size.
        """
        ...

    def logits(self, pixels: np.ndarray, request: Request) -> tuple[Any, Any, Sizes]:
        """Run the network alone on one photograph.

        Args:
            pixels: uint8 (H, W, 3), RGB.
            request: sizes; the thresholds do not matter.

        Returns:
            Class logits (N, K+1) and mask logits (N, h, w), tensors on the engine's device if it is torch's, arrays if
            not; and the sizes that `yoso.postprocess` takes with them.

        Raises:
            ConfigError: the network was exported for another size, or with the merge inside, so that it has no logits.
            ImageError: there is not enough memory for this size.
        """
        ...
