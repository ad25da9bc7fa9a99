"""The vectorised attentions equal convolutions written out image by image."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from yoso.errors import ConfigError
from yoso.model.attention import ATTENTIONS
from yoso.model.config import ModelConfig


def convolved(value, weight, groups=1):
    """Return a 'same' convolution of (N, C) with weight (N, N / groups, t); an even kernel reaches right further."""
    size = weight.shape[-1]
    left = (size - 1) // 2
    return F.conv1d(F.pad(value, (left, size - 1 - left))[None], weight, groups=groups)[0]


def sdca(kernels, value, size):
    depthwise, pointwise = kernels[:, :size], kernels[:, size:]
    return convolved(convolved(value, depthwise[:, None], groups=len(value)).relu(), pointwise[..., None])


def dca(kernels, value, size):
    return convolved(value, kernels.reshape(len(value), len(value), size))


def ddca(kernels, value, size):
    return convolved(value, kernels[:, None], groups=len(value))


def pdca(kernels, value, size):
    return convolved(value, kernels[..., None])


PLAIN = {"sdca": sdca, "dca": dca, "ddca": ddca, "pdca": pdca}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(PLAIN)),
    batch=st.integers(1, 3),
    queries=st.integers(1, 6),
    channels=st.integers(2, 12),
    size=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_equals_a_loop_over_images(kind, batch, queries, channels, size, seed):
    torch.manual_seed(seed)
    config = ModelConfig(num_queries=queries, kernel_size=size, hidden_channels=channels, num_heads=1)
    module = ATTENTIONS[kind](config).double()
    query, value = torch.randn(2, batch, queries, channels, dtype=torch.float64)
    with torch.no_grad():
        expected = [
            module.norm(PLAIN[kind](kernels, features, size))
            for kernels, features in zip(module.kernels(query), value, strict=True)
        ]
        torch.testing.assert_close(module(query, value), torch.stack(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_padding_is_torch_s_same_padding(size):
    value, weight = torch.randn(4, 9), torch.randn(4, 4, size)
    expected = F.conv1d(value[None], weight, padding="same")[0]
    torch.testing.assert_close(convolved(value, weight), expected)


def test_multi_head_attention_is_softmax_of_scaled_products():
    """Equations 4 and 5, written out."""
    torch.manual_seed(0)
    module = ATTENTIONS["mhca"](ModelConfig(hidden_channels=12, num_heads=3)).double()
    query, value = torch.randn(2, 2, 5, 12, dtype=torch.float64)
    weights, biases = module.attention.in_proj_weight.chunk(3), module.attention.in_proj_bias.chunk(3)
    heads = [
        F.linear(x, weight, bias).unflatten(-1, (3, 4)).transpose(1, 2)
        for x, weight, bias in zip((query, value, value), weights, biases, strict=True)
    ]
    shares = (heads[0] @ heads[1].transpose(-1, -2) / 4**0.5).softmax(-1)
    joined = (shares @ heads[2]).transpose(1, 2).flatten(2)
    torch.testing.assert_close(module(query, value), module.norm(module.attention.out_proj(joined)))


@pytest.mark.parametrize("kind", sorted(ATTENTIONS))
def test_images_of_a_batch_do_not_touch_each_other(kind):
    torch.manual_seed(0)
    module = ATTENTIONS[kind](ModelConfig(num_queries=6, hidden_channels=16, num_heads=2)).double().eval()
    query, value = torch.randn(2, 3, 6, 16, dtype=torch.float64)
    with torch.no_grad():
        together = module(query, value)
        for index in range(3):
            alone = module(query[index : index + 1], value[index : index + 1])
            torch.testing.assert_close(alone[0], together[index], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_queries": 0}, "model.num_queries is 0"),
        ({"kernel_size": 0}, "model.kernel_size is 0"),
        ({"num_attention_blocks": 0}, "model.num_attention_blocks is 0"),
        ({"num_stages": -1}, "model.num_stages is -1"),
        ({"temperature": 0.0}, "model.temperature is 0.0"),
        ({"hidden_channels": 30}, r"model.hidden_channels \(30\) must be a multiple of model.num_heads \(8\)"),
    ],
)
def test_configurations_that_cannot_be(changes, named):
    with pytest.raises(ConfigError, match=named):
        ModelConfig(**changes)
