"""Points on masks: sampling maps at them, and choosing where a prediction is least sure.

A point is (x, y), each from 0 to 1 over the whole map, so one point means the same place on a stride-4 map and on the
image. Two more letters than the legend of `yoso.structures`: R, the rows (matched masks of a batch), and S, the sets
of points: one set per row (S = R), or one set that all rows share (S = 1).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def sample_points(maps: Float[Tensor, "R H W"], points: Float[Tensor, "S P 2"]) -> Float[Tensor, "R P"]:
    """Sample maps bilinearly at points; pixel centres lie half a pixel inside, and beyond the border is zero.

    Args:
        maps: one map per row.
        points: a set of points per map (S = R), or one set for all maps (S = 1).

    Returns:
        The value of each map at each of its points.
    """
    grid = (2 * points - 1)[:, :, None]
    if points.shape[0] == 1:
        # As channels of one image the maps share the work of placing the points.
        return F.grid_sample(maps[None], grid, align_corners=False)[0, :, :, 0]
    return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, :, 0]


def look_up(
    maps: Bool[Tensor, "B H W"], images: Int[Tensor, " S"], points: Float[Tensor, "S P 2"]
) -> Bool[Tensor, "S P"]:
    """Read the pixel that each point falls into.

    Args:
        maps: one map per image.
        images: which map each set of points lies on.
        points: the sets of points.
    """
    height, width = maps.shape[-2:]
    # A coordinate just below 1 may round up to the size itself.
    x = (points[..., 0] * width).long().clamp(max=width - 1)
    y = (points[..., 1] * height).long().clamp(max=height - 1)
    return maps[images[:, None], y, x]


@torch.no_grad()
def uncertain_points(
    logits: Float[Tensor, "R h w"],
    num_points: int,
    oversample: float,
    importance: float,
    valid: tuple[Bool[Tensor, "B H W"], Int[Tensor, " R"]] | None = None,
) -> Float[Tensor, "R P 2"]:
    """Choose points per mask: some where |logit| is smallest among many candidates, the rest anywhere.

    Draws `torch.rand(R, int(P * oversample), 2)`, then `torch.rand(R, P - int(P * importance), 2)`, also when R is 0.

    Args:
        logits: one mask per row.
        num_points: points per mask, P.
        oversample: candidates per point, at least 1.
        importance: share of the points that are chosen by uncertainty, 0 to 1; they come first, least sure first.
        valid: pixels that count, per image, and the image of each row; candidates elsewhere are chosen last.

    Returns:
        The points of each mask, without gradient.
    """
    rows = logits.shape[0]
    candidates = torch.rand(rows, int(num_points * oversample), 2, device=logits.device)
    uncertainty = -sample_points(logits, candidates).abs()
    if valid is not None:
        uncertainty = uncertainty.masked_fill(~look_up(*valid, candidates), -torch.inf)
    num_uncertain = int(importance * num_points)
    order = uncertainty.topk(num_uncertain, dim=1).indices
    uncertain = candidates.gather(1, order[:, :, None].expand(-1, -1, 2))
    return torch.cat([uncertain, torch.rand(rows, num_points - num_uncertain, 2, device=logits.device)], dim=1)
