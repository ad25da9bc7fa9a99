"""Resuming with what the run was not started with: one clear error, and the run folder stays as it was."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from yoso.apps.cli import main
from yoso.data.spec import load_spec
from yoso.errors import CheckpointError, ConfigError
from yoso.training.checkpoints import newest_checkpoint
from yoso.training.loaders import Loaders
from yoso.training.resume import CATEGORIES, check_checkpoint, resumable
from yoso.training.run import train


@pytest.fixture(scope="module")
def finished(recipe_of_the_module):
    """Return the recipe of a run of two steps that may be resumed."""
    run = replace(recipe_of_the_module.run, iterations=2, accumulate=1, validate_every=0, samples=0)
    recipe = replace(recipe_of_the_module, run=run)
    train(recipe)
    return recipe


@pytest.fixture
def run(finished, tmp_path):
    """Return the same with a copy of the run, which a test may change."""
    shutil.copytree(finished.output, tmp_path / "run")
    return replace(finished, output=str(tmp_path / "run"))


def with_classes(data, target, change):
    """Copy a data set; `change` takes the list of categories of its files."""
    shutil.copytree(data, target)
    for split in ("train", "val"):
        path = target / "annotations" / f"panoptic_{split}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    return str(target)


def only_squares(content):
    content["categories"] = [each for each in content["categories"] if each["name"] == "square"]
    kept = {each["id"] for each in content["categories"]}
    for annotation in content["annotations"]:
        annotation["segments_info"] = [each for each in annotation["segments_info"] if each["category_id"] in kept]


def reversed_order(content):
    content["categories"].reverse()


def square_is_stuff(content):
    content["categories"][0]["isthing"] = 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (only_squares, "has 1 (square): class 1 was 'sky' (stuff), now missing; resume with the data set of the run"),
        (reversed_order, "has 3 (ground, sky, square): class 0 was 'square' (thing), now 'ground' (stuff); resume"),
        (square_is_stuff, "has 3 (square, sky, ground): class 0 was 'square' (thing), now 'square' (stuff); resume"),
    ],
)
def test_other_classes(change, words, run, as_yaml, tmp_path, capsys):
    data = with_classes(run.data, tmp_path / "other", change)
    assert main(["train", as_yaml(run), "--data", data, "--run.iterations", "4", "--resume"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the run was started with 3 classes (square, sky, ground), the data set ")
    assert words in line
    assert_unchanged(run)


def assert_unchanged(run):
    """The folder is that of the finished run, recipe and checkpoint included."""
    assert newest_checkpoint(run_folder(run)).stem == "00000002"
    resumable(run)


def run_folder(run):
    return Path(run.output)


def test_the_same_classes_under_other_ids_and_colors_are_the_same(run, tmp_path):
    def renumbered(content):
        for each in content["categories"]:
            each.update(id=each["id"] + 100, color=[0, 0, each["id"]])
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment["category_id"] += 100

    data = with_classes(run.data, tmp_path / "other", renumbered)
    train(replace(run, data=data, run=replace(run.run, iterations=3)), resume=True)
    assert newest_checkpoint(run_folder(run)).stem == "00000003"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model.num_queries", "9"], "model.num_queries was 8, now 9"),
        (["--model.temperature", "1.0"], "model.temperature was 0.05, now 1.0"),
        (["--optimizer.lr", "0.5"], "optimizer.lr was 0.001, now 0.5"),
        (["--optimizer.weight_decay", "0"], "optimizer.weight_decay was 0.05, now 0.0"),
        (["--loss.semantic_weight", "1"], "loss.semantic_weight was 0.0, now 1.0"),
        (["--run.ema_decay", "0"], "run.ema_decay was 0.9, now 0.0"),
    ],
)
def test_other_settings_that_the_checkpoint_decides(options, words, run, as_yaml, tmp_path, capsys):
    assert main(["train", as_yaml(run), "--resume", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: {tmp_path / 'run' / 'recipe.yaml'}: the run was started with other settings: {words};"
    )
    assert_unchanged(run)


def test_all_settings_that_differ_are_named(run):
    other = replace(run, model=replace(run.model, num_queries=9, num_stages=1))
    with pytest.raises(
        ConfigError, match=r"model\.num_stages was 2, now 1; model.num_queries was 8, now 9; resume with"
    ):
        resumable(other)


def test_other_processes_and_batches(run):
    with pytest.raises(
        ConfigError, match="started with 2 images per step in 1 parts, and cannot be resumed with 4 in 1"
    ):
        resumable(replace(run, run=replace(run.run, devices=2)))
    assert resumable(replace(run, run=replace(run.run, devices=2, batch_size=1))).run.images_per_step == 2


def test_fewer_iterations_than_are_made(run):
    with pytest.raises(ConfigError, match=r"has already made 2 iterations, more than run.iterations, which is 1; give"):
        train(replace(run, run=replace(run.run, iterations=1)), resume=True)
    assert_unchanged(run)


def test_what_may_change_when_a_run_is_resumed(run):
    changed = replace(
        run,
        loss=replace(run.loss, mask_weight=1.0),
        augmentation=replace(run.augmentation, flip=False),
        schedule=replace(run.schedule, power=1.0),
        run=replace(run.run, iterations=3, workers=1, ema_decay=0.5, log_every=2),
    )
    train(changed, resume=True)
    assert newest_checkpoint(run_folder(run)).stem == "00000003"


@pytest.mark.parametrize("content", ["", "- a\n", "model: {}\n", "a: [", "model: {kind: x}\noptimizer: {}\n"])
def test_a_recorded_recipe_that_cannot_be_read(content, run, tmp_path):
    (tmp_path / "run" / "recipe.yaml").write_text(content)
    with pytest.raises(
        ConfigError, match=r"recipe\.yaml: cannot be read .*it records the settings of the run to resume"
    ):
        resumable(run)


def test_a_file_that_is_no_checkpoint(run):
    path = newest_checkpoint(run_folder(run))
    torch.save({"state_dict": {}}, path)
    categories = Loaders(run, load_spec(run.data)).categories
    with pytest.raises(CheckpointError, match="is not a checkpoint of `yoso train`; remove it"):
        check_checkpoint(path, run, categories)


def test_a_checkpoint_without_classes_is_not_compared(run):
    path = newest_checkpoint(run_folder(run))
    content = torch.load(path, weights_only=True)
    del content[CATEGORIES]
    torch.save(content, path)
    check_checkpoint(path, run, Loaders(run, load_spec(run.data)).categories)


def test_damaged_evaluations_are_named(changed, tmp_path):
    recipe = changed(iterations=2, accumulate=1, validate_every=2)
    train(recipe)
    (tmp_path / "run" / "validation.jsonl").write_text('{"iteration": 2}\n')
    with pytest.raises(CheckpointError, match=r"validation\.jsonl: is damaged \(KeyError.*remove it to evaluate again"):
        train(replace(recipe, run=replace(recipe.run, iterations=3)), resume=True)
