"""The start for small data sets: centred features of unit variance, and positions of the documented weight."""

import pytest
import torch

from yoso.model.aggregator import positions
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.structures import Sample
from yoso.training.calibration import calibrate


@pytest.mark.parametrize("frequencies", [0, 3])
def test_features_are_centred_and_of_unit_variance_after_calibration(frequencies):
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="test_resnet",
        aggregation_channels=16,
        hidden_channels=32,
        num_heads=4,
        num_queries=5,
        position_frequencies=frequencies,
    )
    network = YOSO(config, 3).eval()
    images = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8) for _ in range(4)]
    nothing = torch.zeros(64, 96, dtype=torch.int64)
    samples = [Sample(image, nothing, torch.zeros(0, dtype=torch.int64), str(n)) for n, image in enumerate(images)]
    calibrate(network, samples)
    assert not network.training

    network.train()  # the statistics of these images, as when the features were measured
    with torch.no_grad():
        aggregator = network.aggregator
        maps = network.backbone(network.prepare(images))
        features = aggregator.output(aggregator.aggregate(aggregator.pyramid(maps)))
        where = positions(features, frequencies)
        weight = aggregator.embed.weight.detach().flatten(1)
    torch.testing.assert_close(features.mean((0, 2, 3)), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std((0, 2, 3)), torch.ones(16), atol=1e-3, rtol=0)
    by_features = weight[:, :16].square().mean() * 16
    by_positions = weight[:, 16:].square().mean() * where.var((0, 2, 3)).sum()
    assert (by_positions / by_features).item() == pytest.approx(1 + frequencies, rel=1e-3)
