"""A file in 8 bits works, and the command reports the loss."""

import contextlib
import io
import json
import shutil

import numpy as np
import onnx
import pytest

import yoso
from yoso.apps.cli import main
from yoso.apps.export import _sentences as sentences
from yoso.export.check import drawn_images

pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("ignore")]  # exporters warn of their own insides


@pytest.fixture(scope="module")
def eight_bits(small_folder, tiny_dataset, tmp_path_factory):
    """A file in 8 bits, and the output of the command."""
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    words = ["export", "--model", small_folder, "--format", "onnx", "--precision", "int8", "--data", tiny_dataset]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([str(word) for word in [*words, "--output", path, "--limit", 3, "--json"]]) == 0
    return path, json.loads(printed.getvalue())


def test_the_loss_is_measured(eight_bits, small_folder, tiny_dataset, tmp_path, capsys):
    path, report = eight_bits
    assert report["experimental"]
    assert report["pq"]["images"] == 3
    for model, key in ((small_folder, "before"), (path, "after")):
        words = ["eval", "--model", model, "--runtime", "auto", "--data", tiny_dataset, "--limit", 3, "--json"]
        assert main([str(word) for word in [*words, "--device", "cpu", "--output", tmp_path / key]]) == 0
        assert json.loads(capsys.readouterr().out)["all"]["pq"] == pytest.approx(report["pq"][key], abs=1e-9)


EVAL = "to measure the loss on: yoso eval --model FILE --data DATASET"


@pytest.mark.parametrize(
    ("pq", "said"),
    [
        (None, f"the data set has no val {EVAL}"),
        ({"images": 9, "before": None, "after": None}, f"the data set has no segment in val {EVAL}"),
        ({"images": 9, "before": 0.276, "after": 0.267}, "PQ on 9 images of val 27.6 before, 26.7 after"),
        (
            {"images": 9, "before": 0.276, "after": 0.238},
            "PQ on 9 images of val 27.6 before, 23.8 after; the loss is above 1, so prefer fp32 where accuracy matters",
        ),
    ],
)
def test_the_last_line_on_8_bits(pq, said):
    report = {"file": "x.onnx", "megabytes": 1.0, "format": "onnx", "precision": "int8", "parity": None, "pq": pq}
    assert sentences(report).splitlines()[-1] == f"experimental: 8 bits change the results; {said}"


def test_the_help_says_that_8_bits_are_experimental(capsys):
    assert main(["export", "--help"]) == 0
    assert "int8, which is experimental" in " ".join(capsys.readouterr().out.split())


def test_8_bits_of_other_classes(small_folder, tiny_dataset, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(small_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["categories"][0]["name"] = "circle"
    (folder / "config.json").write_text(json.dumps(config))
    words = ["export", "--model", folder, "--format", "onnx", "--precision", "int8", "--data", tiny_dataset]
    assert main([str(word) for word in [*words, "--output", tmp_path / "int8.onnx"]]) == 2
    assert "different classes" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_8_bits(eight_bits, small_folder):
    path, _ = eight_bits
    model = onnx.load(path)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") > 10
    deformable = [node for node in model.graph.node if node.op_type == "DeformConv"]
    assert len(deformable) == 3
    predictor = yoso.load(path)
    whole = yoso.load(small_folder, "cpu", runtime="torch")
    image = drawn_images((96, 128))[0]
    ours, expected = predictor(image), whole(image)
    # Not equal, but a network whose convolutions were wrong would agree on nothing.
    assert np.mean(ours["segmentation"] == expected["segmentation"]) > 0.5
