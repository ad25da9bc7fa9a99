"""Thresholds and input sizes are checked wherever they come from; the error is one line with the key and the file."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import yoso
from yoso.apps.cli import main
from yoso.errors import CheckpointError, ConfigError
from yoso.inference.exported import METADATA
from yoso.settings import InferenceConfig, Thresholds, checked_setting
from yoso.weights.config_file import read_config
from yoso.weights.layout import bundled_models
from yoso.weights.load import load_model

BUNDLED = bundled_models()["facades-mnv2"]
THRESHOLDS = ("object_mask_threshold", "overlap_threshold")
SHARES = [math.nan, math.inf, -math.inf, -0.1, 1.0001]
SIZES = [(0, 0), (-3, -3), (10**9, 10**9)]
WRONG_VALUES = [(key, value) for key in THRESHOLDS for value in SHARES] + [("input_size", size) for size in SIZES]

WRONG_TYPES = [(key, value) for key in THRESHOLDS for value in (10**9, True, None, "0.5", [0.5], {})]
WRONG_TYPES += [
    ("input_size", value) for value in ([800], [800, 1333, 3], [800.0, 1333], [True, True], "800x1333", 800, {})
]
WRONG_SECTIONS = [None, [], "text", 3]
WRONG_MODELS = [("num_queries", "many"), ("num_queries", 2.5), ("num_queries", True), ("position_frequencies", None)]
WRONG_MODELS += [("pixel_mean", [1.0]), ("pixel_mean", "0"), ("pyramid_channels", [8, 8]), ("backbone", 3)]
WRONG_MODELS += [("backbone_options", []), ("attention", "sdcb"), ("temperature", None), ("pixel_std", [1, 1, None])]

DOCUMENT = {
    "form": "raw",
    "size": None,
    "categories": [{"id": 1, "name": "car", "isthing": 1}],
    "inference": {"object_mask_threshold": 0.5, "overlap_threshold": 0.5, "input_size": [64, 96]},
    "pixel_mean": [1.0, 2.0, 3.0],
    "pixel_std": [1.0, 2.0, 3.0],
    "about": {},
    "source_sha256": "",
}
"""What `yoso export` writes into a file."""


def one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize(("key", "value"), WRONG_VALUES)
def test_wrong_values_are_refused(key, value):
    with pytest.raises(ConfigError) as caught:
        InferenceConfig(**{key: value})
    one_line(caught, f"{key} is ")


@pytest.mark.parametrize("value", SHARES)
def test_thresholds_check_themselves(value):
    with pytest.raises(ConfigError, match=r"object_mask_threshold is .*; give a number from 0 to 1"):
        Thresholds(value, 0.5)
    with pytest.raises(ConfigError, match=r"overlap_threshold is .*; give a number from 0 to 1"):
        Thresholds(0.5, value)


def test_good_values_become_plain_python():
    assert type(checked_setting("overlap_threshold", np.float32(0.5))) is float
    assert type(checked_setting("overlap_threshold", 1)) is float
    size = checked_setting("input_size", [np.int64(512), 10**9])
    assert (size, type(size), type(size[0])) == ((512, 10**9), tuple, int)
    assert InferenceConfig(0.5, 1.0, (512, 10**9)).thresholds == Thresholds(0.5, 1.0)
    assert InferenceConfig(0.0, 0.0, None).input_size is None


SCRIPT = """
import json, sys
from pathlib import Path
from yoso.errors import YosoError
from yoso.inference.exported import Description
from yoso.settings import InferenceConfig
from yoso.weights.config_file import read_config

types, sections, models, document, folder = json.load(sys.stdin)
config = Path(folder, "config.json")
good = json.loads(config.read_text())

def put(inference, **model):
    config.write_text(json.dumps(good | {"inference": inference, "model": good["model"] | model}))

def message(work):
    try:
        work()
    except YosoError as error:
        return str(error)

def from_folder(inference, **model):
    put(inference, **model)
    return message(lambda: read_config(folder))

def from_file(inference):
    return message(lambda: Description.from_json(json.dumps(document | {"inference": inference}), "x.onnx"))

print(json.dumps({
    "direct": [message(lambda: InferenceConfig(**{key: value})) for key, value in types],
    "folder": [from_folder({key: value}) for key, value in types],
    "file": [from_file({key: value}) for key, value in types],
    "folder_section": [from_folder(section) for section in sections],
    "file_section": [from_file(section) for section in sections],
    "model": [from_folder({}, **{key: value}) for key, value in models],
}))
"""
"""Runs without the shape checker, which refuses wrong types before the package sees them."""


def test_wrong_types_are_refused(tmp_path):
    folder = shutil.copytree(BUNDLED, tmp_path / "model")
    given = json.dumps([WRONG_TYPES, WRONG_SECTIONS, WRONG_MODELS, DOCUMENT, str(folder)])
    done = subprocess.run([sys.executable, "-c", SCRIPT], input=given, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    for (key, value), direct, of_folder, of_file in zip(
        WRONG_TYPES, found["direct"], found["folder"], found["file"], strict=True
    ):
        expected = "a number from 0 to 1" if key in THRESHOLDS else "(shorter, longest) in whole pixels"
        assert direct == f"{key} is {value!r}; give {expected}"
        for message, place in ((of_folder, folder / "config.json"), (of_file, "x.onnx: its metadata")):
            assert message.startswith(f"{place}: {key} is ")
            assert message.endswith(f"; give {expected}")
    for message in (*found["folder_section"], *found["file_section"]):
        assert "an object with keys and values is needed, not " in message
    for (key, _), message in zip(WRONG_MODELS, found["model"], strict=True):
        assert message.startswith(f"{folder / 'config.json'}: model.{key} is ")


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def put(folder, values):
    content = json.loads((folder / "config.json").read_text())
    content["inference"] |= values
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("key", "value"), [*WRONG_VALUES, ("threshold", 0.5)])
def test_config_json(folder, key, value):
    put(folder, {key: value})
    with pytest.raises(CheckpointError) as caught:
        read_config(folder)
    one_line(caught, folder / "config.json", key)


@pytest.mark.parametrize("load", [load_model, lambda folder: yoso.load(folder, "cpu", "torch")], ids=["model", "load"])
def test_config_json_of_a_model_that_is_loaded(folder, load):
    put(folder, {"overlap_threshold": 1.5})
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    one_line(caught, folder / "config.json", "overlap_threshold is 1.5; give a number from 0 to 1")


@pytest.mark.parametrize("values", [{"theshold": 0.5}, {"input_size": [0, 0]}])
@pytest.mark.parametrize("runtime", ["auto", "onnxruntime"])
def test_config_json_beside_an_exported_file(tmp_path, runtime, values):
    folder = shutil.copytree(BUNDLED, tmp_path / "model")
    put(folder, values)
    with pytest.raises(CheckpointError) as caught:
        yoso.load(folder, "cpu", runtime)
    one_line(caught, folder / "config.json", next(iter(values)))


def described(path, changes):
    """Write an ONNX file of no use whose metadata is that of `yoso export`, except for some keys."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {METADATA: json.dumps(DOCUMENT | changes)})
    onnx.save(model, path)
    return path


def test_the_metadata_of_a_file_is_read(tmp_path):
    predictor = yoso.load(described(tmp_path / "x.onnx", {"size": [64, 96]}))
    assert predictor.inference == InferenceConfig(0.5, 0.5, (64, 96))
    assert predictor.engine.size == (64, 96)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"inference": {"overlap_threshold": 1.5}}, "overlap_threshold is 1.5"),
        ({"inference": {"input_size": [0, 64]}}, "input_size is (0, 64)"),
        ({"inference": {"threshold": 0.5}}, "unknown key 'threshold'"),
        ({"size": [0, 64]}, "size is [0, 64]"),
        ({"size": "64x64"}, "size is '64x64'"),
        ({"form": "panoptik"}, "form is 'panoptik'"),
        ({"categories": 3}, "categories"),
        ({"pixel_mean": [1.0, 2.0]}, "pixel_mean is [1.0, 2.0]"),
        ({"pixel_mean": [math.nan, 1.0, 2.0]}, "pixel_mean is [nan"),
        ({"about": 3}, "metadata"),
    ],
)
def test_the_metadata_of_a_file_is_checked(tmp_path, changes, part):
    path = described(tmp_path / "x.onnx", changes)
    with pytest.raises(CheckpointError) as caught:
        yoso.load(path)
    one_line(caught, path, part)


@pytest.mark.parametrize(
    ("key", "value"), [("overlap_threshold", "1.5"), ("overlap_threshold", "nan"), ("input_size", "[0,0]")]
)
def test_recipes(capsys, tiny_dataset, tmp_path, key, value):
    words = ["train", "small", "--data", str(tiny_dataset), "--output", str(tmp_path / "run")]
    assert main([*words, f"--inference.{key}", value]) == 2
    error = capsys.readouterr().err
    assert key in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
