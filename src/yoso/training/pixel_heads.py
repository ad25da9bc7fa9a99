"""The layers that only training has: they ask single positions of the features S; see `yoso.loss.pixels`."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from yoso.loss.criterion import LossConfig, mean_num_targets
from yoso.loss.pixels import center_loss, semantic_loss
from yoso.model.aggregator import Factored
from yoso.model.decoder import masks_from_kernels
from yoso.structures import Target

FREQUENCIES = 4
"""Waves per coordinate in the code of an object's centre."""


class PixelHeads(nn.Module):
    """Class and centre of the object at each position, linear in S."""

    is_thing: Tensor

    def __init__(self, config: LossConfig, width: int, is_thing: Bool[Tensor, " K"]) -> None:
        """Build the layers.

        Args:
            config: the weights of the two losses.
            width: channels of S.
            is_thing: per class index.
        """
        super().__init__()
        self.config = config
        self.register_buffer("is_thing", is_thing, persistent=False)
        outputs = len(is_thing) + 4 * FREQUENCIES
        self.weight = nn.Parameter(torch.empty(outputs, width))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(
        self, features: Factored, targets: list[Target], step_counts: list[int] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted losses, `pixels/semantic` and `pixels/center`; for `step_counts` see `Criterion`."""
        batch, device = features.located.shape[0], features.located.device
        answers = masks_from_kernels(self.weight.expand(batch, -1, -1), features) + self.bias.view(-1, 1, 1)
        num_classes = len(self.is_thing)
        with torch.autocast(device.type, enabled=False):
            num_targets = mean_num_targets(targets, device, step_counts)
            semantic = semantic_loss(answers[:, :num_classes], targets)
            center = center_loss(answers[:, num_classes:], targets, self.is_thing, num_targets)
        return {
            "pixels/semantic": self.config.semantic_weight * semantic,
            "pixels/center": self.config.center_weight * center,
        }
