"""A better start for the proposal kernels: each begins with a mask at a place of its own."""

import torch
from torch import Tensor

from yoso.errors import ConfigError
from yoso.model.aggregator import positions
from yoso.model.yoso import YOSO

SIDE = 64
"""Positions per side of the grid on which the bumps are fitted."""


@torch.no_grad()
def point_at_places(network: YOSO) -> None:
    """Set the proposal kernels in place, so that each mask begins as a bump at one place of a regular grid.

    A bump is 4 g(x) + 4 g(y) - 6 with g(x) = exp(-d^2 / 2 s^2) at distance d from its place, where s is half the
    distance between neighbours; it is positive only near the place. It is fitted by least squares with the position
    channels and the bias of the embedding. The other channels of the features do not contribute yet.

    Args:
        network: freshly initialised, and calibrated if the recipe asks for it.

    Raises:
        ConfigError: the network has no waves; coordinates alone cannot form a bump.
    """
    aggregator, proposals = network.aggregator, network.decoder.proposals
    if not aggregator.frequencies:
        raise ConfigError("point_at_places needs waves to form bumps; set model.position_frequencies, for example to 5")
    weight = aggregator.embed.weight.flatten(1)
    count, features = proposals.out_channels, aggregator.output.out_channels
    basis = positions(weight.new_zeros(1, 1, SIDE, SIDE), aggregator.frequencies)[0].flatten(1)
    basis = torch.cat([basis, torch.ones_like(basis[:1])]).double()
    bumps = _bumps(count, weight)
    wanted = torch.linalg.lstsq(basis.T, bumps.double().T).solution  # (positions + 1, N)
    # The smallest kernels whose products with S have these factors: matrix^T w = [0; wanted].
    right = torch.cat([wanted.new_zeros(features, count), wanted[:-1]])
    kernels = torch.linalg.lstsq(weight.T.double(), right).solution
    proposals.weight.copy_(kernels.T[:, :, None, None])
    assert proposals.bias is not None
    assert aggregator.embed.bias is not None
    proposals.bias.copy_(wanted[-1] - kernels.T @ aggregator.embed.bias.double())


def _bumps(count: int, like: Tensor) -> Tensor:
    side = max(1, round(count**0.5))
    rows = -(-count // side)
    axis = torch.linspace(-1, 1, SIDE, device=like.device)
    places = torch.arange(count, device=like.device)
    x, y = ((places % side + 0.5) * 2 / side - 1), ((places // side + 0.5) * 2 / rows - 1)
    away_x = (axis[None, None] - x[:, None, None]) * side
    away_y = (axis[None, :, None] - y[:, None, None]) * rows
    return (4 * torch.exp(-(away_x**2) / 2) + 4 * torch.exp(-(away_y**2) / 2) - 6).flatten(1)
