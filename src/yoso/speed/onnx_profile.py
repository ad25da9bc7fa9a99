"""What share of an exported graph's time each stage takes, from ONNX Runtime's own profile."""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yoso.inference.exported import num_threads
from yoso.inference.onnx_engine import import_onnxruntime
from yoso.speed.entry import STAGES, Stages

RUNS = 5
SUFFIX = "_kernel_time"


def stage_shares(path: Path, pixels: np.ndarray) -> Stages:
    """Profile a few runs of a panoptic file.

    `yoso export` puts every operator's stage before its name. What ONNX Runtime adds itself, copies between layouts,
    has no name of ours and is dealt out in proportion.

    Args:
        path: written by `yoso export`, of any size.
        pixels: uint8 (H, W, 3), RGB.

    Returns:
        Shares that add up to 1, by stage.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, profiled = (_session(path, prefix) for prefix in (None, Path(folder, "profile")))
        feeds = unresized(plain, pixels)
        plain.run(None, feeds)
        usual, recorded = _quickest((plain, profiled), feeds)
        events = json.loads(Path(profiled.end_profiling()).read_text())
    recording = RUNS * max(0.0, recorded - usual)
    return shares([event for event in events if event.get("cat") == "Node"], recording)


def unresized(session: Any, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a panoptic file takes to segment a photograph at its own size, as `input_size="native"` does."""
    feeds = {"image": pixels}
    # An input with a value of its own, which is the size that the model was trained at.
    if "input_size" in {item.name for item in session.get_overridable_initializers()}:
        feeds["input_size"] = np.zeros(2, np.int64)
    return feeds


def _session(path: Path, profile: Path | None) -> Any:
    ort: Any = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads()
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _quickest(sessions: Sequence[Any], feeds: dict[str, np.ndarray]) -> list[float]:
    """Run each `RUNS` times, in turns; return the microseconds of its quickest run, which is disturbed least."""
    taken: list[list[float]] = [[] for _ in sessions]
    for _ in range(RUNS):
        for session, times in zip(sessions, taken, strict=True):
            start = time.perf_counter()
            session.run(None, feeds)
            times.append(1e6 * (time.perf_counter() - start))
    return [min(times) for times in taken]


def shares(events: Sequence[dict[str, Any]], recording: float) -> Stages:
    """Return the stages' shares of the time of some events.

    What runs inside a loop (`merge/Scan_9/Sigmoid_3`) has no time of its own: the loop's event has it already, and with
    it the time that recording the loop's many events took, which is taken off, down to the time of what runs inside.

    Args:
        events: of ONNX Runtime's profile, `name` and `dur` in microseconds.
        recording: microseconds by which all of them together made the runs longer.
    """
    spent: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    inside: Counter[str] = Counter()
    least = dict.fromkeys(STAGES, 0.0)
    kernels = [event for event in events if event["name"].endswith(SUFFIX)]
    for event in kernels:
        stage, *inner = event["name"].split("/")
        if not inner or stage not in STAGES:
            continue
        if any(part.startswith("Scan_") for part in inner[:-1]):
            inside[stage] += 1
            least[stage] += event["dur"]
        else:
            spent[stage] += event["dur"]
            least[stage] += 0 if inner[-1].startswith("Scan_") else event["dur"]
    for stage, count in inside.items():
        spent[stage] = max(least[stage], spent[stage] - recording * count / len(kernels))
    total = sum(spent.values())
    return {stage: spent[stage] / total for stage in STAGES if spent[stage]}
