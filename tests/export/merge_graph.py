"""The merge as an ONNX graph of its own, for tests that compare it with the other merges."""

import dataclasses

import numpy as np
import onnx_ir as ir

from yoso.export.graph import GraphWriter
from yoso.export.panoptic_graph import MergeInputs, write_merge
from yoso.inference.onnx_engine import import_onnxruntime

KINDS = ir.DataType
IS_THING = (True, False, True, False, False)


def session(write, inputs, outputs, without=()):
    for value, kind, shape in outputs:
        value.dtype, value.shape = kind, ir.Shape(shape)
    graph = ir.Graph(
        inputs,
        [value for value, _, _ in outputs],
        nodes=[node for node in write.nodes if node.op_type not in without],
        initializers=write.constants,
        opset_imports={"": 20},
        name="test",
    )
    data = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    return import_onnxruntime().InferenceSession(data, providers=["CPUExecutionProvider"])


def merge_session(is_thing=IS_THING):
    """Return a session of the merge."""
    write = GraphWriter("merge")
    inputs = [
        ir.val("class_logits", dtype=KINDS.FLOAT, shape=(1, "N", len(is_thing) + 1)),
        ir.val("mask_logits", dtype=KINDS.FLOAT, shape=(1, "N", "h", "w")),
        *(ir.val(name, dtype=KINDS.INT64, shape=(2,)) for name in ("padded", "image", "output")),
        ir.val("object_mask_threshold", dtype=KINDS.FLOAT, shape=()),
        ir.val("overlap_threshold", dtype=KINDS.DOUBLE, shape=()),
        ir.val("kernels", dtype=KINDS.FLOAT, shape=(1, "N", 1)),
    ]
    merged = write_merge(write, MergeInputs(*inputs), is_thing)
    values = [getattr(merged, field.name) for field in dataclasses.fields(merged)]
    kinds = (KINDS.INT32, KINDS.INT64, KINDS.FLOAT, KINDS.INT64, KINDS.INT64, KINDS.FLOAT)
    shapes = (("H", "W"), ("S",), ("S",), ("S",), ("S", 4), ("S", 1))
    return session(write, inputs, list(zip(values, kinds, shapes, strict=True)))


def run(merge, class_logits, mask_logits, sizes, thresholds):
    feeds = {
        "class_logits": class_logits[None],
        "mask_logits": mask_logits[None],
        "padded": np.array(sizes.padded),
        "image": np.array(sizes.image),
        "output": np.array(sizes.output),
        "object_mask_threshold": np.array(thresholds[0], np.float32),
        "overlap_threshold": np.array(thresholds[1], np.float64),
        "kernels": np.arange(len(class_logits), dtype=np.float32)[None, :, None],
    }
    return merge.run(None, feeds)
