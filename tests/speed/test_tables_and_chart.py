"""Tables and charts hold what the result holds."""

import dataclasses
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from made_result import made_result

from yoso.model.config import ModelConfig
from yoso.speed.chart import COLORS, svg
from yoso.speed.results import TRAINED, Mode, read_result
from yoso.speed.table import (
    MAX_RELATIVE_IQR,
    factor_words,
    is_unsteady,
    markdown,
    milliseconds,
    mode_words,
    notes,
    provenance_line,
    tables,
)
from yoso.speed.work import count_work


def steady(entry):
    """Return a measurement with all runs alike."""
    latency = dataclasses.replace(entry.end_to_end, iqr=0.01 * entry.end_to_end.median)
    return dataclasses.replace(entry, end_to_end=latency)


def test_the_tables_of_a_result():
    latencies, stages, rooflines = tables(made_result())
    assert latencies.title == "512x800: latency in ms"
    assert latencies.header == ["entry", "mode", "median", "IQR", "p95", "min", "speed-up", "MB"]
    assert latencies.rows[0][2:] == ["100", "37%*", "145", "75.0", "1.00x", "300"]
    assert latencies.rows[1][1] == "fp32, compiled, random weights"
    assert latencies.rows[1][-2:] == ["0.40x", "-"]
    assert latencies.rows[2] == ["eomt-l", "failed", *["-"] * 6]
    assert stages.title == "512x800: stages in ms"
    assert stages.header == ["entry", "prepare", "network", "merge"]
    assert [row[0] for row in stages.rows] == ["ours & <co> torch", "maskformer"]
    assert stages.rows[0][1:] == ["10.0", "70.0", "20.0"]
    assert rooflines.title == "512x800: rooflines in ms (100 GFLOP/s in a matrix product, 20.0 GB/s in a copy)"
    assert rooflines.rows == [["ours & <co> torch", "decoder", "1.00", "1.0", "10.0", "30.0", "3.0"]]


def test_a_column_without_values_is_left_out():
    latencies, stages = tables(made_result(rooflines=None))
    assert "J" not in latencies.header
    assert "backbone" not in stages.header


def test_one_entry_alone_has_no_speed_up():
    result = made_result(entries=made_result().entries[:1], ratios=[])
    assert "speed-up" not in tables(result)[0].header
    assert not any("speed-up" in line for line in notes(result))


def test_a_failed_entry_says_why_below_the_tables():
    assert notes(made_result())[0] == "eomt-l failed: not enough memory"


def test_an_unsteady_row_is_marked_and_the_mark_explained():
    result = made_result()
    assert any(line.startswith("* IQR above 10% of the median") for line in notes(result))
    quiet = made_result(entries=[steady(entry) for entry in result.entries[:2]])
    assert [row[3] for row in tables(quiet)[0].rows] == ["1%", "1%"]
    assert not any("IQR" in line for line in notes(quiet))


def test_rooflines_counted_by_the_former_rule_are_not_shown():
    former = dataclasses.replace(made_result().rooflines, counted_network=TRAINED)
    result = made_result(rooflines=former)
    assert not any("rooflines" in table.title for table in tables(result))
    assert any(line.startswith("Rooflines are not shown") for line in notes(result))
    assert not any("Rooflines" in line for line in notes(made_result()))


def test_markdown_has_the_tables_and_the_notes():
    lines = markdown(made_result()).splitlines()
    assert lines[0] == "**512x800: latency in ms**"
    assert lines[2].startswith("| entry | mode | median |")
    assert lines[3].startswith("|---|---|---:|")
    assert {line.count("|") for line in lines[2:7]} == {lines[2].count("|")}
    assert "37%\\*" in lines[4]
    assert any(line.startswith("\\* IQR above 10%") for line in lines)
    assert lines[-1] == f"{provenance_line(made_result())}."


def test_the_last_line_names_machine_versions_protocol_and_commit():
    assert provenance_line(made_result()) == (
        "a processor, 2 cores, 2 threads; torch 2.15.0; 3 runs each, in turns, after a warm-up of 1; "
        "2026-01-02, commit 0123456789"
    )
    assert "no commit" in provenance_line(made_result(commit=None))
    assert "2 cores, 1 thread; " in provenance_line(made_result(threads=1))


def test_sources_with_local_changes_are_marked():
    assert provenance_line(made_result(commit=f"{40 * 'a'}-dirty")).endswith(f"commit {10 * 'a'}-dirty")


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.2345, "1234"), (0.1, "100"), (0.0123, "12.3"), (0.00123, "1.23"), (0.00001, "0.01")]
)
def test_milliseconds_have_about_three_digits(seconds, words):
    assert milliseconds(seconds) == words


def test_ratios_and_modes_in_words():
    assert factor_words(2.5) == "2.50 times faster"
    assert factor_words(0.8) == "1.25 times slower"
    assert mode_words(Mode("baseline", "bf16", False, True)) == "bf16, eager, random weights"
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
PAGE = (ROOT / "docs" / "speed.md").read_text()
COMMITTED = sorted((ROOT / "benchmarks" / "results").glob("cpu_*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_documentation_shows_what_was_measured(path):
    result = read_result(path)
    assert svg(result) == (ROOT / "docs" / "images" / f"{path.stem}.svg").read_text()
    assert f"\n\n{markdown(result)}\n" in PAGE


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_published_row_shows_its_spread_and_every_unsteady_one_is_marked(path):
    result = read_result(path)
    for entry in result.entries:
        latency = entry.end_to_end
        mark = "\\*" if latency.iqr > MAX_RELATIVE_IQR * latency.median else ""
        assert is_unsteady(entry) == bool(mark)
        shown = f"{milliseconds(latency.median)} | {100 * latency.iqr / latency.median:.0f}%{mark} |"
        assert any(line.startswith(f"| {entry.name} |") and shown in line for line in PAGE.splitlines())


def medians(name):
    """Return a committed result and its medians in seconds, by entry."""
    result = read_result(ROOT / "benchmarks" / "results" / f"{name}.json")
    return result, {entry.name: entry.end_to_end.median for entry in result.entries}


def test_the_page_says_how_many_rows_are_marked():
    entries = [entry for path in COMMITTED for entry in read_result(path).entries]
    assert f"{sum(map(is_unsteady, entries))} of {len(entries)} rows are marked" in PAGE


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_page_compares_onnx_runtime_with_the_baselines(path):
    result, seconds = medians(path.stem)
    ours, (height, width) = seconds["coco_r50 onnxruntime"], result.entries[0].size
    others = ("coco_r50 official", "maskformer", "mask2former", "eomt-s")
    cells = [f"{seconds[name] / ours:.1f}" if name in seconds else "-" for name in others]
    assert f"| {height}x{width} | {' | '.join(cells)} |" in PAGE


@pytest.mark.parametrize("name", ["cpu_r50_512x800", "cpu_r50_800x1333"])
def test_the_page_says_why_four_times_is_out_of_reach(name):
    result, seconds = medians(name)
    size = result.entries[0].size
    work = count_work(ModelConfig(), 133, size, deployed=True)
    flops = work["backbone"].flops + work["aggregator"].flops
    peak = 1000 * flops / result.rooflines.flops_per_second
    quarter = 1000 * seconds["coco_r50 official"] / 4
    assert peak > quarter
    assert f"| {size[0]}x{size[1]} | {flops / 1e9:.1f} | {peak:.0f} | {quarter:.0f} |" in PAGE


def test_the_page_compares_the_bundled_model_with_its_backbone():
    result, seconds = medians("cpu_640x640")
    (entry,) = (entry for entry in result.entries if entry.name == "facades-mnv2 onnxruntime")
    ratio = seconds[entry.name] / entry.stages["backbone"]
    assert f"takes {1000 * seconds[entry.name]:.0f} ms at 640x640" in PAGE
    assert f"{ratio:.1f} times as long as its backbone" in PAGE


def test_there_are_results_to_compare_with_the_documentation():
    assert len(COMMITTED) >= 3
