"""What share of an exported graph's time each stage takes, from ONNX Runtime's own profile."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from yoso.benchmark.contestant import STAGES, Stages
from yoso.inference.onnx_engine import import_onnxruntime, num_threads

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
    ort: Any = import_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads()
        options.enable_profiling = True
        options.log_severity_level = 3
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs = {item.name for item in session.get_inputs()}
        feeds = {"image": pixels}
        if "input_size" in inputs:
            feeds["input_size"] = np.zeros(2, np.int64)
        for _ in range(RUNS):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    for event in events:
        stage = stage_of(event["name"])
        if event.get("cat") == "Node" and stage is not None:
            spent[stage] += event["dur"]
    total = sum(spent.values())
    return {stage: spent[stage] / total for stage in STAGES if spent[stage]}


def stage_of(event: str) -> str | None:
    """Return the stage that an event's time counts for, or None.

    What runs inside a loop (`merge/Scan_9/Sigmoid_3`) has no time of its own: the loop's event has it already.

    Args:
        event: its name in the profile.
    """
    stage, *inner = event.split("/")
    inside = any(part.startswith("Scan_") for part in inner[:-1])
    return stage if event.endswith(SUFFIX) and inner and stage in STAGES and not inside else None
