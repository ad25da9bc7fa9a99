"""From logits to results: panoptic, instance and semantic, in the arithmetic of the published code.

`panoptic`, `instances` and `semantic` take torch tensors; `instance_masks` and `semantic_classes` give the last two's
results with less memory, and `candidates` and `compete` are the first two steps of `panoptic`. `panoptic_arrays` is
`panoptic` with its result on the host, for which it waits for a GPU once. `panoptic_numpy` does the same merge with
NumPy alone, for machines that run an exported network without torch. Names are imported on first use, so that the
NumPy part never loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from yoso.installation import optional_packages
from yoso.postprocess.segments import Segment, Sizes

if TYPE_CHECKING:
    from yoso.postprocess.device_merge import panoptic_arrays
    from yoso.postprocess.numpy_merge import PanopticArrays, panoptic_numpy
    from yoso.postprocess.torch_masks import (
        InstanceMask,
        InstanceResult,
        instance_masks,
        instances,
        semantic,
        semantic_classes,
    )
    from yoso.postprocess.torch_merge import Candidates, PanopticResult, candidates, compete, panoptic

__all__ = [
    "Candidates",
    "InstanceMask",
    "InstanceResult",
    "PanopticArrays",
    "PanopticResult",
    "Segment",
    "Sizes",
    "candidates",
    "compete",
    "instance_masks",
    "instances",
    "panoptic",
    "panoptic_arrays",
    "panoptic_numpy",
    "semantic",
    "semantic_classes",
]

_HOMES = {
    "Candidates": "torch_merge",
    "InstanceMask": "torch_masks",
    "InstanceResult": "torch_masks",
    "PanopticArrays": "numpy_merge",
    "PanopticResult": "torch_merge",
    "candidates": "torch_merge",
    "compete": "torch_merge",
    "instance_masks": "torch_masks",
    "instances": "torch_masks",
    "panoptic": "torch_merge",
    "panoptic_arrays": "device_merge",
    "panoptic_numpy": "numpy_merge",
    "semantic": "torch_masks",
    "semantic_classes": "torch_masks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with optional_packages(f"{__name__}.{name}"):
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
