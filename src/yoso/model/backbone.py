"""Any timm model as a backbone with four feature maps at strides 4, 8, 16, 32 (the paper's C2 to C5)."""

import os
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from yoso.errors import ConfigError, did_you_mean
from yoso.files import PathLike
from yoso.settings import is_offline

STRIDES = (4, 8, 16, 32)


def check_backbone(name: str) -> None:
    """Check that timm has a model of this name.

    Raises:
        ConfigError: it has not; names the closest one.
    """
    if not timm.is_model(name):
        close = did_you_mean(name, timm.list_models())
        advice = close if "Did you mean" in close else " `timm.list_models()` lists all models."
        raise ConfigError(f"timm has no backbone {name!r}.{advice}")


class Backbone(nn.Module):
    """A timm feature extractor.

    Attributes:
        channels: channels of the four maps, finest first.
    """

    channels: tuple[int, int, int, int]

    def __init__(
        self, name: str, *, frozen_norm: bool = True, pretrained: bool | PathLike = False, **options: Any
    ) -> None:
        """Build the extractor.

        Args:
            name: a timm model, with or without its pretrained tag.
            frozen_norm: keep BatchNorm at its statistics, and do not train its scale and shift.
            pretrained: a file with timm's published weights, or True to let timm download them.
            options: further arguments of `timm.create_model`; see `ModelConfig.backbone_options`.

        Raises:
            ConfigError: timm has no such model, it has no maps at strides 4, 8, 16, 32, or `YOSO_OFFLINE` forbids the
                download.
        """
        super().__init__()
        check_backbone(name)
        if pretrained is True and is_offline():
            raise ConfigError("YOSO_OFFLINE is set, so timm must not download weights; give a file as `pretrained`")
        if not isinstance(pretrained, bool):
            options = {**options, "pretrained_cfg_overlay": {"file": os.fspath(pretrained), "custom_load": False}}
        try:
            self.net = timm.create_model(
                name, features_only=True, out_indices=(-4, -3, -2, -1), pretrained=bool(pretrained), **options
            )
        except (RuntimeError, AssertionError, IndexError, TypeError, AttributeError) as error:
            raise ConfigError(f"backbone {name!r} cannot give features at four strides ({error})") from error
        info: Any = self.net.feature_info
        strides = tuple(info.reduction())
        if strides != STRIDES:
            raise ConfigError(f"backbone {name!r} gives features at strides {strides}; YOSO needs {STRIDES}")
        self.channels = tuple(info.channels())
        self.channels_last = str(getattr(self.net, "output_fmt", "NCHW")).endswith("NHWC")
        self.frozen_norm = frozen_norm
        if frozen_norm:
            for module in self._norms():
                module.requires_grad_(False).eval()

    def _norms(self) -> list[_BatchNorm]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def train(self, mode: bool = True) -> "Backbone":
        """Switch between training and evaluation; frozen BatchNorm stays in evaluation mode."""
        super().train(mode)
        if self.frozen_norm:
            for module in self._norms():
                module.eval()
        return self

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return C2, C3, C4, C5 of normalised images whose sides are multiples of 32."""
        maps = self.net(images)
        return [level.permute(0, 3, 1, 2) for level in maps] if self.channels_last else maps
