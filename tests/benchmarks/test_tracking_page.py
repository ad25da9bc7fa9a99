"""The tables of docs/tracking.md are those of the committed result files."""

from pathlib import Path

import pytest

from yoso.files import read_json

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
COLUMNS = ("vpq", "vpq_1", "vpq_15", "stq", "aq", "sq", "idf1")


def part(mark):
    return PAGE.split(f"<!-- {mark} -->")[1].split("<!-- end -->")[0]


def quality_rows():
    means = read_json(RESULTS / "tracking_quality.json")["means"]
    return [
        f"| {row['group']} | {row['entry']} | "
        + " | ".join(f"{100 * row[column]:.1f}" for column in COLUMNS)
        + f" | {row['id_switches']} | {100 * row['flicker']:.2f}% |"
        for row in means
    ]


def speed_rows():
    return [f"| {row['entry']} | {row['milliseconds']:.2f} |" for row in speed()["results"]]


def speed():
    return read_json(RESULTS / "tracking_speed.json")


@pytest.mark.parametrize(("mark", "rows"), [("quality", quality_rows), ("speed", speed_rows)])
def test_a_table(mark, rows):
    lines = [line for line in part(mark).splitlines() if line.startswith("| ")]
    assert lines[1:] == rows()


def test_the_protocol():
    assert speed()["protocol"] in part("speed").replace("\n", " ")


def test_each_part_pays():
    """More VPQ and STQ than without it, in every group of videos."""
    by_group = {}
    for row in read_json(RESULTS / "tracking_quality.json")["means"]:
        by_group.setdefault(row["group"], {})[row["entry"]] = row
    assert set(by_group) == {"drawn", "views", "network"}
    for rows in by_group.values():
        names = [name for name in ("no tracking", "IoU alone", "+ motion") if name in rows]
        figures = [(rows[name]["vpq"], rows[name]["stq"]) for name in names]
        assert figures == sorted(figures)
