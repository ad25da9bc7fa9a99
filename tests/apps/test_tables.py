"""The other scores for people and for programs."""

import json
import math

import numpy as np
import pytest
from rich.console import Console

from panoptic_pairs import CATEGORIES, segment
from yoso.apps.tables import (
    confusion_table,
    instance_table,
    panoptic_table,
    semantic_table,
    size_table,
    tuning_table,
)
from yoso.class_tables import benchmark_categories
from yoso.evaluation.breakdown import Breakdown, break_down
from yoso.evaluation.instances import mask_ap
from yoso.evaluation.matching import MatchCounts, match_segments
from yoso.evaluation.quality import panoptic_quality
from yoso.evaluation.report import breakdown_as_json, instances_as_json, semantic_as_json
from yoso.evaluation.semantic import SemanticCounts, semantic_quality

K = len(CATEGORIES)
MAPS = np.array([[1, 1, 1, 1, 2, 2, 0]]), np.array([[9, 9, 9, 8, 2, 2, 2]])
BREAKDOWN = break_down(
    match_segments(
        MAPS[0], [segment(1, 7), segment(2, 90)], MAPS[1], [segment(9, 2), segment(8, 7), segment(2, 90)], CATEGORIES
    ),
    CATEGORIES,
)


def rows_of(table):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    lines = (line.replace("│", " ").split() for line in capture.get().splitlines())
    return [cells for cells in lines if cells]


def test_breakdown_as_json():
    content = json.loads(json.dumps(breakdown_as_json(BREAKDOWN, CATEGORIES), allow_nan=False))
    assert content["by_size"]["small"] == {
        "pq": 0.5,
        "sq": 0.5,
        "rq": 0.5,
        "n": 2,
        "true_positive": 1,
        "false_positive": 1,
        "false_negative": 1,
    }
    assert content["by_size"]["large"]["pq"] is None
    confusion = content["confusion"]
    assert confusion["rows"] == ["person", "sky", "car", "road", "nothing", "void"]
    assert confusion["columns"] == confusion["rows"][:-1]
    assert confusion["segments"][0] == [0, 1, 0, 0, 0]
    assert confusion["pixels"][0] == [1, 3, 0, 0, 0]
    assert confusion["pixels"][5] == [0, 0, 1, 0, 0]
    assert np.sum(confusion["pixels"]) == MAPS[0].size


def test_tables_of_the_breakdown():
    assert ["person", "sky", "75.0", "3", "1"] in rows_of(confusion_table(BREAKDOWN.confusion, CATEGORIES))
    rows = rows_of(size_table(BREAKDOWN, CATEGORIES))
    assert ["medium", "0", "-", "-", "-", "0", "0", "0"] in rows
    assert any(row[0] == "small" and row[-7:] == ["2", "50.0", "50.0", "50.0", "1", "1", "1"] for row in rows)


def test_nothing_is_dashes_and_null():
    empty = Breakdown.zeros(K)
    assert len(rows_of(confusion_table(empty.confusion, CATEGORIES))) > 1
    assert breakdown_as_json(empty, CATEGORIES)["by_size"]["small"]["pq"] is None
    semantic = semantic_quality(SemanticCounts.zeros(K))
    assert semantic_as_json(semantic, CATEGORIES)["miou"] is None
    assert ["person", "thing", "-", "-", "0", "0"] in rows_of(semantic_table(semantic, CATEGORIES))
    instance = mask_ap([], CATEGORIES)
    content = json.loads(json.dumps(instances_as_json(instance, CATEGORIES), allow_nan=False))
    assert content["ap"] is content["ap_small"] is None
    assert [row["name"] for row in content["per_class"]] == ["person", "car"]
    assert ["person", "-", "-", "-", "0", "0"] in rows_of(instance_table(instance, CATEGORIES))


def test_semantic_figures():
    matrix = np.zeros((K, K), np.int64)
    matrix[0, 0], matrix[0, 1] = 3, 1
    result = semantic_quality(SemanticCounts(matrix))
    content = json.loads(json.dumps(semantic_as_json(result, CATEGORIES), allow_nan=False))
    assert (content["miou"], content["n"]) == (0.75, 1)
    assert content["per_class"][0]["iou"] == 0.75
    assert content["per_class"][1]["iou"] is None
    assert content["per_class"][1]["predicted_pixels"] == 1
    rows = rows_of(semantic_table(result, CATEGORIES))
    assert ["person", "thing", "75.0", "75.0", "4", "3"] in rows
    assert ["pixel", "accuracy", "75.0"] in rows


def test_the_best_pair_is_marked():
    table = tuning_table((0.1, 0.25), (0.5, 0.75), np.array([[0.1, 0.2], [math.nan, 0.3]]), (0.25, 0.75))
    rows = rows_of(table)
    assert ["0.1", "10.0", "20.0"] in rows
    assert ["0.25", "-", "*30.0"] in rows


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("benchmark", ["coco", "cityscapes", "ade20k", "mapillary"])
def test_no_word_and_no_number_is_broken(width, benchmark):
    categories = benchmark_categories(benchmark)
    count = len(categories)
    large = np.full(count, 123456)
    matrix = np.diag(large * 10_000) + np.eye(count, k=1, dtype=int) * 99_999_999
    breakdown = Breakdown.zeros(count)
    breakdown.confusion.pixels[:count, :count] = matrix
    thresholds = tuple(number / 10 for number in range(10))
    tables = [
        panoptic_table(panoptic_quality(MatchCounts(large * 0.9, large, large, large), categories), categories),
        semantic_table(semantic_quality(SemanticCounts(matrix)), categories),
        size_table(breakdown, categories),
        confusion_table(breakdown.confusion, categories),
        instance_table(mask_ap([], categories), categories),
        tuning_table(thresholds, (*thresholds, 0.85), np.full((10, 11), 0.4567), (0.3, 0.85)),
    ]
    console = Console(width=width)
    words = {word for name in categories.names for word in name.split()} | {"123456", "1334559999", "99999999", "45.7"}
    with console.capture() as capture:
        console.print(*tables)
    printed = capture.get()
    assert max(len(line) for line in printed.splitlines()) <= width
    assert words <= set(printed.split())


@pytest.mark.parametrize("make", [size_table, confusion_table, semantic_table, instance_table])
def test_a_class_name_is_never_taken_for_markup(make):
    names = type(CATEGORIES)([type(c)(c.id, "[red]x", True, c.color) for c in CATEGORIES])
    content = {
        size_table: BREAKDOWN,
        confusion_table: BREAKDOWN.confusion,
        semantic_table: semantic_quality(SemanticCounts.zeros(K)),
        instance_table: mask_ap([], names),
    }
    text = " ".join(" ".join(row) for row in rows_of(make(content[make], names)))
    assert ("[red]x" in text) == (make is not size_table)
