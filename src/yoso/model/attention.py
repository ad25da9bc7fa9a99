"""How queries attend to the pooled features: five kinds with one signature (section 3.3, table 6).

Every kind takes queries and values, both (B, N, C), and returns (B, N, C) after a LayerNorm. The dynamic kinds compute
convolution kernels from the queries and apply them to the values: the N tokens are the channels of that 1D convolution,
and the C hidden dimensions are its positions.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from yoso.model.config import ModelConfig

Tokens = Float[Tensor, "B N C"]


def windows(value: Tokens, size: int) -> Float[Tensor, "B N C t"]:
    """Return the `size` neighbours of each position, with zeros beyond the ends ('same' padding of a convolution)."""
    before = (size - 1) // 2
    return F.pad(value, (before, size - 1 - before)).unfold(2, size, 1)


class SeparableDynamicConvAttention(nn.Module):
    """SDCA (equation 9): a dynamic depthwise convolution, then a dynamic pointwise one.

    One linear layer computes both kernels. The ReLU between them is in the official implementation, but not in equation
    9.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layer that computes the kernels."""
        super().__init__()
        self.kernel_size = config.kernel_size
        self.kernels = nn.Linear(config.hidden_channels, config.kernel_size + config.num_queries)
        self.norm = nn.LayerNorm(config.hidden_channels)

    def forward(self, query: Tokens, value: Tokens) -> Tokens:
        """Attend."""
        depthwise, pointwise = self.kernels(query).tensor_split([self.kernel_size], dim=-1)
        mixed = (windows(value, self.kernel_size) * depthwise.unsqueeze(2)).sum(-1)
        return self.norm(pointwise @ F.relu(mixed))


class DynamicConvAttention(nn.Module):
    """DCA (equation 8): one full dynamic convolution over tokens and neighbours."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the layer that computes the kernels."""
        super().__init__()
        self.kernel_size = config.kernel_size
        self.kernels = nn.Linear(config.hidden_channels, config.num_queries * config.kernel_size)
        self.norm = nn.LayerNorm(config.hidden_channels)

    def forward(self, query: Tokens, value: Tokens) -> Tokens:
        """Attend."""
        neighbours = windows(value, self.kernel_size).transpose(2, 3).flatten(1, 2)
        return self.norm(self.kernels(query) @ neighbours)


class DepthwiseDynamicConvAttention(nn.Module):
    """DDCA: only the depthwise half of SDCA, linear."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the layer that computes the kernels."""
        super().__init__()
        self.kernel_size = config.kernel_size
        self.kernels = nn.Linear(config.hidden_channels, config.kernel_size)
        self.norm = nn.LayerNorm(config.hidden_channels)

    def forward(self, query: Tokens, value: Tokens) -> Tokens:
        """Attend."""
        return self.norm((windows(value, self.kernel_size) * self.kernels(query).unsqueeze(2)).sum(-1))


class PointwiseDynamicConvAttention(nn.Module):
    """PDCA: only the pointwise half of SDCA, linear."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the layer that computes the kernels."""
        super().__init__()
        self.kernels = nn.Linear(config.hidden_channels, config.num_queries)
        self.norm = nn.LayerNorm(config.hidden_channels)

    def forward(self, query: Tokens, value: Tokens) -> Tokens:
        """Attend."""
        return self.norm(self.kernels(query) @ value)


class MultiHeadCrossAttention(nn.Module):
    """MHCA (equations 4 and 5): multi-head attention, which SDCA replaces."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the attention."""
        super().__init__()
        self.attention = nn.MultiheadAttention(config.hidden_channels, config.num_heads, batch_first=True)
        self.norm = nn.LayerNorm(config.hidden_channels)

    def forward(self, query: Tokens, value: Tokens) -> Tokens:
        """Attend."""
        return self.norm(self.attention(query, value, value, need_weights=False)[0])


ATTENTIONS: dict[str, type[nn.Module]] = {
    "sdca": SeparableDynamicConvAttention,
    "dca": DynamicConvAttention,
    "ddca": DepthwiseDynamicConvAttention,
    "pdca": PointwiseDynamicConvAttention,
    "mhca": MultiHeadCrossAttention,
}
