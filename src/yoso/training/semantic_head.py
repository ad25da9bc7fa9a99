"""The layer of the semantic loss, which exists only in training: it classifies each position of the features S."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from yoso.model.aggregator import Factored
from yoso.model.decoder import masks_from_kernels


class SemanticHead(nn.Module):
    """Class logits at each position, linear in S; for the loss see `yoso.loss.semantic`."""

    def __init__(self, width: int, num_classes: int) -> None:
        """Build the layer.

        Args:
            width: channels of S.
            num_classes: K, without `no_object`.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, width))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Factored) -> Float[Tensor, "B K h w"]:
        """Return class logits."""
        kernels = self.weight.expand(len(features.located), -1, -1)
        return masks_from_kernels(kernels, features) + self.bias.view(-1, 1, 1)
