"""The table of export formats: a row is all that a format needs, and a target is checked by its row."""

import json
import warnings
from pathlib import Path

import pytest

from yoso.apps.cli import main
from yoso.errors import ConfigError
from yoso.export.check import Parity
from yoso.export.formats import FORMATS, ExportFormat, ExportTarget
from yoso.weights.layout import bundled_models

NAME = "facades-mnv2"


def write_stamp(model, target, images):
    """Write a file of the format below."""
    target.path.write_text(json.dumps([target.form, target.precision, target.size, len(images), len(model.categories)]))
    return Parity(len(images), 0.0, 0.0, 0.0, None, 0)


@pytest.fixture
def stamp(monkeypatch):
    """One row more in the table."""
    row = ExportFormat("stamp", ".stamp", None, {"raw": ("fp32", "int4")}, f"{__name__}:write_stamp", divisor=32)
    monkeypatch.setitem(FORMATS, "stamp", row)
    return row


def test_one_row_makes_a_format(stamp, tiny_model, tmp_path, capsys):
    path = tmp_path / "x.stamp"
    words = ["export", "--model", str(tiny_model), "--format", "stamp", "--output", str(path)]
    assert main([*words, "--precision", "int4", "--fixed-size", "64x96"]) == 0
    assert json.loads(path.read_text()) == ["raw", "int4", [64, 96], 2, 3]
    assert f"{path} (0.0 MB)" in capsys.readouterr().out
    assert main([*words, "--precision", "int8"]) == 2
    assert "stamp files are written in fp32 or int4; give one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("onxx", "x.onnx"), r"format 'onxx' is unknown\. Did you mean 'onnx'\?"),
        (("onnx", "x.onnx", "row"), r"form 'row': onnx files do not have it\. Did you mean 'raw'\?"),
        (
            ("onnx", "x.onnx", "raw", None, "int8"),
            "precision int8 is not for onnx files of form raw; give --form panoptic",
        ),
        (
            ("onnx", "x.onnx", "", None, "fp16"),
            "precision fp16 is not for onnx files of form panoptic; give --form raw",
        ),
        (("torch", "x.pt2", "", (64, 90)), "fixed size 64x90: both sides must be multiples of 32 in torch files"),
        (("onnx", "x.onnx", "", (63, 90)), "fixed size 63x90: both sides must be at least 64 pixels"),
        (("tensorrt", "x.engine"), "tensorrt files take images of one size only; give --fixed-size HEIGHTxWIDTH"),
        (("web", "site", "", (64, 96)), "web files take images of any size; leave --fixed-size out"),
        (("openvino", "x.bin"), r"x\.bin: the name of a file in format openvino ends in \.xml"),
    ],
)
def test_a_target_is_checked(arguments, said):
    name, path, *rest = arguments
    with pytest.raises(ConfigError, match=said):
        ExportTarget(name, Path(path), *rest)


def test_the_default_form_is_the_first():
    assert ExportTarget("onnx", Path("x.onnx")).form == "panoptic"
    assert ExportTarget("openvino", Path("x.xml")).form == "raw"


def test_a_bundled_model_is_not_written_to_by_any_path(tmp_path, monkeypatch, capsys):
    folder = bundled_models()[NAME]
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    for model in (NAME, str(folder), f"{folder}/", f"./{NAME}", f"{folder}/../{NAME}", str(tmp_path / "link")):
        assert main(["export", "--model", model, "--format", "openvino"]) == 2
        assert "belongs to the package and is not changed; give --output FILE" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_old_name_of_the_fixed_size_still_works(stamp, tiny_model, tmp_path, capsys):
    path = tmp_path / "x.stamp"
    words = ["export", "--model", str(tiny_model), "--format", "stamp", "--output", str(path), "--json"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main([*words, "--size", "64", "96"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["size"] == [64, 96]
    assert "warning: --size H W is deprecated; give --fixed-size 64x96" in captured.err
    assert main(["export", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--fixed-size HEIGHTxWIDTH" in said
    assert "--size" not in said.replace("--fixed-size", "")
