"""The search for thresholds: every figure of its table is the one that merging and matching at that pair give."""

import numpy as np
import pytest
import torch

from panoptic_pairs import CATEGORIES, random_pair
from yoso.categories import Categories
from yoso.data.coco_panoptic import ImageRecord, PanopticExample
from yoso.evaluation.matching import MatchCounts, count_matches
from yoso.evaluation.quality import panoptic_quality
from yoso.postprocess import Sizes, panoptic
from yoso.scoring import tuning
from yoso.scoring.loop import Prediction
from yoso.scoring.tuning import Grid, ThresholdSearch
from yoso.settings import Thresholds

GRID = Grid((0.0, 0.3, 0.35, 0.5, 0.99), (0.0, 0.4, 0.7, 0.95))
SIZES = Sizes((64, 64), (60, 64), (48, 64))
MODEL = Categories([CATEGORIES[2], CATEGORIES[0], CATEGORIES[3]])


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors are too small to share among threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def example_of(id_map, segments, name="a.png"):
    record = ImageRecord(1, name, name, *id_map.shape)
    return PanopticExample(np.zeros((*id_map.shape, 3), np.uint8), id_map, segments, record)


def drawn(seed):
    """Return logits that resemble the truth, and the truth."""
    gt_map, gt_segments, _, _ = random_pair(np.random.default_rng(seed), num_segments=6)
    generator = torch.Generator().manual_seed(seed)
    classes = 2 * torch.randn(12, len(MODEL) + 1, generator=generator)
    masks = 2 * torch.randn(12, 16, 16, generator=generator)
    ids = [model.id for model in MODEL]
    for query, segment in enumerate(gt_segments):
        part = torch.from_numpy((gt_map == segment["id"])[::3, ::4].copy())
        masks[query] += torch.where(part, 6.0, -4.0)
        if segment["category_id"] in ids:
            classes[query, ids.index(segment["category_id"])] += 3
    return classes, masks, SIZES, example_of(gt_map, gt_segments, f"{seed}.png")


IMAGES = [drawn(seed) for seed in range(4)]


def searched(images, grid=GRID):
    search = ThresholdSearch(grid, MODEL, CATEGORIES)
    for *logits, example in images:
        search.add(example, Prediction(0.0, logits=logits))
    return search


def ordinary(object_mask_threshold, overlap_threshold):
    """Return PQ as `yoso eval` counts it."""
    total = MatchCounts.zeros(len(CATEGORIES))
    for classes, masks, sizes, truth in IMAGES:
        result = panoptic(classes, masks, sizes, MODEL.is_thing, Thresholds(object_mask_threshold, overlap_threshold))
        segments = [{"id": s.id, "category_id": MODEL[s.class_index].id} for s in result.segments]
        counted = count_matches(truth.id_map, truth.segments, result.segmentation.numpy(), segments, CATEGORIES)
        total = total + counted
    return panoptic_quality(total, CATEGORIES).all.pq


def test_every_figure_is_that_of_an_ordinary_evaluation():
    table = searched(IMAGES).table()
    expected = [[ordinary(row, column) for column in GRID.overlap_thresholds] for row in GRID.object_mask_thresholds]
    assert table.tolist() == expected
    assert len(np.unique(table)) > 4
    assert table.max() > 0.1


def test_queries_compete_once_per_set(monkeypatch):
    """Thresholds that keep the same queries share the work, and so do all overlap thresholds."""
    calls = []

    def compete(masks, found, sizes):
        calls.append(len(found.queries))
        return original(masks, found, sizes)

    original = tuning.compete
    monkeypatch.setattr(tuning, "compete", compete)
    searched(IMAGES[:1], Grid((0.0, 1e-9, 2e-9, 0.5, 1.0), GRID.overlap_thresholds))
    assert len(calls) == len(set(calls)) == 2
    assert min(calls) > 0


def test_the_best_pair():
    search = searched(IMAGES)
    table = search.table()
    rows, columns = np.nonzero(table == table.max())
    first = Thresholds(GRID.object_mask_thresholds[rows[0]], GRID.overlap_thresholds[columns[0]])
    assert search.best(Thresholds(0.99, 0.0)) == first
    assert search.best(Thresholds(0.123, 0.0)) == first
    assert search.best(first) == first


def test_a_pair_in_use_that_is_as_good_is_kept():
    search = ThresholdSearch(Grid((0.1, 0.2), (0.3, 0.4)), MODEL, CATEGORIES)
    example = example_of(np.ones((48, 64), np.int32), [{"id": 1, "category_id": CATEGORIES[0].id}])
    search.add(example, Prediction(0.0, logits=(torch.full((3, 4), -1.0), torch.full((3, 16, 16), -5.0), SIZES)))
    assert search.table().tolist() == [[0, 0], [0, 0]]
    assert search.best(Thresholds(0.2, 0.3)) == Thresholds(0.2, 0.3)
    assert search.best(Thresholds(0.7, 0.8)) == Thresholds(0.1, 0.3)


@pytest.mark.parametrize("segments", [[], [{"id": 1, "category_id": 7, "iscrowd": 1}]], ids=["void", "crowd"])
def test_without_a_segment_to_find_there_is_no_best_pair(segments):
    search = ThresholdSearch(Grid((0.9,), (0.5,)), MODEL, CATEGORIES)
    example = example_of(np.zeros((48, 64), np.int32), segments)
    search.add(example, Prediction(0.0, logits=(torch.zeros(3, 4), torch.zeros(3, 16, 16), SIZES)))
    assert np.isnan(search.table()).all()
    assert search.best(Thresholds(0.9, 0.5)) is None
