"""The names that other people's code uses, with their attributes and signatures: a change here is a change for them."""

import dataclasses
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

import yoso
from yoso.installation import versions

REQUIRED = inspect.Parameter.empty


def test_public_names_are_frozen():
    assert yoso.__all__ == [
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


@pytest.mark.parametrize("name", yoso.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(yoso)
    imported = {}
    exec(f"from yoso import {name}", imported)
    assert imported[name] is getattr(yoso, name)


def test_the_names_are_those_of_the_rooms():
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

    for thing in (
        stream,
        Tracker,
        to_supervision,
        render,
        YosoError,
        load,
        Predictor,
        ModelConfig,
        YOSO,
        InferenceConfig,
        Outputs,
    ):
        assert getattr(yoso, thing.__name__) is thing


def test_version_is_the_distribution_s():
    assert yoso.__version__ == versions(["yoso"])["yoso"]


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'yoso' has no attribute 'lode'"):
        yoso.lode  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'lode'"):
        from yoso import lode  # noqa: F401


def parameters_of(function):
    """The parameters of a function in order, with their defaults; keyword-only ones are marked by `*`."""
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    return {
        f"*{name}" if parameter.kind is keyword_only else name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    }


def fields_of(kind):
    """The fields of a dataclass in order, with their defaults."""
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(kind)
    }


def public_members(kind):
    return {name for name, value in vars(kind).items() if not name.startswith("_") and name != "T_destination"}


def test_load():
    assert parameters_of(yoso.load) == {
        "name_or_folder": REQUIRED,
        "device": "auto",
        "runtime": "auto",
        "precision": "fp32",
    }


def test_render():
    assert list(parameters_of(yoso.render))[:2] == ["image", "result"]


def test_predictor(tiny_model):
    assert parameters_of(yoso.Predictor.__call__) == {
        "image": REQUIRED,
        "input_size": None,
        "output_size": None,
        "object_mask_threshold": None,
        "overlap_threshold": None,
        "with_embeddings": False,
        "tiles": None,
    }
    assert parameters_of(yoso.Predictor) == {
        "engine": REQUIRED,
        "categories": REQUIRED,
        "inference": REQUIRED,
        "about": None,
    }
    assert public_members(yoso.Predictor) == {"device", "runtime", "has_embeddings", "network", "timed", "outputs"}
    assert parameters_of(yoso.Predictor.outputs) == {"image": REQUIRED, "input_size": None}
    assert list(parameters_of(yoso.Predictor.timed)) == ["image", "options"]
    assert vars(yoso.load(tiny_model, "cpu")).keys() == {"engine", "categories", "inference", "about"}


def test_a_result(tiny_model):
    result = yoso.load(tiny_model, "cpu")(np.zeros((60, 90, 3), np.uint8))
    assert list(result) == ["segmentation", "segments_info"]
    assert (result["segmentation"].shape, result["segmentation"].dtype) == ((60, 90), np.int32)
    assert list(result["segments_info"][0]) == ["id", "label_id", "label", "is_thing", "score", "area", "bbox"]


def test_inference_config():
    assert fields_of(yoso.InferenceConfig) == {
        "object_mask_threshold": 0.7,
        "overlap_threshold": 0.8,
        "input_size": (800, 1333),
    }
    assert yoso.InferenceConfig(0.25, 0.5, None) == yoso.InferenceConfig(
        object_mask_threshold=0.25, overlap_threshold=0.5, input_size=None
    )
    thresholds = yoso.InferenceConfig(0.25, 0.5).thresholds
    assert (thresholds.object_mask, thresholds.overlap) == (0.25, 0.5)


def test_model_config():
    assert fields_of(yoso.ModelConfig) == {
        "backbone": "resnet50.tv_in1k",
        "backbone_options": {},
        "backbone_norm": "frozen",
        "pixel_mean": (123.675, 116.28, 103.53),
        "pixel_std": (58.395, 57.12, 57.375),
        "pyramid_channels": None,
        "aggregation": "cfa",
        "aggregation_channels": 128,
        "position_frequencies": 0,
        "hidden_channels": 256,
        "attention": "sdca",
        "num_attention_blocks": 2,
        "num_stages": 2,
        "num_queries": 100,
        "kernel_size": 3,
        "branch_depth": 1,
        "num_heads": 8,
        "feedforward_channels": 2048,
        "temperature": 0.05,
    }


def test_outputs():
    assert yoso.Outputs._fields == ("class_logits", "mask_logits")


def test_yoso(tiny_model):
    assert parameters_of(yoso.YOSO) == {"config": REQUIRED, "num_classes": REQUIRED, "*pretrained_backbone": False}
    assert public_members(yoso.YOSO) == {"prepare", "features", "stages", "factored", "forward", "to_cfa"}
    network = yoso.load(tiny_model, "cpu", "torch").network
    assert isinstance(network.config, yoso.ModelConfig)
    assert network.num_classes == 3


def test_tracker():
    from yoso.tracking.settings import TrackerSettings

    assert parameters_of(yoso.Tracker) == {"settings": TrackerSettings()}
    assert public_members(yoso.Tracker) == {"reset", "update"}
    assert fields_of(TrackerSettings) == {
        "min_iou": 0.15,
        "confirm_frames": 2,
        "max_lost_frames": 30,
        "use_motion": True,
    }
    assert parameters_of(yoso.to_supervision) == {"result": REQUIRED}


def test_stream():
    assert parameters_of(yoso.stream) == {
        "source": REQUIRED,
        "model": "facades-mnv2",
        "track": False,
        "smooth": False,
        "selection": None,
        "options": REQUIRED,
    }


def test_errors():
    from yoso import errors

    kinds = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert kinds == {
        "YosoError",
        "ConfigError",
        "MissingPackageError",
        "DatasetError",
        "ImageError",
        "VideoError",
        "CheckpointError",
        "OutputError",
        "ExportError",
        "NonFiniteError",
        "OutOfMemoryError",
    }
    assert all(issubclass(getattr(errors, name), yoso.YosoError) for name in kinds)


SCRIPT = """
import sys, time
start = time.process_time()
import yoso
seconds = time.process_time() - start
import json
heavy = {"torch", "torchvision", "timm", "numpy", "scipy", "lightning", "PIL", "jaxtyping"}
print(json.dumps({"seconds": seconds, "loaded": sorted(heavy & set(sys.modules)), "error": yoso.YosoError.__name__}))
"""


def test_importing_does_no_work_and_prints_nothing():
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stderr == ""
    (line,) = run.stdout.splitlines()
    found = json.loads(line)
    assert found["loaded"] == []
    assert found["error"] == "YosoError"
    assert found["seconds"] < 0.25
