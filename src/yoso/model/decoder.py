"""The separable dynamic decoder (section 3.3, figure 3): from proposal kernels to masks and classes."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from yoso.model.aggregator import Factored
from yoso.model.attention import ATTENTIONS, Tokens
from yoso.model.config import ModelConfig
from yoso.structures import StageOutputs

Features = Float[Tensor, "B C h w"] | Factored
"""The aggregator's map S, or its factors."""

Masks = Float[Tensor, "B N h w"]


def masks_from_kernels(kernels: Tokens, features: Features) -> Masks:
    """Convolve the features of each image with its own 1x1 kernels."""
    if isinstance(features, Factored):
        kernels, features = kernels @ features.matrix, features.located
    return (kernels @ features.flatten(2)).unflatten(2, features.shape[-2:])


def pooled_features(mask_logits: Masks, features: Features) -> Tokens:
    """Pre-attention (equation 3): sum the features under each hard mask.

    The mask is sigmoid(logit) > 0.5, without a gradient. As in the official implementation, it is a sum over pixels,
    not a mean.
    """
    if isinstance(features, Factored):
        return pooled_features(mask_logits, features.located) @ features.matrix.T
    hard = (mask_logits.detach().sigmoid() > 0.5).to(features.dtype)
    return hard.flatten(2) @ features.flatten(2).transpose(1, 2)


class AttentionBlock(nn.Module):
    """f <- LayerNorm(f + attention(k, f)); the attention itself ends in a LayerNorm too."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the block."""
        super().__init__()
        self.attention = ATTENTIONS[config.attention](config)
        self.norm = nn.LayerNorm(config.hidden_channels)

    def forward(self, kernels: Tokens, features: Tokens) -> Tokens:
        """Attend, and add the result."""
        return self.norm(features + self.attention(kernels, features))


class PostAttention(nn.Module):
    """Self-attention among the kernels, then a feed-forward network, each with a residual and a LayerNorm after it."""

    def __init__(self, config: ModelConfig) -> None:
        """Build both."""
        super().__init__()
        width = config.hidden_channels
        self.attention = nn.MultiheadAttention(width, config.num_heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, config.feedforward_channels),
            nn.ReLU(),
            nn.Linear(config.feedforward_channels, width),
        )
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(self, kernels: Tokens) -> Tokens:
        """Refine the kernels."""
        kernels = self.attention_norm(kernels + self.attention(kernels, kernels, kernels, need_weights=False)[0])
        return self.feedforward_norm(kernels + self.feedforward(kernels))


def branch(width: int, depth: int, outputs: int) -> nn.Sequential:
    """Return [Linear without bias, LayerNorm, ReLU] x depth, then Linear with bias."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width, bias=False), nn.LayerNorm(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class DecoderStage(nn.Module):
    """Pre-attention, attention, post-attention, and the two branches.

    All attention blocks are queried by the same incoming kernels. The kernels only generate weights and are in no
    residual, as in the official implementation; the paper's figure suggests otherwise.
    """

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        """Build the stage."""
        super().__init__()
        width = config.hidden_channels
        self.temperature = config.temperature
        self.blocks = nn.ModuleList(AttentionBlock(config) for _ in range(config.num_attention_blocks))
        self.post = PostAttention(config)
        self.class_branch = branch(width, config.branch_depth, num_classes + 1)
        self.mask_branch = branch(width, config.branch_depth, width)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        last = self.class_branch[-1]
        if isinstance(last, nn.Linear):
            nn.init.constant_(last.bias, -math.log(99))  # every class starts at probability 0.01

    def forward(
        self, features: Features, kernels: Tokens, mask_logits: Masks, with_classes: bool = True
    ) -> StageOutputs:
        """Run the stage.

        Args:
            features: the aggregator's map S.
            kernels: the kernels of the stage before.
            mask_logits: the masks of the stage before.
            with_classes: also compute the class branch.

        Returns:
            The stage's masks and classes, and its kernels, for the next stage too.
        """
        objects = pooled_features(mask_logits, features)
        for block in self.blocks:
            objects = block(kernels, objects)
        objects = self.post(objects)
        masks = masks_from_kernels(self.mask_branch(objects), features)
        classes = self.class_branch(objects) / self.temperature if with_classes else None
        return StageOutputs(classes, masks, objects)


class Decoder(nn.Module):
    """The proposal stage, whose masks are a plain 1x1 convolution of the features, and T stages after it."""

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        """Build the proposal kernels and the stages."""
        super().__init__()
        self.proposals = nn.Conv2d(config.hidden_channels, config.num_queries, 1)
        self.stages = nn.ModuleList(DecoderStage(config, num_classes) for _ in range(config.num_stages))

    def forward(
        self, features: Features, all_stages: bool = False, pool_under: Masks | None = None
    ) -> list[StageOutputs]:
        """Decode the features.

        Args:
            features: the aggregator's map S, or its factors.
            all_stages: return the stages 0..T with their classes, for the loss, not only the last one.
            pool_under: mask logits under which every stage pools the features, instead of those of the stage before;
                for training.

        Returns:
            The outputs of stages 0..T, or only those of stage T.
        """
        # The kernels of stage 0 are the weight of the convolution; its bias acts only on the masks.
        kernels = self.proposals.weight.flatten(1)
        outputs = [StageOutputs(None, self._proposed(kernels, features))]
        kernels = kernels.expand(len(outputs[0].mask_logits), -1, -1)
        last = len(self.stages) - 1
        for index, stage in enumerate(self.stages):
            pooled = outputs[-1].mask_logits if pool_under is None else pool_under
            outputs.append(stage(features, kernels, pooled, all_stages or index == last))
            kernels = outputs[-1].kernels
            assert kernels is not None
        return outputs if all_stages else outputs[-1:]

    def _proposed(self, kernels: Float[Tensor, "N C"], features: Features) -> Masks:
        if not isinstance(features, Factored):
            return self.proposals(features)
        assert self.proposals.bias is not None
        batch = features.located.shape[0]
        return masks_from_kernels(kernels.expand(batch, -1, -1), features) + self.proposals.bias.view(-1, 1, 1)
