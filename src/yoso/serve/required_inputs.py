"""Making the optional inputs of an ONNX file required, which is how onnxruntime-web lets the page set them.

An optional input is one with a default, an initializer of the same name; onnxruntime-web refuses values for it. The
file is edited in protobuf's wire format, so that the package onnx is not needed.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

_GRAPH = 7
"""Field of a ModelProto."""

_INITIALIZER = 5
"""Field of a GraphProto."""

_TENSOR_NAME = 8
"""Field of a TensorProto."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """A field of a message: its number, all its bytes, and its content if it has a length."""

    number: int
    whole: memoryview
    content: memoryview


def with_required_inputs(onnx: bytes, names: Collection[str]) -> bytes:
    """Return an ONNX file without the defaults of some inputs.

    Args:
        onnx: the file.
        names: of the inputs.
    """
    wanted = {name.encode() for name in names}
    parts: list[bytes | memoryview] = []
    for field in _fields(memoryview(onnx)):
        if field.number != _GRAPH:
            parts.append(field.whole)
            continue
        kept = [part.whole for part in _fields(field.content) if not _is_default(part, wanted)]
        parts += [_varint(_GRAPH << 3 | _BYTES), _varint(sum(map(len, kept))), *kept]
    return b"".join(parts)


def _is_default(field: _Field, names: set[bytes]) -> bool:
    if field.number != _INITIALIZER:
        return False
    return any(bytes(part.content) in names for part in _fields(field.content) if part.number == _TENSOR_NAME)


def _fields(message: memoryview) -> Iterator[_Field]:
    position = 0
    while position < len(message):
        start = position
        key, position = _read_varint(message, position)
        content = start
        if key & 7 == _VARINT:
            _, position = _read_varint(message, position)
        elif key & 7 == _BYTES:
            length, content = _read_varint(message, position)
            position = content + length
        elif key & 7 in (_FIXED64, _FIXED32):
            position += 8 if key & 7 == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {key & 7} is not valid")
        yield _Field(key >> 3, message[start:position], message[content:position])


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])
