"""The model that comes with the package is what its card says."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import yoso
from yoso.apps.cli import main
from yoso.weights.layout import bundled_models

NAME = "facades-mnv2"


@pytest.fixture(scope="module")
def folder():
    return bundled_models()[NAME]


def test_it_is_small_and_complete(folder):
    assert (folder / "model.safetensors").stat().st_size <= 16e6
    assert (folder / "model.safetensors").stat().st_mode & 0o044 == 0o044
    about = json.loads((folder / "config.json").read_text())["about"]
    assert "CC BY 4.0" in about["data"]
    assert "a-hwang/building-facade-segmentation" in about["data"]


def test_the_card_shows_the_measured_figures(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    card = (folder / "README.md").read_text()
    for row in metrics["per_class"]:
        figures = [f"{100 * row[key]:.1f}" if row[key] is not None else "-" for key in ("pq", "sq", "rq")]
        line = rf"^\| {row['name']} \| \w+ \| " + re.escape(" | ".join(figures)) + r" \|"
        assert re.search(line, card, re.M), row["name"]
    assert f"**{100 * metrics['all']['pq']:.1f}**" in card
    assert metrics["all"]["pq"] >= 0.31
    assert next(row["pq"] for row in metrics["per_class"] if row["name"] == "window") >= 0.3


def test_it_segments_an_array():
    predictor = yoso.load(NAME, device="cpu")
    image = np.full((64, 96, 3), 127, np.uint8)
    result = predictor(image)
    assert result["segmentation"].shape == (64, 96)
    assert {info["id"] for info in result["segments_info"]} == set(np.unique(result["segmentation"]).tolist()) - {0}


@pytest.mark.data
@pytest.mark.slow
def test_evaluation_prints_the_figures_of_the_card(folder, shared, tmp_path, capsys):
    words = ["eval", "--model", NAME, "--data", shared / "data" / "facades", "--output", tmp_path, "--device", "cpu"]
    assert main([str(word) for word in [*words, "--json"]]) == 0
    measured = json.loads(capsys.readouterr().out)
    expected = json.loads((folder / "metrics.json").read_text())
    assert measured["all"]["pq"] == pytest.approx(expected["all"]["pq"], abs=5e-4)


def test_its_exported_file_is_of_its_weights(folder):
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["yoso"])
    assert facts["source_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    config = json.loads((folder / "config.json").read_text())
    assert facts["inference"] == config["inference"]
    assert facts["about"] == config["about"]
    assert (folder / "model.onnx").stat().st_size <= 17e6


WITHOUT = """
import runpy, sys
for name in ("torch", "torchvision", "timm", "lightning", "yoso", "scipy"):
    sys.modules[name] = None  # importing it now fails
script = sys.argv.pop(1)
runpy.run_path(script, run_name="__main__")
"""


def test_the_example_needs_numpy_pillow_and_onnxruntime_alone(folder, tmp_path):
    pixels = np.full((180, 240, 3), 170, np.uint8)
    pixels[:40] = (150, 190, 240)
    for top in range(60, 160, 40):
        for left in range(20, 220, 40):
            pixels[top : top + 22, left : left + 16] = (40, 50, 70)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    example = Path(__file__).parents[2] / "examples" / "onnx_only.py"
    words = [
        sys.executable,
        "-c",
        WITHOUT,
        example,
        folder / "model.onnx",
        tmp_path / "photo.png",
        tmp_path / "out.png",
    ]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = yoso.load(folder / "model.onnx", "cpu")(pixels)
    assert result["segments_info"]
    expected = [[str(i["id"]), i["label"], f"{i['score']:.2f}", str(i["area"])] for i in result["segments_info"]]
    found = [re.fullmatch(r" *(\d+)  (.+?) +(\d\.\d\d)  (\d+) pixels", line) for line in done.stdout.splitlines()]
    assert [list(match.groups()) for match in found if match] == expected
    assert len(found) == len(expected)
    colors = np.array([(0, 0, 0), *(categories_of(folder)[i["label_id"]]["color"] for i in result["segments_info"])])
    with Image.open(tmp_path / "out.png") as picture:
        drawn = np.asarray(picture)
    assert np.array_equal(drawn, pixels // 2 + colors.astype(np.uint8)[result["segmentation"]] // 2)


def categories_of(folder):
    return json.loads((folder / "config.json").read_text())["categories"]


@pytest.mark.data
@pytest.mark.slow
def test_its_exported_file_gives_the_same_segments_on_every_image(shared):
    from yoso.export.check import check_parity
    from yoso.files import read_image

    paths = sorted((shared / "data" / "facades" / "val").glob("*.jpg"))
    images = (read_image(path) for path in paths)
    parity = check_parity(yoso.load(NAME, "cpu"), yoso.load(NAME, "cpu", runtime="torch"), images)
    assert parity.num_images == 60
