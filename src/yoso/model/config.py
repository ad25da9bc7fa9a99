"""What a YOSO network is made of: one frozen dataclass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from yoso.errors import ConfigError, did_you_mean
from yoso.values import number_within

Attention = Literal["sdca", "dca", "ddca", "pdca", "mhca"]
Aggregation = Literal["cfa", "ifa"]
BackboneNorm = Literal["frozen", "trainable"]

_CHOICES = {"attention": Attention, "aggregation": Aggregation, "backbone_norm": BackboneNorm}
MAX_CHANNELS = 2**16
MAX_NUMBER = 1e6
MAX_OPTION = 2**13
_COUNTS = {
    "aggregation_channels": MAX_CHANNELS,
    "hidden_channels": MAX_CHANNELS,
    "num_attention_blocks": 16,
    "num_stages": 32,
    "num_queries": 10_000,
    "kernel_size": 99,
    "branch_depth": 16,
    "num_heads": MAX_CHANNELS,
    "feedforward_channels": MAX_CHANNELS,
}
"""Settings that count something, with their maxima: a model folder may come from anywhere, and its network is built."""

BACKBONE_OPTIONS = {
    **dict.fromkeys(("act_layer", "aa_layer", "feature_location", "norm_layer", "pad_type", "stem_type"), "a text"),
    **dict.fromkeys(("avg_down", "conv_mlp", "dynamic_img_size", "fix_stem", "strict_img_size"), "true or false"),
    **dict.fromkeys(
        ("drop_block_rate", "drop_path_rate", "drop_rate", "bn_eps", "bn_momentum"), "a number from 0 to 1"
    ),
    **dict.fromkeys(("ls_init_value", "layer_scale_init_value"), "a number from 0 to 1"),
    **dict.fromkeys(("embed_dim", "group_size", "img_size", "output_stride", "window_size"), "a whole number"),
    **dict.fromkeys(("channels", "dims", "num_heads"), "whole numbers"),
    **dict.fromkeys(("depths", "layers"), "whole numbers up to 64"),
}
"""Options of `timm.create_model` that a model may set, and what they are. Others make timm read or fetch files."""

_KINDS: dict[str, Callable[[Any], bool]] = {
    "a text": lambda value: isinstance(value, str),
    "true or false": lambda value: isinstance(value, bool),
    "a number from 0 to 1": lambda value: number_within(value, 1) and value >= 0,
    "a whole number": lambda value: _is_whole(value, 1, MAX_OPTION),
    "whole numbers": lambda value: _are_whole(value, MAX_OPTION),
    "whole numbers up to 64": lambda value: _are_whole(value, 64),
}


@dataclass(frozen=True)
class ModelConfig:
    """The network; the defaults are the paper's for COCO. The number of classes comes from the data set.

    Attributes:
        backbone: any timm model with features at strides 4, 8, 16 and 32. The paper's ResNet-50 is torchvision's
            ImageNet model, `resnet50.tv_in1k`.
        backbone_options: further arguments of `timm.create_model`, of those in `BACKBONE_OPTIONS`.
        backbone_norm: "frozen" keeps BatchNorm at its ImageNet statistics (COCO, ADE20K, Mapillary); "trainable" trains
            it (Cityscapes), synchronised over processes.
        pixel_mean: subtracted from RGB values 0 to 255.
        pixel_std: divides what is left.
        pyramid_channels: width of the pyramid at strides 4, 8, 16, 32; None is half the backbone's, as in the official
            implementation.
        aggregation: "cfa" convolves first and interpolates the small result, which is fast; "ifa" interpolates first
            (section 3.2). `to_cfa()` converts the second to the first exactly.
        aggregation_channels: the paper's d, 128 in the official implementation.
        position_frequencies: waves per coordinate beside x and y, see `Aggregator`; 0 in the paper.
        hidden_channels: width of the decoder.
        attention: how queries attend to the pooled features (table 6): separable dynamic convolution (sdca), dynamic
            convolution (dca), its depthwise (ddca) or pointwise (pdca) half, or multi-head attention (mhca).
        num_attention_blocks: attention modules in series per stage (table 7).
        num_stages: decoder stages T after the proposal stage.
        num_queries: the paper's n.
        kernel_size: the paper's t, taps of the dynamic convolution.
        branch_depth: hidden layers of the class and mask branches; 3 on Cityscapes and Mapillary.
        num_heads: heads of the self-attention, and of mhca.
        feedforward_channels: hidden width of the feed-forward network.
        temperature: divides the class logits, in training and at test.
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
        """Check the values.

        Raises:
            ConfigError: a value has the wrong type or is out of range, the heads do not divide the width, or an option
                of the backbone would read or fetch a file.
        """
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                value = getattr(self, name)
                raise ConfigError(f"model.{name} is {value!r}.{did_you_mean(str(value), get_args(kind))}")
        for name, most in _COUNTS.items():
            self._require(name, _is_whole(getattr(self, name), 1, most), f"a whole number from 1 to {most}")
        self._require("position_frequencies", _is_whole(self.position_frequencies, 0, 8), "a whole number from 0 to 8")
        self._require("temperature", _is_number(self.temperature) and self.temperature > 0, "a number above 0")
        self._require("pixel_mean", _are_numbers(self.pixel_mean), "three numbers")
        self._require("pixel_std", _are_numbers(self.pixel_std) and min(self.pixel_std) > 0, "three numbers above 0")
        channels = (1, 1, 1, 1) if self.pyramid_channels is None else tuple(self.pyramid_channels)
        four = len(channels) == 4 and all(_is_whole(width, 1, MAX_CHANNELS) for width in channels)
        self._require("pyramid_channels", four, f"four whole numbers from 1 to {MAX_CHANNELS}, or null")
        self._check_backbone()
        if self.hidden_channels % self.num_heads:
            raise ConfigError(
                f"model.hidden_channels ({self.hidden_channels}) must be a multiple of "
                f"model.num_heads ({self.num_heads})"
            )

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"model.{name} is {getattr(self, name)!r}; it must be {expected}")

    def _check_backbone(self) -> None:
        self._require("backbone", isinstance(self.backbone, str), "the name of a timm model")
        self._require("backbone_options", isinstance(self.backbone_options, dict), "an object with keys and values")
        for name, value in self.backbone_options.items():
            kind = BACKBONE_OPTIONS.get(name)
            if kind is None:
                raise ConfigError(
                    f"model.backbone_options.{name}: is not an option that a model may set."
                    f"{did_you_mean(str(name), BACKBONE_OPTIONS)}"
                )
            if not _KINDS[kind](value):
                raise ConfigError(f"model.backbone_options.{name} is {value!r}; it must be {kind}")


def _is_whole(value: Any, least: int, most: int | None = None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value and (most is None or value <= most)


def _are_whole(values: Any, most: int) -> bool:
    """Tell whether values are one whole number per stage of a backbone."""
    return isinstance(values, tuple | list) and len(values) <= 8 and all(_is_whole(value, 1, most) for value in values)


def _is_number(value: Any) -> bool:
    return number_within(value, MAX_NUMBER)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, tuple | list) and len(values) == 3 and all(map(_is_number, values))
