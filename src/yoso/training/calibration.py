"""A better start for small data sets: centred features of unit variance, with coordinates of equal weight.

With the official initialisation, the aggregated features are 5 times too large compared with the coordinate channels
beside them, and have a large mean that every kernel must cancel: the mask logits of the later stages, which have no
bias, change by tens from step to step. A long schedule overcomes this; 479 images do not.
"""

from collections.abc import Sequence

import torch

from yoso.model.aggregator import positions
from yoso.model.yoso import YOSO
from yoso.structures import Sample


@torch.no_grad()
def calibrate(network: YOSO, samples: Sequence[Sample]) -> None:
    """Rescale the aggregator's last two convolutions in place, from their outputs on some images.

    Afterwards every channel of the 3x3 output convolution has mean 0 and standard deviation 1 over these images. The
    coordinates contribute as much variance to the features S as all of these channels together, and so do the waves of
    each frequency: with less, the proposal kernels take long to specialise on places.

    Args:
        network: freshly initialised; its normalisation layers take the statistics of these images.
        samples: some training images.
    """
    aggregator = network.aggregator
    was_training = network.training
    network.train()
    maps = network.backbone(network.prepare([sample.image for sample in samples]))
    features = aggregator.output(aggregator.aggregate(aggregator.pyramid(maps)))
    mean, spread = features.mean((0, 2, 3)), features.std((0, 2, 3)).clamp(min=1e-6)
    aggregator.output.weight /= spread[:, None, None, None]
    if aggregator.output.bias is not None:
        aggregator.output.bias.sub_(mean).div_(spread)
    channels = features.shape[1]
    power = aggregator.embed.weight[:, :channels].square().mean() * channels
    where = positions(features, aggregator.frequencies).var((0, 2, 3))
    position = where.mean() * len(where)
    aggregator.embed.weight[:, channels:] *= (
        (1 + aggregator.frequencies) * power / (aggregator.embed.weight[:, channels:].square().mean() * position)
    ).sqrt()
    network.train(was_training)
