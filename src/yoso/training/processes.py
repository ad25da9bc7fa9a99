"""Training in several processes: their number, what they exchange, and BatchNorm over all of them.

Lightning or torchrun starts the processes, and PyTorch averages the gradients.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from yoso.errors import ConfigError
from yoso.training.config import RunConfig


def as_launched(run: RunConfig) -> RunConfig:
    """Return the settings with the number of processes that torchrun started, if it did.

    Raises:
        ConfigError: the recipe asks for a different number.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return run
    devices = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // devices
    for name, asked, started in (("devices", run.devices, devices), ("nodes", run.nodes, nodes)):
        if asked not in {1, started}:
            raise ConfigError(f"run.{name} is {asked}, but torchrun started {started}; leave run.{name} out")
    return replace(run, devices=devices, nodes=nodes)


def num_processes() -> int:
    """Return how many processes train together; 1 before they are connected."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def any_process(here: bool, device: torch.device) -> bool:
    """Return whether a flag is set in at least one process; all processes must call it."""
    if num_processes() == 1:
        return here
    flag = torch.tensor(int(here), device=device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def gathered(rows: Float[Tensor, "rows F"], device: torch.device) -> Float[Tensor, "all F"]:
    """Return the rows of all processes on the CPU, ordered by process; each may have a different number of rows.

    Args:
        rows: of this process.
        device: where the processes exchange tensors.
    """
    if num_processes() == 1:
        return rows
    counts = [torch.zeros((), dtype=torch.int64, device=device) for _ in range(num_processes())]
    dist.all_gather(counts, torch.tensor(len(rows), device=device))
    lengths = [int(count) for count in counts]
    padded = F.pad(rows, (0, 0, 0, max(lengths) - len(rows))).to(device)
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)]).cpu()


class SumOverProcesses(torch.autograd.Function):
    """Sums a tensor over all processes; its gradient is summed too, since every process uses the sum."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """Return the sum."""
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """BatchNorm with the statistics of all processes' images, on any device; PyTorch's own needs a GPU.

    Attributes:
        after: dropout and activation that follow the normalisation in layers of timm.
    """

    def __init__(self, source: _BatchNorm) -> None:
        """Share the parameters and statistics of a layer."""
        super().__init__(source.num_features, source.eps, source.momentum)
        self.weight, self.bias = source.weight, source.bias
        self.running_mean, self.running_var = source.running_mean, source.running_var
        self.num_batches_tracked = source.num_batches_tracked
        self.after = nn.Sequential(*(getattr(source, name) for name in ("drop", "act") if hasattr(source, name)))

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalise: over all processes in training, with the running statistics in evaluation."""
        if not (self.training and num_processes() > 1):
            return self.after(super().forward(input))
        with torch.autocast(input.device.type, enabled=False):
            x = input if input.dtype == torch.float64 else input.float()
            count = x.new_tensor([x.numel() / self.num_features])
            dist.all_reduce(count)
            mean = SumOverProcesses.apply(x.sum((0, 2, 3))) / count
            centred = x - mean[:, None, None]
            variance = SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / count
            self._note(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
            scale = self.weight * (variance + self.eps).rsqrt()
            normal = centred * scale[:, None, None] + self.bias[:, None, None]
        return self.after(normal.to(input.dtype))

    def _note(self, mean: Float[Tensor, " C"], variance: Float[Tensor, " C"]) -> None:
        rate = 0.1 if self.momentum is None else self.momentum
        for statistic, now in ((self.running_mean, mean), (self.running_var, variance)):
            if statistic is not None:
                statistic.lerp_(now.to(statistic), rate)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def synchronise(network: nn.Module, on_gpu: bool) -> None:
    """Replace, in place, every BatchNorm in training mode by one that uses the statistics of all processes.

    Frozen layers, which are in evaluation mode, stay as they are.

    Args:
        network: in training mode.
        on_gpu: where it will train.
    """
    # Not PyTorch's or Lightning's conversion, which drops the activation that many layers of timm contain.
    convert: Callable[[Any], nn.Module] = convert_sync_batchnorm if on_gpu else SynchronisedBatchNorm
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm) and child.training:
                setattr(module, name, convert(child))
