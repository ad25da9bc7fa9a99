"""Scripts about training: every form of a step has the same loss, and the search writes what it measured."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from yoso.apps.cli import main as yoso_main
from yoso.training.cli import main as train

FOLDER = Path(__file__).parents[2] / "benchmarks"
TINY = [
    "--model.backbone=mobilenetv2_050",
    "--model.pyramid_channels=null",
    "--model.hidden_channels=32",
    "--model.num_heads=4",
    "--model.num_queries=8",
    "--model.feedforward_channels=64",
    "--augmentation.size=[64,96]",
    "--run.batch_size=2",
    "--run.workers=0",
    "--backbone_weights=none",
]


@pytest.fixture
def script(request):
    spec = importlib.util.spec_from_file_location(request.param, FOLDER / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[request.param] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[request.param]


@pytest.mark.parametrize("script", ["training_step"], indirect=True)
def test_the_forms_of_a_step_differ_by_rounding(script, tiny_dataset, tmp_path, monkeypatch, capsys):
    path = tmp_path / "step.json"
    words = ["--data", str(tiny_dataset), "--json", str(path), "--device", "cpu", "--repeats", "2", *TINY]
    monkeypatch.setattr(sys, "argv", ["training_step.py", *words])
    assert script.main() == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["form"] for row in rows] == list(script.FORMS)
    assert all(len(row["samples"]) == 2 for row in rows)
    losses = [row["loss"] for row in rows]
    assert losses[1:] == pytest.approx([losses[1]] * 4, rel=1e-3)  # single positions of hard masks may flip
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 1


@pytest.mark.parametrize("script", ["small_recipe"], indirect=True)
def test_the_search_trains_each_variant_once(script, tiny_dataset, tmp_path, monkeypatch, capsys):
    path = tmp_path / "search.json"
    words = ["--data", str(tiny_dataset), "--output", str(tmp_path / "runs"), "--json", str(path), "--iterations", "2"]
    only = ["--only", "former, without any of the three", "two images a step, twice the steps"]
    monkeypatch.setattr(sys, "argv", ["small_recipe.py", *words, *TINY, "--run.log_every=1", *only])
    assert script.main() == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["variant"] for row in rows] == only[1:]
    assert all(0 <= row["all"] <= 1 and row["losses"]["dice"] > 0 for row in rows)
    assert "| former, without any of the three | 0 |" in capsys.readouterr().out

    monkeypatch.setattr(script, "run_training", lambda _: pytest.fail("trained again"))
    assert script.main() == 0

    monkeypatch.setattr(script, "run_training", lambda _: 0)  # as after SIGTERM
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--seeds", "2"])
    capsys.readouterr()
    assert script.main() == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("stopped at: former, without any of the three")

    monkeypatch.setattr(script, "run_training", lambda _: pytest.fail("trained, though asked for what is done"))
    everything = [word for word in sys.argv if word not in only]
    monkeypatch.setattr(sys, "argv", [*everything, "--done"])
    assert script.main() == 0
    assert [row["variant"] for row in json.loads(path.read_text())["rows"]] == only[1:]


@pytest.mark.parametrize("script", ["small_recipe"], indirect=True)
def test_options_that_are_off_by_default_train_together(script, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(script.VARIANTS, "all", ["--point_at_places=true"])
    words = ["--data", str(tiny_dataset), "--output", str(tmp_path / "runs"), "--json", str(tmp_path / "search.json")]
    tiny = [*TINY, "--model.position_frequencies=3", "--run.log_every=1"]
    monkeypatch.setattr(sys, "argv", ["small_recipe.py", *words, "--iterations", "3", *tiny, "--only", "all"])
    assert script.main() == 0
    log = (tmp_path / "runs/all_0/train.log").read_text()
    assert "nan" not in log
    weights = load_file(tmp_path / "runs/all_0/model/model.safetensors")
    assert not any("head" in name for name in weights)


@pytest.mark.parametrize("script", ["compare_mask2former"], indirect=True)
@pytest.mark.parametrize("budget", [pytest.param("images", marks=pytest.mark.slow), "time"])
def test_mask2former_gets_the_same_budget(script, budget, tiny_dataset, tmp_path, monkeypatch, capsys):
    small = {"hidden_dim": 32, "feature_size": 32, "mask_feature_size": 32, "num_attention_heads": 4, "num_queries": 8}
    shallow = {"encoder_layers": 1, "decoder_layers": 2, "dim_feedforward": 32, "encoder_feedforward_dim": 32}
    monkeypatch.setattr(script, "MASK2FORMER_OPTIONS", {**small, **shallow})
    monkeypatch.setattr(script, "THRESHOLDS", (0.1, 0.5))
    run = tmp_path / "run"
    recipe = ["small", "--data", str(tiny_dataset), f"--output={run}", "--run.log_every=1", "--run.samples=0"]
    assert train([*recipe, *TINY, "--run.iterations=3", "--run.validate_every=3"]) == 0
    path = tmp_path / "result.json"
    words = [str(run / "model"), "--budget", budget, "--output", str(tmp_path / "other"), "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["compare_mask2former.py", *words, "--steps", "2"])
    assert script.main() == 0
    rows = json.loads(path.read_text())["rows"]
    assert rows["yoso"]["images_seen"] == 6
    step = json.loads((tmp_path / "other" / "steps.json").read_text())["seconds"]
    expected = 3 if budget == "images" else max(1, round(3 * step["yoso"] / step["mask2former"]))
    assert rows["mask2former"]["images_seen"] == 2 * expected
    assert rows["mask2former"]["training_seconds"] == pytest.approx(expected * step["mask2former"])
    assert all(row["inference_seconds"] > 0 for row in rows.values())
    assert "| mask2former |" in capsys.readouterr().out

    monkeypatch.setattr(script, "batches", lambda *_: pytest.fail("trained again"))
    assert script.main() == 0


@pytest.mark.parametrize("script", ["shapes_dataset"], indirect=True)
def test_the_synthetic_data_set_is_valid_and_always_the_same(script, tmp_path, monkeypatch, capsys):
    words = ["--train", "2", "--val", "1", "--side", "96"]
    for folder in ("one", "two"):
        monkeypatch.setattr(sys, "argv", ["shapes_dataset.py", str(tmp_path / folder), *words])
        script.main()
    assert yoso_main(["data", "check", str(tmp_path / "one")]) == 0
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 2 * 3 + 2
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


NOWHERE = {
    "training_step": ["--data", "nowhere"],
    "small_recipe": ["--data", "nowhere", "--output", "runs", "--json", "result.json"],
    "compare_mask2former": ["nowhere/model", "--budget", "time", "--output", "other"],
}


@pytest.mark.parametrize("script", list(NOWHERE), indirect=True)
def test_a_missing_input_is_one_line_and_leaves_nothing(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script.__name__, *NOWHERE[script.__name__]])
    assert script.main() == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not list(tmp_path.iterdir())
