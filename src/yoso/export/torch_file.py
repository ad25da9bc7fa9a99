"""torch.export archives (.pt2): the network for programs that have PyTorch and not this package."""

from pathlib import Path

import torch

from yoso.errors import ExportError
from yoso.export.capture import capture
from yoso.export.check import LOGIT_TOLERANCE
from yoso.export.facts import facts
from yoso.inference.onnx_engine import METADATA
from yoso.model.checkpoint import Model
from yoso.preprocess import Size


def save_torch(path: Path, model: Model, size: Size | None, source_sha256: str) -> float:
    """Write an archive and read it back.

    `torch.export.load(path).module()` takes float32 images (B, 3, H, W), RGB 0 to 255, padded to multiples of 32 with
    the mean colour, and returns class logits and mask logits. `extra_files={"yoso": ""}` gets what it says.

    Args:
        path: a temporary file.
        model: network, categories, thresholds.
        size: (height, width) of the only images it will take, multiples of 32; None is any.
        source_sha256: of the weights' file, or empty.

    Returns:
        The largest difference of its logits from the network's, relative to the largest absolute value of each.

    Raises:
        ExportError: what was read back gives other logits than the network.
    """
    program = capture(model.network, size, normalises=True)
    torch.export.save(program, str(path), extra_files={METADATA: facts(model, "raw", size, source_sha256)})
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, *(size or (96, 160)), generator=generator) * 255
    network = model.network.to("cpu")
    with torch.no_grad():
        theirs = torch.export.load(str(path)).module()(images)
        ours = network(images)
    worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(theirs, ours, strict=True))
    if not worst <= LOGIT_TOLERANCE:
        raise ExportError(f"the archive's logits differ from the network's by {worst:.1e}; nothing was written")
    return worst
