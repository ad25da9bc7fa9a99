"""Writing an exported file of any format, and keeping it only if it is the network that it was made from."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from yoso.export.check import Parity, check_parity
from yoso.export.onnx_file import Form, OnnxOptions, onnx_model, save_onnx, store_in_half
from yoso.export.openvino_file import openvino_model, save_openvino
from yoso.export.quantize import quantize
from yoso.export.tensorrt_file import build_engine, import_tensorrt
from yoso.export.torch_file import ArchiveEngine, save_torch
from yoso.files import written_whole
from yoso.inference.onnx_engine import OnnxEngine, import_onnxruntime
from yoso.inference.openvino_engine import OpenVinoEngine
from yoso.inference.predictor import Predictor
from yoso.inference.torch_engine import TorchEngine
from yoso.preprocess import Size
from yoso.weights.model_folder import Model

Format = Literal["onnx", "openvino", "tensorrt", "torch"]


@dataclass(frozen=True)
class Target:
    """What to write.

    Attributes:
        format: of the file.
        path: the file; of OpenVINO's two, the .xml.
        form: of an ONNX file.
        size: (height, width) of the only images it will take, or None for any.
        precision: "fp32"; "fp16" (backbone and aggregator; the decoder stays in float32) for raw ONNX and TensorRT;
            "int8" (the convolutions) for panoptic ONNX.
        source_sha256: of the weights' file, or empty.
    """

    format: Format
    path: Path
    form: Form = "panoptic"
    size: Size | None = None
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    source_sha256: str = ""


def export(model: Model, target: Target, photographs: Sequence[np.ndarray]) -> Parity | None:
    """Write a file, whole or not at all, after comparing it with PyTorch.

    Args:
        model: network, categories, thresholds; the network in float32.
        target: see `Target`.
        photographs: uint8 (H, W, 3), RGB: to compare on, or for "int8", to calibrate with.

    Returns:
        How it compares; None where that is not the point (8 bits). For TensorRT it is the ONNX file that was compared,
        from which the engine is built.

    Raises:
        ExportError: the file is not the network.
        ConfigError: a package that is needed is not installed.
        OutputError: the file cannot be written.
    """
    if target.format == "onnx":
        return _onnx(model, target, photographs)
    if target.format == "openvino":
        return _openvino(model, target, photographs)
    if target.format == "tensorrt":
        return _tensorrt(model, target, photographs)
    with written_whole(target.path) as temporary:
        save_torch(temporary, model, target.size, target.source_sha256)
        return _compare(ArchiveEngine(temporary), model, photographs)


def _onnx(model: Model, target: Target, photographs: Sequence[np.ndarray]) -> Parity | None:
    half = target.precision == "fp16"
    onnx = onnx_model(model, OnnxOptions(target.form, target.size, target.source_sha256, half))
    with written_whole(target.path) as temporary:
        if target.precision == "int8":
            with tempfile.TemporaryDirectory() as folder:
                whole = Path(folder, "whole.onnx")
                save_onnx(whole, onnx)
                quantize(whole, temporary, photographs)
            OnnxEngine(temporary, "cpu")
            return None
        store_in_half(onnx)
        save_onnx(temporary, onnx)
        return _compare(OnnxEngine(temporary, "cpu"), model, photographs, half)


def _openvino(model: Model, target: Target, photographs: Sequence[np.ndarray]) -> Parity:
    converted = openvino_model(model, target.size, target.source_sha256)
    binary = target.path.with_suffix(".bin")
    # OpenVINO finds the weights by the name of the .xml, so both are made under their own names first.
    with (
        written_whole(target.path) as xml,
        written_whole(binary) as weights,
        tempfile.TemporaryDirectory(dir=target.path.parent, prefix=".openvino-") as folder,
    ):
        made = Path(folder, target.path.name)
        save_openvino(made, converted)
        parity = _compare(OpenVinoEngine(made, "cpu"), model, photographs)
        os.replace(made, xml)
        os.replace(made.with_suffix(".bin"), weights)
    return parity


def _tensorrt(model: Model, target: Target, photographs: Sequence[np.ndarray]) -> Parity:
    import_tensorrt()  # before the minute that the ONNX file takes
    import_onnxruntime()
    half = target.precision == "fp16"
    onnx = onnx_model(model, OnnxOptions("raw", target.size, target.source_sha256, half))
    with written_whole(target.path) as temporary, tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole.onnx")
        save_onnx(whole, onnx)
        parity = _compare(OnnxEngine(whole, "cpu"), model, photographs, half)
        build_engine(whole, temporary)
    return parity


def _compare(engine: Any, model: Model, photographs: Sequence[np.ndarray], half: bool = False) -> Parity:
    exported = Predictor(engine, engine.categories, engine.inference, engine.about)
    network = TorchEngine(model, torch.device("cpu"), fused=False)
    original = Predictor(network, model.categories, engine.inference, model.about)
    return check_parity(exported, original, photographs, half)
