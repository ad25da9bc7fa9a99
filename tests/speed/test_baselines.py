"""Peers run with their own preparation and their own merge, without a download."""

import sys

import numpy as np
import pytest
import torch
from tiny_peers import TINY

from yoso.errors import ConfigError
from yoso.speed import baselines
from yoso.speed.entry import Entry, Settings
from yoso.speed.images import photograph
from yoso.speed.lineup import line_up


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def entry(name, size=(70, 100), **settings):
    return Entry(name, name, "peer", size, Settings(survivors=5, **settings))


def kept_queries(contestant, pixels):
    """Count the queries that pass the peer's threshold on a photograph."""
    seen = []
    handle = contestant.network.register_forward_hook(lambda *arguments: seen.append(arguments[-1]))
    contestant.run(pixels)
    handle.remove()
    scores, classes = seen[0].class_queries_logits[0].softmax(-1).max(-1)
    return ((classes != baselines.NUM_CLASSES) & (scores > baselines.THRESHOLD)).sum().item()


@pytest.fixture(scope="module", params=TINY)
def built(request):
    return request.param, baselines.contestant(TINY[request.param], entry(request.param))


def test_a_peer_segments_the_photograph(built):
    _, contestant = built
    pixels = photograph((70, 100))
    prediction = contestant.run(pixels)
    assert prediction.segmentation.shape == (70, 100)
    assert prediction.segmentation.dtype.kind in "if"
    assert 0 <= prediction.num_segments <= 5
    assert kept_queries(contestant, pixels) == 5
    assert contestant.random_weights


def test_a_peer_is_always_the_same(built):
    name, contestant = built
    pixels = photograph((70, 100))
    again = baselines.contestant(TINY[name], entry(name))
    np.testing.assert_array_equal(again.run(pixels).segmentation, contestant.run(pixels).segmentation)


def test_its_stages_follow_each_other(built):
    name, contestant = built
    stages = contestant.stages(photograph((70, 100)))
    expected = ["prepare", "backbone", "aggregator", "decoder", "merge"]
    assert list(stages) == [stage for stage in expected if name != "eomt-s" or stage != "aggregator"]
    assert min(stages.values()) > 0
    assert not any(module._forward_pre_hooks for module in contestant.network.modules())


def test_the_network_s_size_is_the_next_that_the_peer_takes():
    processor = baselines.build_processor(TINY["mask2former"], (70, 100))
    batch = processor(images=photograph((70, 100)), return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, 96, 128)
    square = baselines.build_processor(TINY["eomt-s"], (70, 96))(images=photograph((70, 96)), return_tensors="pt")
    assert square["pixel_values"].shape == (1, 3, 96, 96)


def test_eomt_runs_as_published_without_masked_attention():
    network = baselines.build_network(TINY["eomt-s"], (64, 64))
    assert network.attn_mask_probs.sum() == 0


def test_building_does_not_touch_the_random_state():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    baselines.build_network(TINY["eomt-s"], (64, 64))
    assert torch.rand(1) == expected


def test_without_transformers_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r'pip install "yoso-panoptic\[benchmark\]"'):
        line_up([], ["torch"], ["mask2former"], [(64, 64)], Settings())


@pytest.mark.slow
@pytest.mark.parametrize("name", baselines.PEERS)
def test_sizes_are_the_published_ones(name):
    peer = baselines.PEERS[name]
    with torch.device("meta"):
        network = baselines.build_network(peer, (640, 640))
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert millions == pytest.approx(peer.published, rel=0.01)
