"""Exports and files that are refused: one line, exit status 2, nothing half-written."""

import sys

import numpy as np
import onnx
import pytest
from fake_tensorrt import fake_tensorrt
from onnx import TensorProto, helper

import yoso
from yoso.apps.cli import main
from yoso.errors import CheckpointError, ConfigError, ExportError
from yoso.export.tensorrt_file import build_engine


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "onxx"], "Did you mean 'onnx'?"),
        (["--format", "onnx", "--form", "row"], "Did you mean 'raw'?"),
        (["--format", "onnx", "--precision", "bf16"], "onnx files are written in fp32 or int8 or fp16; give one of"),
        (["--format", "onnx", "--precision", "fp16"], "give --form raw"),
        (["--format", "torch", "--precision", "int8"], "torch files are written in fp32; give that"),
        (
            ["--format", "torch", "--precision", "fp16"],
            "torch files are written in fp32; give that, or another format",
        ),
        (["--format", "openvino", "--precision", "fp16"], "openvino files are written in fp32; give that"),
        (["--format", "tensorrt", "--precision", "int8"], "tensorrt files are written in fp32 or fp16"),
        (["--format", "onnx", "--limit", "3"], "--limit is for --precision int8"),
        (["--format", "onnx", "--precision", "int8", "--data", "x", "--limit", "0"], "at least one image"),
        (["--format", "onnx", "--fixed-size", "20x64"], "at least 64 pixels"),
        (["--format", "onnx", "--fixed-size", "64"], "--fixed-size 64: give HEIGHTxWIDTH in pixels"),
        (["--format", "onnx", "--fixed-size", "0x64"], "give HEIGHTxWIDTH in pixels"),
        (["--format", "onnx", "--size", "64"], "expected 2 arguments"),
        (["--format", "onnx", "--fixed-size", "64x64", "--dynamic"], "not allowed with argument"),
        (["--format", "openvino", "--fixed-size", "100x96"], "multiples of 32"),
        (["--format", "tensorrt"], "give --fixed-size HEIGHTxWIDTH"),
        (["--format", "openvino", "--form", "panoptic"], "openvino files do not have it"),
        (["--format", "onnx", "--precision", "int8"], "give --data DATASET"),
        (["--format", "onnx", "--precision", "int8", "--data", "x", "--form", "raw"], "give --form panoptic"),
        (["--format", "onnx", "--output", "model.pt"], "ends in .onnx"),
        (["--format", "onnx", "--form", "raw"], "does not look for such a file in a model folder; give --output FILE"),
        (["--format", "onnx", "--photos", "nothing.jpg"], "nothing.jpg: no such file"),
        ([], "the following arguments are required: --format"),
    ],
)
def test_arguments(tiny_model, capsys, words, said):
    assert main(["export", "--model", str(tiny_model), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_bundled_model_is_not_changed(capsys):
    assert main(["export", "--model", "facades-mnv2", "--format", "onnx"]) == 2
    assert "--output FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [
        ("onnx_ir", ["--format", "onnx"], "yoso-panoptic[export]"),
        ("openvino", ["--format", "openvino"], "yoso-panoptic[openvino]"),
        (
            "tensorrt",
            ["--format", "tensorrt", "--fixed-size", "64x64", "--output", "x.engine"],
            "yoso-panoptic[tensorrt]",
        ),
    ],
)
def test_a_missing_package_is_named(tiny_model, tmp_path, monkeypatch, capsys, module, words, extra):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--model", str(tiny_model), *words]) == 2
    assert extra in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "name", "command"),
    [
        ("onnxruntime", "x.onnx", "pip install yoso-panoptic"),
        ("openvino", "x.xml", 'pip install "yoso-panoptic[openvino]"'),
    ],
)
def test_a_missing_runtime_is_named(tmp_path, monkeypatch, module, name, command):
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as caught:
        yoso.load(tmp_path / name)
    assert str(caught.value) == f"{module} is not installed; run: {command}"


def foreign(path):
    """Write an ONNX file that `yoso export` did not make."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_files_that_are_not_ours(tmp_path):
    with pytest.raises(CheckpointError, match="not one that `yoso export` made"):
        yoso.load(foreign(tmp_path / "foreign.onnx"))
    (tmp_path / "broken.onnx").write_bytes(b"not protobuf at all")
    with pytest.raises(CheckpointError, match="cannot load it"):
        yoso.load(tmp_path / "broken.onnx")
    (tmp_path / "broken.xml").write_text("<net>")
    with pytest.raises(CheckpointError, match="not an OpenVINO file"):
        yoso.load(tmp_path / "broken.xml")
    for name in ("missing.onnx", "missing.xml"):
        with pytest.raises(CheckpointError, match="no such file"):
            yoso.load(tmp_path / name)


def test_predict_says_so_in_one_line(tmp_path, capsys):
    photo = tmp_path / "photo.png"
    from PIL import Image

    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photo)
    path = foreign(tmp_path / "foreign.onnx")
    assert main(["predict", str(photo), "--model", str(path), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "not one that `yoso export` made" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unknown_runtimes_devices_and_precisions(tiny_model, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'onnxruntime'"):
        yoso.load(tiny_model, runtime="onnxruntim")
    with pytest.raises(ConfigError, match=r"holds no model\.onnx; make it: yoso export"):
        yoso.load(tiny_model, runtime="onnxruntime")
    with pytest.raises(ConfigError, match="is for onnxruntime, not for torch"):
        yoso.load(foreign(tmp_path / "x.onnx"), runtime="torch")
    with pytest.raises(ConfigError, match="cannot use it on this machine"):
        yoso.load(tmp_path / "x.onnx", device="tpu")
    with pytest.raises(ConfigError, match="bf16 needs a CUDA device"):
        yoso.load(tiny_model, "cpu", precision="bf16")
    with pytest.raises(ConfigError, match="precision 'fp8': give fp32 or bf16"):
        yoso.load(tiny_model, "cpu", precision="fp8")


@pytest.mark.parametrize("version", ["10.1.0", "10.16.1", "11.0.1"])
def test_an_engine_has_the_types_of_the_file(tmp_path, monkeypatch, version):
    source, engine = tmp_path / "x.onnx", tmp_path / "x.engine"
    source.write_bytes(b"onnx")
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(version))
    build_engine(source, engine)
    assert engine.read_bytes() == b"engineonnx"


def test_an_old_tensorrt(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("9.2.0"))
    with pytest.raises(ConfigError, match=r"10\.1 or newer"):
        build_engine(tmp_path / "x.onnx", tmp_path / "x.engine")


@pytest.mark.parametrize(
    ("failing", "said"), [({"parses": False}, "unsupported DeformConv"), ({"builds": False}, "could not build")]
)
def test_tensorrt_refuses(tmp_path, monkeypatch, failing, said):
    (tmp_path / "x.onnx").write_bytes(b"onnx")
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("10.3.0", **failing))
    with pytest.raises(ExportError, match=said):
        build_engine(tmp_path / "x.onnx", tmp_path / "x.engine")
