"""Writing ONNX graphs by hand, one operator per line, for what surrounds the network."""

from collections.abc import Callable
from typing import Any

import numpy as np

Value = Any
"""An `onnx_ir.Value`: a tensor of the graph."""

Body = Callable[["GraphWriter", list[Value], list[Value]], tuple[list[Value], list[Value]]]
"""One iteration of a scan: takes a writer, the carried tensors and its parts; returns tensors to carry and to stack."""


class GraphWriter:
    """Collects nodes and constants; `write("Add", a, 1.0)` adds a node and returns its output.

    NumPy arrays and numbers among the inputs become constants; integers are int64, other numbers float32.
    """

    def __init__(self, prefix: str, outer: "GraphWriter | None" = None) -> None:
        """Start a part of a graph.

        Args:
            prefix: of all its names, so that parts can be joined.
            outer: writer of the surrounding graph, which holds the constants.
        """
        import onnx_ir

        self._ir = onnx_ir
        self._tape = onnx_ir.tape.Tape()
        self._prefix = prefix
        self._outer = outer
        self._constants: dict[tuple[Any, ...], Value] = {}
        self._count = 0

    @property
    def nodes(self) -> list[Any]:
        """The nodes written so far, in an executable order."""
        return list(self._tape.nodes)

    @property
    def constants(self) -> list[Value]:
        """The constants that the nodes read."""
        return list(self._tape.initializers)

    def __call__(self, operator: str, *inputs: Any, **attributes: Any) -> Value:
        """Add a node with one output.

        Args:
            operator: of the standard ONNX operators.
            inputs: tensors of the graph, constants, or None for an optional input that is omitted.
            attributes: of the operator.
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
        if self._outer is not None:
            return self._outer._value(item)
        kind = None if isinstance(item, np.ndarray) else np.float32 if isinstance(item, float) else np.int64
        array = np.asarray(item, kind)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"{self._prefix}/constant_{len(self._constants)}"
            self._constants[key] = self._tape.initializer(self._ir.tensor(array, name=name), name)
        return self._constants[key]

    def scan(self, carried: list[Value], parted: list[Value], body: Body) -> tuple[list[Value], list[Value]]:
        """Add a loop over the first axis of some tensors.

        Args:
            carried: tensors of constant shape that every iteration replaces.
            parted: tensors of which every iteration reads one part.
            body: writes one iteration; it may read everything computed before.

        Returns:
            The tensors carried out of the last iteration, and those stacked by all iterations along a new first axis.
        """
        self._count += 1
        name = f"{self._prefix}/Scan_{self._count}"
        inner = GraphWriter(name, self)
        before, parts = (
            [self._ir.val(f"{name}/{kind}_{place}") for place in range(len(values))]
            for kind, values in (("carried", carried), ("part", parted))
        )
        on, stacked = body(inner, before, parts)
        graph = self._ir.Graph([*before, *parts], [*on, *stacked], nodes=inner.nodes, name=name)
        attributes = {"body": graph, "num_scan_inputs": len(parted)}
        inputs = [self._value(item) for item in (*carried, *parted)]
        count = len(on) + len(stacked)
        results = list(self._tape.op_multi_out("Scan", inputs, attributes, num_outputs=count, name=name))
        for place, value in enumerate(results):
            value.name = f"{name}/result_{place}"
        return results[: len(on)], results[len(on) :]

    def cast(self, value: Value, kind: type[np.generic]) -> Value:
        """Convert a tensor to the type of a NumPy scalar."""
        return self("Cast", value, to=int(self._ir.DataType.from_numpy(np.dtype(kind))))

    def sizes(self, value: Value, start: int, stop: int) -> Value:
        """Return the sizes of a tensor along the axes `start` to `stop` - 1, as int64."""
        return self("Shape", value, start=start, end=stop)

    def part(self, value: Value, start: Any, stop: Any, axes: list[int]) -> Value:
        """Slice `start` to `stop` - 1 along some axes; both are vectors, constant or computed."""
        return self("Slice", value, _vector(start), _vector(stop), np.asarray(axes, np.int64))

    def joined(self, *values: Any, axis: int = 0) -> Value:
        """Concatenate tensors."""
        return self("Concat", *values, axis=axis)


def _vector(value: Any) -> Any:
    return np.asarray(value, np.int64) if isinstance(value, list) else value


def column(write: GraphWriter, vector: Value) -> Value:
    """Reshape (n,) to (n, 1)."""
    return write("Unsqueeze", vector, np.array([1]))
