"""torch.export archives (.pt2): the network for programs that have PyTorch and not this package."""

from pathlib import Path

import numpy as np
import torch

from yoso.export.capture import capture
from yoso.export.metadata import describe
from yoso.inference.exported import METADATA, Description, ExportedEngine, Logits
from yoso.preprocess import Size
from yoso.weights.model_folder import Model


def save_torch(path: Path, model: Model, size: Size | None, source_sha256: str) -> None:
    """Write an archive.

    `torch.export.load(path).module()` takes float32 images (B, 3, H, W), RGB 0 to 255, padded to multiples of 32 with
    the mean colour, and returns class logits and mask logits. `extra_files={"yoso": ""}` receives its description.

    Args:
        path: a temporary file.
        model: network, categories, thresholds.
        size: (height, width) of the only images that it will take, multiples of 32; None is any.
        source_sha256: of the weights' file, or empty.
    """
    program = capture(model.network, size, normalises=True)
    description = describe(model, "raw", size, source_sha256)
    torch.export.save(program, str(path), extra_files={METADATA: description.to_json()})


class ArchiveEngine(ExportedEngine):
    """An archive that `save_torch` wrote, on the CPU, to be compared with the network; see `ExportedEngine`."""

    runtime = "torch.export"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        """Open an archive."""
        extra = {METADATA: ""}
        self._network = torch.export.load(str(path), extra_files=extra).module()
        super().__init__(path, device, Description.from_json(extra[METADATA], path))

    def run(self, images: np.ndarray) -> Logits:
        """Run the network; see `ExportedEngine`."""
        with torch.inference_mode():
            class_logits, mask_logits = self._network(torch.from_numpy(images))
        return class_logits[0].numpy(), mask_logits[0].numpy()
