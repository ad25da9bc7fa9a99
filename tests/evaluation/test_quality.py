"""The figures made of counts."""

import math

import numpy as np
import pytest

from panoptic_pairs import CATEGORIES, random_pair
from yoso.categories import Categories
from yoso.evaluation.matching import MatchCounts, count_matches
from yoso.evaluation.quality import image_quality, panoptic_quality

PAIRS = [random_pair(np.random.default_rng(seed)) for seed in range(6)]


def counts(iou_sum: list, matched: list, mistaken: list, missed: list) -> MatchCounts:
    return MatchCounts(np.array(iou_sum), *(np.array(values) for values in (matched, mistaken, missed)))


def test_figures_worked_out_by_hand():
    result = panoptic_quality(counts([1.5, 0.9, 0.0, 0.0], [2, 1, 0, 0], [1, 0, 0, 2], [1, 0, 0, 0]), CATEGORIES)
    person, sky, car, road = result.per_class
    assert (person.pq, person.sq, person.rq) == (0.5, 0.75, 2 / 3)
    assert (sky.pq, sky.sq, sky.rq) == (0.9, 0.9, 1.0)
    assert (road.pq, road.sq, road.rq) == (0.0, 0.0, 0.0)
    assert math.isnan(car.pq)
    assert math.isnan(car.sq)
    assert math.isnan(car.rq)
    assert result.things == (0.5, 0.75, 2 / 3, 1)
    assert result.stuff == (0.45, 0.45, 0.5, 2)
    assert result.all.pq == pytest.approx(1.4 / 3)
    assert result.all.n == 3


def test_a_group_without_data_is_nan():
    result = panoptic_quality(MatchCounts.zeros(4), CATEGORIES)
    for group in (result.all, result.things, result.stuff):
        assert group.n == 0
        assert all(math.isnan(value) for value in group[:3])


@pytest.mark.parametrize("kind", [True, False])
def test_a_class_set_of_one_kind_is_fine(kind):
    categories = Categories(category for category in CATEGORIES if category.is_thing == kind)
    result = panoptic_quality(counts([0.8, 0.0], [1, 0], [0, 0], [0, 1]), categories)
    full, empty = (result.things, result.stuff) if kind else (result.stuff, result.things)
    assert full == result.all == (0.4, 0.4, 0.5, 2)
    assert empty.n == 0


def test_the_quality_of_one_image_is_that_of_its_counts():
    one = count_matches(*PAIRS[0], CATEGORIES)
    assert image_quality(one) == panoptic_quality(one, CATEGORIES).all
    assert 0 < image_quality(one).pq < 1
    assert image_quality(MatchCounts.zeros(3)).n == 0
