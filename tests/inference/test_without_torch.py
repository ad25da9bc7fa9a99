"""An exported file needs no torch, from the command line and from Python; and a process with one starts fast."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import yoso

pytest.importorskip("onnxruntime", reason="the runtime of exported files is an extra")

NO_TORCH = """
import sys, time
start = time.perf_counter()
for name in ("torch", "torchvision", "timm", "lightning"):
    sys.modules[name] = None  # importing it now fails
"""

PREDICT = (
    NO_TORCH
    + """
from yoso.apps.cli import main
status = main(["predict", sys.argv[1], "--model", "facades-mnv2", "--device", "cpu", "--output", sys.argv[2], "--json"])
print(f"seconds {time.perf_counter() - start:.3f}", file=sys.stderr)
sys.exit(status)
"""
)

CALL = (
    NO_TORCH
    + """
import json, yoso
predictor = yoso.load("facades-mnv2", device="cpu")
result = predictor(sys.argv[1])
json.dump([predictor.runtime, predictor.device, [info["label"] for info in result["segments_info"]]], sys.stdout)
"""
)


@pytest.fixture
def photo(tmp_path):
    """A drawn facade, large enough that something is found."""
    pixels = np.full((360, 480, 3), 170, np.uint8)
    pixels[:60] = (150, 190, 240)
    for top in range(90, 330, 60):
        for left in range(40, 440, 70):
            pixels[top : top + 34, left : left + 26] = (40, 50, 70)
    path = tmp_path / "facade.png"
    Image.fromarray(pixels).save(path)
    return path


def run(script, *words):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )


def test_predict_never_imports_torch(photo, tmp_path):
    done = run(PREDICT, photo, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["runtime"], found["device"]) == ("onnxruntime", "cpu")
    assert (tmp_path / "out" / "facade.overlay.png").is_file()
    assert (tmp_path / "out" / "panoptic.json").is_file()


def test_a_call_gives_what_torch_gives(photo):
    done = run(CALL, photo)
    assert done.returncode == 0, done.stderr
    runtime, device, labels = json.loads(done.stdout)
    assert (runtime, device) == ("onnxruntime", "cpu")
    result = yoso.load("facades-mnv2", "cpu", runtime="torch")(photo)
    assert labels == [info["label"] for info in result["segments_info"]]


@pytest.mark.slow
def test_the_first_prediction_of_a_process_comes_within_three_seconds(photo, tmp_path):
    """Alone on two cores; `slow`, because a machine that is busy says nothing."""
    seconds = []
    for _ in range(3):
        done = run(PREDICT, photo, tmp_path / "out")
        seconds.append(float(done.stderr.split("seconds ")[1]))
    assert min(seconds) < 3


@pytest.mark.slow
@pytest.mark.parametrize(("words", "limit"), [(["-c", "import yoso"], 0.3), (["-m", "yoso", "--help"], 0.5)])
def test_starting_is_fast(words, limit):
    """What Python itself needs to start is counted in."""
    import time

    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], capture_output=True, check=True, timeout=60)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < limit
