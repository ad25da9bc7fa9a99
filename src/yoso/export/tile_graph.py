"""Which query wins each pixel, in standard ONNX operators: tile by tile, with only the masks that matter in each tile.

Most masks are small: of 60 kept queries, four or five can win or cover a pixel of a tile. An interpolated mask lies
between the values it is interpolated from, so the other masks need not be upsampled there, and the few that are stay in
the processor's cache.
"""

from dataclasses import dataclass

import numpy as np

from yoso.export.graph import GraphWriter, Value, column
from yoso.postprocess.segments import FAINT, TOLERANCE

TILE = (50, 136)
"""Rows and columns of a tile of the output: smaller tiles have fewer contenders, larger tiles less overhead. Their
product is not a power of two, because then the same pixel of all masks would fall on the same few lines of the
cache."""

STEEP = 2.0**22
"""One over the step from 2 to the next float32: a slope that maps 2 and less to 1, and everything above to 0."""

GraphSizes = tuple[Value, Value, Value]
"""The content of `yoso.postprocess.Sizes` as tensors: padded, image, output."""


@dataclass(frozen=True)
class GraphCounts:
    """Pixels of each of Q queries in an output (H, W). A query covers a pixel where its mask is at least 0.5.

    Attributes:
        won: int64 (Q,), number of pixels that it won.
        covered: int64 (Q,), number of pixels that it covers.
        by_row: float32 (Q, H), above 0 if it owns a pixel of the row, that is won and covers it.
        by_column: float32 (Q, W), number of pixels of the column that it owns.
    """

    won: Value
    covered: Value
    by_row: Value
    by_column: Value


def write_competition(write: GraphWriter, masks: Value, scores: Value, sizes: GraphSizes) -> tuple[Value, GraphCounts]:
    """Let the queries compete for the pixels, tile by tile, as `yoso.postprocess.torch_merge.compete` does.

    Args:
        write: takes the nodes.
        masks: float32 (1, Q, h, w), logits.
        scores: float32 (Q,), 0 to 1.
        sizes: of the network's input, of the part of it that is not padding, and of the output; each int64 (2,).

    Returns:
        Per pixel the number of the query that owns it, 1 to Q, or 0, int32 (H, W); and the pixel counts.
    """
    masks = write("Squeeze", masks, np.array([0]))
    weights = write("Reshape", scores, np.array([-1, 1, 1]))
    rows, columns = (_write_axis(write, masks, sizes, axis) for axis in (0, 1))
    count = write.sizes(scores, 0, 1)
    numbers = write.cast(write("Add", _write_range(write, count), 1), np.float32)
    nothing = write("Expand", 0.0, write.joined(count, _write_count_ends(write, rows, columns)[-1]))

    def body(inner: GraphWriter, _: list[Value], tile: list[Value]) -> tuple[list[Value], list[Value]]:
        """Let the masks that matter in one tile compete; stack the owner of each pixel, and the counts."""
        matters, start, stop, of_rows, of_columns, *there = tile
        chosen = inner("NonZero", matters)
        which = inner("Squeeze", chosen, np.array([0]))
        few = inner("Gather", inner.part(masks, start, stop, [1, 2]), which, axis=0)
        # Not Sigmoid, which is constant below -18 in ONNX Runtime: far from all masks, the nearest must win.
        negative = inner("MatMul", of_rows, inner("MatMul", few, of_columns))
        inverse = inner("Add", inner("Exp", negative), 1.0)
        value = inner("Div", inner("Gather", weights, which, axis=0), inverse)
        winner = inner("ArgMax", value, axis=0, keepdims=1)
        won = inner("Equal", winner, inner("Reshape", _write_range(inner, inner("Shape", which)), np.array([-1, 1, 1])))
        won = inner.cast(won, np.float32)
        covered = inner("HardSigmoid", inverse, alpha=-STEEP, beta=2 * STEEP + 1)
        owned = inner("Mul", won, covered)
        # At most one query owns a pixel, so the sum of the owners' numbers is the number of the owner.
        flat = inner("Reshape", owned, inner.joined(inner("Shape", which), np.array([-1])))
        code = inner.cast(inner("MatMul", inner("Gather", numbers, which, axis=0), flat), np.int32)
        counts = _write_counts(inner, owned, (won, covered), *there)
        tile_counts = inner("ScatterND", nothing, inner("Transpose", chosen, perm=[1, 0]), counts)
        return [], [code, tile_counts]

    tiles = [_write_contenders(write, masks, weights, rows, columns), *_write_grid(write, rows, columns)]
    _, (codes, tile_counts) = write.scan([], tiles, body)
    codes = write("Reshape", codes, write.joined(rows.tiles, columns.tiles, rows.step, columns.step))
    whole = write.joined(*(write("Mul", axis.tiles, axis.step) for axis in (rows, columns)))
    codes = write("Reshape", write("Transpose", codes, perm=[0, 2, 1, 3]), whole)
    return write.part(codes, [0, 0], sizes[2], [0, 1]), _write_totals(write, tile_counts, rows, columns, sizes[2])


def _write_counts(
    write: GraphWriter, owned: Value, masks: tuple[Value, Value], row_there: Value, column_there: Value
) -> Value:
    """Count the pixels of a tile that k queries own, by row and by column, and those that they won and cover.

    Pixels are counted as products of floats, which are exact up to 2^24; bytes take ten times as long in ONNX Runtime.
    Rows and columns beyond the output repeat its last one. Of each row, it only matters whether there is any pixel.

    Args:
        write: takes the nodes.
        owned: float32 (k, step, step), 0 or 1.
        masks: the pixels that they won and that they cover, float32 (k, step, step) each, 0 or 1.
        row_there: float32 (1, step), 0 for rows that are beyond the output.
        column_there: float32 (step, 1), the same for columns.

    Returns:
        float32 (k, step + step + 2).
    """
    counts = [write("ReduceSum", owned, np.array([2])), write("MatMul", row_there, owned)]
    counts += [write("MatMul", write("MatMul", row_there, mask), column_there) for mask in masks]
    return write.joined(*(write("Reshape", part, np.array([0, -1])) for part in counts), axis=1)


def _write_count_ends(write: GraphWriter, rows: "_Axis", columns: "_Axis") -> list[Value]:
    """Return where the parts of a tile's counts end: by row, by column, won, covered; int64 (1,) each."""
    by_column = write("Add", rows.step, columns.step)
    return [rows.step, by_column, *(write("Add", by_column, np.array([more])) for more in (1, 2))]


def _write_totals(write: GraphWriter, counts: Value, rows: "_Axis", columns: "_Axis", output: Value) -> GraphCounts:
    """Add up the counts of T tiles, float32 (T, Q, step + step + 2), for an output of a size."""
    queries = write.sizes(counts, 1, 2)
    ends = _write_count_ends(write, rows, columns)
    parts = [write.part(counts, *ends_of, [2]) for ends_of in zip([[0], *ends[:3]], ends, strict=True)]
    totals = (write("ReduceSum", write.cast(part, np.int64), np.array([0, 2]), keepdims=0) for part in parts[2:])
    extents = []
    for axis, (part, of_axis) in enumerate(zip(parts, (rows, columns), strict=False)):
        part = write("Reshape", part, write.joined(rows.tiles, columns.tiles, queries, of_axis.step))
        part = write("Transpose", write("ReduceSum", part, np.array([1 - axis]), keepdims=0), perm=[1, 0, 2])
        part = write("Reshape", part, write.joined(queries, np.array([-1])))
        extents.append(write.part(part, [0], write.part(output, [axis], [axis + 1], [0]), [1]))
    return GraphCounts(*totals, *extents)


@dataclass(frozen=True)
class _Axis:
    """One axis of the output, cut into tiles of equal length; the last tile repeats the last row or column.

    Attributes:
        tiles: int64 (1,), number of tiles.
        step: int64 (1,), rows or columns per tile.
        there: bool (tiles, step), which of them are in the output.
        starts: int64 (tiles,), first row or column of the masks that each tile reads.
        reach: int64 (1,), number of rows or columns that a tile reads.
        weights: float32 (tiles, step, reach), weight of each in each row or column of the tile.
        window: int64 (tiles, reach), indices of the rows or columns that each tile reads.
    """

    tiles: Value
    step: Value
    there: Value
    starts: Value
    reach: Value
    weights: Value
    window: Value


def _write_axis(write: GraphWriter, masks: Value, sizes: GraphSizes, axis: int) -> _Axis:
    """Cut the rows (axis 0) or the columns of the output into tiles."""
    zero, one = np.array([0]), np.array([1])
    length = write.part(sizes[2], [axis], [axis + 1], [0])
    step = write("Min", length, np.array([TILE[axis]]))
    tiles = write("Div", write("Sub", write("Add", length, step), one), step)
    total = write("Mul", tiles, step)
    by_tile = write.joined(tiles, step, np.array([-1]))
    missing = write.joined(np.array([0, 0]), write("Sub", total, length), zero)
    weights = write("Pad", _write_weights(write, masks, sizes, axis), missing, None, mode="edge")
    weights = write("Reshape", weights, by_tile)
    used = write.cast(write("Greater", write("ReduceMax", weights, one, keepdims=0), 0.0), np.int32)
    first, last = (write("ArgMax", used, axis=1, keepdims=0, select_last_index=last) for last in (0, 1))
    reach = write("Add", write("ReduceMax", write("Sub", last, first)), one)
    starts = write("Min", first, write("Sub", write.sizes(masks, 1 + axis, 2 + axis), reach))
    window = write("Add", column(write, starts), _write_range(write, reach))
    at = write("Expand", write("Unsqueeze", window, one), write.joined(tiles, step, reach))
    there = write("Reshape", write("Less", _write_range(write, total), length), write.joined(tiles, step))
    return _Axis(tiles, step, there, starts, reach, write("GatherElements", weights, at, axis=2), window)


def _write_contenders(write: GraphWriter, masks: Value, weights: Value, rows: _Axis, columns: _Axis) -> Value:
    """Return which masks matter in which tile, bool (T, Q), at least one each; see `yoso.postprocess.segments`."""
    bounds = []
    for kind in ("ReduceMax", "ReduceMin"):
        by_row = write(kind, write("Gather", masks, rows.window, axis=1), np.array([2]), keepdims=0)
        bounds.append(write(kind, write("Gather", by_row, columns.window, axis=2), np.array([3]), keepdims=0))
    inverse = (write("Add", write("Exp", write("Neg", bound)), 1.0) for bound in bounds)
    at_most, at_least = (write("Div", weights, value) for value in inverse)
    at_most = write("Add", write("Mul", at_most, 1 + TOLERANCE), FAINT)
    may_win = write("GreaterOrEqual", at_most, write("ReduceMax", at_least, np.array([0])))
    matters = write("Or", may_win, write("GreaterOrEqual", bounds[0], -TOLERANCE))
    return write("Transpose", write("Reshape", matters, np.array([0, -1])), perm=[1, 0])


def _write_grid(write: GraphWriter, rows: _Axis, columns: _Axis) -> list[Value]:
    """Return where the T tiles read, their weights, and which pixels are in the output; tiles are in row-major order.

    The weights of the rows are negative, because the sigmoid needs the negative logits.

    Returns:
        int64 (T, 2) and (T, 2), float32 (T, step, reach), (T, reach, step), (T, 1, step) and (T, step, 1).
    """
    grid = write.joined(rows.tiles, columns.tiles)
    starts = [write("Expand", value, grid) for value in (column(write, rows.starts), columns.starts)]
    start = write(
        "Reshape",
        write.joined(*(write("Unsqueeze", value, np.array([2])) for value in starts), axis=2),
        np.array([-1, 2]),
    )
    stop = write("Add", start, write.joined(rows.reach, columns.reach))
    across = write("Transpose", columns.weights, perm=[0, 2, 1])
    of_rows = _write_repeated(write, write("Unsqueeze", write("Neg", rows.weights), np.array([1])), grid)
    of_columns = _write_repeated(write, write("Unsqueeze", across, np.array([0])), grid)
    row_there = write("Unsqueeze", write.cast(rows.there, np.float32), np.array([1, 2]))
    column_there = write("Unsqueeze", write.cast(columns.there, np.float32), np.array([0, 3]))
    there = [_write_repeated(write, value, grid) for value in (row_there, column_there)]
    return [start, stop, of_rows, of_columns, *there]


def _write_repeated(write: GraphWriter, values: Value, grid: Value) -> Value:
    """Repeat (rows, 1, m, n) or (1, columns, m, n) for every tile, to (T, m, n)."""
    shape = write.sizes(values, 2, 4)
    repeated = write("Expand", values, write.joined(grid, shape))
    return write("Reshape", repeated, write.joined(np.array([-1]), shape))


def _write_range(write: GraphWriter, length: Value) -> Value:
    """Return 0, 1, ... `length` - 1; `length` is int64 (1,)."""
    return write("Range", np.array(0), write("Squeeze", length, np.array([0])), np.array(1))


def _write_weights(write: GraphWriter, masks: Value, sizes: GraphSizes, axis: int) -> Value:
    """Return the weight of each row (axis 0) or column (1) of the masks in each one of the output, (n, h) or (n, w).

    The identity matrix is upsampled as masks are: to the padded size, cropped, to the output's size.
    """
    count = write.sizes(masks, 1 + axis, 2 + axis)
    padded, image, output = (write.part(size, [axis], [axis + 1], [0]) for size in sizes)
    square = write("Expand", 0.0, write.joined(count, count))
    ones = np.array([1, 1])
    weights = write("Unsqueeze", write("EyeLike", square), np.array([0, 1]))
    weights = write("Resize", weights, None, None, write.joined(ones, padded, count), mode="linear")
    weights = write.part(weights, [0], image, [2])
    weights = write("Resize", weights, None, None, write.joined(ones, output, count), mode="linear")
    return write("Squeeze", weights, np.array([0, 1]))
