"""What a YOSO network is made of: one frozen dataclass."""

from dataclasses import dataclass, field
from typing import Any, Literal

from yoso.errors import ConfigError

Attention = Literal["sdca", "dca", "ddca", "pdca", "mhca"]
Aggregation = Literal["cfa", "ifa"]
BackboneNorm = Literal["frozen", "trainable"]


@dataclass(frozen=True)
class ModelConfig:
    """The network; the defaults are the paper's for COCO. The number of classes comes from the data set.

    Attributes:
        backbone: any timm model that gives features at strides 4, 8, 16 and 32. The paper's ResNet-50 is
            torchvision's ImageNet model, `resnet50.tv_in1k`.
        backbone_options: further arguments of `timm.create_model`.
        backbone_norm: "frozen" keeps BatchNorm at its ImageNet statistics (COCO, ADE20K, Mapillary); "trainable"
            lets it learn (Cityscapes; synchronised over processes).
        pixel_mean: subtracted from RGB values 0-255.
        pixel_std: divides what is left.
        pyramid_channels: width of the pyramid at strides 4, 8, 16, 32; None is half the backbone's, as official.
        aggregation: "cfa" convolves first and interpolates the small result (fast); "ifa" interpolates first
            (section 3.2). `to_cfa()` turns the second into the first exactly.
        aggregation_channels: the paper's d, 128 in the official code.
        position_frequencies: waves per coordinate beside x and y, see `Aggregator`; 0 in the paper.
        hidden_channels: width of the decoder.
        attention: how queries attend the pooled features (table 6): separable dynamic convolution (sdca), dynamic
            convolution (dca), its depthwise (ddca) or pointwise (pdca) half, or multi-head attention (mhca).
        num_attention_blocks: attention modules in series per stage (table 7).
        num_stages: decoder stages T after the proposal stage.
        num_queries: the paper's n.
        kernel_size: the paper's t, taps of the dynamic convolution.
        branch_depth: hidden layers of the class and mask branches; 3 on Cityscapes and Mapillary.
        num_heads: heads of the self-attention (and of mhca).
        feedforward_channels: hidden width of the feed-forward network.
        temperature: class logits are divided by it, in training and at test.
    """

    backbone: str = "resnet50.tv_in1k"
    backbone_options: dict[str, Any] = field(default_factory=dict)
    backbone_norm: BackboneNorm = "frozen"
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    pyramid_channels: tuple[int, int, int, int] | None = None
    aggregation: Aggregation = "cfa"
    aggregation_channels: int = 128
    position_frequencies: int = 0
    hidden_channels: int = 256
    attention: Attention = "sdca"
    num_attention_blocks: int = 2
    num_stages: int = 2
    num_queries: int = 100
    kernel_size: int = 3
    branch_depth: int = 1
    num_heads: int = 8
    feedforward_channels: int = 2048
    temperature: float = 0.05

    def __post_init__(self) -> None:
        """Check the values that nothing later would check.

        Raises:
            ConfigError: a count below one, more than 8 frequencies, a temperature that is not positive, heads that do
                not divide the width.
        """
        counts = (
            "aggregation_channels",
            "hidden_channels",
            "num_attention_blocks",
            "num_stages",
            "num_queries",
        )
        for name in (*counts, "kernel_size", "branch_depth", "num_heads", "feedforward_channels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.position_frequencies <= 8:
            raise ConfigError(f"model.position_frequencies is {self.position_frequencies}; it must be from 0 to 8")
        if self.temperature <= 0:
            raise ConfigError(f"model.temperature is {self.temperature}; it must be above 0")
        if self.hidden_channels % self.num_heads:
            raise ConfigError(
                f"model.hidden_channels ({self.hidden_channels}) must be a multiple of "
                f"model.num_heads ({self.num_heads})"
            )
