"""The official checkpoints: reading them, and the names of their tensors in this package."""

import os
import re
import zipfile
from collections.abc import Mapping

import torch
from torch import Tensor

from yoso.errors import CheckpointError
from yoso.files import PathLike, refuse_special
from yoso.model.yoso import YOSO
from yoso.weights.tensors import Tensors, load_exactly

_BACKBONE = [
    (r"^backbone\.stem\.conv1\.norm\.", r"backbone.net.bn1."),
    (r"^backbone\.stem\.conv1\.", r"backbone.net.conv1."),
    (r"^backbone\.res([2-5])\.(\d+)\.shortcut\.norm\.", r"backbone.net.layer\1.\2.downsample.1."),
    (r"^backbone\.res([2-5])\.(\d+)\.shortcut\.", r"backbone.net.layer\1.\2.downsample.0."),
    (r"^backbone\.res([2-5])\.(\d+)\.conv(\d)\.norm\.", r"backbone.net.layer\1.\2.bn\3."),
    (r"^backbone\.res([2-5])\.(\d+)\.conv(\d)\.", r"backbone.net.layer\1.\2.conv\3."),
]
_NECK = [
    (r"^yoso_neck\.loc_conv\.", r"aggregator.embed."),
    (r"^yoso_neck\.deconv\.output_conv\.", r"aggregator.output."),
    (r"^yoso_neck\.deconv\.bias$", r"aggregator.aggregate.bias"),
    (r"^yoso_neck\.deconv\.lateral_conv(\d)\.", r"aggregator.pyramid.laterals.<3-\1>."),
    (r"^yoso_neck\.deconv\.conv_a(\d)\.", r"aggregator.aggregate.convs.<\1-2>."),
    (r"^yoso_neck\.deconv\.deform_conv(\d)\.dcn_offset\.", r"aggregator.pyramid.ups.<3-\1>.conv.offset."),
    (r"^yoso_neck\.deconv\.deform_conv(\d)\.dcn\.", r"aggregator.pyramid.ups.<3-\1>.conv."),
    (r"^yoso_neck\.deconv\.deform_conv(\d)\.dcn_bn\.", r"aggregator.pyramid.ups.<3-\1>.conv_norm."),
    (r"^yoso_neck\.deconv\.deform_conv(\d)\.up_sample\.", r"aggregator.pyramid.ups.<3-\1>.up."),
    (r"^yoso_neck\.deconv\.deform_conv(\d)\.up_bn\.", r"aggregator.pyramid.ups.<3-\1>.up_norm."),
]
_STAGE = r"^yoso_head\.mask_heads\.(\d)\."
_HEAD = [
    (r"^yoso_head\.kernels\.", r"decoder.proposals."),
    (_STAGE + r"f_atten_norm\.", r"decoder.stages.\1.blocks.0.norm."),
    (_STAGE + r"k_atten_norm\.", r"decoder.stages.\1.blocks.1.norm."),
    (_STAGE + r"f_atten\.", r"decoder.stages.\1.blocks.0.attention."),
    (_STAGE + r"k_atten\.", r"decoder.stages.\1.blocks.1.attention."),
    (_STAGE + r"s_atten_norm\.", r"decoder.stages.\1.post.attention_norm."),
    (_STAGE + r"s_atten\.", r"decoder.stages.\1.post.attention."),
    (_STAGE + r"ffn_norm\.", r"decoder.stages.\1.post.feedforward_norm."),
    (_STAGE + r"ffn\.layers\.0\.0\.", r"decoder.stages.\1.post.feedforward.0."),
    (_STAGE + r"ffn\.layers\.1\.", r"decoder.stages.\1.post.feedforward.2."),
    (_STAGE + r"cls_fcs\.", r"decoder.stages.\1.class_branch."),
    (_STAGE + r"mask_fcs\.", r"decoder.stages.\1.mask_branch."),
    (_STAGE + r"fc_cls\.", r"decoder.stages.\1.class_branch.<last>."),
    (_STAGE + r"fc_mask\.", r"decoder.stages.\1.mask_branch.<last>."),
    (r"\.attention\.(?:weight_linear|f_linear)\.", r".attention.kernels."),
    (r"\.attention\.f_norm\.", r".attention.norm."),
    (r"\.attention\.atten\.", r".attention.attention."),
]
_RULES = [(re.compile(pattern), replacement) for pattern, replacement in (*_BACKBONE, *_NECK, *_HEAD)]
_NOT_OURS = {"yoso_head.criterion.empty_weight", "pixel_mean", "pixel_std"}


def our_name(official: str, branch_depth: int) -> str:
    """Return our name of an official tensor; an unknown name is returned unchanged.

    Args:
        official: key of the official state dict.
        branch_depth: hidden layers of the class and mask branches, before their last layer.
    """
    name = official
    for pattern, replacement in _RULES:
        name = pattern.sub(replacement, name)
    name = name.replace("<last>", str(3 * branch_depth))
    name = re.sub(r"<(\d)-(\d)>", lambda match: str(int(match[1]) - int(match[2])), name)
    return re.sub(r"^backbone\.net\.layer(\d)", lambda match: f"backbone.net.layer{int(match[1]) - 1}", name)


def read_official(path: PathLike) -> dict[str, Tensor]:
    """Read an official `.pth`; only tensors are read, never code.

    Raises:
        CheckpointError: the file is missing or damaged, holds anything but tensors, or is not a state dict.
    """
    refuse_special(path, "a checkpoint", CheckpointError)
    _refuse_bomb(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: cannot be read as weights; only files of plain tensors are accepted, since a pickle can run "
            f"code ({reason})"
        ) from error
    if isinstance(content, Mapping):
        content = content.get("model", content)
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise CheckpointError(f"{path}: is not a state dict (a mapping of names to tensors)")
    return dict(content)


def _refuse_bomb(path: PathLike) -> None:
    """Refuse a checkpoint whose parts are compressed, which PyTorch never writes and which may unpack to anything.

    Raises:
        CheckpointError: it is one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
    except Exception:  # the old format is no archive; `torch.load` says what is wrong with a damaged one
        return
    if unpacked > os.path.getsize(path):
        raise CheckpointError(f"{path}: is not a checkpoint that PyTorch wrote, because its parts are compressed")


def load_official(network: YOSO, tensors: Tensors, where: PathLike = "checkpoint") -> None:
    """Load official tensors into a network of the same configuration.

    Raises:
        CheckpointError: keys are missing (by our names), or keys are unexpected, shapes differ or values are not finite
            (by the names in the file).
    """
    depth = network.config.branch_depth
    names = {official: our_name(official, depth) for official in tensors if official not in _NOT_OURS}
    load_exactly(network, {ours: tensors[official] for official, ours in names.items()}, where, names)
