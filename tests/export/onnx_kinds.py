"""What an ONNX graph computes in."""

import onnx


def kinds_by_stage(model):
    """Return the types of the values that each stage computes, by the stage's name."""
    whole = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*whole.graph.value_info, *whole.graph.output]}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    found = {}
    for node in whole.graph.node:
        found.setdefault(node.name.split("/")[0], set()).update(
            kinds[name] for name in node.output if kinds.get(name) in floats
        )
    return found
