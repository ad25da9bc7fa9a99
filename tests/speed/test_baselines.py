"""Baselines run with their own preparation and their own merge, without a download."""

import sys

import numpy as np
import pytest
import torch
from tiny_baselines import TINY

from yoso.errors import ConfigError
from yoso.speed import baselines
from yoso.speed.entry import EntrySpec, TimingSettings
from yoso.speed.images import input_image
from yoso.speed.specs import entry_specs


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def make_spec(name, size=(70, 100), **settings):
    return EntrySpec(name, name, "baseline", size, TimingSettings(kept_queries=5, **settings))


def count_kept_queries(entry, pixels):
    """Count the queries that pass the baseline's score threshold on an image."""
    seen = []
    handle = entry.network.register_forward_hook(lambda *arguments: seen.append(arguments[-1]))
    entry.run(pixels)
    handle.remove()
    scores, classes = seen[0].class_queries_logits[0].softmax(-1).max(-1)
    return ((classes != baselines.NUM_CLASSES) & (scores > baselines.OBJECT_MASK_THRESHOLD)).sum().item()


@pytest.fixture(scope="module", params=TINY)
def built(request):
    return request.param, baselines.build_entry(TINY[request.param], make_spec(request.param))


def test_a_baseline_segments_the_image(built):
    _, entry = built
    pixels = input_image((70, 100))
    output = entry.run(pixels)
    assert output.segmentation.shape == (70, 100)
    assert output.segmentation.dtype.kind in "if"
    assert 0 <= output.num_segments <= 5
    assert count_kept_queries(entry, pixels) == 5
    assert entry.random_weights


def test_a_baseline_is_always_the_same(built):
    name, entry = built
    pixels = input_image((70, 100))
    again = baselines.build_entry(TINY[name], make_spec(name))
    np.testing.assert_array_equal(again.run(pixels).segmentation, entry.run(pixels).segmentation)


def test_the_stages_of_a_baseline_follow_each_other(built):
    name, entry = built
    stages = entry.stage_seconds(input_image((70, 100)))
    expected = ["prepare", "backbone", "aggregator", "decoder", "merge"]
    assert list(stages) == [stage for stage in expected if name != "eomt-s" or stage != "aggregator"]
    assert min(stages.values()) > 0
    assert not any(module._forward_pre_hooks for module in entry.network.modules())


def test_the_processor_rounds_the_size_up_to_what_the_network_takes():
    processor = baselines.build_processor(TINY["mask2former"], (70, 100))
    batch = processor(images=input_image((70, 100)), return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, 96, 128)
    square = baselines.build_processor(TINY["eomt-s"], (70, 96))(images=input_image((70, 96)), return_tensors="pt")
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
        entry_specs([], ["torch"], ["mask2former"], [(64, 64)], TimingSettings())


@pytest.mark.slow
@pytest.mark.parametrize("name", baselines.BASELINES)
def test_parameter_counts_are_the_published_ones(name):
    baseline = baselines.BASELINES[name]
    with torch.device("meta"):
        network = baselines.build_network(baseline, (640, 640))
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert millions == pytest.approx(baseline.million_parameters, rel=0.01)
