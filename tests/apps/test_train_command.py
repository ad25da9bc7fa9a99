"""`yoso train` from the command line: pictures, the log, a run that breaks, and the sizes of the paper's tables."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from yoso.apps.arguments import input_size
from yoso.apps.cli import main
from yoso.training.cli import parse

SMALL = {
    "model": {
        "backbone": "mobilenetv2_050",
        "num_queries": 8,
        "hidden_channels": 32,
        "aggregation_channels": 16,
        "num_heads": 4,
    },
    "backbone_weights": "none",
    "inference": {"object_mask_threshold": 0.1, "overlap_threshold": 0.3, "input_size": None},
    "loss": {"num_points": 64},
    "augmentation": {"size": [64, 96], "scale": [0.5, 1.5]},
    "run": {"batch_size": 2, "workers": 0, "validate_every": 2, "log_every": 1, "iterations": 2, "accelerator": "cpu"},
}

# Of the paper's tables 1 to 4 and the official test settings.
TABLE_SIZES = {
    "coco_r50": ["800x1333", "512x800"],
    "cityscapes_r50": ["1024x2048", "512x1024"],
    "ade20k_r50": ["640x2560"],
    "mapillary_r50": ["2048x2048"],
}


@pytest.fixture
def recipe(tiny_dataset, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({"data": str(tiny_dataset), "output": str(tmp_path / "run"), **SMALL}))
    return str(path)


def test_a_run_draws_samples_and_says_how_fast_it_is(recipe, tmp_path, capsys):
    assert main(["train", recipe, "--accumulate", "2", "--batch", "1"]) == 0
    with Image.open(tmp_path / "run/samples/00000002.jpg") as picture:
        assert picture.width > 900
        assert picture.height > 900
    assert "% waiting for data" in (tmp_path / "run/train.log").read_text()
    assert str(tmp_path / "run/model") in capsys.readouterr().out


def test_no_pictures_on_request(recipe, tmp_path):
    assert main(["train", recipe, "--run.samples", "0"]) == 0
    assert not (tmp_path / "run/samples").exists()


def test_a_run_that_breaks_says_what_and_where(recipe, capsys):
    assert main(["train", recipe, "--optimizer.lr", "1e30", "--run.iterations", "20"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    for words in (".png", "stage", "not finite", "learning rate", "Iteration"):
        assert words in line.replace("is nan", "is not finite").replace("is inf", "is not finite")


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in TABLE_SIZES.items() for size in sizes])
def test_sizes_of_the_tables(name, size):
    config, _ = parse([name, "--input-size", size])
    assert config.inference.input_size == input_size(size)
    if size == TABLE_SIZES[name][0]:
        assert config.inference == parse([name])[0].inference


def test_short_options():
    config, _ = parse(["coco_r50", "--batch=4", "--accumulate", "4", "--input-size=native"])
    assert (config.run.batch_size, config.run.accumulate, config.inference.input_size) == (4, 4, None)
    assert config.run.images_per_step == 16
    assert parse(["coco_r50", "--batch", "auto"])[0].run.auto_batch


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--input-size", "big"], "SHORTERxLONGEST"),
        (["--batch"], "needs a value"),
        (["--batch", "few"], "batch_size"),
        (["--run.keep_checkpoints", "0"], "at least 1"),
        (["--run.patience", "-1"], "negative"),
        (["--run.loggers", "[paper]"], "loggers"),
    ],
)
def test_a_slip_is_one_line(words, hint, capsys):
    assert main(["train", "coco_r50", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert hint in line


def test_loader_benchmark_writes_its_figures(recipe, tiny_dataset, tmp_path, monkeypatch):
    script = Path(__file__).parents[2] / "reproduce" / "loader_speed.py"
    target = tmp_path / "speed.json"
    few = ["--workers", "0", "--images", "8", "--steps", "2"]
    arguments = ["--recipe", recipe, "--data", str(tiny_dataset), *few, "--json", str(target)]
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    content = json.loads(target.read_text())
    assert end.value.code in {0, 1}
    assert [row["workers"] for row in content["loader"]] == [0]
    assert content["loader"][0]["images_per_second"] > content["step"]["images_per_second"] > 0
    assert {"machine", "versions", "commit", "date", "protocol"} <= content.keys()
