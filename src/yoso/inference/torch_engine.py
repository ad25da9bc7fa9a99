"""PyTorch runs the network in its deployment form; on a GPU, on request, in bfloat16 and as a CUDA graph."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from yoso.errors import ConfigError, ImageError
from yoso.inference.cuda_graphs import GraphedNetwork
from yoso.inference.engine import Request, Timings
from yoso.inference.memory import memory_errors
from yoso.model.fuse import fuse
from yoso.model.yoso import YOSO, padded_size
from yoso.postprocess.device_merge import panoptic_arrays
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Sizes
from yoso.preprocess import SIZE_DIVISOR, resize, resized_size
from yoso.structures import Outputs
from yoso.weights.model_folder import Model

T = TypeVar("T")


class TorchEngine:
    """A network on a device, in evaluation mode.

    Attributes:
        network: what runs: the deployment form, or the network itself if `fused` is False.
        precision: "fp32" or "bf16", of the network; the merge is always in float32.
    """

    runtime = "torch"
    has_embeddings = True

    def __init__(self, model: Model, device: torch.device, precision: str = "fp32", fused: bool = True) -> None:
        """Put a model on a device.

        Args:
            model: network, categories, thresholds.
            device: see `resolve_device`.
            precision: "fp32", or "bf16", which needs a GPU and runs the network as one CUDA graph per size.
            fused: run the deployment form (`yoso.model.fuse`), which differs by rounding only.

        Raises:
            ConfigError: the device does not support the precision.
        """
        if precision == "bf16" and device.type != "cuda":
            raise ConfigError(f"precision {precision} needs a CUDA device, and this one is {device}; use fp32")
        self.precision = precision
        self.torch_device = device
        self.device = str(device)
        network = model.network.to(device).eval()
        self.network: YOSO = fuse(network) if fused else network
        self.is_thing = model.categories.is_thing
        if fused and device.type == "cpu":
            # Makes the convolutions of ResNet-50 a tenth faster at 512x800 on two cores.
            self.network.backbone.to(memory_format=torch.channels_last)
        self._graphs = GraphedNetwork(self.network) if precision == "bf16" else None

    @property
    def graphed(self) -> bool:
        """Whether predictions replay a CUDA graph; False before the first one."""
        return self._graphs is not None and bool(self._graphs.sizes)

    @torch.inference_mode()
    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one image; see `Engine`."""
        return self._with_room(self._segment, pixels, request)

    @torch.inference_mode()
    def logits(self, pixels: np.ndarray, request: Request) -> tuple[Tensor, Tensor, Sizes]:
        """Run the network without the merge; see `Engine`."""
        return self._with_room(self._logits, pixels, request)

    def _segment(self, pixels: np.ndarray, request: Request, graphs: bool) -> tuple[PanopticArrays, Timings]:
        watch = _StopWatch(self.torch_device, request.timed)
        tensor = self._tensor(pixels, request)
        resize_seconds = watch.lap()
        outputs, kernels = self._outputs(tensor, graphs, request.with_embeddings)
        network_seconds = watch.lap()
        arrays = panoptic_arrays(
            outputs.class_logits[0],
            outputs.mask_logits[0],
            _sizes(tensor, request),
            self.is_thing,
            request.thresholds,
        )
        if kernels is not None and request.with_embeddings:
            queries = torch.tensor([segment.query for segment in arrays.segments], dtype=torch.int64)
            arrays = replace(arrays, embeddings=kernels[0][queries.to(kernels.device)].cpu().numpy())
        return arrays, Timings(0.0, resize_seconds, network_seconds, watch.lap())

    def _logits(self, pixels: np.ndarray, request: Request, graphs: bool) -> tuple[Tensor, Tensor, Sizes]:
        tensor = self._tensor(pixels, request)
        outputs, _ = self._outputs(tensor, graphs)
        return outputs.class_logits[0], outputs.mask_logits[0], _sizes(tensor, request)

    def _tensor(self, pixels: np.ndarray, request: Request) -> Tensor:
        size = resized_size((pixels.shape[0], pixels.shape[1]), request.input_size)
        # A copy, because an array from Pillow is read-only, and a caller's array may have negative strides.
        resized = np.array(resize(pixels, size), order="C")
        # The host need not wait for a GPU, which works in order.
        on_gpu = self.torch_device.type == "cuda"
        return torch.from_numpy(resized).to(self.torch_device, non_blocking=on_gpu).permute(2, 0, 1)

    def _outputs(self, image: Tensor, graphs: bool, with_kernels: bool = False) -> tuple[Outputs, Tensor | None]:
        """Return the logits and, at least if they are wanted, the kernels (1, N, C)."""
        if self._graphs is not None:
            run = self._graphs if graphs else self._graphs.run_directly
            last: Any = run(self.network.prepare([image]))
        elif with_kernels:
            last = self.network.decoder(self.network.features([image]))[-1]
        else:
            return self.network([image]), None
        return Outputs(last.class_logits, last.mask_logits), last.kernels

    def _with_room(self, work: Callable[[np.ndarray, Request, bool], T], pixels: np.ndarray, request: Request) -> T:
        """Do some work; if a GPU runs out of memory, once more without CUDA graphs and with all memory free.

        Raises:
            ImageError: memory ran out even so; for a GPU, the error names an input size that fits.
        """
        size = (pixels.shape[0], pixels.shape[1])
        with memory_errors(size):
            # Each try ends before the next begins: an error that is being handled keeps the tensors of its frames.
            try:
                return work(pixels, request, True)
            except torch.OutOfMemoryError:
                pass
            self._make_room()
            try:
                result = work(pixels, request, False)
            except torch.OutOfMemoryError:
                pass
            else:
                if self._graphs is not None:
                    self._graphs.exclude((1, 3, *padded_size([resized_size(size, request.input_size)])))
                return result
            raise ImageError(
                f"not enough memory on {self.device} for an image of {size[1]} x {size[0]} pixels; "
                f"{self._what_fits(work, pixels, request)}"
            )

    def _what_fits(self, work: Callable[[np.ndarray, Request, bool], T], pixels: np.ndarray, request: Request) -> str:
        """Return advice: the largest halving of the input size that fits into memory."""
        sides = resized_size((pixels.shape[0], pixels.shape[1]), request.input_size)
        shorter, longest = min(sides) // 2, max(sides) // 2
        while shorter >= SIZE_DIVISOR:
            self._make_room()
            try:
                work(pixels, replace(request, input_size=(shorter, longest)), False)
            except torch.OutOfMemoryError:
                shorter, longest = shorter // 2, longest // 2
            else:
                return f"input_size=({shorter}, {longest}), --input-size {shorter}x{longest}, fits"
        return "no smaller input_size fits; give a smaller output_size, free the device's memory, or use device cpu"

    def _make_room(self) -> None:
        if self._graphs is not None:
            self._graphs.forget()
        if self.torch_device.type == "cuda":
            torch.cuda.empty_cache()


def _sizes(tensor: Tensor, request: Request) -> Sizes:
    image_size = (tensor.shape[1], tensor.shape[2])
    return Sizes(padded_size([image_size]), image_size, request.output_size)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device with a name.

    Raises:
        ConfigError: torch has no such device, or this machine has none.
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
        raise ConfigError("device 'mps': this machine does not have it; use cpu")
    return resolved


class _StopWatch:
    """Measures laps. Waits for the device, which works on after a call returns, only if asked to."""

    def __init__(self, device: torch.device, waits: bool) -> None:
        self.device = device
        self.waits = waits and device.type == "cuda"
        self.start = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap, or since the start."""
        if self.waits:
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.start, seconds = now, now - self.start
        return seconds
