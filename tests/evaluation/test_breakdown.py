"""Confusion and sizes: the rules one by one, and that everything adds up to what panoptic quality counts."""

import numpy as np
import pytest
from hypothesis import given

from panoptic_pairs import CATEGORIES, FIELDS, pairs, random_pair, segment, write_folder
from yoso.evaluation.breakdown import Breakdown, break_down, largest_confusions, quality_by_size
from yoso.evaluation.folders import count_folders
from yoso.evaluation.matching import match_segments
from yoso.evaluation.quality import panoptic_quality

PERSON, SKY, CAR, ROAD = 7, 2, 90, 91
K = len(CATEGORIES)
NOTHING, VOID = K, K + 1


def row(text):
    """Return a map of one row, one digit per pixel."""
    return np.array([[int(digit) for digit in text]])


def cells(matrix):
    """Return the cells that are not zero: {(row, column): count}."""
    return {(int(r), int(c)): int(matrix[r, c]) for r, c in zip(*np.nonzero(matrix), strict=True)}


def confusion(gt, gt_segments, pred, pred_segments):
    matching = match_segments(row(gt), gt_segments, row(pred), pred_segments, CATEGORIES)
    return break_down(matching, CATEGORIES).confusion


def test_a_match_is_on_the_diagonal():
    found = confusion("1111100000", [segment(1, PERSON)], "9999000000", [segment(9, PERSON)])
    assert cells(found.segments) == {(0, 0): 1}
    assert cells(found.pixels) == {(0, 0): 4, (0, NOTHING): 1, (VOID, NOTHING): 5}


def test_one_class_taken_for_another():
    found = confusion("1111122222", [segment(1, PERSON), segment(2, ROAD)], "9999900000", [segment(9, CAR)])
    assert cells(found.segments) == {(0, 2): 1, (3, NOTHING): 1}
    assert cells(found.pixels) == {(0, 2): 5, (3, NOTHING): 5}


def test_an_iou_of_one_half_is_not_taken_for():
    listed = [segment(1, PERSON), segment(2, SKY)]
    assert cells(confusion("1111222222", listed, "9900000000", [segment(9, CAR)]).segments) == {
        (0, NOTHING): 1,
        (1, NOTHING): 1,
        (NOTHING, 2): 1,
    }


def test_void_is_left_out_of_the_union_there_too():
    found = confusion("1111100000", [segment(1, PERSON)], "9999999990", [segment(9, CAR)])
    assert cells(found.segments) == {(0, 2): 1}


def test_an_excused_prediction_is_in_the_row_void_and_its_partner_is_missed():
    """All that the prediction has outside of void is the person, but panoptic quality does not call it a mistake."""
    found = confusion("1110000000", [segment(1, PERSON)], "9999999990", [segment(9, CAR)])
    assert cells(found.segments) == {(0, NOTHING): 1, (VOID, 2): 1}
    assert cells(found.pixels) == {(0, 2): 3, (VOID, 2): 6, (VOID, NOTHING): 1}


def test_a_crowd_has_pixels_but_is_no_segment():
    found = confusion("1111111111", [segment(1, PERSON, 1)], "9999999900", [segment(9, PERSON)])
    assert cells(found.segments) == {(VOID, 0): 1}
    assert cells(found.pixels) == {(0, 0): 8, (0, NOTHING): 2}


def test_an_unlisted_id_is_nothing():
    found = confusion("1111155555", [segment(1, PERSON)], "1111155555", [segment(1, PERSON), segment(5, CAR)])
    assert cells(found.segments) == {(0, 0): 1, (NOTHING, 2): 1}
    assert cells(found.pixels) == {(0, 0): 5, (NOTHING, 2): 5}


@given(pairs())
def test_segments_add_up_to_matched_mistaken_and_missed(pair):
    matching = match_segments(*pair, CATEGORIES)
    counts, table = matching.counts(K), break_down(matching, CATEGORIES).confusion.segments
    np.testing.assert_array_equal(table.diagonal()[:K], counts.true_positive)
    np.testing.assert_array_equal(table[:K].sum(1), counts.true_positive + counts.false_negative)
    np.testing.assert_array_equal(table[:VOID, :K].sum(0), counts.true_positive + counts.false_positive)
    predicted = [segment["category_id"] for segment in pair[3]]
    np.testing.assert_array_equal(table[:, :K].sum(0), [predicted.count(category.id) for category in CATEGORIES])
    assert table[NOTHING:, NOTHING].tolist() == [0, 0]


@given(pairs())
def test_pixels_are_those_of_the_maps(pair):
    gt_map, gt_segments, pred_map, pred_segments = pair
    index = {category.id: position for position, category in enumerate(CATEGORIES)}
    rows = {0: VOID, **{s["id"]: index[s["category_id"]] for s in gt_segments}}
    columns = {0: NOTHING, **{s["id"]: index[s["category_id"]] for s in pred_segments}}
    expected = np.zeros((K + 2, K + 1), np.int64)
    for gt_id, pred_id in zip(gt_map.flat, pred_map.flat, strict=True):
        expected[rows.get(int(gt_id), NOTHING), columns[int(pred_id)]] += 1
    table = break_down(match_segments(*pair, CATEGORIES), CATEGORIES).confusion.pixels
    np.testing.assert_array_equal(table, expected)
    assert table.sum() == gt_map.size


@given(pairs())
def test_sizes_add_up_to_the_things(pair):
    matching = match_segments(*pair, CATEGORIES)
    counts, by_size = matching.counts(K), break_down(matching, CATEGORIES).by_size
    is_thing = np.array(CATEGORIES.is_thing)
    for field in FIELDS:
        expected = np.where(is_thing, getattr(counts, field), 0)
        np.testing.assert_allclose(getattr(by_size, field).sum(0), expected, rtol=0, atol=1e-12)


def test_a_size_is_that_of_the_truth_and_of_a_mistake_its_own():
    """Squares of 31, 32 and 96 pixels a side in the truth; of 95 and 96 where nothing is."""
    gt_map, pred_map = (np.full((200, 400), 9, np.int32) for _ in range(2))
    gt_segments = [segment(1, PERSON), segment(2, PERSON), segment(3, CAR), segment(9, SKY)]
    pred_segments = [segment(1, PERSON), segment(3, CAR), segment(4, CAR), segment(5, CAR), segment(9, ROAD)]
    for number, (left, side) in enumerate(((0, 31), (32, 32), (64, 96)), start=1):
        gt_map[:side, left : left + side] = number
    pred_map[:31, :31], pred_map[:96, 64:160] = 1, 3
    pred_map[:95, 160:255], pred_map[:96, 260:356] = 4, 5
    by_size = break_down(match_segments(gt_map, gt_segments, pred_map, pred_segments, CATEGORIES), CATEGORIES).by_size
    assert by_size.true_positive.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert by_size.false_positive.tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    assert by_size.false_negative.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    figures = quality_by_size(by_size, CATEGORIES)
    assert figures["small"] == (1, 1, 1, 1, 1, 0, 0)
    assert figures["medium"] == (0, 0, 0, 2, 0, 1, 1)
    assert figures["large"] == pytest.approx((2 / 3, 1, 2 / 3, 1, 1, 1, 0))


def test_images_add_up():
    drawn = [random_pair(np.random.default_rng(seed)) for seed in range(3)]
    parts = [break_down(match_segments(*pair, CATEGORIES), CATEGORIES) for pair in drawn]
    total = sum(parts, Breakdown.zeros(K))
    assert total.confusion.pixels.sum() == sum(pair[0].size for pair in drawn)
    assert total.confusion.segments.sum() == sum(part.confusion.segments.sum() for part in parts) > 0


def test_nothing_has_no_confusions_and_no_sizes():
    nothing = Breakdown.zeros(K)
    assert largest_confusions(nothing.confusion, 5) == []
    assert all(
        figures.n == 0 and np.isnan(figures.pq) for figures in quality_by_size(nothing.by_size, CATEGORIES).values()
    )


def test_the_largest_share_comes_first():
    found = confusion(
        "1111122222",
        [segment(1, PERSON), segment(2, ROAD)],
        "9900088882",
        [segment(9, CAR), segment(8, SKY), segment(2, ROAD)],
    )
    assert [pair[:4] for pair in largest_confusions(found, 2)] == [(3, 1, 0.8, 4), (0, NOTHING, 0.6, 3)]
    assert [pair.segments for pair in largest_confusions(found, 2)] == [1, 1]


def test_a_folder_has_the_breakdown_of_its_images(tmp_path):
    drawn = {number: random_pair(np.random.default_rng(40 + number)) for number in range(4)}
    gt = write_folder(tmp_path, "gt", {number: pair[:2] for number, pair in drawn.items()})
    pred = write_folder(tmp_path, "pred", {number: pair[2:] for number, pair in drawn.items()})
    counted = count_folders(*gt, *pred)
    parts = [break_down(match_segments(*pair, CATEGORIES), CATEGORIES) for pair in drawn.values()]
    total = sum(parts, Breakdown.zeros(K))
    np.testing.assert_array_equal(counted.breakdown.confusion.segments, total.confusion.segments)
    np.testing.assert_array_equal(counted.breakdown.confusion.pixels, total.confusion.pixels)
    np.testing.assert_array_equal(counted.breakdown.by_size.true_positive, total.by_size.true_positive)


@pytest.mark.data
def test_the_published_fixture_adds_up(shared):
    folder = shared / "data" / "pq_fixture"
    counted = count_folders(folder / "gt.json", folder / "gt", folder / "pred.json", folder / "pred")
    table, result = counted.breakdown.confusion.segments, counted.result()
    num_classes = len(counted.categories)
    for index, figures in enumerate(result.per_class):
        assert table[index].sum() == figures.true_positive + figures.false_negative
        assert table[: num_classes + 1, index].sum() == figures.true_positive + figures.false_positive
    sizes = quality_by_size(counted.breakdown.by_size, counted.categories)
    things = [c.is_thing for c in counted.categories]
    matched = sum(row.true_positive for row, thing in zip(result.per_class, things, strict=True) if thing)
    assert sum(figures.true_positive for figures in sizes.values()) == matched
    assert panoptic_quality(counted.images[0].counts, counted.categories).all.n > 0
