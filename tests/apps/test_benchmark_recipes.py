"""From a benchmark's downloads to a trained and evaluated model, each by its own recipe, in four commands."""

import json

import pytest
import torch

from yoso.apps.cli import main
from yoso.apps.data_prepare import BENCHMARK_NAMES
from yoso.class_tables import benchmark_categories
from yoso.data.benchmarks import BENCHMARKS

SMALL = {
    "model.backbone": "mobilenetv2_050",
    "model.pyramid_channels": "[8,8,8,8]",
    "model.aggregation_channels": "16",
    "model.hidden_channels": "16",
    "model.num_queries": "12",
    "model.num_heads": "2",
    "model.feedforward_channels": "16",
    "backbone_weights": "none",
    "inference.input_size": "[48,64]",
    "inference.object_mask_threshold": "0.0",
    "loss.num_points": "64",
    "run.iterations": "2",
    "run.batch_size": "2",
    "run.workers": "0",
    "run.validate_every": "2",
    "run.log_every": "1",
    "run.accelerator": "cpu",
}
SMALL_CROPS = {"augmentation.size": "[48,64]"}
SMALL_SIDES = {"augmentation.shorter_sides": "[32,48,64]", "augmentation.longest": "128"}


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors of these tests are too small to share among threads, which then mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["coco", "cityscapes", "ade20k", "mapillary"])
def test_prepare_check_train_eval(plant, tmp_path, monkeypatch, capsys, name):
    plant(name, tmp_path / "downloads", zipped=name in {"coco", "cityscapes"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("YOSO_DATA", raising=False)
    assert main(["data", "prepare", name, "--root", "downloads", "--threads", "1"]) == 0
    prepared = capsys.readouterr()
    assert "3 of" in prepared.out
    assert prepared.err.count("warning: ") == 2
    assert "cannot be compared with published ones" in prepared.err
    assert main(["data", "check", name]) == 0
    options = SMALL | SMALL_CROPS | ({} if name == "coco" else SMALL_SIDES)
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    assert main(["train", f"{name}_r50", "--output", "run", *words]) == 0
    capsys.readouterr()
    assert main(["eval", "--model", "run/model", "--data", name, "--output", "eval", "--json", "--device", "cpu"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["images"] == 2
    assert 0 <= metrics["all"]["pq"] <= 1
    trained = json.loads((tmp_path / "run/model/config.json").read_text())["categories"]
    assert trained == benchmark_categories(name).to_json()


def test_the_names_on_the_command_line_are_those_of_the_readers():
    assert set(BENCHMARK_NAMES) == set(BENCHMARKS)


def test_the_report_as_json(plant, tmp_path, capsys):
    plant("ade20k", tmp_path / "downloads")
    arguments = ["--root", str(tmp_path / "downloads"), "--output", str(tmp_path / "out"), "--json"]
    assert main(["data", "prepare", "ade20k", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["data"] == str(tmp_path / "out/ade20k.yaml")
    train = document["splits"]["train"]
    assert (train["images"], train["made"], train["expected"]) == (3, 3, 20210)
    counts = {row["name"]: (row["segments"], row["images"]) for row in train["classes"] if row["segments"]}
    assert counts == {"sky": (3, 3), "grass": (3, 3), "person": (6, 3), "car": (3, 3)}
