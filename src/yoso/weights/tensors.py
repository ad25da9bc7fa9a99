"""Reading tensors from files safely, and loading them into a network only if all of them fit."""

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from yoso.errors import CheckpointError
from yoso.files import PathLike
from yoso.model.yoso import YOSO

Tensors = Mapping[str, Tensor]


def read_safetensors(path: PathLike) -> dict[str, torch.Tensor]:
    """Read a safetensors file; half-precision weights become float32.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: is damaged or not a safetensors file ({error})") from error
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def load_backbone(network: YOSO, path: PathLike) -> None:
    """Load a backbone's weights (timm's names, safetensors), and ignore tensors of layers that YOSO does not use.

    Raises:
        CheckpointError: the file is damaged, or lacks tensors of the backbone.
    """
    given = read_safetensors(path)
    net = network.backbone.net
    expected = {key for key in net.state_dict() if not key.endswith("num_batches_tracked")}
    load_exactly(net, {key: value for key, value in given.items() if key in expected}, path)


def load_exactly(network: nn.Module, tensors: Tensors, where: PathLike, names: Mapping[str, str] | None = None) -> None:
    """Load tensors, which must be those of the network, one to one.

    Args:
        network: unchanged if anything does not fit.
        tensors: by our names.
        where: the file, for errors.
        names: name in the file -> our name, so that errors use the names of the file.

    Raises:
        CheckpointError: missing or unexpected keys, wrong shapes, or values that are not finite.
    """
    in_file = {ours: theirs for theirs, ours in (names or {}).items()}
    expected = {key: value for key, value in network.state_dict().items() if not _is_counter(key)}
    given = {key: value for key, value in tensors.items() if not _is_counter(key)}
    problems = []
    if missing := sorted(expected.keys() - given.keys()):
        problems.append(f"missing {_listed(missing)}")
    if unexpected := sorted(in_file.get(key, key) for key in given.keys() - expected.keys()):
        problems.append(f"unexpected {_listed(unexpected)}")
    for key in sorted(expected.keys() & given.keys()):
        if expected[key].shape != given[key].shape:
            shapes = f"{tuple(given[key].shape)}, the network needs {tuple(expected[key].shape)}"
            problems.append(f"{in_file.get(key, key)} has shape {shapes}")
        elif not torch.isfinite(given[key]).all():
            problems.append(f"{in_file.get(key, key)} holds values that are not finite")
    if problems:
        shown = "; ".join(problems[:12])
        more = f"; and {len(problems) - 12} more" if len(problems) > 12 else ""
        raise CheckpointError(f"{where}: the weights do not fit the network: {shown}{more}")
    network.load_state_dict(given, strict=False)


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _listed(names: list[str], most: int = 60) -> str:
    shown = ", ".join(names[:most])
    return f"{len(names)} {'key' if len(names) == 1 else 'keys'} ({shown}{', ...' if len(names) > most else ''})"
