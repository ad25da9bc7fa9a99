"""PyTorch runs the network: fused, on a CPU or a GPU, on a GPU in bfloat16 and as a CUDA graph if asked."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from yoso.errors import ConfigError, ImageError
from yoso.inference.cuda_graphs import GraphedNetwork
from yoso.inference.engine import Request, Timings
from yoso.model.checkpoint import Model
from yoso.model.fuse import fuse
from yoso.model.yoso import YOSO, padded_size
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Sizes
from yoso.postprocess.torch_merge import panoptic
from yoso.preprocess import Size, resize, resized_size
from yoso.structures import Outputs

PRECISIONS = ("fp32", "bf16")
"""Not fp16: the decoder sums features over all pixels of a mask, and sums beyond 65504 do not fit."""


class TorchEngine:
    """A network on a device, in evaluation mode.

    Attributes:
        network: what runs: the deployment form, or the network itself if `fused` is False.
        precision: of the network; the merge is always in float32.
    """

    runtime = "torch"

    def __init__(self, model: Model, device: torch.device, precision: str = "fp32", fused: bool = True) -> None:
        """Put a model on a device.

        Args:
            model: network, categories, thresholds.
            device: see `resolve_device`.
            precision: "bf16" needs a GPU, and runs the network as a CUDA graph per size.
            fused: run the deployment form (`yoso.model.fuse`), which differs by rounding only.

        Raises:
            ConfigError: a precision that there is not, or not on this device.
        """
        if precision not in PRECISIONS:
            raise ConfigError(f"precision {precision!r}: fp32 or bf16 is needed")
        if precision == "bf16" and device.type != "cuda":
            raise ConfigError(f"precision {precision} needs a CUDA device, and this one is {device}; use fp32")
        self.precision = precision
        self.torch_device = device
        self.device = str(device)
        network = model.network.to(device).eval()
        self.network: YOSO = fuse(network) if fused else network
        self.is_thing = model.categories.is_thing
        if fused and device.type == "cpu":
            # ResNet-50's convolutions were a tenth faster so at 512x800 on two cores.
            self.network.backbone.to(memory_format=torch.channels_last)
        self._graphs = GraphedNetwork(self.network) if precision == "bf16" else None

    @torch.inference_mode()
    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one photograph; see `Engine`."""
        watch = _StopWatch(self.torch_device)
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            tensor = self._tensor(pixels, request)
            resize_seconds = watch.lap()
            outputs = self._outputs(tensor)
            network_seconds = watch.lap()
            result = panoptic(
                outputs.class_logits[0],
                outputs.mask_logits[0],
                _sizes(tensor, request),
                self.is_thing,
                request.object_mask_threshold,
                request.overlap_threshold,
            )
            arrays = PanopticArrays(result.segmentation.cpu().numpy(), result.segments)
        return arrays, Timings(0.0, resize_seconds, network_seconds, watch.lap())

    @torch.inference_mode()
    def logits(self, pixels: np.ndarray, request: Request) -> tuple[Tensor, Tensor, Sizes]:
        """Run the network alone; see `Engine`."""
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            tensor = self._tensor(pixels, request)
            outputs = self._outputs(tensor)
        return outputs.class_logits[0], outputs.mask_logits[0], _sizes(tensor, request)

    def _tensor(self, pixels: np.ndarray, request: Request) -> Tensor:
        size = resized_size((pixels.shape[0], pixels.shape[1]), request.input_size)
        # A copy, because what Pillow lends is read-only, and a caller's array may have negative strides.
        resized = np.array(resize(pixels, size), order="C")
        return torch.from_numpy(resized).to(self.torch_device).permute(2, 0, 1)

    def _outputs(self, image: Tensor) -> Outputs:
        if self._graphs is None:
            return self.network([image])
        return self._graphs(self.network.prepare([image]))


def _sizes(tensor: Tensor, request: Request) -> Sizes:
    image_size = (tensor.shape[1], tensor.shape[2])
    return Sizes(padded_size([image_size]), image_size, request.output_size)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device that a name means.

    Raises:
        ConfigError: torch knows no such device, or this machine has none.
    """
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {str(device)!r}; use auto, cpu, cuda or cuda:1") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {str(device)!r}: this machine has {torch.cuda.device_count()} CUDA devices; use cpu")
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps': this machine has none; use cpu")
    return resolved


class _StopWatch:
    """Times laps; waits for the device, which works on after a call returns."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.start = time.perf_counter()

    def lap(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.start, seconds = now, now - self.start
        return seconds


@contextmanager
def memory_errors(size: Size) -> Iterator[None]:
    """Turn every way in which torch says that memory is short into one error.

    Args:
        size: (height, width) of the photograph.

    Raises:
        ImageError: memory was short.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not short and "allocate memory" not in str(error):
            raise
        raise ImageError(
            f"not enough memory for an image of {size[1]} x {size[0]} pixels; give a smaller input_size or output_size"
        ) from error
