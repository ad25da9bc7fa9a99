"""A network recorded once per input size and replayed, which saves launching each kernel."""

import warnings
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yoso.model.yoso import YOSO
from yoso.structures import StageOutputs

MAX_SIZES = 4
"""Recordings kept, the most recently used; each holds the network's working memory for its size."""

WARM_UPS = 3
"""Runs before the recording, in which libraries choose their kernels."""

Shape = tuple[int, ...]


class Recording(NamedTuple):
    """A recorded run.

    Attributes:
        replay: runs it again; holds the CUDA graph.
        images: (B, 3, H, W), its input.
        outputs: overwritten by each replay.
    """

    replay: Callable[[], object]
    images: Tensor
    outputs: StageOutputs


class GraphedNetwork:
    """Runs a network in bfloat16 as CUDA graphs, one per size of the prepared images.

    Weights stay in float32 and are converted inside the graph by autocast. The deformable convolution stays in float32,
    because half precision cannot count the pixels of a map. If recording fails, the network runs without graphs, in the
    same precision. A pickle of it holds no recordings.
    """

    def __init__(self, network: YOSO) -> None:
        """Start without recordings.

        Args:
            network: on a CUDA device, in evaluation mode.
        """
        self.network = network
        self._lock = Lock()
        self._recorded: OrderedDict[Shape, Recording] = OrderedDict()
        self._works = True
        self._too_large: set[Shape] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphedNetwork, (self.network,)

    def __call__(self, images: Tensor) -> StageOutputs:
        """Return the float32 logits and kernels of prepared images (B, 3, H, W), as tensors of the caller's own.

        Raises:
            torch.OutOfMemoryError: a recording of this size does not fit into memory; `run_directly` needs less.
        """
        # A recording reads and writes fixed memory, so one call must end before the next begins.
        with self._lock, torch.cuda.device(images.device):
            recording = self._recording(images)
            if recording is None:
                return self.run_directly(images)
            recording.images.copy_(images)
            recording.replay()
            return _own(recording.outputs)

    def run_directly(self, images: Tensor) -> StageOutputs:
        """Return the same without a recording."""
        return _own(self._run(images))

    @property
    def sizes(self) -> list[Shape]:
        """Shapes of the images that have a recording."""
        return list(self._recorded)

    def forget(self) -> None:
        """Drop every recording and its memory."""
        with self._lock:
            self._recorded.clear()

    def exclude(self, shape: Shape) -> None:
        """Never record images of this shape, whose recording does not fit into memory."""
        self._too_large.add(shape)

    def _recording(self, images: Tensor) -> Recording | None:
        """Return the recording for a size, and make it if necessary; None if the size cannot be recorded."""
        key = tuple(images.shape)
        if key in self._recorded:
            self._recorded.move_to_end(key)
            return self._recorded[key]
        if not self._works or key in self._too_large:
            return None
        while len(self._recorded) >= MAX_SIZES:
            self._recorded.popitem(last=False)
        try:
            self._recorded[key] = self._record(images)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._works = False
            reason = " ".join(str(error).split())[:200]
            warnings.warn(f"this network cannot be recorded as a CUDA graph and runs slower ({reason})", stacklevel=4)
            return None
        return self._recorded[key]

    def _record(self, images: Tensor) -> Recording:
        static_images = images.clone()
        # A stream of this device: by default, torch takes one of the device that recorded first.
        stream = torch.cuda.Stream(images.device)
        stream.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._run(static_images)
        torch.cuda.current_stream(images.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile, which the default mode reports as an error of this thread.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            static_outputs = self._run(static_images)
        return Recording(graph.replay, static_images, static_outputs)

    def _run(self, images: Tensor) -> StageOutputs:
        # Without its cache, autocast converts the weights inside the recording instead of using copies from outside.
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            maps = self.network.backbone(images)
            return self.network.decoder(self.network.aggregator(maps))[-1]


def _own(outputs: StageOutputs) -> StageOutputs:
    """Return float32 copies, which the next replay does not overwrite."""
    whole: Any = (tensor.to(torch.float32, copy=True) for tensor in outputs if tensor is not None)
    return StageOutputs(*whole)
