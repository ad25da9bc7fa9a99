"""Writing ONNX graphs by hand, one operator a line, for what surrounds the network."""

from typing import Any

import numpy as np

Value = Any
"""An `onnx_ir.Value`: a tensor of the graph."""


class GraphWriter:
    """Collects nodes and constants; `write("Add", a, 1.0)` adds a node and returns its output.

    NumPy arrays and numbers among the inputs become constants: whole numbers int64, others float32.
    """

    def __init__(self, prefix: str) -> None:
        """Begin a piece of a graph.

        Args:
            prefix: of all its names, so that pieces can be joined.
        """
        import onnx_ir

        self._ir = onnx_ir
        self._tape = onnx_ir.tape.Tape()
        self._prefix = prefix
        self._constants: dict[tuple[Any, ...], Value] = {}
        self._count = 0

    @property
    def nodes(self) -> list[Any]:
        """The nodes written so far, in an order in which they can run."""
        return list(self._tape.nodes)

    @property
    def constants(self) -> list[Value]:
        """The constants they read."""
        return list(self._tape.initializers)

    def __call__(self, operator: str, *inputs: Any, **attributes: Any) -> Value:
        """Add a node with one output.

        Args:
            operator: of the standard ONNX operators.
            inputs: tensors of the graph, constants, or None for an optional input that is left out.
            attributes: the operator's.
        """
        values = [None if item is None else self._value(item) for item in inputs]
        self._count += 1
        name = f"{self._prefix}/{operator}_{self._count}"
        value = self._tape.op(operator, values, attributes or None, name=name)
        value.name = name
        return value

    def _value(self, item: Any) -> Value:
        if isinstance(item, self._ir.Value):
            return item
        kind = None if isinstance(item, np.ndarray) else np.float32 if isinstance(item, float) else np.int64
        array = np.asarray(item, kind)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"{self._prefix}/constant_{len(self._constants)}"
            self._constants[key] = self._tape.initializer(self._ir.tensor(array, name=name), name)
        return self._constants[key]

    def cast(self, value: Value, kind: type[np.generic]) -> Value:
        """Convert a tensor to a NumPy type."""
        return self("Cast", value, to=int(self._ir.DataType.from_numpy(np.dtype(kind))))

    def sizes(self, value: Value, start: int, stop: int) -> Value:
        """Return some of a tensor's sizes, axes `start` to `stop` - 1, as int64."""
        return self("Shape", value, start=start, end=stop)

    def part(self, value: Value, start: Any, stop: Any, axes: list[int]) -> Value:
        """Cut out `start` to `stop` - 1 along some axes; both are vectors, constant or computed."""
        return self("Slice", value, _vector(start), _vector(stop), np.asarray(axes, np.int64))

    def joined(self, *values: Any, axis: int = 0) -> Value:
        """Concatenate."""
        return self("Concat", *values, axis=axis)


def _vector(value: Any) -> Any:
    return np.asarray(value, np.int64) if isinstance(value, list) else value
