"""The lock of a run folder: one training at a time, and nothing left behind."""

import json
import os
import socket

import pytest

from warm_start import begin, ended, wait_for
from yoso.apps.cli import main
from yoso.errors import ConfigError, OutputError
from yoso.training import lock
from yoso.training.lock import LOCK, OWNER, is_first_process, locked

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "TIMEOUT_SECONDS", 0.1)
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)


def test_a_second_training_names_the_first(tmp_path):
    with locked(tmp_path):
        owner = json.loads((tmp_path / OWNER).read_text())
        with pytest.raises(ConfigError) as error, locked(tmp_path):
            pass
        assert str(error.value) == (
            f"{tmp_path}: process {os.getpid()} on {socket.gethostname()}, started {owner['started']}, is training in "
            "this folder; wait until it ends, or give another --output"
        )
    with locked(tmp_path):
        pass


def test_a_folder_that_stays_empty_is_removed(tmp_path):
    with locked(tmp_path / "runs" / "mine"):
        assert (tmp_path / "runs" / "mine").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_training_wrote_stays(tmp_path):
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "log").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["log"]


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "run").touch()
    with (
        pytest.raises(OutputError, match=r"run: cannot be written \(a part of its path is a file"),
        locked(tmp_path / "run"),
    ):
        pass


@pytest.mark.parametrize("name", RANKS)
def test_only_the_first_process_of_a_training_takes_the_lock(name, monkeypatch, tmp_path):
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    with locked(tmp_path):
        assert not (tmp_path / LOCK).exists()


def test_two_commands_in_one_folder(changed, as_yaml, tmp_path, capsys):
    recipe = as_yaml(changed(iterations=1000, accumulate=1, validate_every=0))
    first = begin(tmp_path / "output", main, ["train", recipe])
    log = tmp_path / "run" / "train.log"
    wait_for(lambda: log.is_file() and "iteration 1/" in log.read_text(), first)
    try:
        assert main(["train", recipe, "--resume"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"run: process {first.pid} on " in line
    finally:
        first.terminate()
    assert ended(first) == 0
    assert not (tmp_path / "run" / LOCK).exists()
