"""What runs a network: one interface for every runtime, so that a `Predictor` need not know which one it has."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Sizes
from yoso.preprocess import Size
from yoso.settings import Thresholds


@dataclass(frozen=True)
class Timings:
    """Duration of each step of one prediction in seconds; on a GPU, only if the request was `timed`.

    Attributes:
        read_seconds: from the file to an RGB array; almost nothing for an array.
        resize_seconds: to the network's input, on the device.
        network_seconds: to class and mask logits; to the segments, if resizing and merge are part of the exported
            graph.
        merge_seconds: from logits to segments, back on the host.
    """

    read_seconds: float
    resize_seconds: float
    network_seconds: float
    merge_seconds: float


@dataclass(frozen=True)
class Request:
    """How to segment one image; all values are checked already.

    Attributes:
        input_size: (shorter, longest) side in pixels, or None for no resizing.
        output_size: (height, width) of the result in pixels.
        thresholds: which queries become segments.
        timed: wait for a GPU after each step to measure its duration, which makes a prediction slower.
        with_embeddings: also return the kernel of each segment's query; only for engines with `has_embeddings`.
    """

    input_size: Size | None
    output_size: Size
    thresholds: Thresholds
    timed: bool = False
    with_embeddings: bool = False


@runtime_checkable
class Engine(Protocol):
    """A network in one runtime, ready to run. Several threads may call it at the same time.

    Attributes:
        runtime: "torch", or a name in `yoso.inference.runtimes.RUNTIMES`.
        device: "cpu", "cuda:0", ...
        precision: "fp32", "fp16", "bf16" or "int8": of most of the network.
        has_embeddings: whether a request may ask for embeddings.
    """

    runtime: str
    device: str

    @property
    def has_embeddings(self) -> bool:
        """See above."""
        ...

    @property
    def precision(self) -> str:
        """See above."""
        ...

    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one image.

        Args:
            pixels: uint8 (H, W, 3), RGB.
            request: sizes and thresholds.

        Returns:
            The segments at the output size, and the duration of the steps (`read_seconds` is 0).

        Raises:
            ConfigError: the network was exported for another size.
            ImageError: there is not enough memory for this size.
        """
        ...

    def logits(self, pixels: np.ndarray, request: Request) -> tuple[Any, Any, Sizes]:
        """Run the network without the merge on one image.

        Args:
            pixels: uint8 (H, W, 3), RGB.
            request: sizes; thresholds are ignored.

        Returns:
            Class logits (N, K+1) and mask logits (N, h, w), as tensors on the engine's device if it runs torch,
            otherwise as arrays; and the sizes that `yoso.postprocess` takes with them.

        Raises:
            ConfigError: the network was exported for another size, or with the merge inside, so that it has no logits.
            ImageError: there is not enough memory for this size.
        """
        ...
