"""Writing an exported file of each format, and keeping it only if it gives what the network gives."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from yoso.export.check import Parity, check_parity
from yoso.export.formats import ExportTarget
from yoso.export.onnx_file import OnnxOptions, onnx_model, save_onnx, store_in_half
from yoso.export.openvino_file import openvino_model, save_openvino
from yoso.export.quantize import quantize
from yoso.export.tensorrt_file import build_engine, import_tensorrt
from yoso.export.torch_file import ArchiveEngine, save_torch
from yoso.files import written_whole
from yoso.inference.exported import ExportedEngine
from yoso.inference.onnx_engine import OnnxEngine, import_onnxruntime
from yoso.inference.openvino_engine import OpenVinoEngine
from yoso.inference.predictor import Predictor
from yoso.inference.torch_engine import TorchEngine
from yoso.weights.model_folder import Model


def write_onnx(model: Model, target: ExportTarget, images: Sequence[np.ndarray]) -> Parity | None:
    """Write an ONNX file; see `yoso.export.formats.export`."""
    half = target.precision == "fp16"
    onnx = onnx_model(model, OnnxOptions(target.form, target.size, target.source_sha256, half, target.embeddings))
    with written_whole(target.path) as temporary:
        if target.precision == "int8":
            with tempfile.TemporaryDirectory() as folder:
                whole = Path(folder, "whole.onnx")
                save_onnx(whole, onnx)
                quantize(whole, temporary, images)
            OnnxEngine(temporary, "cpu")
            return None
        store_in_half(onnx)
        save_onnx(temporary, onnx)
        return _compare(OnnxEngine(temporary, "cpu"), model, images, half)


def write_openvino(model: Model, target: ExportTarget, images: Sequence[np.ndarray]) -> Parity:
    """Write OpenVINO's two files; see `yoso.export.formats.export`."""
    converted = openvino_model(model, target.size, target.source_sha256)
    binary = target.path.with_suffix(".bin")
    # OpenVINO finds the weights by the name of the .xml, so both files are written under their final names first.
    with (
        written_whole(target.path) as xml,
        written_whole(binary) as weights,
        tempfile.TemporaryDirectory(dir=target.path.parent, prefix=".openvino-") as folder,
    ):
        made = Path(folder, target.path.name)
        save_openvino(made, converted)
        parity = _compare(OpenVinoEngine(made, "cpu"), model, images)
        os.replace(made, xml)
        os.replace(made.with_suffix(".bin"), weights)
    return parity


def write_tensorrt(model: Model, target: ExportTarget, images: Sequence[np.ndarray]) -> Parity:
    """Write a TensorRT engine, from an ONNX file that is compared; see `yoso.export.formats.export`."""
    import_tensorrt()  # before the minute that the ONNX file takes
    import_onnxruntime()
    half = target.precision == "fp16"
    onnx = onnx_model(model, OnnxOptions("raw", target.size, target.source_sha256, half))
    with written_whole(target.path) as temporary, tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole.onnx")
        save_onnx(whole, onnx)
        parity = _compare(OnnxEngine(whole, "cpu"), model, images, half)
        build_engine(whole, temporary)
    return parity


def write_torch(model: Model, target: ExportTarget, images: Sequence[np.ndarray]) -> Parity:
    """Write a torch.export archive; see `yoso.export.formats.export`."""
    with written_whole(target.path) as temporary:
        save_torch(temporary, model, target.size, target.source_sha256)
        return _compare(ArchiveEngine(temporary), model, images)


def _compare(engine: ExportedEngine, model: Model, images: Sequence[np.ndarray], half: bool = False) -> Parity:
    exported = Predictor(engine, engine.categories, engine.inference, engine.about)
    network = TorchEngine(model, torch.device("cpu"), fused=False)
    original = Predictor(network, model.categories, engine.inference, model.about)
    return check_parity(exported, original, images, half)
