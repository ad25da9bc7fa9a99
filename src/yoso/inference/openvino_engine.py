"""OpenVINO runs an exported network; torch is never loaded."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError
from yoso.files import PathLike
from yoso.inference.engine import Request, Timings
from yoso.inference.memory import loading_errors, memory_errors
from yoso.inference.onnx_engine import METADATA, check_size, config_of, merged, num_threads
from yoso.installation import optional_packages
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Sizes
from yoso.preprocess import Size, pad_with, resize, resized_size

PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}
"""OpenVINO's names, and ours."""


class OpenVinoEngine:
    """A file written by `yoso export --format openvino`; the merge is NumPy's.

    Attributes:
        categories: of the file.
        inference: thresholds and size of the file.
        about: free facts: licence, data, training.
        source_sha256: of the weights that the file was made from; empty if they came from no file.
    """

    runtime = "openvino"

    def __init__(self, path: PathLike, device: str = "auto") -> None:
        """Load a file.

        Args:
            path: the .xml; the .bin lies beside it.
            device: "auto" and "cpu" are the CPU; other names are OpenVINO's own, as "GPU".

        Raises:
            CheckpointError: it is missing, damaged, or not made by `yoso export`.
            ConfigError: openvino is not installed, knows no such device, or has not enough memory.
        """
        ov = import_openvino()
        self.device = "cpu" if device in {"auto", "cpu"} else device
        core = ov.Core()
        if self.device != "cpu" and self.device not in core.available_devices:
            raise ConfigError(f"device {device!r}: OpenVINO has {', '.join(core.available_devices)} here; use cpu")
        if not Path(path).is_file():
            raise CheckpointError(f"{path}: no such file")
        try:
            with loading_errors(path, self.device):
                model = core.read_model(str(path))
            facts = json.loads(model.get_rt_info([METADATA, "facts"]).astype(str))
            options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
            if self.device == "cpu" and num_threads():
                options["INFERENCE_NUM_THREADS"] = num_threads()
            with loading_errors(path, self.device):
                self._compiled = core.compile_model(model, "CPU" if self.device == "cpu" else self.device, options)
            self.categories = Categories.from_json(facts["categories"], str(path))
            self.inference, self.about, self.source_sha256 = config_of(facts)
            self.size: Size | None = tuple(facts["size"]) if facts["size"] else None
            self._mean: list[float] = facts["pixel_mean"]
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path}: is not an OpenVINO file that `yoso export` made ({reason})") from error
        self._requests = threading.local()

    @property
    def precision(self) -> str:
        """Return what OpenVINO computes in: it takes bfloat16 by itself where a processor has matrix units for it."""
        kind = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        return PRECISIONS.get(kind, kind)

    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one photograph; see `Engine`."""
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            return merged(self._logits, self.categories.is_thing, pixels, request)

    def logits(self, pixels: np.ndarray, request: Request) -> tuple[np.ndarray, np.ndarray, Sizes]:
        """Run the network alone; see `Engine`."""
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            return self._logits(pixels, request)[0]

    def _logits(self, pixels: np.ndarray, request: Request) -> tuple[tuple[np.ndarray, np.ndarray, Sizes], float]:
        size = resized_size((pixels.shape[0], pixels.shape[1]), request.input_size)
        check_size(size, self.size)
        # Padding with the mean becomes the zeros after normalisation that the network was trained with.
        padded = pad_with(resize(pixels, size), self._mean)
        images = np.ascontiguousarray(padded.transpose(2, 0, 1)[None])
        resized = time.perf_counter()
        class_logits, mask_logits = self._infer(images)
        sizes = Sizes((images.shape[2], images.shape[3]), size, request.output_size)
        return (class_logits[0], mask_logits[0], sizes), resized

    def _infer(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # One request a thread: a request cannot be used by two at a time.
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        request = self._requests.own
        request.infer({0: images})
        class_logits, mask_logits = (np.array(request.get_output_tensor(index).data) for index in range(2))
        return class_logits, mask_logits


def import_openvino() -> Any:
    """Return the module.

    Raises:
        ConfigError: it is not installed.
    """
    with optional_packages():
        import openvino
    return openvino
