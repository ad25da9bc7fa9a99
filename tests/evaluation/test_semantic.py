"""Mean IoU and its relatives against a matrix counted pixel by pixel, and against hotcoco."""

import math

import numpy as np
import pytest
from hotcoco.semantic import SemanticEval
from hypothesis import given

from panoptic_pairs import CATEGORIES, pairs, random_pair, segment
from yoso.errors import DatasetError
from yoso.evaluation.semantic import IGNORED, SemanticCounts, class_map, count_pixels, semantic_quality

K = len(CATEGORIES)


def plain_matrix(truth, predicted):
    """Count pixel by pixel; row is the truth."""
    matrix = np.zeros((K, K), np.int64)
    for true_class, predicted_class in zip(truth.flat, predicted.flat, strict=True):
        if true_class != IGNORED:
            matrix[true_class, predicted_class] += 1
    return matrix


def plain_figures(matrix):
    """Return mIoU, fwIoU and pixel accuracy as their definitions read."""
    total, ious, weights = matrix.sum(), [], []
    for index in range(K):
        if matrix[index].sum():
            union = matrix[index].sum() + matrix[:, index].sum() - matrix[index, index]
            ious.append(matrix[index, index] / union)
            weights.append(matrix[index].sum() / total)
    return np.mean(ious), sum(i * w for i, w in zip(ious, weights, strict=True)), np.trace(matrix) / total


@given(pairs())
def test_equals_the_plain_matrix(pair):
    gt_map, gt_segments, pred_map, _ = pair
    index = {s["id"]: [c.id for c in CATEGORIES].index(s["category_id"]) for s in gt_segments}
    truth = class_map(gt_map, gt_segments, CATEGORIES)
    expected = np.vectorize(lambda i: index.get(int(i), IGNORED) if i else IGNORED)(gt_map)
    np.testing.assert_array_equal(truth, expected)
    predicted = (pred_map % K).astype(np.int32)
    counts = count_pixels(truth, predicted, K)
    np.testing.assert_array_equal(counts.confusion, plain_matrix(truth, predicted))
    result = semantic_quality(counts)
    if counts.confusion.sum():
        assert result[:3] == pytest.approx(plain_figures(counts.confusion), abs=1e-12)
    else:
        assert result.n == 0
        assert all(math.isnan(value) for value in result[:3])


@pytest.mark.parametrize("seed", [1, 2])
def test_equals_hotcoco_where_every_class_occurs(seed):
    """Its means take in classes that are predicted only, so all have to be in the truth for the two to agree."""
    gt_map, gt_segments, pred_map, _ = random_pair(np.random.default_rng(seed))
    truth = class_map(gt_map, gt_segments, CATEGORIES)
    predicted = (pred_map % K).astype(np.int32)
    assert set(np.unique(truth)) == {IGNORED, *range(K)}
    evaluation = SemanticEval(K)
    evaluation.update(np.where(truth == IGNORED, 255, truth).astype(np.uint8), predicted.astype(np.uint8))
    evaluation.summarize()
    theirs = evaluation.report()["metrics"]
    result = semantic_quality(count_pixels(truth, predicted, K))
    ours = (result.miou, result.fwiou, result.pixel_accuracy)
    assert ours == pytest.approx((theirs["mIoU"], theirs["fwIoU"], theirs["aAcc"]), abs=1e-12)


def test_figures_worked_out_by_hand():
    """Six pixels of person, four right; two of sky, both right; two persons taken for cars, of which there are none."""
    matrix = np.zeros((K, K), np.int64)
    matrix[0, 0], matrix[0, 2], matrix[1, 1] = 4, 2, 2
    result = semantic_quality(SemanticCounts(matrix))
    person, sky, car, road = result.per_class
    assert person == (4 / 6, 4 / 6, 6, 4)
    assert sky == (1, 1, 2, 2)
    assert car[2:] == (0, 2)
    assert math.isnan(car.iou)
    assert math.isnan(road.iou)
    assert result[:4] == pytest.approx(((4 / 6 + 1) / 2, (6 * 4 / 6 + 2) / 8, 6 / 8, 2))


def test_void_takes_no_part_even_where_something_is_predicted():
    truth = class_map(np.array([[5, 5, 0, 8]]), [segment(5, 2)], CATEGORIES)
    assert truth.tolist() == [[1, 1, IGNORED, IGNORED]]
    assert semantic_quality(count_pixels(truth, np.array([[1, 1, 0, 0]]), K)).miou == 1


def test_crowds_are_of_their_class():
    assert class_map(np.array([[5]]), [segment(5, 7, iscrowd=1)], CATEGORIES).tolist() == [[0]]


def test_counts_add_up():
    one = count_pixels(np.array([[0, 1]]), np.array([[0, 0]]), K)
    total = one + one + SemanticCounts.zeros(K)
    np.testing.assert_array_equal(total.confusion, 2 * one.confusion)


def test_sizes_must_agree():
    with pytest.raises(DatasetError, match=r"a\.png: the predicted classes are of shape \(1, 2\), the true ones"):
        count_pixels(np.zeros((1, 3), np.int32), np.zeros((1, 2), np.int32), K, "a.png")


def test_an_unknown_category_is_refused():
    with pytest.raises(DatasetError, match="unknown category_id 5"):
        class_map(np.array([[1]]), [segment(1, 5)], CATEGORIES)
