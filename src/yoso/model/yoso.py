"""The whole network: from images to class and mask logits."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from yoso.files import PathLike
from yoso.model.aggregator import Aggregator, Factored, InterpolationFirst
from yoso.model.backbone import Backbone
from yoso.model.config import ModelConfig
from yoso.model.decoder import Decoder
from yoso.preprocess import SIZE_DIVISOR
from yoso.structures import Outputs, StageOutputs

Images = Shaped[Tensor, "B 3 _ _"] | Sequence[Shaped[Tensor, "3 _ _"]]


class YOSO(nn.Module):
    """You Only Segment Once.

    `network(images)` takes a list of RGB tensors (3, H, W), 0 to 255, of any sizes, or one batch (B, 3, H, W), and
    returns `Outputs`.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: ModelConfig, num_classes: int, *, pretrained_backbone: bool | PathLike = False) -> None:
        """Build the network with fresh weights.

        Args:
            config: what the network is made of.
            num_classes: K, from the data set.
            pretrained_backbone: a file with timm's published weights of the backbone, or True to let timm download
                them.
        """
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.backbone = Backbone(
            config.backbone,
            frozen_norm=config.backbone_norm == "frozen",
            pretrained=pretrained_backbone,
            **config.backbone_options,
        )
        self.aggregator = Aggregator(self.backbone.channels, config)
        self.decoder = Decoder(config, num_classes)
        for name, values in (("pixel_mean", config.pixel_mean), ("pixel_std", config.pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def prepare(self, images: Images) -> Float[Tensor, "B 3 _ _"]:
        """Normalise, **then** pad with zeros at the right and at the bottom to one size, in multiples of 32."""
        if isinstance(images, Tensor):
            height, width = padded_size([images.shape[-2:]])
            normalised = (images.to(self.pixel_mean) - self.pixel_mean) / self.pixel_std
            return F.pad(normalised, (0, width - images.shape[-1], 0, height - images.shape[-2]))
        height, width = padded_size([image.shape[-2:] for image in images])
        batch = self.pixel_mean.new_zeros(len(images), 3, height, width)
        for slot, image in zip(batch, images, strict=True):
            normalised = (image.to(self.pixel_mean) - self.pixel_mean) / self.pixel_std
            slot[:, : image.shape[-2], : image.shape[-1]] = normalised
        return batch

    def features(self, images: Images) -> Float[Tensor, "B C h w"]:
        """Return the aggregated features S at stride 4 of the padded images."""
        return self.aggregator(self.backbone(self.prepare(images)))

    def stages(self, images: Images) -> list[StageOutputs]:
        """Return the outputs of all stages 0..T, for the loss; S is not computed (see `Factored`)."""
        return self.decoder(self.factored(images), all_stages=True)

    def factored(self, images: Images) -> Factored:
        """Return the factors of the features S at stride 4 of the padded images."""
        return self.aggregator.factored(self.backbone(self.prepare(images)))

    def forward(self, images: Images) -> Outputs:
        """Return the last stage's class logits (B, N, K+1) and mask logits (B, N, h, w)."""
        last = self.decoder(self.features(images))[-1]
        return Outputs(last.class_logits, last.mask_logits)

    def to_cfa(self) -> "YOSO":
        """Convert interpolation-first aggregation to convolution-first in place; exact (equation 1)."""
        if isinstance(self.aggregator.aggregate, InterpolationFirst):
            self.aggregator.aggregate = self.aggregator.aggregate.to_cfa()
            self.config = replace(self.config, aggregation="cfa")
        return self


def padded_size(sizes: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Return the smallest (H, W), in multiples of 32, that holds images of all these (height, width)."""
    height, width = (max(size[axis] for size in sizes) + SIZE_DIVISOR - 1 for axis in (0, 1))
    # Not `height + -height % 32`: torch.compile has no remainder of negative numbers for dynamic sizes.
    return height // SIZE_DIVISOR * SIZE_DIVISOR, width // SIZE_DIVISOR * SIZE_DIVISOR
