"""ONNX Runtime runs an exported network; torch is never loaded."""

import time
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from yoso.errors import CheckpointError, ConfigError
from yoso.files import PathLike
from yoso.inference.engine import Request, Timings
from yoso.inference.exported import METADATA, Description, ExportedEngine, Logits, num_threads
from yoso.inference.memory import loading_errors, memory_errors
from yoso.installation import optional_packages
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Segment, Sizes, box_of_extent

QUANTIZED = b"DequantizeLinear"
"""Operator that every 8-bit value passes; names are stored as plain text in a file."""

LOGITS = ["class_logits", "mask_logits"]
"""Outputs of a raw file."""

SEGMENTS = ["segmentation", "class_indices", "scores", "areas", "boxes"]
"""Outputs of a panoptic file."""

KERNELS = {"raw": "kernels", "panoptic": "embeddings"}
"""The output of each form that only a file exported with --embeddings has."""

TO_FLOAT16 = b"\n\x02to\x18\n"
"""Attribute `to = FLOAT16` of a Cast as a file stores it. Only files in half precision convert to it: weights that are
stored in half are converted from it."""


class OnnxEngine(ExportedEngine):
    """A file written by `yoso export --format onnx`, of either form; see `ExportedEngine` for the attributes.

    Attributes:
        session: of ONNX Runtime.
        form: "panoptic" or "raw".
    """

    runtime = "onnxruntime"
    # The graph pads for itself.
    size_divisor = 1

    def __init__(self, path: PathLike, device: str = "auto") -> None:
        """Open a file.

        Args:
            path: of the file.
            device: "auto" and "cpu" are the CPU; "cuda" needs the package onnxruntime-gpu.

        Raises:
            CheckpointError: the file is missing or damaged, or `yoso export` did not write it.
            ConfigError: onnxruntime is not installed, cannot use the device, or has too little memory.
        """
        self.session = open_session(path, device)
        metadata = self.session.get_modelmeta().custom_metadata_map
        if METADATA not in metadata:
            raise CheckpointError(f"{path}: is an ONNX file, but not one that `yoso export` made")
        description = Description.from_json(metadata[METADATA], path)
        self.form = description.form
        on_cpu = self.session.get_providers()[0] == "CPUExecutionProvider"
        super().__init__(path, "cpu" if on_cpu else "cuda:0", description)

    @cached_property
    def has_embeddings(self) -> bool:  # pyrefly: ignore[bad-override]
        """Whether the file was exported with --embeddings."""
        return KERNELS[self.form] in {output.name for output in self.session.get_outputs()}

    @cached_property
    def precision(self) -> str:
        """Return "int8" for a file with 8-bit operators, "fp16" for one in half precision, otherwise "fp32"."""
        content = self.path.read_bytes()
        if QUANTIZED in content:
            return "int8"
        return "fp16" if TO_FLOAT16 in content else "fp32"

    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one image; see `Engine`."""
        if self.form == "raw":
            return super().segment(pixels, request)
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            return self._panoptic(pixels, request)

    def logits(self, pixels: np.ndarray, request: Request) -> tuple[np.ndarray, np.ndarray, Sizes]:
        """Run the network without the merge; see `Engine`."""
        if self.form == "panoptic":
            raise ConfigError(
                f"{self.path}: has the merge inside and gives no logits; use the model folder with runtime torch, or a "
                "file exported with --form raw"
            )
        return super().logits(pixels, request)

    def run(self, images: np.ndarray) -> Logits:
        """Run the network; see `ExportedEngine`."""
        class_logits, mask_logits = self.session.run(LOGITS, {"images": images})
        return class_logits[0], mask_logits[0]

    def run_with_kernels(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Run the network; see `ExportedEngine`."""
        class_logits, mask_logits, kernels = self.session.run([*LOGITS, KERNELS["raw"]], {"images": images})
        return class_logits[0], mask_logits[0], kernels[0]

    def _panoptic(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        start = time.perf_counter()
        if self.size is not None:
            pixels = self.resized(pixels, request)
        resized = time.perf_counter()
        feeds = {
            "image": np.ascontiguousarray(pixels),
            "output_size": np.array(request.output_size, np.int64),
            "object_mask_threshold": np.array(request.thresholds.object_mask, np.float32),
            "overlap_threshold": np.array(request.thresholds.overlap, np.float64),
        }
        if self.size is None:
            feeds["input_size"] = np.array(request.input_size or (0, 0), np.int64)
        wanted = [*SEGMENTS, KERNELS["panoptic"]] if request.with_embeddings else SEGMENTS
        segmentation, class_indices, scores, areas, extents, *embeddings = self.session.run(wanted, feeds)
        segments = [
            Segment(number, int(index), float(score), int(area), box_of_extent(extent))
            for number, (index, score, area, extent) in enumerate(
                zip(class_indices, scores, areas, extents, strict=True), 1
            )
        ]
        done = time.perf_counter()
        arrays = PanopticArrays(segmentation, segments, *embeddings)
        return arrays, Timings(0.0, resized - start, done - resized, 0.0)


def open_session(path: PathLike, device: str = "auto") -> Any:
    """Return an ONNX Runtime session; it uses every core, or OMP_NUM_THREADS of them.

    Raises:
        CheckpointError: the file is missing or damaged, or needs a newer onnxruntime.
        ConfigError: onnxruntime is not installed, cannot use the device, or has too little memory.
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


def _providers(ort: Any, device: str) -> list[str]:
    if device in {"auto", "cpu"}:
        return ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in ort.get_available_providers():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    raise ConfigError(f"device {device!r}: onnxruntime {ort.__version__} cannot use it on this machine; use cpu")
