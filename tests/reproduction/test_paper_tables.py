"""The scripts of tables 5 and 6 compute the paper's FLOPs and write what they measured."""

import json
from pathlib import Path

import pytest
import torch

from yoso.reproduction import table5_aggregation, table6_attention

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["ifa", "cfa"])
def test_the_flops_of_table_5_match_an_output_width_of_128(kind):
    assert round(table5_aggregation.paper_flops(kind, 128) / 1e9, 1) == table5_aggregation.PAPER[kind]["gflops"]
    assert round(table5_aggregation.paper_flops(kind, 256) / 1e9, 1) != table5_aggregation.PAPER[kind]["gflops"]


@pytest.mark.parametrize("kind", table6_attention.PAPER)
def test_the_flops_of_table_6_match(kind):
    assert round(table6_attention.paper_flops(kind) / 1e6, 1) == table6_attention.PAPER[kind]["mflops"]


def test_table_5_refuses_modules_that_differ(monkeypatch):
    monkeypatch.setattr(table5_aggregation, "MAX_DIFFERENCE", -1.0)
    with pytest.raises(table5_aggregation.YosoError, match="they must be equal"):
        table5_aggregation.measure(16, 16, 1, 1, torch.device("cpu"))


@pytest.mark.parametrize(("script", "more"), [(table5_aggregation, ["--side", "16"]), (table6_attention, [])])
def test_the_file_has_the_paper_s_figures_beside_the_measured_ones(script, more, tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.json"
    quick = ["--repeats", "2", "--warmup", "1", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["script", "--json", str(path), *quick, *more])
    assert script.main() == 0
    content = json.loads(path.read_text())
    assert content["paper"] == script.PAPER
    assert {"measured", "machine", "versions", "threads", "date", "protocol"} <= set(content)
    rows = content["measured"][0] if script is table5_aggregation else content["measured"]
    for kind in script.PAPER:
        assert len(rows[kind]["samples"]) == 2
        assert rows[kind]["seconds"]["median"] > 0
    assert "paper" in capsys.readouterr().out


def test_the_documentation_shows_what_was_measured():
    results = ROOT / "benchmarks" / "results"
    table5, table6 = (
        json.loads((results / f"{name}.json").read_text())["measured"]
        for name in ("table5_aggregation", "table6_attention")
    )
    quoted = [[row[kind]["seconds"]["median"] for kind in ("ifa", "cfa")] for row in table5]
    quoted.append([row["seconds"]["median"] for row in table6.values()])
    text = (ROOT / "docs" / "speed.md").read_text()
    for medians in quoted:
        assert f"| {' | '.join(f'{1e6 * median:,.0f}' for median in medians)} |" in text


def test_a_wrong_device_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["script", "--device", "gpu", "--json", str(tmp_path / "out.json")])
    assert table6_attention.main() == 2
    assert capsys.readouterr().err.startswith("error: unknown device 'gpu'")
    assert list(tmp_path.iterdir()) == []
