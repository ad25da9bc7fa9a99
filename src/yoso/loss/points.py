"""Points on masks: sampling maps at points, and choosing points where a prediction is least certain.

A point is (x, y), each from 0 to 1 over the whole map, so that one point is the same place on a stride-4 map and on
the image.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class ValidPixels:
    """Which pixels take part in the mask terms.

    Attributes:
        maps: True where a pixel takes part, per image.
        images: index of the image that each set of points lies on.
    """

    maps: Bool[Tensor, "B H W"]
    images: Int[Tensor, " S"]

    def at(self, points: Float[Tensor, "S P 2"]) -> Bool[Tensor, "S P"]:
        """Return whether each point falls on a pixel that takes part."""
        return look_up(self.maps, self.images, points)


def sample_points(maps: Float[Tensor, "R H W"], points: Float[Tensor, "S P 2"]) -> Float[Tensor, "R P"]:
    """Sample maps bilinearly at points; pixel centres lie half a pixel inside, and maps are zero outside the border.

    Args:
        maps: one map per row.
        points: one set of points per map (S = R), or one set for all maps (S = 1).

    Returns:
        The value of each map at each of its points.
    """
    grid = (2 * points - 1)[:, :, None]
    if points.shape[0] == 1:
        # As channels of one image, the maps share the work of locating the points.
        return F.grid_sample(maps[None], grid, align_corners=False)[0, :, :, 0]
    return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, :, 0]


def look_up(
    maps: Bool[Tensor, "B H W"], images: Int[Tensor, " S"], points: Float[Tensor, "S P 2"]
) -> Bool[Tensor, "S P"]:
    """Return the value of the pixel that each point falls into.

    Args:
        maps: one map per image.
        images: index of the map that each set of points lies on.
        points: the sets of points.
    """
    height, width = maps.shape[-2:]
    # A coordinate just below 1 can round up to the size itself.
    x = (points[..., 0] * width).long().clamp(max=width - 1)
    y = (points[..., 1] * height).long().clamp(max=height - 1)
    return maps[images[:, None], y, x]


@torch.no_grad()
def uncertain_points(
    logits: Float[Tensor, "R h w"],
    num_points: int,
    oversample: float,
    importance: float,
    valid: ValidPixels | None = None,
) -> Float[Tensor, "R P 2"]:
    """Choose points per mask: some where |logit| is smallest among many candidates, the rest anywhere.

    Draws `torch.rand(R, int(P * oversample), 2)`, then `torch.rand(R, P - int(P * importance), 2)`, also when R is 0.

    Args:
        logits: one mask per row.
        num_points: points per mask, P.
        oversample: candidates per point, at least 1.
        importance: share of the points chosen by uncertainty, 0 to 1; they come first, the least certain first.
        valid: pixels that take part; candidates on other pixels are chosen last.

    Returns:
        The points of each mask, without gradient.
    """
    rows = logits.shape[0]
    candidates = torch.rand(rows, int(num_points * oversample), 2, device=logits.device)
    uncertainty = -sample_points(logits, candidates).abs()
    if valid is not None:
        uncertainty = uncertainty.masked_fill(~valid.at(candidates), -torch.inf)
    num_uncertain = int(importance * num_points)
    order = uncertainty.topk(num_uncertain, dim=1).indices
    uncertain = candidates.gather(1, order[:, :, None].expand(-1, -1, 2))
    return torch.cat([uncertain, torch.rand(rows, num_points - num_uncertain, 2, device=logits.device)], dim=1)
