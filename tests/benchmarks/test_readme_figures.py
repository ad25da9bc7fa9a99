"""The figures in README are those of the committed result files."""

from pathlib import Path

from yoso.files import read_json
from yoso.speed.results import read_result

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_latencies():
    result = read_result(RESULTS / "cpu_r50_512x800.json")
    ms = {entry.name: f"{1000 * entry.end_to_end.median:.0f} ms" for entry in result.entries}
    others = {
        "official implementation": "coco_r50 official",
        "MaskFormer-R50": "maskformer",
        "Mask2Former-R50": "mask2former",
    }
    quoted = ", ".join(f"{words} {ms[name]}" for words, name in others.items())
    assert f"| {ms['coco_r50 onnxruntime']}; {quoted} |" in README
    assert f"| {ms['coco_r50 onnxruntime-int8']} |" in README


def test_the_training_step():
    first, *_, last = (row["seconds"]["median"] for row in read_json(RESULTS / "training_step.json")["rows"])
    assert f"| {1000 * last:.0f} ms; official implementation {1000 * first:.0f} ms |" in README


def test_counting_panoptic_quality():
    rows = read_json(RESULTS / "pq_speed.json")["results"]
    factors = [row["times_faster"] for row in rows]
    goal = {row["aim"] for row in rows}.pop()
    assert f"{min(factors)} to {max(factors)} times faster than the plain rule (goal: {goal:.0f})" in README
