"""The official implementation gives the same segments as ours, so that only the time differs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yoso.model.deformable import DeformableConv
from yoso.postprocess import Sizes, panoptic
from yoso.settings import Thresholds
from yoso.speed.official import TorchvisionDeformableConv, official_network, official_panoptic
from yoso.weights.load import load_model


def check_equal(class_logits, mask_logits, sizes, is_thing, threshold, overlap):
    arguments = (class_logits, mask_logits, sizes, is_thing, Thresholds(threshold, overlap))
    ours = panoptic(*arguments)
    segmentation, segments = official_panoptic(*arguments)
    np.testing.assert_array_equal(segmentation.numpy(), ours.segmentation.numpy())
    assert [(number, index) for number, index, _ in segments] == [(s.id, s.class_index) for s in ours.segments]
    assert [score for *_, score in segments] == pytest.approx([s.score for s in ours.segments])
    return segments


def boxes(*corners, size=(16, 24)):
    masks = torch.full((len(corners), *size), -4.0)
    for mask, (top, left, bottom, right) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = 4.0
    return masks


def classes(*indices, num_classes=3, strength=8.0):
    logits = torch.zeros(len(indices), num_classes + 1)
    logits[torch.arange(len(indices)), torch.tensor(indices)] = strength
    return logits


SIZES = Sizes((64, 96), (60, 90), (75, 110))
THINGS = [True, False, False]


@pytest.mark.parametrize(
    ("masks", "kinds", "expected"),
    [
        (boxes((0, 0, 8, 8), (8, 8, 16, 16)), classes(0, 0), 2),
        (boxes((0, 0, 8, 8), (8, 8, 16, 16)), classes(1, 1), 1),
        (boxes((0, 0, 8, 8), (0, 0, 8, 9)), classes(0, 0), 1),
        (boxes((0, 0, 8, 8), (8, 8, 16, 16)), classes(3, 3), 0),
        (boxes((0, 0, 8, 8), (0, 0, 0, 0)), classes(0, 0), 1),
        (boxes((15, 22, 16, 24), (0, 0, 4, 4)), classes(0, 1), 1),
    ],
    ids=["two things", "stuff merges", "one is covered", "no object", "an empty mask", "a mask in the padding"],
)
def test_crafted_masks(masks, kinds, expected):
    assert len(check_equal(kinds, masks, SIZES, THINGS, 0.7, 0.8)) == expected


def test_scores_below_the_threshold_leave_nothing():
    assert check_equal(torch.zeros(2, 4), boxes((0, 0, 8, 8), (8, 8, 16, 16)), SIZES, THINGS, 0.7, 0.8) == []


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.3, 0.6]),
    st.sampled_from([0.0, 0.5, 0.8]),
    st.sampled_from([(50, 81), (33, 60), (90, 150)]),
)
def test_random_masks(seed, num_queries, threshold, overlap, output):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, num_queries, 4, 6, generator=generator) * 6
    masks = torch.nn.functional.interpolate(coarse, size=(16, 24), mode="bicubic")[0]
    logits = torch.randn(num_queries, 4, generator=generator) * 3
    check_equal(logits, masks, Sizes((64, 96), (50, 81), output), THINGS, threshold, overlap)


def test_the_official_network_uses_torchvision_s_operator(tiny_model):
    network = load_model(tiny_model).network
    plain = official_network(network)
    convs = [module for module in plain.modules() if isinstance(module, DeformableConv)]
    assert len(convs) == 3
    assert all(isinstance(conv, TorchvisionDeformableConv) for conv in convs)
    assert not any(isinstance(module, TorchvisionDeformableConv) for module in network.modules())
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        for theirs, ours in zip(plain(image), network(image), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


def test_the_fast_form_is_never_called(tiny_model, monkeypatch):
    plain = official_network(load_model(tiny_model).network)

    def refuse(*_):
        raise AssertionError("the faster form was used")

    monkeypatch.setattr("yoso.model.deformable.deform_conv_by_columns", refuse)
    with torch.no_grad():
        assert plain(torch.zeros(1, 3, 64, 64)).mask_logits.isfinite().all()
