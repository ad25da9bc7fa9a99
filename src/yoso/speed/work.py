"""The work of a network's stages, counted from shapes alone: operations, and numbers that must be moved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from yoso.model.config import ModelConfig
from yoso.model.fuse import fuse
from yoso.model.yoso import YOSO
from yoso.preprocess import Size

COUNTED_STAGES = ("backbone", "aggregator", "decoder")
WHOLE = "network"


@dataclass(frozen=True)
class StageWork:
    """The work of one stage.

    Attributes:
        flops: floating-point operations of matrix products and convolutions, a multiply-add counted as two.
        elements: numbers that come in, go out, or are weights.
        deformable_flops: the share of the deformable convolutions' matrix products, without sampling.
    """

    flops: int
    elements: int
    deformable_flops: int = 0


def count_work(config: ModelConfig, num_classes: int, size: Size, deployed: bool = False) -> dict[str, StageWork]:
    """Count the work of the three stages of a network, and of `network`, all in one, for one image.

    Nothing is computed. As one stage, a network need not write what passes between its parts.

    Args:
        config: of the network.
        num_classes: K.
        size: (height, width) of the image in pixels.
        deployed: count the deployment form, which needs fewer operations for the same result.
    """
    with torch.device("meta"):
        network = YOSO(config, num_classes).eval().requires_grad_(False)
        network = fuse(network) if deployed else network
        image = torch.empty(1, 3, *size)
    elements: dict[str, int] = {}

    def counts_elements(stage: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            weights = sum(parameter.numel() for parameter in module.parameters())
            elements[stage] = weights + _numel(inputs) + _numel(output)

        return hook

    for stage in COUNTED_STAGES:
        network.get_submodule(stage).register_forward_hook(counts_elements(stage))
    network.register_forward_hook(counts_elements(WHOLE))
    deform: Any = torch.ops.torchvision.deform_conv2d
    counter = FlopCounterMode(display=False, depth=2, custom_mapping={deform: deform_conv_flops})
    with torch.no_grad(), counter:
        network(image)
    counts = {stage: counter.get_flop_counts()[f"YOSO.{stage}"] for stage in COUNTED_STAGES}
    flops = {stage: sum(count.values()) for stage, count in counts.items()}
    deformable = {stage: count.get(deform, 0) for stage, count in counts.items()}
    works = {stage: StageWork(flops[stage], elements[stage], deformable[stage]) for stage in COUNTED_STAGES}
    return {**works, WHOLE: StageWork(sum(flops.values()), elements[WHOLE], sum(deformable.values()))}


def deform_conv_flops(
    x_shape: Sequence[int], weight_shape: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
) -> int:
    """Return the operations of a deformable convolution's matrix product, without those of sampling.

    Args:
        x_shape: (B, C, H, W).
        weight_shape: (D, C / groups, kernel height, kernel width).
        out_shape: (B, D, H', W').
    """
    batch, channels, height, width = out_shape
    inner, kernel_height, kernel_width = tuple(weight_shape)[1:]
    return 2 * batch * channels * height * width * inner * kernel_height * kernel_width


def _numel(values: Any) -> int:
    if isinstance(values, Tensor):
        return values.numel()
    return sum(_numel(value) for value in values) if isinstance(values, list | tuple) else 0
