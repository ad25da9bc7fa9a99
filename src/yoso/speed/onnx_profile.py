"""What share of an exported graph's time each stage takes, from ONNX Runtime's profile."""

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yoso.files import read_json
from yoso.inference.exported import num_threads
from yoso.inference.onnx_engine import import_onnxruntime
from yoso.speed.entry import STAGES, StageSeconds

RUNS = 5
SUFFIX = "_kernel_time"


def stage_shares(path: Path, pixels: np.ndarray) -> StageSeconds:
    """Profile a few runs of a panoptic file.

    `yoso export` puts the stage of every operator before its name. Operators that ONNX Runtime adds, such as copies
    between layouts, have no stage; their time is distributed in proportion.

    Args:
        path: written by `yoso export`, of any size.
        pixels: uint8 (H, W, 3), RGB.

    Returns:
        Shares that add up to 1, by stage.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, profiled = (_session(path, prefix) for prefix in (None, Path(folder, "profile")))
        feeds = native_size_feeds(plain, pixels)
        plain.run(None, feeds)
        plain_time, profiled_time = _fastest((plain, profiled), feeds)
        events = read_json(profiled.end_profiling())
    overhead = RUNS * max(0.0, profiled_time - plain_time)
    return shares_of_events([event for event in events if event.get("cat") == "Node"], overhead)


def native_size_feeds(session: Any, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs that make a panoptic file segment an image at its own size, as `input_size="native"` does."""
    feeds = {"image": pixels}
    # This input has a default, the model's input size.
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


def _fastest(sessions: Sequence[Any], feeds: dict[str, np.ndarray]) -> list[float]:
    """Run each session `RUNS` times, in turns; return the microseconds of its fastest, least disturbed run."""
    taken: list[list[float]] = [[] for _ in sessions]
    for _ in range(RUNS):
        for session, times in zip(sessions, taken, strict=True):
            start = time.perf_counter()
            session.run(None, feeds)
            times.append(1e6 * (time.perf_counter() - start))
    return [min(times) for times in taken]


def shares_of_events(events: Sequence[dict[str, Any]], overhead: float) -> StageSeconds:
    """Return the share of each stage in the time of some events.

    An event inside a loop (`merge/Scan_9/Sigmoid_3`) adds no time of its own, because the event of the loop covers it.
    The loop's time also covers the recording of these many events; that overhead is subtracted, but never so much that
    the loop takes less than the events inside it.

    Args:
        events: of ONNX Runtime's profile, `name` and `dur` in microseconds.
        overhead: microseconds by which recording all of them made the runs longer.
    """
    spent: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    inside: Counter[str] = Counter()
    minimum = dict.fromkeys(STAGES, 0.0)
    kernels = [event for event in events if event["name"].endswith(SUFFIX)]
    for event in kernels:
        stage, *inner = event["name"].split("/")
        if not inner or stage not in STAGES:
            continue
        if any(part.startswith("Scan_") for part in inner[:-1]):
            inside[stage] += 1
            minimum[stage] += event["dur"]
        else:
            spent[stage] += event["dur"]
            minimum[stage] += 0 if inner[-1].startswith("Scan_") else event["dur"]
    for stage, count in inside.items():
        spent[stage] = max(minimum[stage], spent[stage] - overhead * count / len(kernels))
    total = sum(spent.values())
    return {stage: spent[stage] / total for stage in STAGES if spent[stage]}
