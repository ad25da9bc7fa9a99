"""The deployment form: the same function as the network, with linear operations folded into their neighbours.

`fuse(network)` returns a `YOSO` whose three parts are re-parameterised for inference; it cannot be trained. Every step
is exact algebra, so only rounding differs:

1. BatchNorm is folded into the convolution before it, be it plain, deformable or transposed (`batchnorm.py`).
2. IFA becomes CFA (equation 1); the bias of CFA moves into its finest 1x1 convolution.
3. A transposed 4x4 convolution of stride 2 becomes four 2x2 convolutions, one per parity of the output pixel. The
   multiplications are the same, but every runtime has its fastest kernels for plain convolutions.
4. The decoder uses the features S = E [F; x; y; 1], where E is the 1x1 convolution after the coordinates, only
linearly:
   masks are K S = (K E) [F; x; y; 1], pooled features are M S' = (M [F; x; y; 1]') E'. So S is never computed: masks
   and pooling work on the 131 channels of [F; x; y; 1] instead of the decoder's 256, and E is folded into the proposal
   kernels and into the last layer of each mask branch.
5. sigmoid(logit) > 0.5 becomes logit > 0; the temperature moves into the last layer of the class branch; the classes of
   all stages but the last are not computed.
"""

import copy
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from yoso.model.aggregator import (
    Aggregator,
    ConvolutionFirst,
    DeformablePyramid,
    DeformableUpsample,
    Factored,
    InterpolationFirst,
    Maps,
    waves,
)
from yoso.model.batchnorm import fold_backbone, folded
from yoso.model.decoder import Decoder, DecoderStage, Masks, Tokens, masks_from_kernels
from yoso.model.deformable import DeformableConv
from yoso.model.yoso import YOSO
from yoso.structures import StageOutputs

Located = Float[Tensor, "B E h w"]
"""[F; x; y; 1]: the aggregated features before the last 1x1 convolution, the coordinates (with their waves, if any),
and a constant."""


@torch.no_grad()
def fuse(network: YOSO) -> YOSO:
    """Return the deployment form of a network; the network itself is not changed.

    Args:
        network: any; the result shares no tensor with it.

    Returns:
        A network in evaluation mode with the same `forward`, whose logits differ by rounding only. It cannot be
        trained: its parameters have no gradient, and its `stages` raises ValueError.
    """
    fused = copy.deepcopy(network).eval()
    embed = fused.aggregator.embed
    fused.backbone.net = fold_backbone(fused.backbone.net)
    fused.aggregator = FusedAggregator(fused.aggregator)  # pyrefly: ignore[bad-assignment]
    fused.decoder = FusedDecoder(fused.decoder, embed)  # pyrefly: ignore[bad-assignment]
    fused.config = replace(fused.config, aggregation="cfa")
    return fused.requires_grad_(False)


class ParityUpsample(nn.Module):
    """A 4x4 transposed convolution of stride 2 and padding 1, with the ReLU after it, as four 2x2 convolutions.

    Output row 2 i + a reads the input rows i - 1 + a and i + a, for a = 0 and 1; columns likewise.
    """

    TAPS = ((3, 1), (2, 0))
    """Per parity: the rows (or columns) of the transposed kernel for the two input rows, the upper one first."""

    def __init__(self, weight: Float[Tensor, "C D 4 4"], bias: Float[Tensor, " D"]) -> None:
        """Split the kernel; `weight` is that of `nn.ConvTranspose2d`."""
        super().__init__()
        self.convs = nn.ModuleList()
        for rows in self.TAPS:
            for columns in self.TAPS:
                part = weight[:, :, list(rows)][:, :, :, list(columns)].transpose(0, 1)
                self.convs.append(_conv(part, bias))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D 2*H 2*W"]:
        """Double the size of the map."""
        padded = F.pad(x, (1, 1, 1, 1))
        height, width = x.shape[-2:]
        parities = [
            F.relu(conv(padded[:, :, row : row + height + 1, column : column + width + 1]))
            for conv, (row, column) in zip(self.convs, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True)
        ]
        return F.pixel_shuffle(torch.stack(parities, dim=2).flatten(1, 2), 2)


class FusedUpsample(nn.Module):
    """`DeformableUpsample` without its norms."""

    def __init__(self, step: DeformableUpsample) -> None:
        """Fold a step."""
        super().__init__()
        weight, self.bias = map(nn.Parameter, folded(step.conv.weight, None, step.conv_norm))
        self.conv: DeformableConv = step.conv
        self.conv.weight = weight
        # Output channels are the second axis of a transposed convolution's weight.
        up, bias = folded(step.up.weight.transpose(0, 1), None, step.up_norm)
        self.up = ParityUpsample(up.transpose(0, 1), bias)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D 2*H 2*W"]:
        """Refine the map and double its size."""
        return self.up(F.relu(self.conv(x) + self.bias.view(-1, 1, 1)))


class FusedAggregator(nn.Module):
    """The aggregator without its last 1x1 convolution, which is part of `FusedDecoder`."""

    def __init__(self, aggregator: Aggregator) -> None:
        """Fold an aggregator, whose modules it reuses."""
        super().__init__()
        aggregate = aggregator.aggregate
        cfa: ConvolutionFirst = aggregate.to_cfa() if isinstance(aggregate, InterpolationFirst) else aggregate
        self.pyramid: DeformablePyramid = aggregator.pyramid
        self.pyramid.ups = nn.ModuleList(FusedUpsample(cast(DeformableUpsample, step)) for step in self.pyramid.ups)
        self.convs = cfa.convs
        self.convs[0] = _conv(cast(nn.Conv2d, self.convs[0]).weight, cfa.bias.flatten())
        self.output = aggregator.output
        self.frequencies = aggregator.frequencies

    def forward(self, maps: Maps) -> Located:
        """Return [F; x; y; 1] from C2..C5."""
        thin = [conv(level) for conv, level in zip(self.convs, self.pyramid(maps), strict=True)]
        size = thin[0].shape[-2:]
        coarse = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in thin[:0:-1]]
        features = self.output(coarse[0] + coarse[1] + coarse[2] + thin[0])
        return torch.cat([features, located_at(features, self.frequencies)], dim=1)

    def factored(self, maps: Maps) -> Factored:
        """Raise ValueError, because one of the factors of S is inside the decoder."""
        raise ValueError("the deployment form has no intermediate stages; use the network it was made from")


def located_at(like: Float[Tensor, "B _ h w"], frequencies: int) -> Float[Tensor, "B _ h w"]:
    """Return x and y with their waves over the map, and 1; like `positions`, but for dynamic sizes.

    Padded maps are at least 8 positions wide, so there is no division by zero.
    """
    batch, _, height, width = like.shape
    x = torch.arange(width, device=like.device).to(like)
    y = torch.arange(height, device=like.device).to(like)
    # Divided by their own last element, because exporters cannot divide by a dynamic size.
    x, y = waves(2 * x / x[-1:] - 1, frequencies), waves(2 * y / y[-1:] - 1, frequencies)
    zeros = like.new_zeros(batch, 1, height, width)
    return torch.cat([zeros + x[:, None], zeros + y[:, :, None], zeros + 1], dim=1)


class FusedStage(nn.Module):
    """`DecoderStage` on [F; x; y; 1]; only the last stage computes classes."""

    def __init__(self, stage: DecoderStage, embed: Float[Tensor, "C E"], with_classes: bool) -> None:
        """Fold a stage, whose modules it reuses. `embed` is E with its bias as the last column."""
        super().__init__()
        self.embed = nn.Parameter(embed.T.contiguous())
        self.blocks, self.post = stage.blocks, stage.post
        last = cast(nn.Linear, stage.mask_branch[-1])
        self.mask_branch = nn.Sequential(*stage.mask_branch[:-1], _linear(embed.T @ last.weight, embed.T @ last.bias))
        self.class_branch = None
        if with_classes:
            last = cast(nn.Linear, stage.class_branch[-1])
            scaled = _linear(last.weight / stage.temperature, last.bias / stage.temperature)
            self.class_branch = nn.Sequential(*stage.class_branch[:-1], scaled)

    def forward(self, located: Located, kernels: Tokens, mask_logits: Masks) -> StageOutputs:
        """Run the stage; see `DecoderStage`."""
        hard = (mask_logits > 0).to(located.dtype)
        objects = (hard.flatten(2) @ located.flatten(2).transpose(1, 2)) @ self.embed
        for block in self.blocks:
            objects = block(kernels, objects)
        objects = self.post(objects)
        masks = masks_from_kernels(self.mask_branch(objects), located)
        classes = None if self.class_branch is None else self.class_branch(objects)
        return StageOutputs(classes, masks, objects)


class FusedDecoder(nn.Module):
    """`Decoder` on [F; x; y; 1]."""

    def __init__(self, decoder: Decoder, embed: nn.Conv2d) -> None:
        """Fold a decoder, whose modules it reuses. `embed` is the aggregator's last convolution."""
        super().__init__()
        assert embed.bias is not None
        assert decoder.proposals.bias is not None
        matrix = torch.cat([embed.weight.flatten(1), embed.bias[:, None]], dim=1)
        # The stages take the kernels of stage 0 unfolded, because attention computes its weights from them.
        self.kernels = nn.Parameter(decoder.proposals.weight.flatten(1))
        proposals = self.kernels @ matrix
        proposals[:, -1] += decoder.proposals.bias
        self.proposals = nn.Parameter(proposals)
        last = len(decoder.stages) - 1
        self.stages = nn.ModuleList(
            FusedStage(cast(DecoderStage, stage), matrix, index == last) for index, stage in enumerate(decoder.stages)
        )

    def forward(self, located: Located) -> list[StageOutputs]:
        """Return the outputs of the last stage, as a list of one."""
        batch = located.shape[0]
        kernels = self.kernels.expand(batch, -1, -1)
        outputs = StageOutputs(None, masks_from_kernels(self.proposals.expand(batch, -1, -1), located))
        for stage in self.stages:
            outputs = stage(located, kernels, outputs.mask_logits)
            kernels = outputs.kernels
            assert kernels is not None
        return [outputs]


def _conv(weight: Float[Tensor, "D C _ _"], bias: Float[Tensor, " D"]) -> nn.Conv2d:
    """Return a plain convolution of stride 1 without padding."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:])  # pyrefly: ignore[bad-argument-type]
    conv.weight, conv.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.clone())
    return conv.to(weight)


def _linear(weight: Float[Tensor, "D C"], bias: Float[Tensor, " D"]) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight, linear.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.contiguous())
    return linear
