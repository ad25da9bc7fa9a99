"""Baselines from transformers, built from configurations with random weights; nothing is downloaded.

Each prepares images with its own image processor and merges with its own `post_process_panoptic_segmentation`, whatever
these do: Mask2Former's, for example, resizes masks to 384x384 before it compares them. EoMT takes square images only.
MaskFormer has no transformer encoder in its pixel decoder here, whereas the published panoptic model has six layers of
it, so this one is faster than the one in the paper.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from yoso.installation import optional_packages
from yoso.preprocess import Size
from yoso.speed.entry import Entry, EntryOutput, EntrySpec, NetworkWrapper, autocast
from yoso.speed.images import input_image
from yoso.speed.kept_queries import keep_queries

NUM_CLASSES = 133
STUFF = frozenset(range(80, NUM_CLASSES))
"""COCO's classes: things first."""

OBJECT_MASK_THRESHOLD = 0.8


@dataclass(frozen=True)
class Baseline:
    """One baseline.

    Attributes:
        family: prefix of its classes in transformers.
        million_parameters: as in the tables of its paper.
        options: of its configuration.
        backbone: options of its ResNet, if it has one.
    """

    family: str
    million_parameters: int
    options: dict[str, Any]
    backbone: dict[str, Any] | None = None


def _eomt(width: int, depth: int, heads: int, blocks: int) -> dict[str, Any]:
    sides = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
    return {**sides, "num_blocks": blocks}


BASELINES = {
    "maskformer": Baseline("MaskFormer", 41, {}, {}),
    "mask2former": Baseline("Mask2Former", 44, {}, {}),
    "eomt-s": Baseline("Eomt", 24, _eomt(384, 12, 6, 3)),
    "eomt-b": Baseline("Eomt", 93, _eomt(768, 12, 12, 3)),
    "eomt-l": Baseline("Eomt", 316, _eomt(1024, 24, 16, 4)),
}
"""By their names on the command line; the ResNet is transformers' default, which is ResNet-50."""

MODEL_CLASSES = {"MaskFormer": "MaskFormerForInstanceSegmentation"}
"""Model classes whose name is not `<family>ForUniversalSegmentation`."""


def require_transformers() -> None:
    """Check that baselines can be built.

    Raises:
        ConfigError: transformers is not installed.
    """
    with optional_packages("--against"):
        import transformers  # noqa: F401


def build_network(baseline: Baseline, size: Size, seed: int = 0) -> nn.Module:
    """Build a baseline's network with random weights, the same for a seed.

    Args:
        baseline: which one.
        size: (height, width) of the image; EoMT is built for one size.
        seed: of the weights.
    """
    require_transformers()
    import transformers

    # It warns that it does not know ResNet as a backbone, although the published Mask2Former has one.
    transformers.logging.set_verbosity_error()
    options: dict[str, Any] = {"num_labels": NUM_CLASSES, **baseline.options}
    if baseline.backbone is not None:
        stages = [f"stage{number}" for number in range(1, 5)]
        options["backbone_config"] = {"model_type": "resnet", **baseline.backbone, "out_features": stages}
    if baseline.family == "Eomt":
        options["image_size"] = _square(size)
    config = getattr(transformers, f"{baseline.family}Config")(**options)
    model_class = MODEL_CLASSES.get(baseline.family, f"{baseline.family}ForUniversalSegmentation")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = getattr(transformers, model_class)(config).eval()
    if baseline.family == "Eomt":
        # Training removes masked attention step by step: the published models run without it, which is faster.
        network.attn_mask_probs.zero_()
    return network


def build_processor(baseline: Baseline, size: Size) -> Any:
    """Build a baseline's image processor for images of (height, width).

    The processors of MaskFormer and Mask2Former stretch the image to the next multiple of 32. EoMT's makes the longer
    side a multiple of 16 and pads to a square.
    """
    require_transformers()
    import transformers

    processor = getattr(transformers, f"{baseline.family}ImageProcessor")
    if baseline.family == "Eomt":
        return processor(size={"shortest_edge": _square(size), "longest_edge": _square(size)}, do_pad=True)
    return processor(size={"shortest_edge": min(size), "longest_edge": max(size)}, size_divisor=32)


def _square(size: Size) -> int:
    return (max(size) + 15) // 16 * 16


def build(spec: EntrySpec) -> Entry:
    """Build the entry of a baseline.

    Raises:
        ConfigError: transformers is not installed, or random weights overflow in the precision.
    """
    return build_entry(BASELINES[spec.model], spec)


def build_entry(baseline: Baseline, spec: EntrySpec) -> Entry:
    """Build the entry of a baseline that need not be in `BASELINES`; errors as in `build`."""
    settings = spec.settings
    network = build_network(baseline, spec.size).to(settings.device)
    processor = build_processor(baseline, spec.size)
    wrapper = NetworkWrapper(torch.compile(network) if spec.compiled else network)
    merge = _merge(baseline, processor)

    def inputs(pixels: np.ndarray) -> dict[str, torch.Tensor]:
        batch = processor(images=pixels, return_tensors="pt", device=settings.device)
        names = ("pixel_values", "pixel_mask")
        return {name: batch[name].to(settings.device) for name in names if isinstance(batch.get(name), torch.Tensor)}

    @torch.inference_mode()
    def run(pixels: np.ndarray) -> EntryOutput:
        prepared = inputs(pixels)
        with autocast(settings):
            outputs = wrapper(**prepared)
        result = merge(outputs, (pixels.shape[0], pixels.shape[1]))
        return EntryOutput(result["segmentation"].cpu().numpy(), len(result["segments_info"]))

    with autocast(settings):
        prepared = inputs(input_image(spec.size, settings.image))
        layer = cast(nn.Linear, network.get_submodule("class_predictor"))
        keep_queries(layer, lambda: network(**prepared), settings.kept_queries)
    return Entry(
        run,
        torch.device(settings.device),
        wrapper,
        {"network": wrapper} if spec.compiled else _boundaries(baseline, network),
        random_weights=True,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        precision=settings.precision,
    )


def _merge(baseline: Baseline, processor: Any) -> Callable[[Any, Size], dict[str, Any]]:
    stuff = "stuff_classes" if baseline.family == "Eomt" else "label_ids_to_fuse"
    options = {"threshold": OBJECT_MASK_THRESHOLD, "overlap_mask_area_threshold": 0.0, stuff: STUFF}

    def merge(outputs: Any, size: Size) -> dict[str, Any]:
        return processor.post_process_panoptic_segmentation(outputs, target_sizes=[size], **options)[0]

    return merge


def _boundaries(baseline: Baseline, network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that begin the stages. EoMT has no aggregator; its queries join in the last blocks."""
    if baseline.family == "Eomt":
        config: Any = network.config
        first = config.num_hidden_layers - config.num_blocks
        return {"backbone": network.get_submodule("embeddings"), "decoder": network.get_submodule(f"layers.{first}")}
    names = ("encoder", "decoder")
    backbone, aggregator = (network.get_submodule(f"model.pixel_level_module.{name}") for name in names)
    decoder = network.get_submodule("model.transformer_module")
    return {"backbone": backbone, "aggregator": aggregator, "decoder": decoder}
