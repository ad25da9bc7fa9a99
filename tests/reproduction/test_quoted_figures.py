"""The paper's figures are copied exactly."""

import re

import pytest

from yoso.reproduction.published import OURS, paper_row, paper_rows, paper_seconds
from yoso.weights.published import PUBLISHED

ROWS = {1: 14, 2: 11, 3: 5, 4: 7, 5: 2, 6: 5, 7: 4, 8: 4, 9: 3, 10: 4}
TABLES = [f"table{number}" for number in ROWS]


def test_no_row_is_left_out():
    assert [len(paper_rows(table)) for table in TABLES] == list(ROWS.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_scores_of_published_models_are_those_of_the_tables(name):
    published = PUBLISHED[name]
    rows = {row["scale"]: row for row in paper_rows(f"table{published.table}") if row["method"] == OURS}
    assert len(rows) == len(published.scores)
    for score in published.scores:
        row = rows[f"{score.input_size[0]},{score.input_size[1]}"]
        expected = [row["pq"] / 100, row["pq_things"] / 100, row["pq_stuff"] / 100]
        assert [score.pq, score.pq_things, score.pq_stuff] == pytest.approx(expected)


def test_one_network_has_one_row_in_all_ablations():
    names = {"table5": "CFA", "table6": "SDCA", "table7": "N=2", "table8": "t=3", "table9": "T=2", "table10": "n=100"}
    rows = [paper_row(table, row) for table, row in names.items()]
    assert {(row["pq"], row["sq"], row["rq"], row["pq_things"], row["pq_stuff"], row["fps"]) for row in rows} == {
        (47.0, 81.4, 56.2, 52.3, 39.0, 29.2)
    }


def test_latencies():
    assert paper_seconds("4871±11") == pytest.approx(4871e-6)


@pytest.mark.data
def test_every_row_is_in_the_paper_once(shared):
    text = (shared / "paper" / "yoso-cvpr2023.txt").read_text(encoding="utf-8")
    plain = [re.sub(r"</?i>| \[\d+\]| ", "", line).split("\t") for line in text.splitlines() if "\t" in line]
    for table in TABLES:
        for row in paper_rows(table):
            cells = ["-" if value is None else str(value).replace(" ", "") for value in row.values()]
            assert plain.count(cells) == 1, (table, row)
