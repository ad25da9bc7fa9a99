"""Files that `yoso export` writes for other programs are refused: one line says what runs them, exit status 2."""

import numpy as np
import pytest
from PIL import Image

import yoso
from yoso.apps.cli import main
from yoso.errors import CheckpointError


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("model.pt2", r"a torch.export archive .*torch\.export\.load\('.*model\.pt2'\)\.module\(\)"),
        ("model.engine", r"a TensorRT engine, .*trtexec --loadEngine=.*model\.engine; give the model's folder"),
    ],
)
def test_what_it_is_and_how_it_is_run(photo, capsys, name, what):
    path = photo.with_name(name)
    with pytest.raises(CheckpointError, match="no such file"):
        yoso.load(path)
    path.write_bytes(b"x")
    with pytest.raises(CheckpointError, match=what):
        yoso.load(path)
    output = ["--output", str(photo.with_name("out"))]
    for command in (["predict", str(photo), "--model", str(path), *output], ["benchmark", "--models", str(path)]):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert f"{name}: is a" in error
        assert error.count("\n") == 1


def test_a_folder_may_be_called_so(tiny_model, tmp_path):
    (tmp_path / "mine.engine").symlink_to(tiny_model)
    assert yoso.load(tmp_path / "mine.engine", "cpu").runtime == "torch"
