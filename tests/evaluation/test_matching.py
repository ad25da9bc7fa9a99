"""The counting of one image: the rules one by one, then against the plain rule on anything hypothesis thinks of."""

import numpy as np
import pytest
from hypothesis import given, settings

from panoptic_pairs import CATEGORIES, FIELDS, load_script, pairs, random_pair, segment
from yoso.errors import DatasetError
from yoso.evaluation import matching
from yoso.evaluation.matching import MatchCounts, count_matches

PLAIN = load_script().plain_counts
PERSON, SKY, CAR = 7, 2, 90


def row(text: str) -> np.ndarray:
    """Return a map of one row, one digit per pixel."""
    return np.array([[int(digit) for digit in text]])


def person(gt: str, gt_segments: list, pred: str, pred_segments: list) -> tuple[float, int, int, int]:
    """Count one row; return the figures of class person."""
    counts = count_matches(row(gt), gt_segments, row(pred), pred_segments, CATEGORIES)
    return tuple(getattr(counts, field)[0].item() for field in FIELDS)


def assert_same(one: MatchCounts, other: MatchCounts) -> None:
    for field in FIELDS:
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=0, atol=1e-12, err_msg=field)


def test_a_perfect_prediction_matches():
    assert person("1111100000", [segment(1, PERSON)], "9999900000", [segment(9, PERSON)]) == (1.0, 1, 0, 0)


def test_void_pixels_are_left_out_of_the_union():
    assert person("1111100000", [segment(1, PERSON)], "9999999900", [segment(9, PERSON)]) == (1.0, 1, 0, 0)


def test_an_iou_of_one_half_is_no_match():
    listed = [segment(1, PERSON), segment(2, SKY)]
    assert person("1111222222", listed, "9900000000", [segment(9, PERSON)]) == (0.0, 0, 1, 1)
    assert person("1111222222", listed, "9990000000", [segment(9, PERSON)]) == (0.75, 1, 0, 0)


def test_another_class_never_matches():
    assert person("1111111111", [segment(1, SKY)], "9999999999", [segment(9, PERSON)]) == (0.0, 0, 1, 0)


def test_a_prediction_on_void_is_no_mistake_if_more_than_half_of_it_is():
    listed = [segment(1, SKY)]
    assert person("1111100000", listed, "0009999900", [segment(9, PERSON)]) == (0.0, 0, 0, 0)
    assert person("1111100000", listed, "0099999900", [segment(9, PERSON)]) == (0.0, 0, 1, 0)


def test_a_crowd_is_never_matched_and_never_missed():
    crowd = [segment(1, PERSON, iscrowd=1)]
    assert person("1111111111", crowd, "9999999999", [segment(9, PERSON)]) == (0.0, 0, 0, 0)
    assert person("1111111111", crowd, "0000000000", []) == (0.0, 0, 0, 0)


def test_a_crowd_excuses_only_its_own_class():
    crowd = [segment(1, CAR, iscrowd=1)]
    assert person("1111111111", crowd, "9999999999", [segment(9, PERSON)]) == (0.0, 0, 1, 0)


def test_void_and_crowd_add_up():
    listed = [segment(1, PERSON, iscrowd=1), segment(2, SKY)]
    assert person("1112222000", listed, "0999999990", [segment(9, PERSON)]) == (0.0, 0, 1, 0)
    assert person("1112222000", listed, "9999999999", [segment(9, PERSON)]) == (0.0, 0, 0, 0)


def test_of_several_crowds_of_a_class_the_last_listed_counts():
    small_last = [segment(1, PERSON, 1), segment(2, PERSON, 1), segment(3, SKY)]
    large_last = [small_last[1], small_last[0], small_last[2]]
    assert person("1111122333", small_last, "9999999900", [segment(9, PERSON)]) == (0.0, 0, 1, 0)
    assert person("1111122333", large_last, "9999999900", [segment(9, PERSON)]) == (0.0, 0, 0, 0)


def test_unlisted_ground_truth_pixels_are_not_void():
    assert person("1111118888", [segment(1, PERSON)], "9999999999", [segment(9, PERSON)]) == (0.6, 1, 0, 0)


def test_a_ground_truth_segment_without_pixels_is_a_miss():
    listed = [segment(1, PERSON), segment(2, PERSON)]
    assert person("1111111111", listed, "9999999999", [segment(9, PERSON)]) == (1.0, 1, 0, 1)


def test_an_area_in_the_file_is_not_looked_at():
    listed = [{**segment(1, PERSON), "area": 5000}]
    pred = [{**segment(9, PERSON), "area": 1}]
    assert person("1111100000", listed, "9999900000", pred) == (1.0, 1, 0, 0)


def test_iscrowd_may_be_left_out():
    listed = [{"id": 1, "category_id": PERSON}]
    assert person("1111100000", listed, "0000000000", []) == (0.0, 0, 0, 1)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1)])
def test_nothing_to_compare_counts_nothing(shape):
    empty = np.zeros(shape, np.int32)
    assert_same(count_matches(empty, [], empty, [], CATEGORIES), MatchCounts.zeros(len(CATEGORIES)))


@given(pairs())
def test_equals_the_plain_rule(pair):
    assert_same(count_matches(*pair, CATEGORIES), PLAIN(*pair, CATEGORIES))


@given(pairs())
@settings(max_examples=30)
def test_counts_add_up_to_the_number_of_segments(pair):
    counts = count_matches(*pair, CATEGORIES)
    ordinary = sum(not s["iscrowd"] for s in pair[1])
    assert (counts.true_positive + counts.false_negative).sum() == ordinary
    assert (counts.true_positive + counts.false_positive).sum() <= len(pair[3])
    assert np.all(counts.iou_sum <= counts.true_positive)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_any_kind_of_integers_will_do(dtype):
    gt_map, gt_segments, pred_map, pred_segments = (
        np.array([[1, 1, 2], [1, 1, 2]]),
        [segment(1, PERSON), segment(2, SKY)],
        np.array([[200, 200, 3], [200, 3, 3]]) % 128,
        [segment(72, PERSON), segment(3, SKY)],
    )
    expected = PLAIN(gt_map, gt_segments, pred_map, pred_segments, CATEGORIES)
    got = count_matches(gt_map.astype(dtype), gt_segments, pred_map.astype(dtype), pred_segments, CATEGORIES)
    assert expected.true_positive.sum() == 2
    assert_same(got, expected)


def test_views_that_are_not_contiguous_will_do():
    gt_map, gt_segments, pred_map, pred_segments = random_pair(np.random.default_rng(4))
    straight = count_matches(gt_map, gt_segments, pred_map, pred_segments, CATEGORIES)
    turned = count_matches(gt_map.T, gt_segments, pred_map[:, :].T, pred_segments, CATEGORIES)
    assert straight.true_positive.sum() > 0
    assert_same(straight, turned)


def test_very_many_segments_are_counted_alike(monkeypatch):
    pair = random_pair(np.random.default_rng(5))
    dense = count_matches(*pair, CATEGORIES)
    monkeypatch.setattr(matching, "DENSE_CELLS", 0)
    assert_same(count_matches(*pair, CATEGORIES), dense)


MAP = row("1122")
GOOD = [segment(1, PERSON), segment(2, SKY)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((MAP, GOOD, MAP[:, :3], GOOD), "a.png: the prediction is 3x1 pixels but the ground truth is 4x1"),
        ((MAP, GOOD, MAP.astype(float), GOOD), "id map of the prediction must be .* it is float64"),
        ((MAP[0], GOOD, MAP, GOOD), "id map of the ground truth must be"),
        ((MAP, GOOD, MAP, GOOD[:1]), "id map has id 2 not in its segments_info"),
        ((MAP, GOOD, row("3456"), []), "has ids 3, 4, 5 and 1 more not in its segments_info"),
        ((MAP, GOOD, -MAP, []), "has ids -2, -1 not in its segments_info"),
        ((MAP, GOOD, MAP, [*GOOD, segment(9, SKY)]), "lists id 9 without a pixel"),
        ((MAP, GOOD, MAP, [*GOOD, segment(2, SKY)]), "prediction: id 2 listed more than once"),
        ((MAP, [*GOOD, segment(1, SKY)], MAP, GOOD), "ground truth: id 1 listed more than once"),
        ((MAP, [segment(0, SKY)], MAP, GOOD), "ground truth: segment id 0 is not allowed"),
        ((MAP, GOOD, MAP, [segment(1, 5), GOOD[1]]), "prediction: segment 1: unknown category_id 5; known ids"),
        ((MAP, GOOD, MAP, [{"id": 1}, GOOD[1]]), "segment number 0 has no 'category_id'"),
        ((MAP, GOOD, MAP, [{"category_id": 7}, GOOD[1]]), "segment number 0 has no 'id'"),
        ((MAP, GOOD, MAP, [{"id": 1.5, "category_id": 7}]), "segment number 0 is .* must be whole numbers"),
        ((MAP, GOOD, MAP, [{"id": 1, "category_id": [7]}]), "segment number 0 is .* must be whole numbers"),
        ((MAP, GOOD, MAP, [{"id": 1 << 70, "category_id": 7}]), "must be whole numbers"),
    ],
)
def test_faults_are_named(args, message):
    with pytest.raises(DatasetError, match=message) as caught:
        count_matches(*args, CATEGORIES, "a.png")
    assert "\n" not in str(caught.value)
