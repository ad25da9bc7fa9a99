"""From logits to results: panoptic, instance and semantic, in the arithmetic of the published code.

`panoptic`, `instances` and `semantic` take torch tensors; `panoptic_numpy` does the same merge with NumPy alone, for
machines that run an exported network without torch. Names are imported on first use, so that the NumPy part never
loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from yoso.postprocess.segments import Segment, Sizes

if TYPE_CHECKING:
    from yoso.postprocess.numpy_merge import PanopticArrays, panoptic_numpy
    from yoso.postprocess.torch_masks import InstanceResult, instances, semantic
    from yoso.postprocess.torch_merge import PanopticResult, panoptic

__all__ = [
    "InstanceResult",
    "PanopticArrays",
    "PanopticResult",
    "Segment",
    "Sizes",
    "instances",
    "panoptic",
    "panoptic_numpy",
    "semantic",
]

_HOMES = {
    "InstanceResult": "torch_masks",
    "PanopticArrays": "numpy_merge",
    "PanopticResult": "torch_merge",
    "instances": "torch_masks",
    "panoptic": "torch_merge",
    "panoptic_numpy": "numpy_merge",
    "semantic": "torch_masks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
