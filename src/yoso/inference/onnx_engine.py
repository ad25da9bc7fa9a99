"""ONNX Runtime runs an exported network; torch is never loaded."""

import json
import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError
from yoso.files import PathLike
from yoso.inference.engine import Request, Timings
from yoso.inference.memory import loading_errors, memory_errors
from yoso.installation import optional_packages
from yoso.postprocess.numpy_merge import PanopticArrays, panoptic_numpy
from yoso.postprocess.segments import Segment, Sizes
from yoso.preprocess import Size, resize, resized_size
from yoso.settings import InferenceConfig, config_from_json

METADATA = "yoso"
"""Key of the file's metadata under which `yoso export` writes one JSON document."""

QUANTIZED = b"DequantizeLinear"
"""Name of the operator that every value in 8 bits goes through; names stand in a file as they are."""


class OnnxEngine:
    """A file written by `yoso export --format onnx`, of either form.

    Attributes:
        categories: of the file.
        inference: thresholds and size of the file.
        about: free facts: licence, data, training.
        source_sha256: of the weights that the file was made from; empty if they came from no file.
    """

    runtime = "onnxruntime"

    def __init__(self, path: PathLike, device: str = "auto") -> None:
        """Load a file.

        Args:
            path: the file.
            device: "auto" and "cpu" are the CPU; "cuda" needs the package onnxruntime-gpu.

        Raises:
            CheckpointError: it is missing, damaged, or not made by `yoso export`.
            ConfigError: onnxruntime is not installed, cannot use this device, or has not enough memory.
        """
        self.session = open_session(path, device)
        self._path = Path(path)
        self.device = "cpu" if self.session.get_providers()[0] == "CPUExecutionProvider" else "cuda:0"
        try:
            facts = json.loads(self.session.get_modelmeta().custom_metadata_map[METADATA])
            self.categories = Categories.from_json(facts["categories"], str(path))
            self.inference, self.about, self.source_sha256 = config_of(facts)
            self.form: str = facts["form"]
            self.size: Size | None = tuple(facts["size"]) if facts["size"] else None
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: is an ONNX file, but not one that `yoso export` made") from error

    @cached_property
    def precision(self) -> str:
        """Return "int8" if the file has operators in 8 bits, else "fp32"."""
        return "int8" if QUANTIZED in self._path.read_bytes() else "fp32"

    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one photograph; see `Engine`."""
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            if self.form == "panoptic":
                return self._panoptic(pixels, request)
            return merged(self._logits, self.categories.is_thing, pixels, request)

    def logits(self, pixels: np.ndarray, request: Request) -> tuple[np.ndarray, np.ndarray, Sizes]:
        """Run the network alone; see `Engine`."""
        if self.form == "panoptic":
            raise ConfigError("this file has the merge inside and gives no logits; use a model folder or a raw export")
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            return self._logits(pixels, request)[0]

    def _panoptic(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        start = time.perf_counter()
        if self.size is not None:
            pixels = self._resized(pixels, request)
        resized = time.perf_counter()
        feeds = {
            "image": np.ascontiguousarray(pixels),
            "output_size": np.array(request.output_size, np.int64),
            "object_mask_threshold": np.array(request.object_mask_threshold, np.float32),
            "overlap_threshold": np.array(request.overlap_threshold, np.float64),
        }
        if self.size is None:
            feeds["input_size"] = np.array(request.input_size or (0, 0), np.int64)
        segmentation, class_indices, scores, areas, boxes = self.session.run(None, feeds)
        segments = [
            Segment(number, int(index), float(score), int(area), _box(box))
            for number, (index, score, area, box) in enumerate(zip(class_indices, scores, areas, boxes, strict=True), 1)
        ]
        done = time.perf_counter()
        return PanopticArrays(segmentation, segments), Timings(0.0, resized - start, done - resized, 0.0)

    def _logits(self, pixels: np.ndarray, request: Request) -> tuple[tuple[np.ndarray, np.ndarray, Sizes], float]:
        small = self._resized(pixels, request)
        resized = time.perf_counter()
        images = small.transpose(2, 0, 1)[None].astype(np.float32)
        class_logits, mask_logits = self.session.run(None, {"images": images})
        padded = (4 * mask_logits.shape[2], 4 * mask_logits.shape[3])
        sizes = Sizes(padded, (small.shape[0], small.shape[1]), request.output_size)
        return (class_logits[0], mask_logits[0], sizes), resized

    def _resized(self, pixels: np.ndarray, request: Request) -> np.ndarray:
        size = resized_size((pixels.shape[0], pixels.shape[1]), request.input_size)
        check_size(size, self.size)
        return resize(pixels, size)


def merged(
    logits: Callable[[np.ndarray, Request], tuple[tuple[np.ndarray, np.ndarray, Sizes], float]],
    is_thing: Sequence[bool],
    pixels: np.ndarray,
    request: Request,
) -> tuple[PanopticArrays, Timings]:
    """Segment one photograph with a network that ends in logits, by NumPy's merge.

    Args:
        logits: gives logits and sizes, and the time (`perf_counter`) at which its input was resized.
        is_thing: per class index.
        pixels: uint8 (H, W, 3), RGB.
        request: sizes and thresholds.
    """
    start = time.perf_counter()
    (class_logits, mask_logits, sizes), resized = logits(pixels, request)
    ran = time.perf_counter()
    thresholds = request.object_mask_threshold, request.overlap_threshold
    result = panoptic_numpy(class_logits, mask_logits, sizes, is_thing, *thresholds)
    return result, Timings(0.0, resized - start, ran - resized, time.perf_counter() - ran)


def open_session(path: PathLike, device: str = "auto") -> Any:
    """Return an ONNX Runtime session; it uses every core, or as many as OMP_NUM_THREADS says.

    Raises:
        CheckpointError: the file is missing, damaged, or needs a newer onnxruntime.
        ConfigError: onnxruntime is not installed, cannot use this device, or has not enough memory.
    """
    ort = import_onnxruntime()
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such file")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = num_threads()
    providers = _providers(ort, device)
    try:
        with loading_errors(path, device):
            return ort.InferenceSession(str(path), options, providers=providers)
    except ConfigError:
        raise
    except Exception as error:  # its errors have no common base of their own
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: onnxruntime {ort.__version__} cannot load it ({reason})") from error


def import_onnxruntime() -> Any:
    """Return the module.

    Raises:
        ConfigError: it is not installed.
    """
    with optional_packages():
        import onnxruntime
    return onnxruntime


def num_threads() -> int:
    """Return OMP_NUM_THREADS, or 0 for as many as there are cores."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() else 0


def _providers(ort: Any, device: str) -> list[str]:
    if device in {"auto", "cpu"}:
        return ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in ort.get_available_providers():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    raise ConfigError(f"device {device!r}: onnxruntime {ort.__version__} cannot use it here; use cpu")


def check_size(size: Size, exported: Size | None) -> None:
    """Refuse a size that a network was not exported for.

    Args:
        size: (height, width) of the resized photograph.
        exported: the only one that the network takes, or None if it takes all.

    Raises:
        ConfigError: they differ.
    """
    if exported is not None and size != exported:
        raise ConfigError(
            f"this network was exported for {exported[0]} x {exported[1]} (height x width) alone, and the photograph "
            f"becomes {size[0]} x {size[1]}; give another input size or photograph, or export with --dynamic"
        )


def _box(extent: np.ndarray) -> tuple[int, int, int, int]:
    top, bottom, left, right = (int(value) for value in extent)
    return left, top, right - left + 1, bottom - top + 1


def config_of(facts: dict[str, Any]) -> tuple[InferenceConfig, dict[str, Any], str]:
    """Return thresholds and size, free facts, and the hash of the weights, from an exported file's own document."""
    return config_from_json(InferenceConfig, facts["inference"]), facts["about"], facts["source_sha256"]
