"""Points on masks: sampling maps at them, and choosing where the prediction is least sure."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def sample_points(maps: Float[Tensor, "R H W"], points: Float[Tensor, "S P 2"]) -> Float[Tensor, "R P"]:
    """Sample maps bilinearly at points.

    Args:
        maps: one map per row; zero beyond the border.
        points: (x, y) from 0 to 1 over the map, a set per map (S = R) or one set for all (S = 1).
    """
    grid = (2 * points - 1).expand(maps.shape[0], -1, -1)[:, :, None]
    return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, :, 0]


@torch.no_grad()
def uncertain_points(
    logits: Float[Tensor, "R h w"], count: int, oversample: float, importance: float
) -> Float[Tensor, "R P 2"]:
    """Choose points: a share where |logit| is smallest among many candidates, the rest anywhere.

    Args:
        logits: one mask per row.
        count: points per mask, P.
        oversample: candidates per point.
        importance: share of the points that are chosen by uncertainty, 0 to 1.
    """
    rows = logits.shape[0]
    candidates = torch.rand(rows, int(count * oversample), 2, device=logits.device)
    chosen = int(importance * count)
    best = (-sample_points(logits, candidates).abs()).topk(chosen, dim=1).indices
    sure = torch.gather(candidates, 1, best[..., None].expand(-1, -1, 2))
    return torch.cat([sure, torch.rand(rows, count - chosen, 2, device=logits.device)], dim=1)
