"""The figures made of counts, and the metric that adds counts up over images and processes."""

import math
import pickle

import numpy as np
import pytest
import torch
from panoptic_pairs import CATEGORIES, FIELDS, random_pair, segment

from yoso.categories import Categories
from yoso.errors import DatasetError
from yoso.evaluation.matching import MatchCounts, count_matches
from yoso.evaluation.panoptic_quality import PanopticQuality
from yoso.evaluation.quality import image_quality, panoptic_quality

PAIRS = [random_pair(np.random.default_rng(seed)) for seed in range(6)]


def add(metric: PanopticQuality, pair: tuple) -> None:
    gt_map, gt_segments, pred_map, pred_segments = pair
    metric.update(pred_map, pred_segments, gt_map, gt_segments)


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


def test_the_metric_sums_images():
    metric = PanopticQuality(CATEGORIES)
    for pair in PAIRS:
        add(metric, pair)
    total = sum((count_matches(*pair, CATEGORIES) for pair in PAIRS), MatchCounts.zeros(4))
    assert metric.compute() == panoptic_quality(total, CATEGORIES)
    metric.reset()
    add(metric, PAIRS[0])
    assert metric.compute() == panoptic_quality(count_matches(*PAIRS[0], CATEGORIES), CATEGORIES)


def test_calling_the_metric_gives_the_image_and_keeps_the_sum():
    metric, summed = PanopticQuality(CATEGORIES), PanopticQuality(CATEGORIES)
    for gt_map, gt_segments, pred_map, pred_segments in PAIRS[:3]:
        result = metric(pred_map, pred_segments, gt_map, gt_segments)
        assert result.all == image_quality(count_matches(gt_map, gt_segments, pred_map, pred_segments, CATEGORIES))
        summed.update(pred_map, pred_segments, gt_map, gt_segments)
    assert metric.compute() == summed.compute()


def test_two_metrics_merged_equal_one():
    one, other, whole = (PanopticQuality(CATEGORIES) for _ in range(3))
    for number, pair in enumerate(PAIRS):
        add(one if number % 3 else other, pair)
        add(whole, pair)
    one.merge_state(other)
    for field in FIELDS[1:]:
        assert torch.equal(getattr(one, field), getattr(whole, field))
    torch.testing.assert_close(one.iou_sum, whole.iou_sum, rtol=0, atol=1e-12)
    assert one.compute().all.pq == pytest.approx(whole.compute().all.pq, abs=1e-12)


def test_sums_stay_exact_when_the_model_is_halved():
    metric = PanopticQuality(CATEGORIES)
    torch.nn.ModuleList([metric]).half()
    add(metric, PAIRS[0])
    assert metric.iou_sum.dtype == torch.float64
    assert metric.true_positive.dtype == torch.int64


def test_tensors_and_arrays_count_alike():
    gt_map, gt_segments, pred_map, pred_segments = PAIRS[1]
    arrays, tensors = PanopticQuality(CATEGORIES), PanopticQuality(CATEGORIES)
    arrays.update(pred_map, pred_segments, gt_map, gt_segments)
    tensors.update(torch.from_numpy(pred_map), pred_segments, torch.from_numpy(gt_map), gt_segments)
    assert arrays.compute() == tensors.compute()


def test_the_metric_survives_pickling():
    metric = PanopticQuality(CATEGORIES)
    add(metric, PAIRS[2])
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()


def test_a_wrong_prediction_leaves_the_sums_alone():
    metric = PanopticQuality(CATEGORIES)
    add(metric, PAIRS[0])
    before = metric.iou_sum.clone()
    gt_map, gt_segments, _, _ = PAIRS[1]
    with pytest.raises(DatasetError, match=r"b\.png: prediction: segment 1: unknown category_id 55"):
        metric.update(np.ones_like(gt_map), [segment(1, 55)], gt_map, gt_segments, "b.png")
    assert torch.equal(metric.iou_sum, before)


def test_processes_are_summed_when_computing():
    """The other process's states are handed to torchmetrics' own gathering."""
    here, there, whole = (PanopticQuality(CATEGORIES) for _ in range(3))
    for number, pair in enumerate(PAIRS):
        add(there if number % 3 else here, pair)
        add(whole, pair)
    remote = iter([getattr(there, field).clone() for field in here._reductions])
    here.distributed_available_fn = lambda: True
    here.dist_sync_fn = lambda state, group=None: [state, next(remote)]
    result = here.compute()
    assert result.all.pq == pytest.approx(whole.compute().all.pq, abs=1e-12)
    assert [row[4:] for row in result.per_class] == [row[4:] for row in whole.compute().per_class]
    assert here.true_positive.sum() < whole.true_positive.sum()
