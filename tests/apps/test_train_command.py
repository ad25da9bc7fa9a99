"""`yoso train` from the command line: samples, log, errors, and the test sizes of the paper."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import constants
from PIL import Image

from yoso.apps.cli import main
from yoso.categories import Categories
from yoso.settings import UNBOUNDED, parse_input_size
from yoso.training.cli import parse
from yoso.training.start import class_head
from yoso.weights.load import load_model
from yoso.weights.model_folder import save_model

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


def test_a_run_draws_samples_and_logs_its_speed(recipe, tmp_path, capsys):
    assert main(["train", recipe, "--accumulate", "2", "--batch", "1"]) == 0
    with Image.open(tmp_path / "run/samples/00000002.jpg") as picture:
        assert picture.width > 900
        assert picture.height > 900
    assert "% waiting for data" in (tmp_path / "run/train.log").read_text()
    assert str(tmp_path / "run/model") in capsys.readouterr().out


def swapped(content):
    first, second, *_ = content["categories"]
    first["name"], second["name"] = second["name"], first["name"]


def extended(content):
    content["categories"].append({"id": 20, "name": "cloud", "isthing": 0})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swapped, "category 3, one of 2 that differ, is 'square' (thing)"),
        (extended, "category 20 is missing"),
    ],
)
def test_splits_of_different_classes_are_an_error_at_the_start(
    change, words, recipe, tiny_dataset, tmp_path, monkeypatch, capsys
):
    data = tmp_path / "data"
    shutil.copytree(tiny_dataset, data)
    path = data / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    monkeypatch.setattr("yoso.training.run.build_network", lambda *_: pytest.fail("worked"))
    assert main(["train", recipe, "--data", str(data)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {data}/annotations/panoptic_train.json and {path} have different classes: {words}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("switch", ["option", "environment"])
def test_offline_without_cached_weights_is_an_error_at_once(switch, recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("yoso.training.run.Loaders", lambda *_: pytest.fail("read the annotations first"))
    monkeypatch.setenv("YOSO_OFFLINE", "1" if switch == "environment" else "")
    options = ["--offline"] if switch == "option" else []
    assert main(["train", recipe, "--backbone_weights", "imagenet", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the pretrained weights of backbone mobilenetv2_050 are not in the cache" in line
    assert "--backbone_weights FILE, --backbone_weights none for random weights, or a model by --start" in line
    assert not (tmp_path / "run").exists()


def test_samples_0_draws_nothing(recipe, tmp_path):
    assert main(["train", recipe, "--run.samples", "0"]) == 0
    assert not (tmp_path / "run/samples").exists()


FEW = ["--run.iterations=1", "--run.batch_size=2", "--run.workers=0", "--run.validate_every=0", "--run.accelerator=cpu"]
FEW += ["--augmentation.size=[64,96]", "--loss.num_points=64"]


@pytest.fixture
def start(tiny_model, tmp_path):
    """A model whose classes are not those of the data, and a recipe that names it and the data alone."""
    donor = load_model(tiny_model)
    donor = replace(donor, categories=Categories([replace(one, name=one.name + "!") for one in donor.categories]))
    return save_model(tmp_path / "start", donor)


@pytest.fixture
def own(start, tiny_dataset, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"data": str(tiny_dataset), "start": str(start), "output": str(tmp_path / "run")}))
    return str(path)


def test_a_recipe_of_data_and_start_keeps_all_but_the_class_head(own, start, tmp_path, capsys):
    assert main(["train", own, *FEW, "--optimizer.lr=0", "--run.seed=1"]) == 0
    before, after = load_model(start), load_model(tmp_path / "run/model")
    parameters = dict(before.network.named_parameters())
    new = {key for key, value in after.network.named_parameters() if not torch.equal(value, parameters[key])}
    assert new == class_head(after.network) - {"decoder.stages.0.class_branch.3.bias"}  # which begins at the same value
    assert (after.network.config, after.inference) == (before.network.config, before.inference)
    assert "(square!, sky!, ground!) are not the 3 of the data set (square, sky, ground)" in capsys.readouterr().out
    recorded = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())
    assert recorded["model"]["backbone"] == "mobilenetv2_100"


def test_a_run_is_resumed_without_its_start(own, start, tmp_path):
    assert main(["train", own, *FEW]) == 0
    network = load_model(start).network.config
    shutil.rmtree(start)
    assert main(["train", own, *FEW, "--run.iterations=2", "--resume"]) == 0
    assert main(["train", str(tmp_path / "run/recipe.yaml"), "--run.iterations=3", "--resume"]) == 0
    model = tmp_path / "run/model"
    assert load_model(model).network.config == network
    assert json.loads((model / "metrics.json").read_text())["iteration"] == 3


def test_a_start_with_another_network_than_the_recipe_is_one_line(recipe, tiny_model, tmp_path, capsys):
    assert main(["train", recipe, "--start", str(tiny_model)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'model.backbone is "mobilenetv2_050" instead of "mobilenetv2_100"' in line
    assert "model.num_queries is 8 instead of 12" in line
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_names_stage_image_and_iteration(recipe, capsys):
    assert main(["train", recipe, "--optimizer.lr", "1e30", "--run.iterations", "20"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    for words in (".png", "stage", "not finite", "learning rate", "Iteration"):
        assert words in line.replace("is nan", "is not finite").replace("is inf", "is not finite")


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in TABLE_SIZES.items() for size in sizes])
def test_sizes_of_the_tables(name, size):
    config, _ = parse([name, "--input-size", size])
    assert config.inference.input_size == parse_input_size(size)
    if size == TABLE_SIZES[name][0]:
        assert config.inference == parse([name])[0].inference


@pytest.mark.parametrize(("text", "size"), [("512", (512, UNBOUNDED)), ("512X800", (512, 800)), ("native", None)])
def test_an_input_size_is_written_as_in_every_command(text, size):
    assert parse(["coco_r50", "--input-size", text])[0].inference.input_size == size


def test_the_option_size_still_works_and_is_deprecated(recipe, capsys):
    with pytest.warns(UserWarning, match="--size is deprecated in `yoso train`; use --input-size"):
        assert parse(["coco_r50", "--size", "512x800"])[0].inference.input_size == (512, 800)
    assert main(["train", recipe, "--size", "64", "--run.iterations", "0"]) == 2
    warning, _ = capsys.readouterr().err.splitlines()
    assert warning == "warning: --size is deprecated in `yoso train`; use --input-size"


def test_short_options():
    config, _ = parse(["coco_r50", "--batch=4", "--accumulate", "4", "--input-size=native"])
    assert (config.run.batch_size, config.run.accumulate, config.inference.input_size) == (4, 4, None)
    assert config.run.images_per_step == 16
    assert parse(["coco_r50", "--batch", "auto"])[0].run.auto_batch


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--input-size", "big"], "--input-size big: give SHORTER or SHORTERxLONGEST in pixels"),
        (["--batch"], "needs a value"),
        (["--batch", "few"], "batch_size"),
        (["--run.keep_checkpoints", "0"], "at least 1"),
        (["--run.patience", "-1"], "negative"),
        (["--run.loggers", "[paper]"], "loggers"),
    ],
)
def test_a_wrong_value_is_a_one_line_error(words, hint, capsys):
    assert main(["train", "coco_r50", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert hint in line


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("lr", "Did you mean 'optimizer.lr'?"),
        ("bach", "Did you mean 'batch'?"),
        ("sise", "Did you mean 'augmentation.size'?"),
        ("run.bach_size", "Did you mean 'run.batch_size'?"),
        ("zzz", "`yoso train --help-all` lists all options."),
    ],
)
def test_an_unknown_option_suggests_the_closest(option, advice, capsys):
    assert main(["train", "coco_r50", f"--{option}", "4"]) == 2
    assert capsys.readouterr().err == f"error: unknown option --{option}. {advice}\n"


def test_loader_benchmark_writes_its_figures(recipe, tiny_dataset, tmp_path, monkeypatch):
    script = Path(__file__).parents[2] / "benchmarks" / "loader_speed.py"
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
