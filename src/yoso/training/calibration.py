"""A better start for small data: features that begin centred and of unit spread, coordinates that weigh as much.

With the official initialisation the aggregated features begin 5 times too large for the coordinate channels beside
them, and with a large mean that every kernel has to cancel: the masks of the later stages, which have no bias of their
own, jump by tens of logits. Long schedules grow out of that; 479 photographs do not reach so far.
"""

from collections.abc import Sequence

import torch

from yoso.model.aggregator import positions
from yoso.model.yoso import YOSO
from yoso.structures import Sample


@torch.no_grad()
def calibrate(network: YOSO, samples: Sequence[Sample]) -> None:
    """Rescale the aggregator's last two convolutions, in place, from what they give on some images.

    Afterwards every channel of the 3x3 output convolution has mean 0 and standard deviation 1 over these images. The
    coordinates carry as much variance into the features S as all of those channels together, and the waves as much
    again for each of their frequencies: with less, the proposal kernels find no places of their own for long.

    Args:
        network: fresh; its normalisation layers take the statistics of these images.
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
