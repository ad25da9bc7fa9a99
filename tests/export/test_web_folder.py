"""`yoso export --format web` writes a whole folder, replaces only its own, and makes the model's inputs required."""

import gzip
import json

import onnx
import pytest

from yoso.apps.cli import main
from yoso.errors import OutputError
from yoso.export.web_folder import folder_written_whole
from yoso.serve.page import OPTIONAL_INPUTS

pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("ignore")]  # exporters warn of their own insides


def test_the_command_writes_a_page_with_the_model(small_folder, tmp_path, capsys):
    site = tmp_path / "site"
    assert main(["export", "--model", str(small_folder), "--format", "web", "--output", str(site)]) == 0
    said = capsys.readouterr().out
    assert "compared with PyTorch on 2 drawn images" in said
    assert f"python -m http.server --directory {site}" in said
    (model,) = json.loads((site / "page.json").read_text())["models"]
    assert (model["name"], model["input_size"], model["license"]) == (small_folder.name, [96, 192], "MIT")
    assert [category["name"] for category in model["categories"]] == ["square", "sky", "ground"]
    graph = onnx.load_from_string(gzip.decompress((site / model["file"].split("?")[0]).read_bytes())).graph
    assert {*OPTIONAL_INPUTS, "image"} == {value.name for value in graph.input}
    assert not {*OPTIONAL_INPUTS} & {value.name for value in graph.initializer}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    with folder_written_whole(site) as folder:
        (folder / "new").touch()
    assert [path.name for path in site.iterdir()] == ["new"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="was not written by `yoso export --format web`; choose another --output"):
        folder_written_whole(tmp_path / "site").__enter__()
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["thesis.txt"]


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        with folder_written_whole(tmp_path / "site") as folder:
            (folder / "page.json").touch()
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
