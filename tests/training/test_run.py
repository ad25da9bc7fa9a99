"""Complete runs on a tiny data set: the run folder, exact resumption, and errors."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml

from yoso.categories import VOID, Categories
from yoso.errors import CheckpointError, ConfigError, NonFiniteError
from yoso.loss.config import LossConfig
from yoso.structures import PADDING, Sample
from yoso.training import run
from yoso.training.module import TrainingModule, make_target
from yoso.training.start import take_over
from yoso.weights.load import load_model
from yoso.weights.model_folder import save_model
from yoso.weights.tensors import read_safetensors


def test_run_folder_holds_everything(recipe, tmp_path, capsys):
    folder = run.train(recipe)
    model = load_model(folder)
    assert model.categories.names == ("square", "sky", "ground")
    assert model.about == {"data": "tiny"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"iteration", "val", "versions", "commit"} <= metrics.keys()
    resolved = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())
    assert resolved["run"]["accumulate"] == 2
    log = (tmp_path / "run/train.log").read_text()
    assert log.count("iteration") >= 4
    for word in ("loss", "lr", "images/s", "min left", "evaluation", "pq_all"):
        assert word in log
    assert any((tmp_path / "run/tensorboard").iterdir())
    evaluated = [json.loads(line)["iteration"] for line in (tmp_path / "run/validation.jsonl").read_text().splitlines()]
    assert evaluated == [3, 4]


TRAINING_ONLY = {"forced_weight": 0.5, "semantic_weight": 1.0}


@pytest.mark.parametrize("more", [{}, TRAINING_ONLY])
def test_resumed_run_ends_exactly_where_an_uninterrupted_one_does(recipe, tmp_path, more):
    recipe = replace(recipe, loss=replace(recipe.loss, **more))
    run.train(recipe)
    whole = tmp_path / "run"
    part = tmp_path / "part"
    shutil.copytree(whole, part)
    (part / "checkpoints/00000004.ckpt").unlink()
    shutil.rmtree(part / "model")
    run.train(replace(recipe, output=str(part)), resume=True)
    expected = torch.load(whole / "checkpoints/00000004.ckpt", weights_only=True)
    resumed = torch.load(part / "checkpoints/00000004.ckpt", weights_only=True)
    for kind in ("state_dict", "current_model_state"):
        assert expected[kind].keys() == resumed[kind].keys()
        for key, value in expected[kind].items():
            assert torch.equal(value, resumed[kind][key]), key


def test_the_semantic_head_learns_and_is_not_saved_with_the_model(recipe):
    loss = LossConfig(mask_sampling="dense", **TRAINING_ONLY)
    folder = run.train(replace(recipe, loss=loss, run=replace(recipe.run, iterations=2, validate_every=0)))
    saved = torch.load(folder.parent / "checkpoints/00000002.ckpt", weights_only=True)["state_dict"]
    head = {key: value for key, value in saved.items() if key.startswith("head.")}
    assert head.keys() == {"head.weight", "head.bias"}
    assert head["head.bias"].count_nonzero() == len(head["head.bias"])
    assert not any("head" in key for key in read_safetensors(folder / "model.safetensors"))
    assert load_model(folder).network.config == recipe.model
    line = (folder.parent / "train.log").read_text().splitlines()[-1]
    assert all(name in line for name in ("stage2/dice", "forced1/class", "forced2/mask", "semantic"))


def test_without_evaluation_the_last_averaged_weights_are_kept(recipe, tmp_path):
    folder = run.train(replace(recipe, run=replace(recipe.run, validate_every=0, iterations=2)))
    checkpoint = torch.load(tmp_path / "run/checkpoints/00000002.ckpt", weights_only=True)["state_dict"]
    for key, value in read_safetensors(folder / "model.safetensors").items():
        assert torch.equal(value, checkpoint[f"network.{key}"]), key


def test_the_best_model_is_saved_not_the_last(recipe, tmp_path, monkeypatch):
    measured, given = TrainingModule.quality, iter((0.2, 0.5, 0.3))

    def quality(module):
        result, count = measured(module)
        return result._replace(all=result.all._replace(pq=next(given))), count

    monkeypatch.setattr(TrainingModule, "quality", quality)
    settings = replace(recipe.run, iterations=3, accumulate=1, checkpoint_every=1, keep_checkpoints=3, validate_every=1)
    folder = run.train(replace(recipe, run=settings))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["iteration"], metrics["val"]["all"]["pq"]) == (2, 0.5)
    kept = read_safetensors(folder / "model.safetensors")
    same = {}
    for step in (1, 2, 3):
        saved = torch.load(tmp_path / f"run/checkpoints/{step:08d}.ckpt", weights_only=True)["state_dict"]
        same[step] = all(torch.equal(value, saved[f"network.{key}"]) for key, value in kept.items())
    assert same == {1: False, 2: True, 3: False}


def test_a_used_folder_is_not_overwritten(recipe):
    run.train(replace(recipe, run=replace(recipe.run, iterations=2)))
    with pytest.raises(ConfigError, match="--resume"):
        run.train(recipe)


def test_nothing_to_resume(recipe):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        run.train(recipe, resume=True)


def test_fine_tuning_takes_over_the_tensors_that_fit(recipe, tmp_path):
    first = run.train(replace(recipe, run=replace(recipe.run, iterations=2)))
    second = replace(recipe, start=str(first), model=replace(recipe.model, branch_depth=2), output=str(tmp_path / "b"))
    network = run.build_network(second, load_model(first).categories)
    source = load_model(first).network.state_dict()
    state = network.state_dict()
    assert torch.equal(state["aggregator.embed.weight"], source["aggregator.embed.weight"])
    assert "decoder.stages.0.class_branch.3.weight" in take_over(network, load_model(first).network)


def test_weights_that_are_not_finite_stop_the_run_and_name_the_image(recipe, tiny_dataset):
    from yoso.data.dataset import PanopticDataset
    from yoso.data.samples import training_sample
    from yoso.data.spec import load_spec

    dataset = PanopticDataset(load_spec(tiny_dataset).split("train"))
    module = TrainingModule(run.build_network(recipe, dataset.categories), recipe, dataset.categories)
    with torch.no_grad():
        module.network.decoder.proposals.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=r"0\.png.*stage 0|stage 0.*0\.png"):
        module.losses([training_sample(dataset, 0)])


def test_a_semantic_head_that_breaks_stops_the_run_and_is_named(recipe, monkeypatch):
    recipe = replace(recipe, loss=LossConfig(mask_sampling="dense", semantic_weight=1.0))
    build = TrainingModule.configure_optimizers

    def configure_optimizers(module):
        module.head.bias.data.fill_(float("nan"))
        return build(module)

    monkeypatch.setattr(TrainingModule, "configure_optimizers", configure_optimizers)
    with pytest.raises(
        NonFiniteError, match=r"\.png: the loss term semantic is nan\. .*\(Iteration 1, .*no longer finite"
    ):
        run.train(recipe)


def test_target_marks_void_and_keeps_emptied_segments():
    segment_map = torch.tensor([[1, 1, VOID], [3, PADDING, PADDING]], dtype=torch.int32)
    sample = Sample(torch.zeros(3, 2, 3, dtype=torch.uint8), segment_map, torch.tensor([4, 5, 6]), "x.png")
    target = make_target(sample, (4, 4), ignore_void=True)
    assert target.masks.shape == (3, 4, 4)
    assert target.masks.sum((1, 2)).tolist() == [2, 0, 1]
    assert (~target.valid).nonzero().tolist() == [[0, 2]]
    assert make_target(sample, (4, 4)).valid is None


def test_frozen_statistics_stay_frozen_through_training_and_resuming(recipe, tmp_path):
    """Lightning does not call `train()`; a frozen BatchNorm must not need that to be frozen."""
    categories = load_spec_categories(recipe.data)
    fresh = run.build_network(recipe, categories).backbone.state_dict()
    run.train(recipe)
    (tmp_path / "run/checkpoints/00000004.ckpt").unlink()
    run.train(recipe, resume=True)
    trained = load_model(tmp_path / "run/model").network.backbone.state_dict()
    frozen = [key for key in fresh if key.endswith(("running_mean", "running_var"))]
    assert len(frozen) > 50
    for key in frozen:
        torch.testing.assert_close(trained[key], fresh[key], rtol=1e-5, atol=1e-6)


def load_spec_categories(data):
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec

    return PanopticDataset(load_spec(data).split("train")).categories


def test_figures_of_a_mixed_precision_run_are_those_of_its_model(recipe):
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec

    folder = run.train(replace(recipe, run=replace(recipe.run, precision="bf16-mixed")))
    dataset = PanopticDataset(load_spec(recipe.data).split("val"))
    module = TrainingModule(load_model(folder).network, recipe, dataset.categories).eval()
    with torch.inference_mode():
        module.validation_step([dataset.example(index) for index in range(len(dataset))], 0)
    recorded = json.loads((folder / "metrics.json").read_text())["val"]["all"]
    assert recorded["pq"] == pytest.approx(module.quality()[0].all.pq, abs=1e-12)


def test_a_start_with_other_classes_is_reported_and_trains(recipe, tiny_model, tmp_path, capsys):
    donor = load_model(tiny_model)
    donor = replace(donor, categories=Categories([replace(one, name=one.name + "!") for one in donor.categories]))
    start = save_model(tmp_path / "start", donor)
    changed = replace(recipe, start=str(start), model=donor.network.config, run=replace(recipe.run, iterations=2))
    folder = run.train(changed)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("start: ")]
    assert "its 3 classes (square!, sky!, ground!) are not the 3 of the data set (square, sky, ground)" in line
    assert load_model(folder).categories.names == ("square", "sky", "ground")
    shutil.rmtree(start)
    run.train(changed, resume=True)  # needs the start no more
    assert "start: " not in capsys.readouterr().out
