"""Capturing the deployment form of a network with torch.export, for every export format."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from yoso.model.fuse import fuse
from yoso.model.yoso import YOSO
from yoso.preprocess import Size

EXAMPLE_SIZE = (256, 320)
"""Size of the images with which a network of dynamic size is captured; different sides cannot be confused."""

MAX_BLOCKS = 1024
"""Maximum length of a dynamic side, in units of 32 pixels."""


class ToFloat32(nn.Module):
    """Converts to float32 where a network that starts in float16 continues in float32."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Convert the tensor."""
        return x.float()


class Logits(nn.Module):
    """Prepared images in, (class_logits, mask_logits) out, as a plain tuple; with kernels, these are the third."""

    def __init__(self, network: YOSO, normalises: bool, half: bool = False, kernels: bool = False) -> None:
        """Take a network's deployment form.

        Args:
            network: any.
            normalises: take RGB values from 0 to 255, padded with the mean, instead of normalised values.
            half: run backbone and aggregator in float16. Coordinates and decoder stay in float32: the decoder sums
                features over all pixels of a mask, and sums above 65504 do not fit into float16.
            kernels: also return the refined kernels (B, N, C).
        """
        super().__init__()
        self.kernels = kernels
        self.network = fuse(network)
        self.normalises = normalises
        self.kind = torch.float16 if half else torch.float32
        if half:
            self.network.backbone.half()
            aggregator = self.network.aggregator.half()
            # Before the coordinates are appended, because these take the type of the features.
            aggregator.output = nn.Sequential(aggregator.output, ToFloat32())  # pyrefly: ignore[bad-assignment]

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """Run the network; sides are multiples of 32."""
        network = self.network
        if self.normalises:
            images = (images - network.pixel_mean) / network.pixel_std
        last = network.decoder(network.aggregator(network.backbone(images.to(self.kind))))[-1]
        assert last.class_logits is not None
        assert last.kernels is not None
        logits = last.class_logits, last.mask_logits
        return (*logits, last.kernels) if self.kernels else logits


def capture(
    network: YOSO, size: Size | None, normalises: bool, half: bool = False, kernels: bool = False
) -> ExportedProgram:
    """Capture a network with torch.export.

    Args:
        network: any, in float32; its deployment form is captured, on the CPU.
        size: (height, width) of the only images that it will take, multiples of 32; None is any size and any batch.
        normalises: see `Logits`.
        half: see `Logits`.
        kernels: see `Logits`.
    """
    height, width = size or EXAMPLE_SIZE
    batch = 1 if size else 2
    images = torch.zeros(batch, 3, height, width)
    shapes = None
    if size is None:
        rows, columns = Dim("rows", min=1, max=MAX_BLOCKS), Dim("columns", min=1, max=MAX_BLOCKS)
        shapes = {"images": {0: Dim("batch", min=1, max=1024), 2: 32 * rows, 3: 32 * columns}}
    module = Logits(network, normalises, half, kernels).to("cpu").eval()
    with torch.no_grad(), quietly():
        return torch.export.export(module, (images,), dynamic_shapes=shapes)


@contextmanager
def quietly() -> Iterator[None]:
    """Silence the warnings of exporters about their own internals, which no user can fix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
