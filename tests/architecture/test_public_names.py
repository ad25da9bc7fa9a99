"""The names that other people's code calls: a change here is a change for them."""

import inspect
import json
import subprocess
import sys

import pytest

import yoso


def test_public_names_are_frozen():
    assert yoso.__all__ == [
        "YOSO",
        "InferenceConfig",
        "ModelConfig",
        "Outputs",
        "Predictor",
        "YosoError",
        "__version__",
        "load",
        "render",
    ]


@pytest.mark.parametrize("name", yoso.__all__)
def test_every_public_name_is_there(name):
    assert getattr(yoso, name) is getattr(yoso, name)
    assert name in dir(yoso)


def test_the_names_are_those_of_the_rooms():
    from yoso.inference.loading import load
    from yoso.inference.predictor import Predictor
    from yoso.model.yoso import YOSO

    assert yoso.load is load
    assert yoso.Predictor is Predictor
    assert yoso.YOSO is YOSO
    assert issubclass(yoso.YosoError, Exception)


def test_version_is_the_distribution_s():
    from importlib.metadata import version

    assert yoso.__version__ == version("yoso-panoptic")


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'yoso' has no attribute 'lode'"):
        yoso.lode  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'lode'"):
        from yoso import lode  # noqa: F401


def parameters_of(function):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def test_signatures_are_frozen():
    required = inspect.Parameter.empty
    load = {"name_or_folder": required, "device": "auto", "runtime": "auto", "precision": "fp32"}
    assert parameters_of(yoso.load) == load
    call = parameters_of(yoso.Predictor.__call__)
    assert call == {
        "self": required,
        "image": required,
        "input_size": None,
        "output_size": None,
        "object_mask_threshold": None,
        "overlap_threshold": None,
    }
    assert list(parameters_of(yoso.render))[:2] == ["image", "result"]
    assert yoso.Outputs._fields == ("class_logits", "mask_logits")


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
