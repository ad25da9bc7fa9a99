"""Reading tensors from files safely, and loading them into a network only if all of them fit."""

from collections.abc import Mapping

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from yoso.errors import CheckpointError
from yoso.files import PathLike, refuse_special
from yoso.model.yoso import YOSO

Tensors = Mapping[str, Tensor]


def read_safetensors(path: PathLike) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    refuse_special(path, "a safetensors file", CheckpointError)
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # the library raises errors of many classes, some of Rust's
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: is damaged or not a safetensors file ({reason})") from error


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
        CheckpointError: missing or unexpected keys, wrong shapes, tensors that are not plain floating-point numbers, or
            values that are not finite in the network's precision.
    """
    network.load_state_dict(check_fit(network, tensors, where, names), strict=False)


def check_fit(
    network: nn.Module, tensors: Tensors, where: PathLike, names: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """Return the tensors to load into a network, which may be on the meta device; arguments as in `load_exactly`.

    Raises:
        CheckpointError: see `load_exactly`; values are not looked at if the network is on the meta device.
    """
    given = {key: value for key, value in tensors.items() if not _is_counter(key)}
    if problems := _problems(network, given, names or {}):
        shown = "; ".join(problems[:12])
        more = f"; and {len(problems) - 12} more" if len(problems) > 12 else ""
        raise CheckpointError(f"{where}: the weights do not fit the network: {shown}{more}")
    return given


def _problems(network: nn.Module, given: Tensors, names: Mapping[str, str]) -> list[str]:
    """Return why tensors do not fit a network; arguments as in `load_exactly`."""
    in_file = {ours: theirs for theirs, ours in names.items()}
    expected = {key: value for key, value in network.state_dict().items() if not _is_counter(key)}
    problems = []
    if missing := sorted(expected.keys() - given.keys()):
        problems.append(f"missing {_listed(missing)}")
    if unexpected := sorted(in_file.get(key, key) for key in given.keys() - expected.keys()):
        problems.append(f"unexpected {_listed(unexpected)}")
    for key in sorted(expected.keys() & given.keys()):
        if expected[key].shape != given[key].shape:
            shapes = f"{tuple(given[key].shape)}, the network needs {tuple(expected[key].shape)}"
            problems.append(f"{in_file.get(key, key)} has shape {shapes}")
        elif kind := _other_kind(given[key]):
            problems.append(f"{in_file.get(key, key)} holds {kind}, the network needs floating-point numbers")
        elif not expected[key].is_meta and not torch.isfinite(given[key].to(expected[key].dtype)).all():
            problems.append(f"{in_file.get(key, key)} holds values that are not finite in {expected[key].dtype}")
    return problems


def _other_kind(tensor: Tensor) -> str:
    """Return what a tensor is if it is not one of plain floating-point numbers in memory, otherwise nothing."""
    if tensor.is_meta:
        return "no values"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"a tensor of layout {tensor.layout}"
    return "" if tensor.is_floating_point() and not tensor.is_quantized else f"values of type {tensor.dtype}"


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _listed(names: list[str], most: int = 60) -> str:
    shown = ", ".join(names[:most])
    return f"{len(names)} {'key' if len(names) == 1 else 'keys'} ({shown}{', ...' if len(names) > most else ''})"
