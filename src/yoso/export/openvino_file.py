"""OpenVINO files, made from torch.export: OpenVINO reads DeformConv from torch, but not from ONNX."""

from pathlib import Path
from typing import Any

from yoso.export.capture import capture, quietly
from yoso.export.metadata import describe
from yoso.inference.exported import METADATA
from yoso.inference.openvino_engine import import_openvino
from yoso.preprocess import Size
from yoso.weights.model_folder import Model


def openvino_model(model: Model, size: Size | None, source_sha256: str) -> Any:
    """Return a network as an `openvino.Model` that ends in logits.

    It takes float32 images (B, 3, H, W), RGB 0 to 255, padded to multiples of 32 with the mean colour.

    Args:
        model: network, categories, thresholds.
        size: (height, width) of the only images that it will take, multiples of 32; None is any.
        source_sha256: of the weights' file, or empty.

    Raises:
        ConfigError: openvino is not installed.
    """
    ov = import_openvino()
    program = capture(model.network, size, normalises=True)
    with quietly():
        converted = ov.convert_model(program)
    converted.set_rt_info(describe(model, "raw", size, source_sha256).to_json(), [METADATA, "facts"])
    return converted


def save_openvino(path: Path, converted: Any) -> None:
    """Write the .xml and, beside it, the .bin; weights stay float32."""
    import_openvino().save_model(converted, str(path), compress_to_fp16=False)
