"""The result for people and for programs."""

import json

import numpy as np
from rich.console import Console

from panoptic_pairs import CATEGORIES
from yoso.apps.tables import panoptic_table
from yoso.evaluation.matching import MatchCounts
from yoso.evaluation.quality import panoptic_quality
from yoso.evaluation.report import as_json

COUNTS = MatchCounts(np.array([1.5, 0.9, 0, 0]), np.array([2, 1, 0, 0]), np.array([1, 0, 0, 0]), np.array([1, 0, 0, 0]))
RESULT = panoptic_quality(COUNTS, CATEGORIES)


def test_json_holds_figures_between_0_and_1_and_null_for_nothing():
    content = json.loads(json.dumps(as_json(RESULT, CATEGORIES), allow_nan=False))
    assert content["things"] == {"pq": 0.5, "sq": 0.75, "rq": 2 / 3, "n": 1}
    assert content["all"]["n"] == 2
    person, sky, car, _ = content["per_class"]
    assert person["name"] == "person"
    assert person["category_id"] == 7
    assert person["is_thing"] is True
    assert (person["true_positive"], person["false_positive"], person["false_negative"]) == (2, 1, 1)
    assert sky["iou_sum"] == 0.9
    assert car["pq"] is car["sq"] is car["rq"] is None


def test_json_of_nothing_is_null_throughout():
    content = as_json(panoptic_quality(MatchCounts.zeros(4), CATEGORIES), CATEGORIES)
    assert content["all"] == content["stuff"] == {"pq": None, "sq": None, "rq": None, "n": 0}


def test_the_table_has_a_row_per_class_and_group():
    console = Console(width=120)
    with console.capture() as capture:
        console.print(panoptic_table(RESULT, CATEGORIES))
    rows = {
        cells[0]: cells[1:]
        for cells in (line.replace("│", " ").split() for line in capture.get().splitlines())
        if cells
    }
    assert rows["person"] == ["thing", "50.0", "75.0", "66.7", "2", "1", "1"]
    assert rows["sky"] == ["stuff", "90.0", "90.0", "100.0", "1", "0", "0"]
    assert rows["car"] == ["thing", "-", "-", "-", "0", "0", "0"]
    assert rows["all"] == ["n", "=", "2", "70.0", "82.5", "83.3", "3", "1", "1"]


def test_a_class_name_is_never_taken_for_markup():
    names = [type(category)(category.id, "[red]x", True, (0, 0, 0)) for category in CATEGORIES]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(panoptic_table(RESULT, type(CATEGORIES)(names)))
    assert capture.get().count("[red]x") == 4
