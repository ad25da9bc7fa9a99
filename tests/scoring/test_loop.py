"""The evaluation loop, what it is given, and the matches that panoptic quality is counted from."""

import numpy as np
import pytest

from panoptic_pairs import CATEGORIES, FIELDS, random_pair
from yoso.data.coco_panoptic import ImageRecord, PanopticExample
from yoso.data.dataset import PanopticDataset
from yoso.data.spec import load_spec
from yoso.errors import DatasetError, ImageError
from yoso.evaluation.matching import MatchCounts, count_matches
from yoso.evaluation.quality import panoptic_quality
from yoso.inference.loading import load
from yoso.scoring.loop import Metric, Prediction, score_image, score_split
from yoso.scoring.predicting import with_both, with_logits, with_segments
from yoso.scoring.tasks import MatchedSegments
from yoso.settings import Thresholds


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return PanopticDataset(load_spec(tiny_dataset).split("val"))


@pytest.fixture(scope="module")
def predictor(tiny_model, one_thread):
    return load(tiny_model, "cpu", "torch")


class Recorder:
    """A metric that keeps what it is given."""

    def __init__(self):
        self.seen = []

    def add(self, example, prediction):
        self.seen.append((example.record.file_name, prediction))


def numbered():
    """Return a function that predicts the seconds 1, 2, 3, ... and nothing else."""
    calls = iter(range(1, 100))
    return lambda image: Prediction(float(next(calls)))


def test_every_metric_counts_every_image_in_order(dataset):
    metrics = [Recorder(), Recorder()]
    assert all(isinstance(metric, Metric) for metric in metrics)
    seconds = score_split(dataset, numbered(), metrics)
    assert seconds == [1, 2, 3, 4, 5, 6, 7, 8]
    assert metrics[0].seen == metrics[1].seen
    assert [(name, prediction.seconds) for name, prediction in metrics[0].seen] == [
        (f"{number}.png", number + 1) for number in range(8)
    ]


@pytest.mark.parametrize(("limit", "count"), [(None, 8), (3, 3), (8, 8), (50, 8)])
def test_the_first_images_only(dataset, limit, count):
    metric = Recorder()
    assert len(score_split(dataset, numbered(), [metric], limit=limit)) == count
    assert [name for name, _ in metric.seen] == [f"{number}.png" for number in range(count)]


def test_progress_is_told_image_by_image(dataset):
    told = []

    def watch(indices):
        for index in indices:
            told.append((index, len(metric.seen)))
            yield index

    metric = Recorder()
    score_split(dataset, numbered(), [metric], limit=2, watch=watch)
    assert told == [(0, 0), (1, 1)]


def test_a_prediction_that_fails_is_counted_by_no_metric(dataset):
    metric = Recorder()

    def predict(image):
        if metric.seen:
            raise ImageError("too large")
        return Prediction(0.0)

    with pytest.raises(ImageError, match="too large"):
        score_split(dataset, predict, [metric])
    assert len(metric.seen) == 1


def example_of(id_map, segments):
    record = ImageRecord(1, "a.jpg", "a.png", *id_map.shape)
    return PanopticExample(np.zeros((*id_map.shape, 3), np.uint8), id_map, segments, record)


def test_matched_segments_have_the_panoptic_quality_of_their_images():
    pairs = [random_pair(np.random.default_rng(seed)) for seed in range(3)]
    metric, total = MatchedSegments(CATEGORIES), MatchCounts.zeros(len(CATEGORIES))
    for gt_map, gt_segments, pred_map, pred_segments in pairs:
        prediction = Prediction(0.0, pred_map, pred_segments)
        assert score_image(example_of(gt_map, gt_segments), lambda _, result=prediction: result, [metric]) is prediction
        own = count_matches(gt_map, gt_segments, pred_map, pred_segments, CATEGORIES)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(metric.per_image[-1], field), getattr(own, field))
        total = total + own
    assert metric.result == panoptic_quality(total, CATEGORIES)
    assert 0 < metric.result.all.pq < 1


def test_matched_segments_of_no_image():
    assert MatchedSegments(CATEGORIES).result.all.n == 0


def test_a_fault_of_the_ground_truth_names_the_image():
    id_map = np.ones((4, 4), np.int32)
    with pytest.raises(DatasetError, match=r"a\.jpg: ground truth: segment 1: unknown category_id 5"):
        MatchedSegments(CATEGORIES).add(example_of(id_map, [{"id": 1, "category_id": 5}]), Prediction(0.0, id_map * 0))


def test_segments_are_those_of_a_call(predictor, dataset):
    image = dataset.example(0).image
    options = {"input_size": (48, 96), "object_mask_threshold": 0.1, "overlap_threshold": 0.2}
    prediction, result = with_segments(predictor, **options)(image), predictor(image, **options)
    np.testing.assert_array_equal(prediction.id_map, result["segmentation"])
    assert [(segment["id"], segment["category_id"]) for segment in prediction.segments] == [
        (info["id"], dataset.categories[info["label_id"]].id) for info in result["segments_info"]
    ]
    assert prediction.segments
    assert prediction.logits is None
    assert prediction.seconds > 0


def test_logits_are_those_of_outputs(predictor, dataset):
    image = dataset.example(1).image
    prediction, expected = with_logits(predictor, (48, 96))(image), predictor.outputs(image, input_size=(48, 96))
    for ours, theirs in zip(prediction.logits[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert prediction.logits[2] == expected[2]
    assert prediction.id_map is None
    assert prediction.segments == ()


@pytest.mark.parametrize("size", [None, "native", (48, 96)])
def test_both_are_the_two_from_one_run_of_the_network(predictor, dataset, monkeypatch, size):
    image, calls = dataset.example(2).image, []
    thresholds = {"object_mask_threshold": 0.1, "overlap_threshold": 0.2}
    segments, logits = (
        with_segments(predictor, input_size=size, **thresholds)(image),
        with_logits(predictor, size)(image),
    )
    real = type(predictor).outputs
    monkeypatch.setattr(type(predictor), "outputs", lambda *args, **kwargs: (calls.append(1), real(*args, **kwargs))[1])
    both = with_both(predictor, size, Thresholds(0.1, 0.2))(image)
    assert calls == [1]
    np.testing.assert_array_equal(both.id_map, segments.id_map)
    assert both.segments == segments.segments
    np.testing.assert_array_equal(both.logits[1].numpy(), logits.logits[1].numpy())
    assert both.logits[2] == logits.logits[2]
