"""A network recorded once per input size and replayed, which spares a GPU the launching of each kernel."""

from collections import OrderedDict
from threading import Lock

import torch
from torch import Tensor

from yoso.model.yoso import YOSO
from yoso.structures import Outputs

MOST_SIZES = 4
"""Recordings kept; each holds the network's working memory for its size. The one not used for longest goes first."""

WARM_UPS = 3
"""Runs before recording, in which libraries choose their kernels."""


class GraphedNetwork:
    """Runs a network in bfloat16 as a CUDA graph, one per size of the prepared images.

    Weights stay in float32 and are converted inside the graph by autocast; the deformable convolution stays in
    float32, because half precision cannot count the pixels of a map.
    """

    def __init__(self, network: YOSO) -> None:
        """Record nothing yet.

        Args:
            network: on a CUDA device, in evaluation mode.
        """
        self.network = network
        self._lock = Lock()
        self._recorded: OrderedDict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Outputs]] = OrderedDict()

    def __call__(self, images: Tensor) -> Outputs:
        """Return the logits, float32, of prepared images (B, 3, H, W); they are the caller's own."""
        # The recording reads and writes fixed memory, so one call must end before the next begins.
        with self._lock:
            graph, static_images, static_outputs = self._recording(images)
            static_images.copy_(images)
            graph.replay()
            return Outputs(*(tensor.float().clone() for tensor in static_outputs))

    def _recording(self, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Outputs]:
        key = tuple(images.shape)
        if key in self._recorded:
            self._recorded.move_to_end(key)
            return self._recorded[key]
        while len(self._recorded) >= MOST_SIZES:
            self._recorded.popitem(last=False)
        static_images = images.clone()
        stream = torch.cuda.Stream(images.device)
        stream.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._run(static_images)
        torch.cuda.current_stream(images.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            static_outputs = self._run(static_images)
        self._recorded[key] = (graph, static_images, static_outputs)
        return self._recorded[key]

    def _run(self, images: Tensor) -> Outputs:
        # Without its cache, autocast converts the weights inside the recording rather than keeping copies from outside.
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            maps = self.network.backbone(images)
            last = self.network.decoder(self.network.aggregator(maps))[-1]
        return Outputs(last.class_logits, last.mask_logits)
