"""Thresholds and input sizes are checked wherever they come from; the error is one line with the key and the file."""

import json
import math
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import yoso
from yoso.apps.cli import main
from yoso.errors import CheckpointError, ConfigError
from yoso.inference.exported import METADATA
from yoso.settings import InferenceConfig, Thresholds, config_from_json
from yoso.weights.config_file import read_config
from yoso.weights.load import load_model

SHARES = [math.nan, math.inf, -math.inf, -0.1, 1.0001, 10**9, True, None, "0.5", [0.5], {}]
SIZES = [[0, 0], [-3, -3], [800], [800, 1333, 3], [800.0, 1333], [True, True], "800x1333", 800, {}, [10**9, 10**9]]
WRONG = [("object_mask_threshold", value) for value in SHARES] + [("overlap_threshold", value) for value in SHARES]
WRONG += [("input_size", value) for value in SIZES]


def one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_wrong_values_are_refused(key, value):
    with pytest.raises(ConfigError) as caught:
        InferenceConfig(**{key: value})
    one_line(caught, f"{key} is ")
    with pytest.raises(ConfigError, match=key):
        config_from_json(InferenceConfig, {key: value})


@pytest.mark.parametrize("value", SHARES)
def test_thresholds_check_themselves(value):
    with pytest.raises(ConfigError, match=r"object_mask_threshold is .*; give a number from 0 to 1"):
        Thresholds(value, 0.5)
    with pytest.raises(ConfigError, match=r"overlap_threshold is .*; give a number from 0 to 1"):
        Thresholds(0.5, value)


def test_good_values_become_plain_python():
    config = InferenceConfig(np.float32(0.5), 1, [np.int64(512), 10**9])
    assert config == InferenceConfig(0.5, 1.0, (512, 10**9))
    kinds = [type(value) for value in (config.object_mask_threshold, config.overlap_threshold, *config.input_size)]
    assert kinds == [float, float, int, int]
    assert config.thresholds == Thresholds(0.5, 1.0)
    assert InferenceConfig(0, 0, None).input_size is None


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_a_section_that_is_no_object_is_refused(values):
    with pytest.raises(ConfigError, match="an object with keys and values is needed, not "):
        config_from_json(InferenceConfig, values)


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def put(folder, section, values):
    content = json.loads((folder / "config.json").read_text())
    content[section] = {**content[section], **values} if isinstance(values, dict) else values
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("key", "value"), [*WRONG, ("threshold", 0.5)])
def test_config_json(folder, key, value):
    put(folder, "inference", {key: value})
    with pytest.raises(CheckpointError) as caught:
        read_config(folder)
    one_line(caught, folder / "config.json", key)


@pytest.mark.parametrize("load", [load_model, lambda folder: yoso.load(folder, "cpu", "torch")])
def test_config_json_of_a_model_that_is_loaded(folder, load):
    put(folder, "inference", {"overlap_threshold": 2})
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    one_line(caught, folder / "config.json", "overlap_threshold is 2; give a number from 0 to 1")


@pytest.mark.parametrize("values", [{"theshold": 0.5}, {"input_size": [0, 0]}, [], None, 3])
@pytest.mark.parametrize("runtime", ["auto", "onnxruntime"])
def test_config_json_beside_an_exported_file(tmp_path, runtime, values):
    from yoso.weights.layout import bundled_models

    folder = shutil.copytree(bundled_models()["facades-mnv2"], tmp_path / "model")
    put(folder, "inference", values)
    with pytest.raises(CheckpointError) as caught:
        yoso.load(folder, "cpu", runtime)
    one_line(caught, folder / "config.json")


def described(path, changes):
    """Write an ONNX file of no use whose metadata is that of `yoso export`, but for some keys."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    document = {
        "form": "raw",
        "size": None,
        "categories": [{"id": 1, "name": "car", "isthing": 1}],
        "inference": {"object_mask_threshold": 0.5, "overlap_threshold": 0.5, "input_size": [64, 96]},
        "pixel_mean": [1.0, 2.0, 3.0],
        "pixel_std": [1.0, 2.0, 3.0],
        "about": {},
        "source_sha256": "",
    }
    helper.set_model_props(model, {METADATA: json.dumps(document | changes)})
    onnx.save(model, path)
    return path


def test_the_metadata_of_a_file_is_read(tmp_path):
    predictor = yoso.load(described(tmp_path / "x.onnx", {"size": [64, 96]}))
    assert predictor.inference == InferenceConfig(0.5, 0.5, (64, 96))
    assert predictor.engine.size == (64, 96)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        *[({"inference": {key: value}}, key) for key, value in WRONG[::4]],
        ({"inference": {"threshold": 0.5}}, "unknown key 'threshold'"),
        ({"inference": None}, "an object with keys and values is needed"),
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
