"""`yoso reproduce`: listing, measuring, and one line for each mistake."""

import json

import pytest

from yoso.apps.cli import main
from yoso.reproduction import modules
from yoso.reproduction.registry import ITEMS


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOSO_DATA", str(tmp_path))


def test_the_list(capsys):
    assert main(["reproduce"]) == 0
    out = capsys.readouterr().out
    assert all(item in out for item in ITEMS)
    assert "weights coco-r50" in out
    assert main(["reproduce", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == list(ITEMS)


def test_tables_5_and_6_and_figure_5(capsys, monkeypatch, tmp_path, one_thread):
    """With small maps for the latency of table 5; the FLOPs are those of the paper's sizes."""
    monkeypatch.setattr(modules, "SIDE", 64)
    words = [
        "table5",
        "table6",
        "figure5",
        "--parts",
        "flops",
        "modules",
        "contours",
        "--repeats",
        "1",
        "--device",
        "cpu",
    ]
    assert main(["reproduce", *words]) == 0
    out = capsys.readouterr().out
    assert "31,462,400" in out
    assert "All 48 ratios counted on our modules are equal to those of the equations." in out
    assert sorted(path.name for path in (tmp_path / "benchmarks" / "paper").iterdir()) == [
        *("figure5.json", "table5.json", "table6.json"),
    ]
    assert main(["reproduce", "figure5", "--json"]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)
    assert (outcome["part"], outcome["state"]) == ("contours", "finished")
    assert outcome["result"]["content"]["kernel_size"] == 3


def test_a_drawing_has_nothing_to_measure(capsys, tmp_path):
    assert main(["reproduce", "figure2"]) == 0
    assert "figure2: a drawing of `yoso.model.aggregator`; there is nothing to measure" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_not_run(capsys, tmp_path):
    assert main(["reproduce", "table9", "--parts", "pq_small_nuclei", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "not run: needs the data set nuclei; then: yoso reproduce table9 --device cpu" in out
    assert list(tmp_path.iterdir()) == []


def test_the_page(capsys, tmp_path):
    assert main(["reproduce", "--page", "paper.md"]) == 0
    assert capsys.readouterr().out == "written: paper.md\n"
    assert (tmp_path / "paper.md").read_text(encoding="utf-8").startswith("# The paper's tables and figures\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tabel5"], "error: no table or figure 'tabel5'. Did you mean 'table5'?"),
        (["table5", "--scale", "papers"], "error: --scale: unknown scale 'papers'. Did you mean 'paper'?"),
        (
            ["table5", "--launcher", "slurm"],
            "error: --launcher: unknown launcher 'slurm'. Known: local, ray, torchrun.",
        ),
        (
            ["table5", "--parts", "flop"],
            "error: --parts: no part 'flop' in these tables and figures. Did you mean 'flops'?",
        ),
        (
            ["table5", "--page", "p.md"],
            "error: --page measures nothing and shows all results; give no table or figure with it",
        ),
        (["table5", "--device", "gpu"], "error: unknown device 'gpu'; use auto, cpu, cuda or cuda:1"),
        (["table9", "--jobs", "0"], "error: --jobs 0: must be at least 1"),
        (["table9", "--set", "x"], "error: --set x: give KEY=VALUE, such as run.iterations=100"),
    ],
)
def test_mistakes(words, message, capsys, tmp_path):
    assert main(["reproduce", *words]) == 2
    assert capsys.readouterr().err == f"{message}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_was_edited_by_hand(capsys, tmp_path):
    assert main(["reproduce", "figure5", "--device", "cpu"]) == 0
    path = tmp_path / "benchmarks" / "paper" / "figure5.json"
    path.write_text(path.read_text().replace('"kernel_size": 3', '"kernel_size": 5'))
    capsys.readouterr()
    assert main(["reproduce", "figure5", "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: benchmarks/paper/figure5.json: does not match its checksum, so it was edited by hand"
    )
