"""`yoso info` describes models, folders, exported files and recipes without running them."""

import json
import shutil

import pytest
import torch

from small_networks import small_config
from yoso.apps.cli import main
from yoso.model.yoso import YOSO
from yoso.speed.facts import network_facts
from yoso.speed.live_memory import LiveBytes, activation_bytes
from yoso.weights.layout import bundled_models

BUNDLED = bundled_models()["facades-mnv2"]


def facts(capsys, *words):
    assert main(["info", "--model", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_bundled_model(capsys):
    found = facts(capsys, "facades-mnv2")
    assert (found["kind"], found["license"]) == ("bundled", "MIT")
    assert found["classes"]["things"] == ["window", "balcony-fence", "car", "shop"]
    assert found["inference"]["object_mask_threshold"] == 0.7
    network = found["network"]
    assert network["parameters"]["all"] == sum(network["parameters"][s] for s in ("backbone", "aggregator", "decoder"))
    assert network["flops"]["deployed"]["network"] < network["flops"]["trained"]["network"]
    assert network["size"] == [512, 800]
    assert main(["info", "--model", "facades_mnv2", "--size", "64x96"]) == 0


def test_the_text(capsys):
    assert main(["info", "--model", "facades-mnv2", "--size", "320x320"]) == 0
    out = capsys.readouterr().out
    for words in (
        "facades-mnv2: bundled",
        "parameters: 5.",
        "GFLOPs at 320x320, deployed: ",
        "things: window",
        "license: MIT",
    ):
        assert words in out
    assert "memory at 320x320, float32: weights 2" in out


def test_an_exported_file_in_its_model_folder_and_alone(capsys, tmp_path):
    beside = facts(capsys, BUNDLED / "model.onnx")
    assert (beside["kind"], beside["runtime"], beside["precision"]) == ("file", "onnxruntime", "fp32")
    assert beside["network"]["parameters"]["all"] > 1e6
    shutil.copyfile(BUNDLED / "model.onnx", tmp_path / "alone.onnx")
    alone = facts(capsys, tmp_path / "alone.onnx")
    assert alone["network"] is None
    assert alone["classes"] == beside["classes"]
    assert main(["info", "--model", str(tmp_path / "alone.onnx")]) == 0
    assert "not in the file; give the model folder that it was exported from" in capsys.readouterr().out


def test_a_model_folder(capsys, tiny_model):
    found = facts(capsys, tiny_model, "--size", "64x64")
    assert (found["kind"], found["about"]["data"]) == ("folder", "none, random weights")
    assert len(found["sha256"]) == 64


@pytest.mark.parametrize(("name", "things"), [("small", None), ("cityscapes_r50", 8)])
def test_a_recipe(name, things, capsys):
    found = facts(capsys, name, "--size", "64x64")
    assert found["kind"] == "recipe"
    assert things == (None if found["classes"] is None else len(found["classes"]["things"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["facads-mnv2"], "error: no model, file or recipe 'facads-mnv2'. Did you mean 'facades-mnv2'?"),
        (["small", "--size", "8"], "error: --size 8: give HEIGHTxWIDTH in pixels, such as 512x800"),
        (["small", "--size", "8x8"], "error: --size 8x8: is too small; both sides must be at least 64 pixels"),
    ],
)
def test_mistakes(words, message, capsys):
    assert main(["info", "--model", *words]) == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_live_bytes_forget_what_is_gone():
    with LiveBytes() as live:
        a = torch.zeros(1000, device="meta")
        b = a + 1
        del a
        c = b * 2
        c.view(10, 100)
        del b, c
    assert (live.peak, live.now) == (8000, 0)


def test_memory_grows_with_the_image():
    with torch.device("meta"):
        network = YOSO(small_config(), 5).eval()
    small, large = (activation_bytes(network, (side, side)) for side in (64, 128))
    assert 3 * small < large < 5 * small
    assert network_facts(small_config(), 5, (64, 64))["weight_bytes"] > 4 * 1e5 / 10
