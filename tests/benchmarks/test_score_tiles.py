"""Scoring in tiles: every pair of thresholds at once, as `yoso eval --tiles` scores one."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from yoso.apps.cli import main


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("score_tiles")


def test_the_figures_are_those_of_eval(script, tiny_model, tiny_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "PAIRS", ((0.1, 0.2), (0.3, 0.4)))
    words = ["--data", str(tiny_dataset), "--tiles", "64", "16", "--size", "64", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["score_tiles.py", str(tiny_model), *words])
    script.main()
    row = json.loads((tmp_path / "out.json").read_text())["results"][0]
    assert sum(kind["images"] for kind in row["by_kind"].values()) == 8
    capsys.readouterr()
    words = ["eval", "--model", str(tiny_model), "--data", str(tiny_dataset), "--output", str(tmp_path / "eval")]
    words += ["--tiles", "64,16", "--input-size", "64x128", "--runtime", "torch", "--device", "cpu", "--json"]
    assert main([*words, "--object-mask-threshold", "0.1", "--overlap-threshold", "0.2"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert row["all"]["pq"] == pytest.approx(expected["all"]["pq"], abs=1e-9)


def test_kinds_of_images(script):
    assert script.kind_of(np.full((4, 4, 3), 20, np.uint8)) == "dark"
    assert script.kind_of(np.full((4, 4, 3), 200, np.uint8)) == "light"
    assert script.kind_of(np.full((4, 4, 3), (200, 120, 180), np.uint8)) == "coloured"
