"""Tables and charts hold what the result holds."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from made_result import made_result

from yoso.speed.chart import COLORS, svg
from yoso.speed.results import Mode, read_result
from yoso.speed.table import circumstances, factor_words, markdown, milliseconds, mode_words, tables


def test_the_table_of_times():
    times, floors = tables(made_result())
    assert times.title == "512x800, milliseconds"
    assert times.header[:6] == ["contestant", "mode", "median", "p95", "IQR", "min"]
    assert times.header[6:] == ["prepare", "network", "merge", "MB", "ours & <co> torch is"]
    assert times.rows[0][2:] == ["100", "145", "37.5", "75.0", "10.0", "70.0", "20.0", "300", "the baseline"]
    assert times.rows[1][1] == "fp32, compiled, random weights"
    assert times.rows[1][-2:] == ["-", "2.50 times faster"]
    assert times.rows[2] == ["eomt-l", "not enough memory", *["-"] * 9]
    assert floors.title == "floors: 100 GFLOP/s of a matrix product, 20.0 GB/s of a copy"
    assert floors.rows == [["ours & <co> torch", "512x800", "decoder", "1.00", "1.0", "10.0", "30.0", "3.0"]]


def test_columns_that_nobody_has_are_left_out():
    (times,) = tables(made_result(floors=None))
    assert "J" not in times.header
    assert "backbone" not in times.header


def test_markdown():
    lines = markdown(made_result()).splitlines()
    assert lines[0] == "**512x800, milliseconds**"
    assert lines[2].startswith("| contestant | mode | median |")
    assert lines[3].startswith("|---|---|---:|")
    assert {line.count("|") for line in lines[2:7]} == {lines[2].count("|")}
    assert lines[-1] == f"{circumstances(made_result())}."


def test_circumstances_name_machine_versions_protocol_and_commit():
    words = circumstances(made_result())
    assert words == (
        "a processor, 2 cores, 2 threads; torch 2.15.0; 3 runs of each in turns after 1 of warm-up; "
        "2026-01-02, commit 0123456789"
    )
    assert "no commit" in circumstances(made_result(commit=None))


def test_sources_that_were_changed_are_named_so():
    assert circumstances(made_result(commit=f"{40 * 'a'}-dirty")).endswith(f"commit {10 * 'a'}-dirty")


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.2345, "1234"), (0.1, "100"), (0.0123, "12.3"), (0.00123, "1.23"), (0.00001, "0.01")]
)
def test_milliseconds(seconds, words):
    assert milliseconds(seconds) == words


def test_words():
    assert factor_words(2.5) == "2.50 times faster"
    assert factor_words(0.8) == "1.25 times slower"
    assert mode_words(Mode("peer", "bf16", False, True)) == "bf16, eager, random weights"
    assert mode_words(Mode("torch", "fp32", False, False)) == "fp32"


def test_the_chart_is_svg_with_a_bar_per_stage():
    root = ElementTree.fromstring(svg(made_result()))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert "ours & <co> torch" in texts
    assert {"100 ms", "250 ms", "not enough memory", "512x800"} <= set(texts)
    bars = [rect for rect in root.iter(f"{space}rect") if rect.get("height") == "20"]
    assert [bar.get("fill") for bar in bars] == 2 * [COLORS[stage] for stage in ("prepare", "network", "merge")]
    widths = [float(bar.get("width")) for bar in bars]
    assert sum(widths[:3]) / sum(widths[3:]) == pytest.approx(0.4, rel=0.01)
    height = float(root.get("height"))
    assert all(float(rect.get("y", 0)) + float(rect.get("height")) <= height for rect in root.iter(f"{space}rect"))


def test_equal_results_are_equal_files():
    assert svg(made_result()) == svg(made_result())


ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "benchmarks" / "results").glob("cpu_*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_what_the_documentation_shows_is_what_was_measured(path):
    result = read_result(path)
    assert svg(result) == (ROOT / "docs" / "images" / f"{path.stem}.svg").read_text()
    assert f"\n\n{markdown(result)}\n" in (ROOT / "docs" / "benchmark.md").read_text()


def test_the_readme_quotes_what_was_measured():
    result = read_result(ROOT / "benchmarks" / "results" / "cpu_r50_512x800.json")
    quoted = {each.name: milliseconds(each.end_to_end.median) for each in result.contestants}
    ours = [f"coco_r50 {runtime}" for runtime in ("onnxruntime", "openvino", "torch")]
    names = [*ours, "maskformer", "coco_r50 official", "mask2former", "coco_r50 onnxruntime-int8"]
    assert f"\n| {' | '.join(quoted[name] for name in names)} |\n" in (ROOT / "README.md").read_text()


def test_there_are_results_to_compare_with_the_documentation():
    assert len(COMMITTED) >= 3
