"""Proposal kernels whose masks begin at the places of a grid."""

import pytest
import torch

from yoso.errors import ConfigError
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.training.places import point_at_places

CONFIG = {"backbone": "test_resnet", "aggregation_channels": 16, "hidden_channels": 64, "num_heads": 4}


@pytest.mark.parametrize("count", [16, 10])
def test_every_mask_has_its_maximum_at_its_own_place(count):
    torch.manual_seed(0)
    network = YOSO(ModelConfig(**CONFIG, num_queries=count, position_frequencies=5), 3).eval()
    point_at_places(network)
    with torch.no_grad():
        masks = network.stages([torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8)])[0].mask_logits[0]
        other = network.stages([torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8)])[0].mask_logits[0]
    torch.testing.assert_close(masks, other, atol=1e-3, rtol=0)  # the picture has no say yet
    side = round(count**0.5)
    rows = -(-count // side)
    for query, mask in enumerate(masks):
        y, x = divmod(int(mask.argmax()), mask.shape[1])
        # Within a half of the way to the next place: waves of octaves alone do not make the bump exactly.
        assert abs(y / mask.shape[0] * rows - query // side - 0.5) < 0.5
        assert abs(x / mask.shape[1] * side - query % side - 0.5) < 0.5
        assert mask.max() > -1
        assert mask.mean() < -2


def test_a_network_without_waves_is_refused():
    network = YOSO(ModelConfig(**CONFIG, num_queries=4), 3)
    with pytest.raises(ConfigError, match="position_frequencies"):
        point_at_places(network)
