"""The data that crosses rooms, and the one legend of axis letters.

Axis letters, everywhere in the project:

    B     images in a batch
    N     queries (the paper's proposal kernels)
    K     classes of the data set
    L     class logits, K + 1; the last one is `no_object`
    C     channels, of a layer's input if its output has others
    D     channels of a layer's output
    E     channels of the features with positions and a constant, see `yoso.model.aggregator.Factored`
    H W   rows and columns of an image or a map, at any stride
    h w   rows and columns of mask logits and of the maps they come from, usually at stride 4
    t     taps of a dynamic convolution, `kernel_size`
    M     target segments of one image
    R     pairs of a query and its target in a batch, or other rows that are compared
    P     sampled points
    S     sets of sampled points: one per row (R), or one for all rows (1)
    Q     kept queries, those that take part in the panoptic merge
    J     kept queries that can win or cover a pixel of one strip of rows
    I     instances
    F     values per row of a table
    n     positions along one axis, or elements of a vector

Names such as `rows` and `columns` count the rows and columns of a part of the map; `_` is any size.
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

PADDING = -1
"""Value of padding in the segment map of a training sample."""


class Outputs(NamedTuple):
    """What the network returns for a batch of images.

    Attributes:
        class_logits: (B, N, K+1), divided by the temperature; the last one is `no_object`.
        mask_logits: (B, N, h, w) at stride 4 of the padded images.
    """

    class_logits: Float[Tensor, "B N L"]
    mask_logits: Float[Tensor, "B N h w"]


class StageOutputs(NamedTuple):
    """What one decoder stage returns; the proposal stage (0) has masks only.

    Attributes:
        class_logits: (B, N, K+1), divided by the temperature; None at stage 0.
        mask_logits: (B, N, h, w).
        kernels: (B, N, C), the refined kernels that both come from; None at stage 0.
    """

    class_logits: Float[Tensor, "B N L"] | None
    mask_logits: Float[Tensor, "B N h w"]
    kernels: Float[Tensor, "B N C"] | None = None


class Sample(NamedTuple):
    """One training image after augmentation. One integer map holds all its segments.

    Attributes:
        image: RGB, 0 to 255.
        segment_map: 1..M for the targets, `VOID` for void and crowd, `PADDING` for padding.
        labels: class index of each target; a target that a crop emptied keeps its label.
        name: of the file, for messages.
    """

    image: UInt8[Tensor, "3 H W"]
    segment_map: Int[Tensor, "H W"]
    labels: Int[Tensor, " M"]
    name: str


@dataclass(frozen=True)
class Target:
    """The ground truth of one image, as the criterion takes it.

    Attributes:
        labels: class index per target.
        masks: one mask per target, on the padded image.
        valid: False for pixels that the mask losses ignore (void, crowd); None if they ignore none.
        name: of the file, for messages.
    """

    labels: Int[Tensor, " M"]
    masks: Bool[Tensor, "M H W"]
    valid: Bool[Tensor, "H W"] | None = None
    name: str = ""
