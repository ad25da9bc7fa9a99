"""Differential fuzzing: the merges against each other, and panoptic quality against a plain transcription."""

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
import torch

from hardening.guard import Fault
from yoso.errors import NonFiniteError
from yoso.evaluation.matching import count_matches
from yoso.postprocess import Sizes, device_merge, panoptic, panoptic_numpy, upsampling
from yoso.settings import Thresholds

IS_THING = (True, False, True)
KINDS = ("normal", "ties", "zeros", "huge", "not finite")
HUGE = np.float32([3e38, -3e38, 1, -1, 0])
EXACT = {"normal", "zeros"}
"""Kinds of logits for which rounding does not decide, so that every merge gives the same segments."""

Merged = tuple[np.ndarray, list[tuple[int, int]]]


def inputs(random: Random) -> tuple[str, np.ndarray, np.ndarray, Sizes, Thresholds]:
    """Return a kind of logits, class and mask logits, sizes and thresholds."""
    numbers = np.random.default_rng(random.getrandbits(60))
    kind = random.choice(KINDS)
    count, height, width = random.randint(1, 12), random.randint(2, 9), random.randint(2, 9)
    class_logits = numbers.normal(0, 3, (count, len(IS_THING) + 1)).astype(np.float32)
    masks = numbers.normal(0, 4, (count, height, width)).astype(np.float32)
    if kind == "huge":
        masks = numbers.choice(HUGE, masks.shape)
    elif kind == "ties":
        masks = numbers.integers(-2, 3, masks.shape).astype(np.float32)
        class_logits[:] = class_logits[0]
    elif kind == "zeros":
        masks[:] = 0
    elif kind == "not finite":
        target = random.choice([class_logits, masks])
        target.flat[random.randrange(target.size)] = random.choice([np.inf, -np.inf, np.nan])
    image = random.randint(1, 4 * height), random.randint(1, 4 * width)
    output = image if random.random() < 0.4 else (random.randint(1, 60), random.randint(1, 60))
    thresholds = Thresholds(random.choice([0.0, 0.3, 0.5]), random.choice([0.0, 0.5, 0.8]))
    return kind, class_logits, masks, Sizes((4 * height, 4 * width), image, output), thresholds


@cache
def _graph() -> Any:
    from export.merge_graph import merge_session

    return merge_session(IS_THING)


def _packed(classes: torch.Tensor, masks: torch.Tensor, sizes: Sizes, thresholds: Thresholds) -> Any:
    packed = device_merge.packed_merge(classes, masks, sizes, torch.tensor(IS_THING), thresholds).numpy()
    return device_merge.unpack(packed, sizes, IS_THING, thresholds.overlap)


def _onnx(classes: np.ndarray, masks: np.ndarray, sizes: Sizes, thresholds: Thresholds) -> Merged:
    from export.merge_graph import run

    pair = (thresholds.object_mask, thresholds.overlap)
    segmentation, class_indices, *_ = run(_graph(), classes, masks, sizes, pair)
    return segmentation, list(enumerate(class_indices.tolist(), 1))


def _plain(result: Any) -> Merged:
    segmentation = result.segmentation.numpy() if isinstance(result.segmentation, torch.Tensor) else result.segmentation
    return segmentation, [(segment.id, segment.class_index) for segment in result.segments]


def compare_merges(random: Random) -> Fault | None:
    """Merge one set of logits in every way; return how the results differ, if they do."""
    kind, classes, masks, sizes, thresholds = inputs(random)
    tensors = torch.from_numpy(classes), torch.from_numpy(masks)
    ways: dict[str, Callable[[], Merged]] = {
        "torch": lambda: _plain(panoptic(*tensors, sizes, IS_THING, thresholds)),
        "numpy": lambda: _plain(panoptic_numpy(classes, masks, sizes, IS_THING, thresholds)),
        "packed": lambda: _plain(_packed(*tensors, sizes, thresholds)),
    }
    if kind != "not finite":
        ways["onnx"] = lambda: _onnx(classes, masks, sizes, thresholds)
    results: dict[str, Merged] = {}
    before, upsampling.WHOLE_BYTES = upsampling.WHOLE_BYTES, {"cpu": 0}  # so that packed and torch round alike
    try:
        for name, merge in ways.items():
            try:
                results[name] = merge()
            except NonFiniteError:
                if kind != "not finite":
                    return Fault("traceback", f"{name}: finite logits are called not finite")
    finally:
        upsampling.WHOLE_BYTES = before
    return None if kind == "not finite" else _difference(kind, results)


def _difference(kind: str, results: dict[str, Merged]) -> Fault | None:
    expected, segments = results["torch"]
    for name in ("packed", "numpy", "onnx"):
        found, own = results[name]
        if name == "packed" or kind in EXACT:
            most = 0.0 if name == "packed" else 1e-2
            if own != segments or (found != expected).mean() > most:
                return Fault("lines", f"{name} differs from torch for logits of the kind {kind}")
    return None


def compare_quality(random: Random) -> Fault | None:
    """Count the matches of one pair of maps in two ways."""
    from panoptic_pairs import CATEGORIES, FIELDS, load_script, random_pair

    pair = random_pair(np.random.default_rng(random.getrandbits(60)), 24, 32, random.randint(1, 14))
    ours, plain = count_matches(*pair, CATEGORIES), _script(load_script).plain_counts(*pair, CATEGORIES)
    for name in FIELDS:
        if not np.allclose(getattr(ours, name), getattr(plain, name), rtol=0, atol=1e-12):
            return Fault("lines", f"{name} differs from the plain transcription")
    return None


@cache
def _script(load: Callable[[], Any]) -> Any:
    return load()
