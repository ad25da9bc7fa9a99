"""The two orders of aggregation are one function (equation 1); coordinates and the pyramid's sizes."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from small_networks import small_config, small_network
from yoso.model.aggregator import Aggregator, ConvolutionFirst, DeformablePyramid, InterpolationFirst, positions
from yoso.model.config import ModelConfig
from yoso.settings import config_from_json

TOLERANCE = 1e-6
"""Relative to the output's largest absolute value, in float32."""


def largest_difference(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def level_sizes(height, width):
    """Return the sizes of four levels, each half the one before, rounded up: odd ones stay odd."""
    sizes = [(height, width)]
    for _ in range(3):
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes


def aggregated(channels, outputs, sizes, seed, batch=1):
    """Return what an IFA with trained-looking weights and its CFA say of random maps."""
    torch.manual_seed(seed)
    ifa = InterpolationFirst(channels, outputs)
    torch.nn.init.normal_(ifa.bias)
    levels = [torch.randn(batch, width, *size) for width, size in zip(channels, sizes, strict=True)]
    with torch.no_grad():
        return ifa.to_cfa()(levels), ifa(levels)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 33), st.integers(1, 33), st.integers(1, 2), st.integers(0, 1000))
def test_cfa_equals_ifa_at_any_size(height, width, batch, seed):
    cfa, ifa = aggregated((8, 12, 16, 24), 10, level_sizes(height, width), seed, batch)
    assert cfa.shape == (batch, 10, height, width)
    assert largest_difference(cfa, ifa) < TOLERANCE


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 17), st.integers(1, 17)), min_size=4, max_size=4), st.integers(0, 1000))
def test_cfa_equals_ifa_for_levels_of_unrelated_sizes(sizes, seed):
    assert largest_difference(*aggregated((4, 6, 8, 10), 5, sizes, seed)) < TOLERANCE


def test_cfa_equals_ifa_at_the_paper_s_width():
    assert largest_difference(*aggregated((128, 256, 512, 1024), 128, level_sizes(25, 39), 0)) < TOLERANCE


def test_to_cfa_keeps_kind_and_mode():
    ifa = InterpolationFirst((2, 3, 4, 5), 6).double().eval()
    cfa = ifa.to_cfa()
    assert isinstance(cfa, ConvolutionFirst)
    assert cfa.convs[0].weight.dtype == torch.float64
    assert not cfa.training
    assert ifa.train().to_cfa().training


def test_a_whole_network_says_the_same_with_either_order():
    network = small_network(aggregation="ifa").eval()
    images = [torch.randint(0, 256, (3, 75, 97)), torch.randint(0, 256, (3, 50, 120))]
    with torch.no_grad():
        torch.nn.init.normal_(network.aggregator.aggregate.bias)
        features, outputs = network.features(images), network(images)
        assert network.to_cfa() is network
        assert isinstance(network.aggregator.aggregate, ConvolutionFirst)
        assert largest_difference(network.features(images), features) < TOLERANCE
        after = network(images)
    assert largest_difference(after.mask_logits, outputs.mask_logits) < 1e-5
    assert largest_difference(after.class_logits, outputs.class_logits) < 1e-5


def test_a_network_turned_into_cfa_says_so():
    network = small_network(aggregation="ifa").to_cfa()
    assert network.config == small_config(aggregation="cfa")
    again = config_from_json(ModelConfig, dataclasses.asdict(network.config))
    assert Aggregator(network.backbone.channels, again).state_dict().keys() == network.aggregator.state_dict().keys()


def test_a_network_that_convolves_first_stays_as_it_is():
    network = small_network(aggregation="cfa")
    aggregate = network.aggregator.aggregate
    assert network.to_cfa().aggregator.aggregate is aggregate


def test_coordinates_run_from_minus_one_to_one_over_the_map():
    x, y = positions(torch.zeros(2, 5, 3, 5))[1]
    assert x.tolist() == [[-1.0, -0.5, 0.0, 0.5, 1.0]] * 3
    assert y.tolist() == [[-1.0] * 5, [0.0] * 5, [1.0] * 5]


def test_waves_stand_beside_their_coordinate():
    where = positions(torch.zeros(1, 5, 3, 5), frequencies=2)[0]
    plain = positions(torch.zeros(1, 5, 3, 5))[0]
    for axis, channels in zip(plain, where.unflatten(0, (2, 5)), strict=True):
        expected = [axis, (torch.pi * axis).sin(), (torch.pi * axis).cos()]
        expected += [(2 * torch.pi * axis).sin(), (2 * torch.pi * axis).cos()]
        torch.testing.assert_close(channels, torch.stack(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("frequencies", [0, 3])
def test_the_factors_of_the_features_multiply_to_them(frequencies):
    """In float64, where a mask that falls on the other side of zero would be no rounding."""
    network = small_network(position_frequencies=frequencies).double().eval()
    images = [torch.randint(0, 256, (3, 64, 96)), torch.randint(0, 256, (3, 50, 64))]
    with torch.no_grad():
        factors, features = network.factored(images), network.features(images)
        made = torch.einsum("ce,behw->bchw", factors.matrix, factors.located)
        torch.testing.assert_close(made, features)
        expected = network.decoder(features, all_stages=True)
        for ours, theirs in zip(network.stages(images), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_pyramid_levels_keep_the_backbone_s_sizes():
    pyramid = DeformablePyramid((4, 6, 8, 10), (2, 3, 4, 5)).eval()
    with torch.no_grad():
        for parameter in pyramid.parameters():
            torch.nn.init.normal_(parameter)
        sizes = [(24, 40), (12, 20), (6, 10), (3, 5)]
        levels = pyramid([torch.randn(2, width, *size) for width, size in zip((4, 6, 8, 10), sizes, strict=True)])
    assert [tuple(level.shape) for level in levels] == [
        (2, width, *size) for width, size in zip((2, 3, 4, 5), sizes, strict=True)
    ]


@pytest.mark.parametrize("channels", [None, (8, 8, 8, 8), (4, 8, 12, 16)])
def test_pyramid_width_can_be_chosen(channels):
    aggregator = Aggregator((32, 48, 192, 96), small_config(pyramid_channels=channels))
    widths = [lateral.out_channels for lateral in aggregator.pyramid.laterals]
    assert widths == list(channels or (16, 24, 96, 48))
