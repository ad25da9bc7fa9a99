"""Loggers: TensorBoard, and the optional ones without a network."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from yoso.apps.cli import main
from yoso.training import loggers
from yoso.training.loggers import build_loggers, log_picture
from yoso.training.run import train


class Started(Logger):
    """A logger whose run is started."""

    name = version = "made for tests"
    experiment = None

    def log_metrics(self, *_, **__):
        pytest.fail("logged")

    log_hyperparams = log_metrics


class NotLoggedIn(Started):
    """A logger whose run cannot be started."""

    @property
    def experiment(self):
        raise RuntimeError("api_key not configured\n(no-tty)")


PICTURE = np.zeros((8, 12, 3), np.uint8)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(name, changed, as_yaml, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["train", as_yaml(changed(loggers=("tensorboard", name)))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f'error: run.loggers={name} needs {name}; run: pip install "yoso-panoptic[{name}]"'


def test_tensorboard_has_figures_and_images(changed, tmp_path):
    train(changed(iterations=2, validate_every=2))
    events = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    tags = events.Tags()
    names = ("train/loss", "train/stage2/dice", "val/pq_all", "lr", "speed/images_per_second", "speed/waiting_share")
    assert set(names) <= set(tags["scalars"])
    assert [event.step for event in events.Images("val/samples")] == [2]
    assert all(0 <= event.value <= 1 for event in events.Scalars("speed/waiting_share"))


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_offline(changed, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = changed(iterations=2, validate_every=2, loggers=("wandb",))
    train(recipe)
    (folder,) = (tmp_path / "run/wandb").glob("offline-run-*")
    assert list(folder.glob("run-*.wandb"))
    import wandb

    wandb.finish()


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_in_a_folder(changed, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")  # put back afterwards
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    recipe = changed(iterations=2, validate_every=2, loggers=("mlflow",))
    train(recipe)
    metrics = {path.name for path in (tmp_path / "run/mlflow").rglob("metrics/*/*")}
    assert "loss" in metrics
    assert list((tmp_path / "run/mlflow").rglob("samples/00000002.png"))


def test_the_sample_sheet_is_written_without_any_logger(tmp_path):
    assert build_loggers((), tmp_path) == []
    log_picture([], tmp_path, PICTURE, 7)
    assert (tmp_path / "samples/00000007.jpg").is_file()


def test_each_logger_is_built_once(tmp_path):
    assert len(build_loggers(("tensorboard", "tensorboard"), tmp_path)) == 1


def test_another_run_folder_is_another_wandb_run(tmp_path, monkeypatch):
    made, other = [], Started()
    monkeypatch.setattr(loggers, "require", lambda package: None)
    monkeypatch.setattr(loggers, "WandbLogger", lambda **options: made.append(options) or other)
    for name in ("a", "b", "a"):
        loggers.wandb(Path(tmp_path, name), False)
    first, second, again = made
    assert first == again
    assert first["id"] != second["id"]


@pytest.mark.parametrize("offline", [False, True])
def test_wandb_stays_local_when_the_training_is_offline(offline, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(loggers, "require", lambda package: None)
    monkeypatch.setattr(loggers, "WandbLogger", lambda **options: made.append(options) or Started())
    build_loggers(["wandb"], tmp_path, offline)
    assert made[0]["offline"] is offline


def test_an_mlflow_server_is_refused_offline(changed, as_yaml, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loggers, "require", lambda package: None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert main(["train", as_yaml(changed(loggers=("mlflow",))), "--offline"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "MLFLOW_TRACKING_URI is http://tracking:5000, and offline no server is used; unset it to log to" in line
    assert not (tmp_path / "run").exists()


def test_a_logger_that_cannot_start_is_one_line_before_the_training(changed, as_yaml, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loggers, "require", lambda package: None)
    monkeypatch.setattr(loggers, "WandbLogger", lambda **_: NotLoggedIn())
    assert main(["train", as_yaml(changed(loggers=("wandb",)))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "error: run.loggers: NotLoggedIn cannot start (api_key not configured (no-tty)); log in by `wandb login`, or "
        "set WANDB_MODE=offline"
    )
    assert not (tmp_path / "run" / "recipe.yaml").exists()
