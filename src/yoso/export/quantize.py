"""8-bit ONNX files: ONNX Runtime's static quantisation of the convolutions, calibrated on images."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from yoso.errors import ConfigError
from yoso.inference.exported import METADATA
from yoso.installation import optional_packages

QUANTIZED = ("Conv",)
"""The decoder's products stay in float32: there are few of them, and its masks are sums over the whole image."""


def quantize(onnx_path: Path, path: Path, images: Iterable[np.ndarray]) -> None:
    """Write the 8-bit form of a float32 panoptic file.

    Weights have one scale per channel and use 7 of their 8 bits: processors without VNNI add pairs of products in 16
    bits, which would overflow. Activations use 8 bits, with the ranges found on the images. The deformable
    convolutions, the convolutions that compute their offsets, and everything around the network stay in float32.

    Args:
        onnx_path: a panoptic file in float32, whose constants are not stored in half precision.
        path: the result.
        images: uint8 (H, W, 3), RGB; a few dozen.

    Raises:
        ConfigError: the tools of onnxruntime are not installed, or there is no image.
    """
    with optional_packages():
        import onnx
        import onnxruntime
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    model = onnx.load(onnx_path)
    reader: Any = _Reader(images)
    with _silent(onnxruntime):
        quantize_static(
            model,
            path,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=offset_convolutions(model.graph),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    if reader.count == 0:
        raise ConfigError("8-bit export needs images for calibration; give --data")
    _keep_metadata(onnx, model, path)


@contextmanager
def _silent(onnxruntime: Any) -> Iterator[None]:
    """Silence the tools, which recommend what is done already and warn about optional inputs."""
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)
        logging.disable(logging.NOTSET)


def offset_convolutions(graph: Any) -> list[str]:
    """Return the names of the convolutions that compute the offsets of deformable convolutions.

    Args:
        graph: an `onnx.GraphProto`.
    """
    maker = {output: node for node in graph.node for output in node.output}
    names = []
    for node in graph.node:
        if node.op_type != "DeformConv":
            continue
        source = maker.get(node.input[2])
        while source is not None and source.op_type != "Conv":
            source = maker.get(source.input[0])
        if source is not None:
            names.append(source.name)
    return names


def _keep_metadata(onnx: Any, source: Any, path: Path) -> None:
    result = onnx.load(path)
    if not any(entry.key == METADATA for entry in result.metadata_props):
        text = next(entry.value for entry in source.metadata_props if entry.key == METADATA)
        result.metadata_props.add(key=METADATA, value=text)
        onnx.save(result, path)


class _Reader:
    """Gives ONNX Runtime one image after the other; the file's other inputs have default values."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self.images: Iterator[np.ndarray] = iter(images)
        self.count = 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next image as the session takes it, None after the last; ONNX Runtime calls this."""
        image = next(self.images, None)
        if image is None:
            return None
        self.count += 1
        return {"image": image}
