import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from yoso.errors import ConfigError
from yoso.speed.kept_queries import keep_queries


def kept(logits, threshold=0.8):
    scores, classes = logits.float().softmax(-1).max(-1)
    return ((classes != logits.shape[-1] - 1) & (scores > threshold)).sum().item()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**31), st.sampled_from([0.05, 1.0]))
def test_exactly_that_many_queries_are_kept(count, seed, temperature):
    tokens = torch.randn(1, 30, 16, generator=torch.Generator().manual_seed(seed))
    layer = nn.Linear(16, 6)
    keep_queries(layer, lambda: layer(tokens), count, temperature)
    with torch.no_grad():
        assert kept(layer(tokens)[0] / temperature) == count


def test_no_more_queries_are_kept_than_there_are():
    tokens = torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(0))
    layer = nn.Linear(16, 6)
    keep_queries(layer, lambda: layer(tokens), 100)
    with torch.no_grad():
        assert kept(layer(tokens)[0]) == 7


def test_the_last_call_counts_and_the_hook_is_removed():
    first, last = torch.randn(2, 1, 20, 8, generator=torch.Generator().manual_seed(0))
    layer = nn.Linear(8, 4)
    keep_queries(layer, lambda: (layer(first), layer(last)), 5)
    with torch.no_grad():
        assert kept(layer(last)[0]) == 5
    assert not layer._forward_pre_hooks


def test_half_precision_rounding_is_small_against_the_gap():
    generator = torch.Generator().manual_seed(0)
    tokens = 3 + 0.2 * torch.randn(1, 100, 256, generator=generator)
    layer = nn.Linear(256, 134)
    keep_queries(layer, lambda: layer(tokens), 12)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert kept(layer(tokens)[0]) == 12


def test_values_that_are_not_finite_are_refused():
    layer = nn.Linear(4, 3)
    with pytest.raises(ConfigError, match="not finite in this precision"):
        keep_queries(layer, lambda: layer(torch.full((1, 5, 4), float("inf"))), 2)
