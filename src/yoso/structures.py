"""The data that crosses rooms, and the one legend of axis letters.

Axis letters, everywhere in the project:

    B   images in a batch
    N   queries (the paper's proposal kernels)
    K   classes of the data set; L = K + 1 class logits, the last one is `no_object`
    C   channels
    H W pixels of an image (padded where the text says so)
    h w positions of the stride-4 maps, H/4 and W/4
    M   target segments of one image
    P   sampled points
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

PADDING = -1
"""Value in a training sample's segment map where there is no image."""


class Outputs(NamedTuple):
    """What the network says about a batch of images.

    Attributes:
        class_logits: (B, N, K+1), already divided by the temperature; the last one is `no_object`.
        mask_logits: (B, N, h, w) at stride 4 of the padded images.
    """

    class_logits: Float[Tensor, "B N L"]
    mask_logits: Float[Tensor, "B N h w"]


class StageOutputs(NamedTuple):
    """What one decoder stage says; the proposal stage (0) has masks only.

    Attributes:
        class_logits: (B, N, K+1) after the temperature, or None at stage 0.
        mask_logits: (B, N, h, w).
    """

    class_logits: Float[Tensor, "B N L"] | None
    mask_logits: Float[Tensor, "B N h w"]


class Sample(NamedTuple):
    """One training image after augmentation. One integer map holds all its segments.

    Attributes:
        image: RGB, 0 to 255.
        segment_map: 1..M for the targets, `VOID` for void and crowd, `PADDING` where there is no image.
        labels: class index of each target; one that a crop emptied stays, unless the augmentation drops it.
        name: the file, for messages.
    """

    image: UInt8[Tensor, "3 H W"]
    segment_map: Int[Tensor, "H W"]
    labels: Int[Tensor, " M"]
    name: str


@dataclass(frozen=True)
class Target:
    """What the criterion compares one image's predictions with.

    Attributes:
        labels: class index per target.
        masks: one mask per target, on the padded image.
        valid: False where a pixel takes no part in the mask losses (void, crowd); None means all take part.
        name: the file, for messages.
    """

    labels: Int[Tensor, " M"]
    masks: Bool[Tensor, "M H W"]
    valid: Bool[Tensor, "H W"] | None = None
    name: str = ""
