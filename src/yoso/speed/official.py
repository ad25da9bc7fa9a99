"""The official implementation: torchvision's deformable convolution, and a merge that upsamples every query first."""

import copy
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32
from torch import Tensor
from torchvision.ops import deform_conv2d

from yoso.model.deformable import TAPS, DeformableConv
from yoso.model.yoso import YOSO
from yoso.postprocess import Sizes
from yoso.settings import Thresholds

OfficialSegment = tuple[int, int, float]
"""Id, class index, score."""


class TorchvisionDeformableConv(DeformableConv):
    """The same convolution, always by torchvision's operator, on every device."""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Convolve at the predicted positions."""
        steering = self.offset(x)
        offset, mask = steering[:, : 2 * TAPS], steering[:, 2 * TAPS :].sigmoid()
        return deform_conv2d(x, offset, self.weight, padding=(1, 1), mask=mask)


def official_network(network: YOSO) -> YOSO:
    """Return a copy with equal weights that convolves as the official implementation does."""
    network = copy.deepcopy(network)
    for up in network.aggregator.pyramid.ups:
        ours = cast(DeformableConv, up.get_submodule("conv"))
        plain = TorchvisionDeformableConv(ours.offset.in_channels, ours.weight.shape[0]).to(ours.weight)
        plain.load_state_dict(ours.state_dict())
        up.conv = plain.eval()
    return network


def official_panoptic(
    class_logits: Float[Tensor, "N L"],
    mask_logits: Float[Tensor, "N h w"],
    sizes: Sizes,
    is_thing: list[bool],
    thresholds: Thresholds,
) -> tuple[Int32[Tensor, "H W"], list[OfficialSegment]]:
    """Merge in the official order of steps; the arguments and the segments are those of `panoptic`.

    The masks of all queries are upsampled to the padded size, cropped, and resized to the output size before the score
    threshold applies. Then a loop over the kept queries compares whole masks; every comparison makes the host wait.

    Returns:
        The segmentation, 0 where there is none, and its segments in id order.
    """
    masks = F.interpolate(mask_logits[None].float(), size=sizes.padded, mode="bilinear", align_corners=False)
    masks = masks[:, :, : sizes.image[0], : sizes.image[1]]
    masks = F.interpolate(masks, size=sizes.output, mode="bilinear", align_corners=False)[0]
    masks = masks.sigmoid()
    scores, classes = class_logits.float().softmax(-1).max(-1)
    keep = classes.ne(class_logits.shape[1] - 1) & (scores > thresholds.object_mask)
    scores, classes, masks = scores[keep], classes[keep], masks[keep]
    segmentation = torch.zeros(sizes.output, dtype=torch.int32, device=masks.device)
    segments: list[OfficialSegment] = []
    if len(masks) == 0:
        return segmentation, segments
    winner = (scores[:, None, None] * masks).argmax(0)
    stuff: dict[int, int] = {}
    for query in range(len(masks)):
        class_index = int(classes[query])
        covered = masks[query] >= 0.5
        owned = (winner == query) & covered
        won_area, covered_area = int((winner == query).sum()), int(covered.sum())
        if won_area == 0 or covered_area == 0 or int(owned.sum()) == 0 or won_area / covered_area < thresholds.overlap:
            continue
        if class_index in stuff:
            segmentation[owned] = stuff[class_index]
            continue
        segments.append((len(segments) + 1, class_index, float(scores[query])))
        segmentation[owned] = len(segments)
        if not is_thing[class_index]:
            stuff[class_index] = len(segments)
    return segmentation, segments
