"""A `Predictor` as the evaluation loop calls it: segments, logits or both, from one run of the network."""

import time
from typing import Any

import numpy as np

from yoso.inference.predictor import Predictor
from yoso.inference.results import coco_segments
from yoso.scoring.loop import Predict, Prediction
from yoso.settings import Thresholds


def with_segments(predictor: Predictor, **options: Any) -> Predict:
    """Return a function that predicts segments.

    Args:
        predictor: the model.
        options: as in a call of the predictor.
    """

    def predict(image: np.ndarray) -> Prediction:
        result, took = predictor.timed(image, **options)
        seconds = took.resize_seconds + took.network_seconds + took.merge_seconds
        return Prediction(seconds, result["segmentation"], coco_segments(result["segments_info"], predictor.categories))

    return predict


def with_logits(predictor: Predictor, input_size: Any = None) -> Predict:
    """Return a function that predicts logits alone.

    Args:
        predictor: the model, in PyTorch.
        input_size: as in a call of the predictor.
    """

    def predict(image: np.ndarray) -> Prediction:
        start = time.perf_counter()
        logits = predictor.outputs(image, input_size=input_size)
        # Reading a number waits for the device, which is still at work when the call returns.
        float(logits[0].sum())
        return Prediction(time.perf_counter() - start, logits=logits)

    return predict


def with_both(predictor: Predictor, input_size: Any, thresholds: Thresholds) -> Predict:
    """Return a function that predicts logits and the segments that they merge into.

    Args:
        predictor: the model, in PyTorch.
        input_size: as in a call of the predictor.
        thresholds: which queries become segments.
    """
    from yoso.postprocess import panoptic

    def predict(image: np.ndarray) -> Prediction:
        start = time.perf_counter()
        logits = predictor.outputs(image, input_size=input_size)
        merged = panoptic(*logits, predictor.categories.is_thing, thresholds)
        id_map = merged.segmentation.cpu().numpy()
        infos = [{"id": s.id, "label_id": s.class_index, "score": s.score} for s in merged.segments]
        segments = coco_segments(infos, predictor.categories)
        return Prediction(time.perf_counter() - start, id_map, segments, logits)

    return predict
