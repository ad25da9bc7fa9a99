"""YOSO: real-time panoptic segmentation, from images to segments.

    import yoso

    predictor = yoso.load("facades-mnv2")
    result = predictor("street.jpg")
    picture = yoso.render("street.jpg", result)

The names below are imported on first use, so importing the package is fast. `YOSO` and `Outputs` need PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yoso.drawing.rendering import render
    from yoso.errors import YosoError
    from yoso.inference.loading import load
    from yoso.inference.predictor import Predictor
    from yoso.inference.results import to_supervision
    from yoso.model.config import ModelConfig
    from yoso.model.yoso import YOSO
    from yoso.settings import InferenceConfig
    from yoso.structures import Outputs
    from yoso.tracking.tracker import Tracker
    from yoso.video.stream import stream

    __version__: str

__all__ = [
    "YOSO",
    "InferenceConfig",
    "ModelConfig",
    "Outputs",
    "Predictor",
    "Tracker",
    "YosoError",
    "__version__",
    "load",
    "render",
    "stream",
    "to_supervision",
]

_HOMES = {
    "InferenceConfig": "yoso.settings",
    "ModelConfig": "yoso.model.config",
    "Outputs": "yoso.structures",
    "Predictor": "yoso.inference.predictor",
    "Tracker": "yoso.tracking.tracker",
    "YOSO": "yoso.model.yoso",
    "YosoError": "yoso.errors",
    "load": "yoso.inference.loading",
    "render": "yoso.drawing.rendering",
    "stream": "yoso.video.stream",
    "to_supervision": "yoso.inference.results",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = import_module("yoso.installation").installed_version()
    elif name in _HOMES:
        with import_module("yoso.installation").optional_packages(f"yoso.{name}"):
            value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
