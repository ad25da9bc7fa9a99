"""From logits to results: panoptic, instance and semantic, in the arithmetic of the official implementation.

`panoptic`, `instances` and `semantic` take torch tensors; `instance_masks` and `semantic_classes` give the results of
the last two in less memory. Names are imported on first use, so that the NumPy part never loads torch.

The panoptic merge exists in several forms, which give the same segments, except where rounding decides (exact ties, and
mask logits near the largest float32):

- `panoptic` (`torch_merge`) keeps its result on the device of the logits; its two steps, `find_kept_queries` and
  `compete`, let a threshold search reuse the expensive one.
- `panoptic_arrays` (`device_merge`) brings the result to the host, and makes the host wait for a GPU only once; on a
  CPU it calls `panoptic`.
- `panoptic_numpy` (`numpy_merge`) needs no torch: it runs behind exported files that end in logits.
- `yoso.export.panoptic_graph` writes the merge as ONNX operators, so that a file needs no code behind it.
- `yoso.speed.official` repeats the order of steps of the official implementation, as the baseline of all timings.

`stitching` joins the results of overlapping tiles, whichever form they come from.

The first three share `segments` (which queries take part, which become segments) and the first two everything else but
the moment at which the host waits.
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
    from yoso.postprocess.torch_merge import KeptQueries, PanopticResult, compete, find_kept_queries, panoptic

__all__ = [
    "InstanceMask",
    "InstanceResult",
    "KeptQueries",
    "PanopticArrays",
    "PanopticResult",
    "Segment",
    "Sizes",
    "compete",
    "find_kept_queries",
    "instance_masks",
    "instances",
    "panoptic",
    "panoptic_arrays",
    "panoptic_numpy",
    "semantic",
    "semantic_classes",
]

_HOMES = {
    "InstanceMask": "torch_masks",
    "InstanceResult": "torch_masks",
    "KeptQueries": "torch_merge",
    "PanopticArrays": "numpy_merge",
    "PanopticResult": "torch_merge",
    "compete": "torch_merge",
    "find_kept_queries": "torch_merge",
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
