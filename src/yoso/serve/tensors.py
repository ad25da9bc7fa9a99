"""Tensors of the Open Inference Protocol: JSON, and the binary extension that appends raw bytes to the JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yoso.serve.problems import Problem
from yoso.serve.settings import Limits
from yoso.serve.uploads import from_base64, parse_json_object

HEADER_LENGTH = "Inference-Header-Content-Length"
"""Header that says how many bytes of a body are JSON; the others are raw tensors, in the order of the JSON."""

DATATYPES = {"bool": "BOOL", "int32": "INT32", "int64": "INT64", "float32": "FP32", "object": "BYTES"}


@dataclass(frozen=True)
class InferenceInput:
    """What a client sends.

    Attributes:
        request_id: that the response repeats; None if there is none.
        image: bytes of an image file, or uint8 (H, W, 3).
        parameters: options of the request.
        outputs: names of the outputs to return, and whether each is returned as raw bytes; None is all of them.
        is_binary: for outputs that are not named.
    """

    request_id: str | None
    image: bytes | np.ndarray
    parameters: Mapping[str, Any]
    outputs: Mapping[str, bool] | None
    is_binary: bool


def read_inference(body: bytes, header_length: str | None, limits: Limits) -> InferenceInput:
    """Read the body of an inference request.

    Args:
        body: JSON, with raw bytes behind it if there is a header length.
        header_length: value of the header `HEADER_LENGTH`.
        limits: on JSON values.

    Raises:
        Problem: it is not what the protocol says, or has other inputs than one `image`.
    """
    length = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > len(body):
            raise _malformed(f"the header {HEADER_LENGTH} is {header_length[:20]!r}, and the body has {length} bytes")
        length = int(header_length)
    content = parse_json_object(body[:length], limits)
    inputs, parameters = content.get("inputs"), content.get("parameters", {})
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _malformed("give one input, 'image'")
    if inputs[0].get("name") != "image":
        raise _malformed(f"input {str(inputs[0].get('name'))[:40]!r} is unknown; give one input, 'image'")
    if not isinstance(parameters, dict):
        raise _malformed("'parameters' is not an object")
    is_binary = bool(parameters.pop("binary_data_output", False))
    request_id = content.get("id")
    image = _read_image(inputs[0], body[length:])
    outputs = _read_outputs(content.get("outputs"), is_binary)
    return InferenceInput(None if request_id is None else str(request_id), image, parameters, outputs, is_binary)


def _malformed(detail: str) -> Problem:
    return Problem("malformed-request", detail)


def _read_outputs(outputs: Any, is_binary: bool) -> dict[str, bool] | None:
    if outputs is None:
        return None
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise _malformed("'outputs' is not a list of objects with a name")
    found = {}
    for output in outputs:
        own = output.get("parameters", {})
        found[str(output.get("name"))] = bool(own.get("binary_data", is_binary)) if isinstance(own, dict) else is_binary
    return found


def _read_image(tensor: Mapping[str, Any], raw: bytes) -> bytes | np.ndarray:
    shape, datatype, own = tensor.get("shape"), tensor.get("datatype"), tensor.get("parameters", {})
    if not isinstance(shape, list) or not all(type(side) is int and 0 <= side < 2**31 for side in shape):
        raise _malformed("input 'image' has no 'shape', a list of whole numbers")
    size = own.get("binary_data_size") if isinstance(own, dict) else None
    if size is not None and (type(size) is not int or size != len(raw)):
        raise _malformed(f"input 'image' has a binary_data_size of {size!r}, but {len(raw)} bytes follow the JSON")
    if datatype == "BYTES":
        return _read_file(tensor.get("data"), raw if size is not None else None, shape)
    if datatype != "UINT8":
        raise _malformed(
            f"input 'image' has the datatype {str(datatype)[:20]!r}; send UINT8 pixels, or BYTES of a file"
        )
    shape = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    if len(shape) != 3 or shape[2] != 3:
        raise _malformed(f"input 'image' has the shape {shape}; send RGB pixels, [height, width, 3]")
    values = np.frombuffer(raw, np.uint8) if size is not None else _read_pixels(tensor.get("data"))
    if values.size != math.prod(shape):
        raise _malformed(f"input 'image' has the shape {shape}, but {values.size} values")
    return values.reshape(shape)


def _read_pixels(data: Any) -> np.ndarray:
    if not isinstance(data, list):
        raise _malformed("input 'image' has neither 'data', a list, nor binary data")
    try:
        values = np.asarray(data)
    except ValueError:
        raise _malformed("input 'image' has rows of different lengths") from None
    if values.size and (values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255):
        raise _malformed("input 'image' has values that are not whole numbers from 0 to 255")
    return values.astype(np.uint8).ravel()


def _read_file(data: Any, raw: bytes | None, shape: list[int]) -> bytes:
    """Return the bytes of the one image file of a BYTES tensor: raw with their length before them, or base64."""
    if math.prod(shape) != 1:
        raise _malformed(f"input 'image' has the shape {shape}; send one image file, [1]")
    if raw is not None:
        if int.from_bytes(raw[:4], "little") != len(raw) - 4:
            raise _malformed("input 'image' does not begin with the length of its one element")
        return raw[4:]
    if not isinstance(data, list) or len(data) != 1:
        raise _malformed("input 'image' has no 'data' with one image file in base64")
    return from_base64(data[0])


def write_inference(
    head: Mapping[str, Any], arrays: Mapping[str, np.ndarray], outputs: Mapping[str, bool]
) -> tuple[bytes, int | None]:
    """Return the body of an inference response, and how many bytes of it are JSON if others follow.

    Args:
        head: members of the JSON besides the outputs.
        arrays: all outputs by name; arrays of objects hold text.
        outputs: which ones to return, and whether as raw bytes.
    """
    tensors: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, is_binary in outputs.items():
        array = arrays[name]
        tensor: dict[str, Any] = {
            "name": name,
            "datatype": DATATYPES[str(array.dtype)],
            "shape": list(array.shape),
        }
        if is_binary:
            raw.append(_raw(array))
            tensor["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            tensor["data"] = array.ravel().tolist()
        tensors.append(tensor)
    text = json.dumps({**head, "outputs": tensors}).encode("ascii")
    return b"".join([text, *raw]), len(text) if raw else None


def _raw(array: np.ndarray) -> bytes:
    if array.dtype != object:
        return np.ascontiguousarray(array).tobytes()
    elements: Sequence[bytes] = [str(text).encode("utf-8") for text in array.ravel()]
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)
