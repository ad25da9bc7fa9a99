"""torch.export archives (.pt2): the network for programs that have PyTorch and not this package."""

import json
import time
from pathlib import Path

import numpy as np
import torch

from yoso.categories import Categories
from yoso.export.capture import capture
from yoso.export.metadata import facts
from yoso.inference.engine import Request, Timings
from yoso.inference.onnx_engine import METADATA, check_size, config_of, merged
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Sizes
from yoso.preprocess import Size, pad_with, resize, resized_size
from yoso.weights.model_folder import Model


def save_torch(path: Path, model: Model, size: Size | None, source_sha256: str) -> None:
    """Write an archive.

    `torch.export.load(path).module()` takes float32 images (B, 3, H, W), RGB 0 to 255, padded to multiples of 32 with
    the mean colour, and returns class logits and mask logits. `extra_files={"yoso": ""}` gets what it says.

    Args:
        path: a temporary file.
        model: network, categories, thresholds.
        size: (height, width) of the only images it will take, multiples of 32; None is any.
        source_sha256: of the weights' file, or empty.
    """
    program = capture(model.network, size, normalises=True)
    torch.export.save(program, str(path), extra_files={METADATA: facts(model, "raw", size, source_sha256)})


class ArchiveEngine:
    """An archive read back, on the CPU, to be compared with the network; see `OnnxEngine` for the attributes."""

    runtime = "torch"
    device = "cpu"

    def __init__(self, path: Path) -> None:
        """Load an archive that `save_torch` wrote."""
        extra = {METADATA: ""}
        self._network = torch.export.load(str(path), extra_files=extra).module()
        content = json.loads(extra[METADATA])
        self.categories = Categories.from_json(content["categories"], str(path))
        self.inference, self.about, self.source_sha256 = config_of(content)
        self.size: Size | None = tuple(content["size"]) if content["size"] else None
        self._mean: list[float] = content["pixel_mean"]

    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one photograph; see `Engine`."""
        return merged(self._logits, self.categories.is_thing, pixels, request)

    def logits(self, pixels: np.ndarray, request: Request) -> tuple[np.ndarray, np.ndarray, Sizes]:
        """Run the network alone; see `Engine`."""
        return self._logits(pixels, request)[0]

    def _logits(self, pixels: np.ndarray, request: Request) -> tuple[tuple[np.ndarray, np.ndarray, Sizes], float]:
        size = resized_size((pixels.shape[0], pixels.shape[1]), request.input_size)
        check_size(size, self.size)
        images = torch.from_numpy(pad_with(resize(pixels, size), self._mean)).permute(2, 0, 1)[None].contiguous()
        resized = time.perf_counter()
        with torch.inference_mode():
            class_logits, mask_logits = self._network(images)
        sizes = Sizes((images.shape[2], images.shape[3]), size, request.output_size)
        return (class_logits[0].numpy(), mask_logits[0].numpy(), sizes), resized
