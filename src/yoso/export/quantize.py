"""8-bit ONNX files: ONNX Runtime's static quantisation of the convolutions, calibrated on photographs."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from yoso.errors import ConfigError
from yoso.export.onnx_file import METADATA
from yoso.installation import optional_packages

QUANTIZED = ("Conv",)
"""The decoder's products stay in float32: they are few, and its masks are sums over the whole image."""


def quantize(onnx_path: Path, path: Path, photographs: Iterable[np.ndarray]) -> None:
    """Write the 8-bit form of a float32 panoptic file.

    Weights are 8 bits per channel, of which 7 are used: processors without VNNI add pairs of products in 16 bits, and
    would overflow. Activations are 8 bits, with the ranges that the photographs show. The deformable convolutions, the
    convolutions that steer them, and what surrounds the network stay as they are.

    Args:
        onnx_path: a panoptic file in float32, its constants not stored in half.
        path: the result.
        photographs: uint8 (H, W, 3), RGB; some dozens.

    Raises:
        ConfigError: onnxruntime's tools are not installed, or there is no photograph.
    """
    with optional_packages():
        import onnx
        import onnxruntime
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    model = onnx.load(onnx_path)
    reader: Any = _Reader(photographs)
    with _silent(onnxruntime):
        quantize_static(
            model,
            path,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=steering_convolutions(model.graph),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    if reader.count == 0:
        raise ConfigError("8-bit export needs photographs to calibrate with; give --data")
    _keep_metadata(onnx, model, path)


@contextmanager
def _silent(onnxruntime: Any) -> Iterator[None]:
    """The tools advise what was done already, and warn of inputs that may be left out, which is what they are for."""
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)
        logging.disable(logging.NOTSET)


def steering_convolutions(graph: Any) -> list[str]:
    """Return the names of the convolutions whose output says where a deformable convolution reads.

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
    """Gives ONNX Runtime one photograph after the other; what else the file takes has values of its own."""

    def __init__(self, photographs: Iterable[np.ndarray]) -> None:
        self.photographs: Iterator[np.ndarray] = iter(photographs)
        self.count = 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next photograph as the session takes it, None after the last; what ONNX Runtime calls."""
        photograph = next(self.photographs, None)
        if photograph is None:
            return None
        self.count += 1
        return {"image": photograph}
