"""The graph around the network in an exported file: from an image to the network's input, from its logits to segments.

The arithmetic is that of `yoso.preprocess` and `yoso.postprocess`, in standard ONNX operators. `yoso.export.tile_graph`
holds the competition of the queries for the pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yoso.export.graph import GraphWriter, Value, column
from yoso.export.tile_graph import GraphCounts, write_competition

NOWHERE = -1e4
"""Logit of a mask that covers nothing."""


def write_resizing(write: GraphWriter, image: Value, input_size: Value) -> tuple[Value, Value, Value]:
    """Resize an image as `yoso.preprocess` does.

    Args:
        write: takes the nodes.
        image: uint8 (H, W, 3), RGB.
        input_size: int64 (2,), (shorter, longest) in pixels, or (0, 0) for no resizing.

    Returns:
        uint8 (1, 3, H', W'), its size and that of the image, each int64 (2,).
    """
    own_size = write.sizes(image, 0, 2)
    sides = write.cast(own_size, np.float64)
    wanted = write.cast(input_size, np.float64)
    ends = write.joined(
        write("ReduceMin", sides, np.array([0]), keepdims=1), write("ReduceMax", sides, np.array([0]), keepdims=1)
    )
    scale = write("ReduceMin", write("Div", wanted, ends), np.array([0]), keepdims=1)
    rounded = write("Floor", write("Add", write("Mul", sides, scale), np.array(0.5)))
    scaled = write("Max", write.cast(rounded, np.int64), np.array([1]))
    size = write("Where", write("Greater", input_size, np.array([0])), scaled, own_size)
    channels_first = write("Unsqueeze", write("Transpose", image, perm=[2, 0, 1]), np.array([0]))
    sizes = write.joined(np.array([1, 3]), size)
    # Without `exclude_outside`, pixels at the edge would have more weight than in Pillow.
    resized = write("Resize", channels_first, None, None, sizes, mode="linear", antialias=1, exclude_outside=1)
    return resized, size, own_size


def write_normalising(write: GraphWriter, images: Value, mean: Sequence[float], std: Sequence[float]) -> Value:
    """Normalise, **then** pad with zeros at the right and at the bottom to multiples of 32, as `YOSO.prepare` does.

    Args:
        write: takes the nodes.
        images: of any type, (B, 3, H, W), RGB, 0 to 255.
        mean: per channel.
        std: per channel.

    Returns:
        float32 (B, 3, H', W').
    """
    mean_array, std_array = (np.asarray(values, np.float32).reshape(3, 1, 1) for values in (mean, std))
    normalised = write("Div", write("Sub", write.cast(images, np.float32), mean_array), std_array)
    size = write.sizes(images, 2, 4)
    blocks = write("Div", write("Add", size, np.array([31])), np.array([32]))
    missing = write("Sub", write("Mul", blocks, np.array([32])), size)
    return write("Pad", normalised, write.joined(np.zeros(6, np.int64), missing), 0.0)


@dataclass(frozen=True)
class MergeInputs:
    """Inputs of the panoptic merge; compare `yoso.postprocess.panoptic`.

    Attributes:
        class_logits: float32 (1, N, K+1).
        mask_logits: float32 (1, N, h, w).
        padded_size: int64 (2,), height and width of the network's input.
        image_size: int64 (2,), the part of it that is not padding.
        output_size: int64 (2,), size of the result.
        object_mask_threshold: float32 ().
        overlap_threshold: float64 ().
        kernels: float32 (1, N, C) for embeddings, or None.
    """

    class_logits: Value
    mask_logits: Value
    padded_size: Value
    image_size: Value
    output_size: Value
    object_mask_threshold: Value
    overlap_threshold: Value
    kernels: Value | None = None


@dataclass(frozen=True)
class MergeOutputs:
    """The panoptic result of one image with s segments.

    Attributes:
        segmentation: int32 (H, W), segment id per pixel, 0 is void.
        class_indices: int64 (s,), of the ids 1, 2, ...
        scores: float32 (s,).
        areas: int64 (s,), in pixels.
        extents: int64 (s, 4), first row, last row, first column, last column.
        embeddings: float32 (s, C), the kernel of each segment's query; None without kernels.
    """

    segmentation: Value
    class_indices: Value
    scores: Value
    areas: Value
    extents: Value
    embeddings: Value | None = None


def write_merge(write: GraphWriter, inputs: MergeInputs, is_thing: Sequence[bool]) -> MergeOutputs:
    """Merge the queries of one image into segments, by the rule of `yoso.postprocess.panoptic`.

    Args:
        write: takes the nodes.
        inputs: tensors of the graph.
        is_thing: per class index.

    Returns:
        Tensors of the graph.
    """
    labels, scores, masks, kernels = _write_kept_queries(write, inputs, num_classes=len(is_thing))
    sizes = (inputs.padded_size, inputs.image_size, inputs.output_size)
    owner, counts = write_competition(write, masks, scores, sizes)
    kept = _write_overlap_rule(write, counts, inputs.overlap_threshold)
    ids, first = _write_ids(write, labels, kept, is_thing)
    table = write.joined(np.array([0]), ids)
    flat = write("GatherElements", write.cast(table, np.int32), write("Reshape", owner, np.array([-1])), axis=0)
    segmentation = write("Reshape", flat, write("Shape", owner))
    return _write_segments(write, segmentation, _Queries(labels, scores, kernels, ids, first, counts))


def _write_kept_queries(
    write: GraphWriter, inputs: MergeInputs, num_classes: int
) -> tuple[Value, Value, Value, Value | None]:
    """Return labels (Q,), scores (Q,) and masks (1, Q, h, w) of the kept queries and of one dummy query after them.

    The last value is the kernels (Q, C), None if there are none; the dummy has that of query 0.

    The dummy has score 0 and a mask that covers nothing, so it wins a pixel only if no query is kept, and owns none. It
    ensures that no tensor is ever empty.
    """
    probabilities = write("Softmax", write("Squeeze", inputs.class_logits, np.array([0])), axis=-1)
    scores = write("ReduceMax", probabilities, np.array([1]), keepdims=0)
    labels = write("ArgMax", probabilities, axis=1, keepdims=0)
    above = write("Greater", scores, inputs.object_mask_threshold)
    takes_part = write("And", above, write("Less", labels, np.array(num_classes)))
    kept = write("Squeeze", write("NonZero", takes_part), np.array([0]))
    dummy = write("Expand", NOWHERE, write.joined(np.array([1, 1]), write.sizes(inputs.mask_logits, 2, 4)))
    return (
        write.joined(write("Gather", labels, kept), np.array([0])),
        write.joined(write("Gather", scores, kept), np.zeros(1, np.float32)),
        write.joined(write("Gather", inputs.mask_logits, kept, axis=1), dummy, axis=1),
        None if inputs.kernels is None else _write_kept_kernels(write, inputs.kernels, kept),
    )


def _write_kept_kernels(write: GraphWriter, kernels: Value, kept: Value) -> Value:
    queries = write.joined(kept, np.array([0]))
    return write("Gather", write("Squeeze", kernels, np.array([0])), queries)


def _write_overlap_rule(write: GraphWriter, counts: GraphCounts, threshold: Value) -> Value:
    """Return which queries become part of a segment, bool (Q,); see `yoso.postprocess.segments.merge_segments`."""
    owns = write("Greater", write("ReduceMax", counts.by_row, np.array([1]), keepdims=0), 0.0)
    share = write("Div", write.cast(counts.won, np.float64), write.cast(counts.covered, np.float64))
    return write("And", owns, write("GreaterOrEqual", share, threshold))


def _write_ids(write: GraphWriter, labels: Value, kept: Value, is_thing: Sequence[bool]) -> tuple[Value, Value]:
    """Return the segment id of every query, int64 (Q,), 0 if dropped; and which queries are the first of a segment."""
    thing = write("Gather", np.asarray(is_thing, np.bool_), labels)
    stuff = write("And", kept, write("Not", thing))
    same = write("Equal", column(write, labels), labels)
    same = write("And", write("And", same, column(write, stuff)), stuff)
    first_alike = write("ArgMax", write.cast(same, np.int32), axis=0, keepdims=0)
    count = write("Squeeze", write("Shape", labels), np.array([0]))
    itself = write("Range", np.array(0), count, np.array(1))
    owner = write("Where", stuff, first_alike, itself)
    first = write("And", kept, write("Equal", owner, itself))
    number = write("CumSum", write.cast(first, np.int64), np.array(0))
    return write("Where", kept, write("Gather", number, owner), np.array(0)), first


@dataclass(frozen=True)
class _Queries:
    """Label, score, segment id and whether it is the first of its segment, (Q,) each; kernels; and pixel counts."""

    labels: Value
    scores: Value
    kernels: Value | None
    ids: Value
    first: Value
    counts: GraphCounts


def _write_segments(write: GraphWriter, segmentation: Value, queries: _Queries) -> MergeOutputs:
    """Describe each segment; queries of one stuff class are added up."""
    chosen = write("Squeeze", write("NonZero", queries.first), np.array([0]))
    belongs = write("Equal", column(write, write("Gather", queries.ids, chosen)), queries.ids)
    belongs = write.cast(belongs, np.float64)
    extents = []
    for counts in (queries.counts.by_row, queries.counts.by_column):
        pixels = write("MatMul", belongs, write.cast(counts, np.float64))
        seen = write.cast(write("Greater", pixels, np.array(0.0)), np.int32)
        extents += [write("ArgMax", seen, axis=1, select_last_index=last) for last in (0, 1)]
    areas = write.cast(write("ReduceSum", pixels, np.array([1]), keepdims=0), np.int64)
    return MergeOutputs(
        segmentation,
        write("Gather", queries.labels, chosen),
        write("Gather", queries.scores, chosen),
        areas,
        write.joined(*extents, axis=1),
        None if queries.kernels is None else write("Gather", queries.kernels, chosen),
    )
