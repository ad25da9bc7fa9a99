"""Peers from transformers, built from configurations with random weights; nothing is downloaded.

Each prepares with its own image processor and merges with its own `post_process_panoptic_segmentation`, whatever
these do: Mask2Former's, for one, brings masks to 384x384 before it compares them. EoMT takes square images only.
MaskFormer has no transformer encoder in its pixel decoder here (the published panoptic model has six layers of it), so
it is faster than the one of the paper.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from yoso.installation import optional_packages
from yoso.preprocess import Size
from yoso.speed.entry import Contestant, Entry, Prediction, Whole, autocast
from yoso.speed.images import photograph
from yoso.speed.kept_queries import let_survive

NUM_CLASSES = 133
STUFF = frozenset(range(80, NUM_CLASSES))
"""COCO's classes: things first."""

THRESHOLD = 0.8


@dataclass(frozen=True)
class Peer:
    """One peer.

    Attributes:
        family: whose classes of transformers it is made of.
        published: million parameters, as its paper's tables say.
        options: of its configuration.
        backbone: options of its ResNet, if it has one.
    """

    family: str
    published: int
    options: dict[str, Any]
    backbone: dict[str, Any] | None = None


def _eomt(width: int, depth: int, heads: int, blocks: int) -> dict[str, Any]:
    sides = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
    return {**sides, "num_blocks": blocks}


PEERS = {
    "maskformer": Peer("MaskFormer", 41, {}, {}),
    "mask2former": Peer("Mask2Former", 44, {}, {}),
    "eomt-s": Peer("Eomt", 24, _eomt(384, 12, 6, 3)),
    "eomt-b": Peer("Eomt", 93, _eomt(768, 12, 12, 3)),
    "eomt-l": Peer("Eomt", 316, _eomt(1024, 24, 16, 4)),
}
"""By the names of the command line; the ResNet is transformers' default, which is ResNet-50."""

CLASSES = {"MaskFormer": "MaskFormerForInstanceSegmentation"}
"""Names of model classes that are not `<family>ForUniversalSegmentation`."""


def check_peers() -> None:
    """Check that peers can be built.

    Raises:
        ConfigError: transformers is not installed.
    """
    with optional_packages("--against"):
        import transformers  # noqa: F401


def build_network(peer: Peer, size: Size, seed: int = 0) -> nn.Module:
    """Build a peer's network with random weights, the same for a seed.

    Args:
        peer: which.
        size: (height, width) of the photograph; EoMT is built for one size.
        seed: of the weights.
    """
    check_peers()
    import transformers

    # It warns that ResNet is no backbone it knows of; the published Mask2Former has one.
    transformers.logging.set_verbosity_error()
    options: dict[str, Any] = {"num_labels": NUM_CLASSES, **peer.options}
    if peer.backbone is not None:
        stages = [f"stage{number}" for number in range(1, 5)]
        options["backbone_config"] = {"model_type": "resnet", **peer.backbone, "out_features": stages}
    if peer.family == "Eomt":
        options["image_size"] = _square(size)
    config = getattr(transformers, f"{peer.family}Config")(**options)
    kind = getattr(transformers, CLASSES.get(peer.family, f"{peer.family}ForUniversalSegmentation"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = kind(config).eval()
    if peer.family == "Eomt":
        # Masked attention is trained away: the published models run without it, which is faster.
        network.attn_mask_probs.zero_()
    return network


def build_processor(peer: Peer, size: Size) -> Any:
    """Build a peer's image processor for photographs of (height, width).

    Its size is the photograph's, brought to what the network takes: MaskFormer's and Mask2Former's stretch it to the
    next multiple of 32, EoMT's makes the longer side a multiple of 16 and pads to a square.
    """
    check_peers()
    import transformers

    kind = getattr(transformers, f"{peer.family}ImageProcessor")
    if peer.family == "Eomt":
        return kind(size={"shortest_edge": _square(size), "longest_edge": _square(size)}, do_pad=True)
    return kind(size={"shortest_edge": min(size), "longest_edge": max(size)}, size_divisor=32)


def _square(size: Size) -> int:
    return (max(size) + 15) // 16 * 16


def build(entry: Entry) -> Contestant:
    """Build a peer.

    Raises:
        ConfigError: transformers is not installed, or the precision is too small for random weights.
    """
    return contestant(PEERS[entry.model], entry)


def contestant(peer: Peer, entry: Entry) -> Contestant:
    """Build a peer that need not be in `PEERS`; errors as in `build`."""
    settings = entry.settings
    network = build_network(peer, entry.size).to(settings.device)
    processor = build_processor(peer, entry.size)
    whole = Whole(torch.compile(network) if entry.compiled else network)
    merge = _merge(peer, processor)

    def inputs(pixels: np.ndarray) -> dict[str, torch.Tensor]:
        batch = processor(images=pixels, return_tensors="pt", device=settings.device)
        names = ("pixel_values", "pixel_mask")
        return {name: batch[name].to(settings.device) for name in names if isinstance(batch.get(name), torch.Tensor)}

    @torch.inference_mode()
    def run(pixels: np.ndarray) -> Prediction:
        prepared = inputs(pixels)
        with autocast(settings):
            outputs = whole(**prepared)
        result = merge(outputs, (pixels.shape[0], pixels.shape[1]))
        return Prediction(result["segmentation"].cpu().numpy(), len(result["segments_info"]))

    with autocast(settings):
        prepared = inputs(photograph(entry.size, settings.image))
        layer = cast(nn.Linear, network.get_submodule("class_predictor"))
        let_survive(layer, lambda: network(**prepared), settings.survivors)
    boundaries = {"network": whole} if entry.compiled else _boundaries(peer, network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    device, precision = torch.device(settings.device), settings.precision
    return Contestant(run, device, whole, boundaries, None, True, parameters, precision)


def _merge(peer: Peer, processor: Any) -> Callable[[Any, Size], dict[str, Any]]:
    stuff = "stuff_classes" if peer.family == "Eomt" else "label_ids_to_fuse"
    options = {"threshold": THRESHOLD, "overlap_mask_area_threshold": 0.0, stuff: STUFF}

    def merge(outputs: Any, size: Size) -> dict[str, Any]:
        return processor.post_process_panoptic_segmentation(outputs, target_sizes=[size], **options)[0]

    return merge


def _boundaries(peer: Peer, network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that begin a peer's stages. EoMT has no aggregator; queries join in its last blocks."""
    if peer.family == "Eomt":
        config: Any = network.config
        first = config.num_hidden_layers - config.num_blocks
        return {"backbone": network.get_submodule("embeddings"), "decoder": network.get_submodule(f"layers.{first}")}
    names = ("encoder", "decoder")
    backbone, aggregator = (network.get_submodule(f"model.pixel_level_module.{name}") for name in names)
    decoder = network.get_submodule("model.transformer_module")
    return {"backbone": backbone, "aggregator": aggregator, "decoder": decoder}
