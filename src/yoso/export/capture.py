"""The network as a program: what torch.export makes of the deployment form, for every exported format."""

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
"""Of the images that a network of dynamic size is captured with; sides that differ cannot be confused."""

MOST_BLOCKS = 1024
"""A dynamic side is at most this many times 32 pixels."""


class Logits(nn.Module):
    """Prepared images in, (class_logits, mask_logits) out, as a plain tuple."""

    def __init__(self, network: YOSO, normalises: bool) -> None:
        """Take a network's deployment form.

        Args:
            network: any.
            normalises: take RGB values from 0 to 255, padded with the mean, rather than normalised ones.
        """
        super().__init__()
        self.network = fuse(network)
        self.normalises = normalises

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor]:
        """Run the network; sides are multiples of 32."""
        network = self.network
        if self.normalises:
            images = (images - network.pixel_mean) / network.pixel_std
        last = network.decoder(network.aggregator(network.backbone(images)))[-1]
        assert last.class_logits is not None
        return last.class_logits, last.mask_logits


def capture(network: YOSO, size: Size | None, normalises: bool) -> ExportedProgram:
    """Capture a network with torch.export.

    Args:
        network: any; its deployment form is what is captured, on the CPU in float32.
        size: (height, width) of the only images it will take, multiples of 32; None is any size, and any batch.
        normalises: see `Logits`.
    """
    height, width = size or EXAMPLE_SIZE
    batch = 1 if size else 2
    images = torch.zeros(batch, 3, height, width)
    shapes = None
    if size is None:
        rows, columns = Dim("rows", min=1, max=MOST_BLOCKS), Dim("columns", min=1, max=MOST_BLOCKS)
        shapes = {"images": {0: Dim("batch", min=1, max=1024), 2: 32 * rows, 3: 32 * columns}}
    module = Logits(network, normalises).to("cpu").eval()
    with torch.no_grad(), quietly():
        return torch.export.export(module, (images,), dynamic_shapes=shapes)


@contextmanager
def quietly() -> Iterator[None]:
    """Exporters warn of their own insides, which no user can mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
