"""Kills at random moments: what a killed command leaves is whole, and the next run finishes the work.

Each run is a fork of this process, which has imported everything, so that a kill takes a fraction of a second.
"""

import json
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml
from PIL import Image

from hardening import sound
from hardening.guard import Fault
from yoso.apps.cli import main
from yoso.files import read_id_map

Run = Callable[[Path], int]
"""Does the work into an output folder; returns the exit status."""


@dataclass(frozen=True)
class Victim:
    """A command to kill.

    Attributes:
        name: for people.
        run: the command.
        again: what finishes the work after a kill.
        statuses: exit statuses that mean success.
        same: whether the finished output is the same to the byte as that of a run that was not killed.
    """

    name: str
    run: Run
    again: Run
    statuses: tuple[int, ...] = (0,)
    same: bool = True


def _forked(run: Run, out: Path) -> int:
    """Start a run in a fork that prints nothing; return its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks in processes with threads
        child = os.fork()
    if child:
        return child
    status = 99
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        status = run(out)
    finally:
        os._exit(status if isinstance(status, int) else 98)


def _finished(run: Run, out: Path) -> tuple[int, float]:
    """Run to the end; return exit status and seconds."""
    start = time.monotonic()
    _, status = os.waitpid(_forked(run, out), 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - start


def kill(victim: Victim, folder: Path, random: Random, times: int) -> list[Fault]:
    """Kill a command several times; return what was wrong afterwards."""
    status, seconds = _finished(victim.run, folder / "whole")
    if status not in victim.statuses:
        return [Fault("traceback", f"{victim.name}: exit status {status} without a kill")]
    expected, faults = _content(folder / "whole"), []
    for number in range(times):
        out = folder / f"killed-{number}"
        child = _forked(victim.run, out)
        time.sleep(random.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        faults += [Fault("lines", f"{victim.name}: {what} after a kill") for what in _broken(out)]
        status, _ = _finished(victim.again, out)
        if status not in victim.statuses:
            faults.append(Fault("traceback", f"{victim.name}: exit status {status} after a kill"))
        elif (found := _content(out)).keys() != expected.keys() or (victim.same and found != expected):
            names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            faults.append(Fault("lines", f"{victim.name}: {names[:4]} differ from those of a run that was not killed"))
        shutil.rmtree(out, ignore_errors=True)
    return faults


def _content(folder: Path) -> dict[str, bytes]:
    """Return every visible file of an output, with the output's own name taken out of it."""
    own = str(folder).encode()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes().replace(own, b"OUT") for path in files}


def _broken(folder: Path) -> list[str]:
    """Return the visible files of an output that are not whole, and predictions that their JSON contradicts."""
    broken = []
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".yaml":
                yaml.safe_load(path.read_text(encoding="utf-8"))
            elif path.suffix in {".png", ".jpg"}:
                with Image.open(path) as image:
                    image.load()
        except Exception as error:
            broken.append(f"{path.relative_to(folder)} is broken ({error})")
    if not broken and (folder / "panoptic.json").is_file():
        for entry in json.loads((folder / "panoptic.json").read_text())["annotations"]:
            ids = set(read_id_map(folder / "panoptic" / entry["file_name"]).ravel().tolist()) - {0}
            if ids != {segment["id"] for segment in entry["segments_info"]}:
                broken.append(f"panoptic.json contradicts {entry['file_name']}")
    return broken


def _command(*words: object) -> Run:
    """Return a run of a command; `OUT` stands for the output."""
    return lambda out: main([str(out) if word == "OUT" else str(word).replace("OUT", str(out)) for word in words])


def quick_victims(home: Path) -> list[Victim]:
    """Return the commands that take less than a second."""
    import onnxruntime  # noqa: F401 - before the forks

    from data.miniature_trees import plant
    from small_exports import yolo
    from yoso.apps import data_check, data_convert, data_prepare, evaluate, predict  # noqa: F401
    from yoso.inference import loading, onnx_engine  # noqa: F401

    data = sound.write_dataset(home / "set").parent
    yolo(home / "yolo")
    plant("coco", home / "coco", zipped=True)
    sound.write_onnx(home / "a.onnx", json.dumps(sound.METADATA))
    model = ("--model", home / "a.onnx", "--device", "cpu", "--output", "OUT")
    photos = ("predict", home / "yolo" / "images" / "val", home / "yolo" / "images" / "train", data / "val", *model)
    evaluation = _command("eval", "--data", data, *model)
    check = _command("data", "check", data, "--fix", "OUT/fixed")
    convert = _command("data", "convert", "yolo", home / "yolo", "OUT", "--threads", 2)
    prepare = _command("data", "prepare", "coco", "--root", home / "coco", "--output", "OUT", "--threads", 2)
    return [
        Victim("predict", _command(*photos), _command(*photos, "--resume")),
        Victim("eval", evaluation, evaluation, same=False),  # metrics.json holds times
        Victim("data check", check, check, (0, 1)),
        Victim("data convert", convert, convert, same=False),  # order of the journal
        Victim("data prepare", prepare, prepare, same=False),
    ]


def download_victim(address: str) -> Victim:
    """Return the download of a file from a server."""
    from yoso.weights.download import Patience, download

    def fetch(out: Path) -> int:
        download(f"{address}/weights", out / "weights", patience=Patience(5.0, 2, 0.0))
        (out / "weights.part").unlink(missing_ok=True)
        return 0

    return Victim("download", fetch, fetch)


def slow_victims(home: Path) -> list[Victim]:
    """Return training and export, which take seconds, and need PyTorch."""
    import lightning  # noqa: F401 - before the forks

    from small_networks import small_network
    from yoso.settings import InferenceConfig
    from yoso.training import run  # noqa: F401
    from yoso.weights.model_folder import Model, save_model

    data = sound.write_dataset(home / "slow-set").parent
    network = small_network(num_classes=2).eval()
    save_model(home / "model", Model(network, sound.CATEGORIES, InferenceConfig(0.3, 0.1, (64, 64))))
    recipe: dict[str, Any] = {
        "model": {"backbone": "test_resnet", "aggregation_channels": 8, "hidden_channels": 16, "num_queries": 5},
        "backbone_weights": "none",
        "inference": sound.INFERENCE,
        "augmentation": {"size": [32, 32]},
        "run": {
            "iterations": 6,
            "batch_size": 1,
            "workers": 0,
            "checkpoint_every": 2,
            "validate_every": 3,
            "samples": 0,
        }
        | {"accelerator": "cpu", "loggers": []},
    }
    (home / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    train = ("train", home / "recipe.yaml", "--data", data, "--output", "OUT")
    export = _command("export", "--model", home / "model", "--form", "raw", "--output", "OUT/a.onnx", "--json")
    return [
        Victim("train", _command(*train), _command(*train, "--resume"), same=False),
        Victim("export", export, export, same=False),
    ]
