"""Sets how many queries of a network with random weights pass the score threshold, in its last class layer."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from yoso.errors import ConfigError

MARGIN = 6.0
"""Logits, after the temperature, between `no_object` and the class of the nearest query: a score of 0.9975."""


@torch.no_grad()
def keep_queries(layer: nn.Linear, run: Callable[[], object], count: int, temperature: float = 1.0) -> None:
    """Set the last layer of a class branch so that `count` queries are of class 0 and all others `no_object`.

    The network runs once to show the inputs of the layer. Of their principal directions, the chosen one separates
    `count` queries from the others by the widest gap relative to rounding. Class 0 is a linear function of this
    direction that is zero in the middle of the gap.

    Args:
        layer: returns K + 1 logits per query, the last one `no_object`; changed in place.
        run: runs the network once; the last call of the layer counts.
        count: how many queries to keep; if there are no more than that, all of them.
        temperature: the logits are divided by it afterwards.

    Raises:
        ConfigError: the inputs of the layer are not finite.
    """
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        run()
    finally:
        handle.remove()
    tokens = seen[-1].reshape(-1, layer.in_features).double().cpu()
    if not tokens.isfinite().all():
        raise ConfigError("its random weights give values that are not finite in this precision; use fp32 or bf16")
    direction, cut, gap = _widest_gap(tokens, count)
    scale = 2 * MARGIN * temperature / gap
    layer.weight.zero_()
    layer.bias.fill_(-4 * MARGIN * temperature)
    layer.bias[-1] = 0
    layer.weight[0] = (scale * direction).to(layer.weight)
    layer.bias[0] = -scale * cut


def _widest_gap(tokens: Float[Tensor, "N C"], count: int) -> tuple[Float[Tensor, " C"], float, float]:
    """Return the direction, the middle of the gap along it, and the width of the gap."""
    centred = tokens - tokens.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh
    directions = torch.cat([directions, -directions])
    ranked = (tokens @ directions.T).sort(0, descending=True).values
    if count >= len(tokens):
        return directions[0], float(ranked[-1, 0]) - 1, 2.0
    gaps = ranked[count - 1] - ranked[count]
    rounding = (tokens.abs() @ directions.abs().T).amax(0)
    best = int((gaps / rounding.clamp(min=1e-12)).argmax())
    gap = float(gaps[best])
    return directions[best], float(ranked[count, best]) + gap / 2, max(gap, 1e-12)
