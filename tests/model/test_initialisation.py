"""Fresh weights have the distributions of the official ones, as far as one draw of each can tell."""

import json
import math

import pytest
import torch
from scipy.stats import norm

from golden_figures import CONFIGS, GOLDEN
from yoso.model.aggregator import Aggregator
from yoso.model.decoder import Decoder
from yoso.weights.official import our_name

OFFICIAL = {
    key: values
    for key, values in json.loads((GOLDEN / "init_stats_coco.json").read_text()).items()
    if key.startswith(("yoso_neck.", "yoso_head.")) and not key.endswith(("empty_weight", "num_batches_tracked"))
}
SIGMAS = 5.0
"""Of 60 random tensors and 3 figures each, one in a hundred thousand runs would stray further."""


@pytest.fixture(scope="module")
def fresh():
    config, num_classes = CONFIGS["coco"]
    torch.manual_seed(0)
    parts = {"aggregator": Aggregator((256, 512, 1024, 2048), config), "decoder": Decoder(config, num_classes)}
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}


def test_every_tensor_is_compared(fresh):
    ours = {key for key in fresh if not key.endswith("num_batches_tracked")}
    assert ours == {our_name(key, 1) for key in OFFICIAL}


def spread_of_absmax(is_uniform, std, count):
    """Return the width of the range that holds the largest of `count` absolute values, bar one case in a million."""
    if is_uniform:
        return math.sqrt(3) * std * min(1.0, -math.log(1e-6) / count)
    low, high = (norm.ppf((1 + quantile ** (1 / count)) / 2) for quantile in (5e-7, 1 - 5e-7))
    return std * (high - low)


@pytest.mark.parametrize("key", OFFICIAL)
def test_distribution(key, fresh):
    mean, std, absmax = OFFICIAL[key]
    tensor = fresh[our_name(key, 1)].double()
    count = tensor.numel()
    ours = (tensor.mean().item(), tensor.std(correction=0).item(), tensor.abs().max().item())
    if std == 0:
        assert ours == pytest.approx((mean, 0, absmax), rel=1e-6, abs=1e-12)
        return
    is_uniform = absmax < 1.9 * std
    kurtosis = 1.8 if is_uniform else 3.0
    # Both draws stray, so every standard error counts sqrt(2) times.
    std_error = SIGMAS * std * math.sqrt((kurtosis - 1) / (2 * count))
    assert ours[0] == pytest.approx(mean, abs=SIGMAS * std * math.sqrt(2 / count))
    assert ours[1] == pytest.approx(std, abs=std_error)
    assert ours[2] == pytest.approx(absmax, abs=spread_of_absmax(is_uniform, std, count) + std_error)
