"""Scores over several processes: sums and gathered lines equal what one process counts."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from panoptic_pairs import CATEGORIES, random_pair

from warm_start import begin, ended
from yoso.evaluation.breakdown import Breakdown, Confusion, break_down
from yoso.evaluation.instances import Found, ImageInstances, mask_ap, run_lengths, true_instances
from yoso.evaluation.matching import match_segments
from yoso.evaluation.panoptic_quality import PanopticQuality
from yoso.evaluation.semantic import SemanticCounts, class_map, count_pixels
from yoso.evaluation.sums import MaskAveragePrecision, SummedCounts

K = len(CATEGORIES)
PAIRS = [random_pair(np.random.default_rng(seed)) for seed in range(5)]


def semantic_counts(pair):
    gt_map, gt_segments, pred_map, _ = pair
    return count_pixels(class_map(gt_map, gt_segments, CATEGORIES), pred_map % K, K)


def instances(number):
    gt_map, gt_segments, pred_map, pred_segments = PAIRS[number]
    detected = true_instances(pred_map, pred_segments, CATEGORIES)
    detected = [found._replace(score=1 / (2 + number + place)) for place, found in enumerate(detected)]
    truth = true_instances(gt_map, gt_segments, CATEGORIES)
    return ImageInstances(f"höhe {number}\n.png", gt_map.shape, truth, detected)


def test_counts_of_any_kind_are_summed():
    confusion, sizes = SummedCounts(Confusion.zeros(K)), SummedCounts(Breakdown.zeros(K).by_size)
    semantics = SummedCounts(SemanticCounts.zeros(K))
    total, pixels = Breakdown.zeros(K), SemanticCounts.zeros(K)
    for pair in PAIRS:
        own = break_down(match_segments(*pair, CATEGORIES), CATEGORIES)
        total, pixels = total + own, pixels + semantic_counts(pair)
        confusion.update(own.confusion)
        sizes.update(own.by_size)
        semantics.update(semantic_counts(pair))
    np.testing.assert_array_equal(confusion.total().segments, total.confusion.segments)
    np.testing.assert_array_equal(confusion.total().pixels, total.confusion.pixels)
    np.testing.assert_array_equal(sizes.total().iou_sum, total.by_size.iou_sum)
    np.testing.assert_array_equal(semantics.total().confusion, pixels.confusion)
    assert semantics.total().confusion.dtype == np.int64
    assert sizes.total().iou_sum.dtype == np.float64
    semantics.reset()
    semantics.update(SemanticCounts.zeros(K))
    assert semantics.total().confusion.sum() == 0


def test_sums_stay_exact_when_the_model_is_halved():
    metric = SummedCounts(SemanticCounts.zeros(K))
    torch.nn.ModuleList([metric]).half()
    metric.update(SemanticCounts(np.full((K, K), 2**40)))
    assert metric.total().confusion.tolist() == [[2**40] * K] * K


def test_mask_ap_of_a_metric_is_that_of_its_images():
    metric = MaskAveragePrecision(CATEGORIES)
    for number in (3, 0, 4):
        metric.update(instances(number))
    expected = mask_ap([instances(number) for number in (0, 3, 4)], CATEGORIES)
    assert repr(metric.compute()) == repr(expected)
    assert repr(pickle.loads(pickle.dumps(metric)).compute()) == repr(expected)
    assert expected.ap > 0
    metric.reset()
    metric.update(ImageInstances("a", (4, 4), [Found(0, run_lengths(np.eye(4) > 0), 4)], []))
    assert metric.compute().ap == 0


def test_lines_of_other_processes_are_gathered():
    """The other process's state is handed to torchmetrics' own gathering."""
    here, there = MaskAveragePrecision(CATEGORIES), MaskAveragePrecision(CATEGORIES)
    for number in range(5):
        (there if number % 2 else here).update(instances(number))
    remote = torch.cat(there.lines)
    here.distributed_available_fn = lambda: True
    here.dist_sync_fn = lambda state, group=None: [state, remote]
    assert repr(here.compute()) == repr(mask_ap([instances(number) for number in range(5)], CATEGORIES))


def score_as_rank(rank, store):
    """Score every second pair over two processes: of five images, and of one, of which the second process has none."""
    warnings.simplefilter("ignore")  # torchmetrics wonders about the process without an image
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    quality, precision = PanopticQuality(CATEGORIES), MaskAveragePrecision(CATEGORIES)
    semantics = SummedCounts(SemanticCounts.zeros(K))
    for images in (5, 1):
        for metric in (quality, precision, semantics):
            metric.reset()
        for number in range(rank, images, 2):
            gt_map, gt_segments, pred_map, pred_segments = PAIRS[number]
            quality.update(pred_map, pred_segments, gt_map, gt_segments)
            precision.update(instances(number))
            semantics.update(semantic_counts(PAIRS[number]))
        scores = quality.compute()
        print(repr(scores.all.pq), sum(row.true_positive for row in scores.per_class), sep=" | ")
        print(repr(precision.compute()), semantics.total().confusion.tolist(), sep=" | ")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this build of torch lacks gloo")
def test_two_processes_equal_one(tmp_path):
    files = [tmp_path / "first", tmp_path / "second"]
    processes = [begin(file, score_as_rank, rank, tmp_path / "store") for rank, file in enumerate(files)]
    assert [ended(process) for process in processes] == [0, 0], [file.read_text() for file in files]
    outputs = [file.read_text().splitlines() for file in files]
    for place, images in ((0, 5), (2, 1)):
        quality = PanopticQuality(CATEGORIES)
        for gt_map, gt_segments, pred_map, pred_segments in PAIRS[:images]:
            quality.update(pred_map, pred_segments, gt_map, gt_segments)
        whole = quality.compute()
        expected = mask_ap([instances(number) for number in range(images)], CATEGORIES)
        pixels = sum((semantic_counts(pair) for pair in PAIRS[:images]), SemanticCounts.zeros(K))
        for lines in outputs:
            pq, matched = lines[place].split(" | ")
            assert float(pq) == pytest.approx(whole.all.pq, abs=1e-12)
            assert int(matched) == sum(row.true_positive for row in whole.per_class) > 0
            assert lines[place + 1].split(" | ") == [repr(expected), str(pixels.confusion.tolist())]
