"""`yoso export` writes a file where `yoso predict` looks for it, or none if the file differs from the network."""

import copy
import json
import shutil
import sys

import onnx
import pytest
import torch
from fake_tensorrt import fake_tensorrt
from onnx_kinds import kinds_by_stage

import yoso
from yoso.apps.cli import main
from yoso.errors import CheckpointError, ExportError
from yoso.export.capture import capture
from yoso.export.check import drawn_images
from yoso.export.formats import ExportTarget, export

pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("ignore")]  # exporters warn of their own insides

IMAGES = [*drawn_images((96, 128)), *drawn_images((150, 90))]


def test_the_default_place_is_where_predict_looks(small_folder, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(small_folder, folder)
    assert main(["export", "--model", str(folder), "--format", "onnx"]) == 0
    assert "compared with PyTorch on 2 drawn images" in capsys.readouterr().out
    assert yoso.load(folder, "cpu").runtime == "onnxruntime"
    assert yoso.load(folder, "cpu", runtime="torch").runtime == "torch"
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="other weights"):
        yoso.load(folder, "cpu", runtime="onnxruntime")


def test_a_file_that_differs_is_not_kept(small_model, tmp_path, monkeypatch):
    from yoso.export import onnx_file

    real = onnx_file.write_normalising
    monkeypatch.setattr(
        onnx_file, "write_normalising", lambda write, images, mean, std: real(write, images, mean, (20, 90, 40))
    )
    path = tmp_path / "wrong.onnx"
    with pytest.raises(ExportError, match="not the original"):
        export(small_model, ExportTarget("onnx", path, "raw"), IMAGES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["--format", "onnx"], "onnx_file"),
        (["--format", "torch"], "torch_file"),
    ],
)
def test_a_command_whose_file_differs_fails_and_leaves_nothing(
    small_folder, tmp_path, monkeypatch, capsys, words, module
):
    """The file holds another network, whose first masks are inverted."""

    def tampered(network, *arguments, **options):
        other = copy.deepcopy(network)
        with torch.no_grad():
            other.decoder.proposals.weight *= -1
        return capture(other, *arguments, **options)

    monkeypatch.setattr(f"yoso.export.{module}.capture", tampered)
    path = tmp_path / {"onnx": "x.onnx", "torch": "x.pt2"}[words[1]]
    assert main(["export", "--model", str(small_folder), "--output", str(path), *words]) == 2
    captured = capsys.readouterr()
    assert "the exported network is not the original" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["license", "licence"])
def test_a_model_without_a_licence_gives_a_warning(small_folder, tmp_path, monkeypatch, capsys, key):
    folder = tmp_path / "model"
    shutil.copytree(small_folder, folder)
    monkeypatch.setattr("yoso.export.formats.export", lambda model, target, _: target.path.write_bytes(b"x") and None)
    config = json.loads((folder / "config.json").read_text())
    for about, warned in (({}, True), ({"data": "mine"}, True), ({key: ""}, True), ({key: "MIT"}, False)):
        (folder / "config.json").write_text(json.dumps(config | {"about": about}))
        assert main(["export", "--model", str(folder), "--format", "onnx", "--json"]) == 0
        error = capsys.readouterr().err
        assert error.count("\n") == warned, about
        if warned:
            assert error.startswith(f"warning: model {folder} names no licence")
            assert f"set about.license in {folder / 'config.json'}" in error


def test_tensorrt_gets_what_was_compared(small_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("11.0.1"))
    engine = tmp_path / "half.engine"
    words = ["export", "--model", small_folder, "--format", "tensorrt", "--fixed-size", "64x96", "--precision", "fp16"]
    assert main([str(word) for word in [*words, "--output", engine]]) == 0
    said = capsys.readouterr().out
    assert "compared with PyTorch on 2 drawn images" in said
    assert "the ONNX file that the engine was built from; the engine itself was not run" in said
    kinds = kinds_by_stage(onnx.load_from_string(engine.read_bytes().removeprefix(b"engine")))
    assert kinds["backbone"] == {onnx.TensorProto.FLOAT16}
    assert kinds["decoder"] == {onnx.TensorProto.FLOAT}
