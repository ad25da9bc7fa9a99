"""ONNX files: the network is written by torch's exporter, what surrounds it by hand; all operators are standard."""

import contextlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoso.export.capture import capture, quietly
from yoso.export.graph import GraphWriter, Value
from yoso.export.metadata import describe
from yoso.export.panoptic_graph import MergeInputs, MergeOutputs, write_merge, write_normalising, write_resizing
from yoso.inference.exported import METADATA
from yoso.installation import optional_packages
from yoso.model.yoso import padded_size
from yoso.preprocess import Size
from yoso.weights.model_folder import Model

OPSET = 20
"""DeformConv needs 19, antialiased Resize 18."""

STAGES = ("backbone", "aggregator", "decoder")

SMALL = 1024
"""Constants with fewer numbers are not worth storing in half precision."""


@dataclass(frozen=True)
class OnnxOptions:
    """What kind of ONNX file to write.

    Attributes:
        form: "panoptic" takes a uint8 image (H, W, 3) and gives segments; "raw" takes float32 images (B, 3, H, W), RGB
            0 to 255, of any size, and gives `class_logits` and `mask_logits`.
        size: (height, width) of the only images that it will take, or None for any. A panoptic file of fixed size takes
            images that are resized already.
        source_sha256: of the weights' file, or empty.
        half: backbone and aggregator in float16, the decoder in float32, by casts in the graph; inputs and outputs stay
            float32.
        embeddings: one more output: of a panoptic file `embeddings`, the kernel of each segment's query, float32
            (segments, C); of a raw file `kernels`, those of all queries, float32 (B, N, C).
    """

    form: str = "panoptic"
    size: Size | None = None
    source_sha256: str = ""
    half: bool = False
    embeddings: bool = False


def onnx_model(model: Model, options: OnnxOptions) -> Any:
    """Return a network as an `onnx_ir.Model`, ready to be saved.

    Args:
        model: network, categories, thresholds.
        options: see `OnnxOptions`.

    Raises:
        ConfigError: a package that is needed is not installed.
    """
    ir = import_onnx_ir()
    size = options.size
    padded = None if size is None else padded_size([size])
    program = capture(model.network, padded, normalises=False, half=options.half, kernels=options.embeddings)
    with quietly(), _silent():
        result = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, optimize=True)
    assert result is not None
    exported = result.model
    network_input, (class_logits, mask_logits, *kernels) = exported.graph.inputs[0], list(exported.graph.outputs)
    _name_by_stage(exported.graph)
    nodes, weights = _emptied(exported.graph)
    before, after = GraphWriter("prepare"), GraphWriter("merge")
    if options.form == "raw":
        inputs, images = _write_raw(ir, before, model, size)
        outputs = list(
            zip(("class_logits", "mask_logits", "kernels"), (class_logits, mask_logits, *kernels), strict=False)
        )
        defaults: dict[str, np.ndarray] = {}
    else:
        inputs, images, merge, defaults = _write_panoptic(ir, before, model, size)
        merged = write_merge(after, merge(class_logits, mask_logits, *kernels), model.categories.is_thing)
        outputs = _typed(ir, merged)
    ir.convenience.replace_all_uses_with(network_input, images)
    graph = ir.Graph(
        list(inputs.values()),
        [_named(value, name) for name, value in outputs],
        nodes=[*before.nodes, *nodes, *after.nodes],
        initializers=[*weights, *before.constants, *after.constants],
        opset_imports={"": OPSET},
        name="yoso",
    )
    for name, array in defaults.items():
        inputs[name].const_value = ir.tensor(array, name=name)
        graph.register_initializer(inputs[name])
    onnx = ir.Model(graph, ir_version=10, producer_name="yoso")
    onnx.metadata_props[METADATA] = describe(model, options.form, size, options.source_sha256).to_json()
    return onnx


def import_onnx_ir() -> Any:
    """Return the module.

    Raises:
        ConfigError: a package that exporting needs is not installed.
    """
    with optional_packages():
        import onnx_ir
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    return onnx_ir


def _write_raw(ir: Any, write: GraphWriter, model: Model, size: Size | None) -> tuple[dict[str, Value], Value]:
    """Return the inputs of a raw file, and the network's images that are computed from them."""
    sides = ("height", "width") if size is None else size
    batch = "batch" if size is None else 1
    images = ir.val("images", dtype=ir.DataType.FLOAT, shape=(batch, 3, *sides))
    config = model.network.config
    return {"images": images}, write_normalising(write, images, config.pixel_mean, config.pixel_std)


def _write_panoptic(ir: Any, write: GraphWriter, model: Model, size: Size | None) -> tuple[Any, Value, Any, Any]:
    """Write the part of a panoptic file before the network.

    Returns:
        The inputs by name; the network's images; a function from its logits to the inputs of the merge; the default
        values of the optional inputs.
    """
    kinds = ir.DataType
    inputs = {
        "image": ir.val("image", dtype=kinds.UINT8, shape=(*(size or ("height", "width")), 3)),
        "input_size": ir.val("input_size", dtype=kinds.INT64, shape=(2,)),
        "output_size": ir.val("output_size", dtype=kinds.INT64, shape=(2,)),
        "object_mask_threshold": ir.val("object_mask_threshold", dtype=kinds.FLOAT, shape=()),
        "overlap_threshold": ir.val("overlap_threshold", dtype=kinds.DOUBLE, shape=()),
    }
    own = model.inference
    defaults = {
        "input_size": np.array((0, 0) if size else own.input_size or (0, 0), np.int64),
        "output_size": np.array((0, 0), np.int64),
        "object_mask_threshold": np.array(own.object_mask_threshold, np.float32),
        "overlap_threshold": np.array(own.overlap_threshold, np.float64),
    }
    config = model.network.config
    if size is None:
        resized, image_size, own_size = write_resizing(write, inputs["image"], inputs["input_size"])
    else:
        channels_first = write("Transpose", inputs["image"], perm=[2, 0, 1])
        resized = write("Unsqueeze", channels_first, np.array([0]))
        image_size = own_size = write.sizes(inputs["image"], 0, 2)
        del inputs["input_size"], defaults["input_size"]
    images = write_normalising(write, resized, config.pixel_mean, config.pixel_std)
    asked = write("Greater", inputs["output_size"], np.array([0]))
    output_size = write("Where", asked, inputs["output_size"], own_size)
    padded_size = write.sizes(images, 2, 4)

    def merge(class_logits: Value, mask_logits: Value, kernels: Value | None = None) -> MergeInputs:
        thresholds = inputs["object_mask_threshold"], inputs["overlap_threshold"]
        return MergeInputs(class_logits, mask_logits, padded_size, image_size, output_size, *thresholds, kernels)

    return inputs, images, merge, defaults


def _typed(ir: Any, merged: MergeOutputs) -> list[tuple[str, Value]]:
    """Return the results with names, types and shapes."""
    kinds = ir.DataType
    described = {
        "segmentation": (merged.segmentation, kinds.INT32, ("output_height", "output_width")),
        "class_indices": (merged.class_indices, kinds.INT64, ("segments",)),
        "scores": (merged.scores, kinds.FLOAT, ("segments",)),
        "areas": (merged.areas, kinds.INT64, ("segments",)),
        "boxes": (merged.extents, kinds.INT64, ("segments", 4)),
    }
    if merged.embeddings is not None:
        described["embeddings"] = (merged.embeddings, kinds.FLOAT, ("segments", "channels"))
    for value, kind, shape in described.values():
        value.dtype, value.shape = kind, ir.Shape(shape)
    return [(name, value) for name, (value, _, _) in described.items()]


def _named(value: Value, name: str) -> Value:
    value.name = name
    return value


def _name_by_stage(graph: Any) -> None:
    """Put the stage before every name, so that a profile shows it: `backbone/node_conv2d_3`."""
    for node in graph:
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "")
        stage = next((stage for stage in STAGES if f"'network.{stage}" in scopes), None)
        if stage is not None:
            node.name = f"{stage}/{node.name}"
            for value in node.outputs:
                value.name = f"{stage}/{value.name}"


def _emptied(graph: Any) -> tuple[list[Any], list[Value]]:
    """Take nodes and constants out of a graph, for use in another one."""
    nodes, constants = list(graph), list(graph.initializers.values())
    graph.outputs.clear()
    graph.inputs.clear()
    graph.initializers.clear()
    graph.remove(nodes)
    return nodes, constants


def store_in_half(onnx: Any) -> None:
    """Store constants that float16 represents exactly as float16, and convert them when the file is loaded.

    Nothing is rounded: other constants stay in float32. Weights of a model folder that was saved in half precision are
    exact in float16, except where BatchNorm or another layer was folded into them.

    Args:
        onnx: an `onnx_ir.Model`; changed.
    """
    import onnx_ir as ir

    graph = onnx.graph
    for name, value in list(graph.initializers.items()):
        array = value.const_value.numpy()
        if array.dtype != np.float32 or array.size < SMALL or value in graph.inputs:
            continue
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), array):
            continue
        stored = ir.Value(name=f"{name}/half", const_value=ir.tensor(half, name=f"{name}/half"))
        stored.dtype, stored.shape = ir.DataType.FLOAT16, ir.Shape(half.shape)
        node = ir.node("Cast", [stored], {"to": int(ir.DataType.FLOAT)}, name=f"{name}/whole")
        ir.convenience.replace_all_uses_with(value, node.outputs[0])
        del graph.initializers[name]
        graph.register_initializer(stored)
        graph.insert_before(graph[0], node)


@contextmanager
def _silent() -> Iterator[None]:
    """Silence the exporter, which prints its progress and logs what it skips."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def save_onnx(path: Path, onnx: Any) -> None:
    """Write an `onnx_ir.Model` as one file; `path` should be a temporary one."""
    import onnx_ir

    path.write_bytes(onnx_ir.to_proto(onnx).SerializeToString())
