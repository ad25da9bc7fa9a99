"""A run that is killed, stopped or out of disk space continues exactly from its newest complete checkpoint."""

import atexit
import json
import multiprocessing
import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from warm_start import begin, ended, wait_for
from yoso.apps.cli import main
from yoso.data.spec import load_spec
from yoso.errors import CheckpointError
from yoso.training import callbacks
from yoso.training.checkpoints import Preempted, WholeCheckpoints, newest_checkpoint, saved_checkpoints
from yoso.training.loaders import Loaders
from yoso.training.run import train


def state(folder):
    """Return all that a run ends with: weights, averages, optimiser, evaluations."""
    content = torch.load(newest_checkpoint(folder), weights_only=True)
    evaluations = [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]
    keys = ("global_step", "state_dict", "current_model_state", "optimizer_states", "lr_schedulers")
    return {key: content[key] for key in keys}, evaluations, (folder / "model/model.safetensors").read_bytes()


def assert_equal(one, two, where=""):
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_equal(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for place, (first, second) in enumerate(zip(one, two, strict=True)):
            assert_equal(first, second, f"{where}/{place}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    else:
        assert one == two, where


def disturbed(recipe, iterations):
    """Return the recipe as the tests that stop it want it."""
    run = replace(recipe.run, iterations=iterations, accumulate=1, checkpoint_every=2, validate_every=4, samples=0)
    return replace(recipe, run=run)


@pytest.fixture(scope="module")
def uninterrupted(recipe_of_the_module):
    """Return how a run ends that nobody disturbs."""
    recipe = disturbed(recipe_of_the_module, 8)
    train(recipe)
    return recipe, state(Path(recipe.output))


def size(path):
    return path.stat().st_size if path.is_file() else 0


def killed(recipe, arguments, moments, output):
    """Kill a training at each of these moments and resume it each time; return how many kills struck it running.

    A moment is ("log", seconds) after the next line of the log, or ("start", share) of the time that the first process
    took from its start to its first line: while the network is built, the checkpoint is read, or steps are made.
    """
    folder, until_first_line, struck = Path(recipe.output), None, 0
    for kind, value in moments:
        said = size(folder / "train.log")
        resume = ["--resume"] if saved_checkpoints(folder / "checkpoints") else []
        process, begun = begin(output, main, [*arguments, *resume]), time.monotonic()
        try:
            if kind == "log":
                wait_for(lambda said=said: size(folder / "train.log") > said, process)
                until_first_line = until_first_line or time.monotonic() - begun
                time.sleep(value)
            else:
                time.sleep(value * until_first_line)
        finally:
            process.kill()
        assert ended(process) in {0, -signal.SIGKILL}, output.read_text()
        struck += process.exitcode != 0
    return struck


@pytest.mark.parametrize("num_kills", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_kills_change_nothing(num_kills, uninterrupted, as_yaml, tmp_path):
    recipe, expected = uninterrupted
    recipe = replace(recipe, output=str(tmp_path / "killed"))
    random_ = random.Random(1)
    anywhere = [("start", random_.uniform(0, 1.2)) for _ in range(num_kills - 1)]
    moments = [("log", random_.uniform(0, 0.1)), *anywhere]
    # The last may find the training at its end already.
    assert killed(recipe, ["train", as_yaml(recipe)], moments, tmp_path / "output") >= min(num_kills - 1, 3)
    train(recipe, resume=bool(saved_checkpoints(Path(recipe.output) / "checkpoints")))
    assert_equal(state(Path(recipe.output)), expected)


def test_sigterm_saves_the_step_and_exits_with_status_0(uninterrupted, as_yaml, tmp_path):
    recipe, expected = uninterrupted
    recipe = replace(recipe, output=str(tmp_path / "stopped"))
    log, output = tmp_path / "stopped/train.log", tmp_path / "output"
    process = begin(output, main, ["train", as_yaml(recipe), "--run.checkpoint_every", "1000"])
    wait_for(lambda: log.is_file() and "iteration 1/" in log.read_text(), process)
    process.terminate()
    assert ended(process) == 0, output.read_text()
    assert "stopped by SIGTERM after iteration" in output.read_text()
    assert "continue with --resume" in output.read_text()
    assert int(newest_checkpoint(tmp_path / "stopped").stem) < 8
    train(recipe, resume=True)
    assert_equal(state(tmp_path / "stopped"), expected)


def test_sigterm_during_an_evaluation_loses_no_steps_and_no_evaluation(uninterrupted, tmp_path, monkeypatch, capsys):
    recipe, expected = uninterrupted
    recipe = replace(recipe, output=str(tmp_path / "stopped"))
    count = callbacks.TrainingModule.validation_step

    def validation_step(self, batch, batch_idx):
        count(self, batch, batch_idx)
        if self.trainer.global_step == 4 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(callbacks.TrainingModule, "validation_step", validation_step)
    with pytest.raises(Preempted, match="after iteration 4"):
        train(recipe)
    monkeypatch.undo()
    assert newest_checkpoint(tmp_path / "stopped").stem == "00000004"
    train(recipe, resume=True)
    assert_equal(state(tmp_path / "stopped"), expected)


def test_sigterm_to_all_processes_saves_the_step_too(uninterrupted, tmp_path, monkeypatch):
    # As from `timeout`, systemd or Slurm, which tell the processes that load data too.
    recipe, expected = uninterrupted
    recipe = replace(recipe, output=str(tmp_path / "stopped"), run=replace(recipe.run, workers=2))
    take_step = callbacks.TrainingModule.training_step

    def training_step(self, batch, batch_idx):
        if batch_idx == 2:
            processes = [*multiprocessing.active_children(), multiprocessing.current_process()]
            # Loading processes take a signal of their parent's for the end; so another process sends it.
            subprocess.run(["kill", "-TERM", *(str(process.pid) for process in processes)], check=True)
        return take_step(self, batch, batch_idx)

    monkeypatch.setattr(callbacks.TrainingModule, "training_step", training_step)
    with pytest.raises(Preempted, match="after iteration 3"):
        train(recipe)
    monkeypatch.undo()
    train(replace(recipe, run=replace(recipe.run, workers=0)), resume=True)
    assert_equal(state(tmp_path / "stopped"), expected)


HELD = []


def hold_loading_processes(recipe):
    """End as an interpreter does, while somebody still holds the iterator and so the processes behind it."""
    loaders = Loaders(recipe, load_spec(recipe.data))
    loaders.trainer = SimpleNamespace(global_step=0, global_rank=0, world_size=1)
    HELD.append(iter(loaders.train_dataloader()))
    next(HELD[0])
    assert len(multiprocessing.active_children()) == 2
    atexit._run_exitfuncs()


def test_loading_processes_that_ignore_sigterm_do_not_delay_the_exit(changed, tmp_path):
    begun = time.monotonic()
    process = begin(tmp_path / "output", hold_loading_processes, changed(workers=2))
    assert ended(process) == 0, (tmp_path / "output").read_text()
    assert "killed by signal" not in (tmp_path / "output").read_text()
    assert time.monotonic() - begun < 60


def test_the_newest_checkpoints_are_kept(changed, tmp_path):
    train(changed(iterations=4, accumulate=1, checkpoint_every=1, keep_checkpoints=3, validate_every=0))
    assert [path.name for path in saved_checkpoints(tmp_path / "run/checkpoints")] == [
        "00000002.ckpt",
        "00000003.ckpt",
        "00000004.ckpt",
    ]


def test_incomplete_checkpoints_are_ignored_and_removed(changed, tmp_path):
    recipe = changed(iterations=2, validate_every=0)
    train(recipe)
    stray = tmp_path / "run/checkpoints/.00000009-abc.ckpt"
    stray.write_bytes(b"half")
    assert newest_checkpoint(tmp_path / "run").stem == "00000002"
    train(replace(recipe, run=replace(recipe.run, iterations=3)), resume=True)
    assert not stray.exists()


def test_a_failed_write_keeps_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "00000001.ckpt"
    WholeCheckpoints().save_checkpoint({"value": torch.ones(3)}, path)

    def fails(content, stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint({"value": torch.zeros(3)}, path)
    assert [each.name for each in tmp_path.iterdir()] == ["00000001.ckpt"]
    assert torch.equal(WholeCheckpoints().load_checkpoint(path)["value"], torch.ones(3))


def test_a_damaged_checkpoint_is_named(changed, as_yaml, tmp_path, capsys):
    recipe = changed(iterations=2, validate_every=0)
    train(recipe)
    path = newest_checkpoint(tmp_path / "run")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"00000002.ckpt: is damaged .*remove it"):
        WholeCheckpoints().load_checkpoint(path)
    capsys.readouterr()
    assert main(["train", as_yaml(recipe), "--resume"]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_patience_ends_a_run_without_progress(changed, tmp_path):
    # With a learning rate of nothing, no evaluation is better than the first.
    recipe = changed(iterations=12, accumulate=1, validate_every=2, patience=2, ema_decay=0.0, checkpoint_every=100)
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, lr=0.0), model=replace(recipe.model, temperature=1.0))
    train(recipe)
    iterations = [
        json.loads(line)["iteration"] for line in (tmp_path / "run/validation.jsonl").read_text().splitlines()
    ]
    assert iterations == [2, 4, 6]
    assert newest_checkpoint(tmp_path / "run").stem == "00000006"
    train(recipe, resume=True)
    assert newest_checkpoint(tmp_path / "run").stem == "00000006"


def test_evaluations_use_some_images_and_the_final_one_all(changed, tmp_path):
    folder = train(changed(iterations=4, accumulate=1, validate_every=2, validate_images=3))
    evaluations = [json.loads(line) for line in (tmp_path / "run/validation.jsonl").read_text().splitlines()]
    assert [(each["iteration"], each["images"]) for each in evaluations] == [(2, 3), (4, 3)]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["val_images"] == 8
    assert metrics["iteration"] in {2, 4}
