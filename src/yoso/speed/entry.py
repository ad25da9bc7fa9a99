"""What is timed: an entry turns an image into segments, and knows where its stages begin."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from yoso.preprocess import Size

STAGES = ("prepare", "backbone", "aggregator", "decoder", "network", "merge")
"""In this order. An entry whose network cannot be divided has `network` in place of the three stages in the middle."""

StageSeconds = dict[str, float]
"""Seconds, or shares, by stage."""


class EntryOutput(NamedTuple):
    """What every entry returns.

    Attributes:
        segmentation: numbers (H, W) in host memory, a segment id per pixel.
        num_segments: how many segments there are.
    """

    segmentation: np.ndarray
    num_segments: int


@dataclass(frozen=True)
class TimingSettings:
    """What all entries of a session share.

    Attributes:
        device: "cpu", "cuda" or "cuda:1".
        precision: "fp32", "fp16" or "bf16", for everything but exported files, which have their own.
        threads: of torch on the CPU.
        kept_queries: how many queries a network with random weights keeps.
        image: a file to segment; None is the synthetic image.
    """

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    kept_queries: int = 12
    image: str | None = None


@dataclass(frozen=True)
class EntrySpec:
    """An entry before it is built: plain values, so that another process can build it too.

    Attributes:
        name: as the tables show it.
        model: a model's name or folder, an exported file, or a recipe; for a baseline its name.
        runtime: one of `yoso_entries.RUNTIMES`, or "baseline".
        size: (height, width) of the image.
        settings: of the session.
        compiled: run it through `torch.compile`.
    """

    name: str
    model: str
    runtime: str
    size: Size
    settings: TimingSettings = field(default_factory=TimingSettings)
    compiled: bool = False


@dataclass(frozen=True)
class Entry:
    """An entry, built and ready to run.

    Attributes:
        run: segments an image, a uint8 RGB array (H, W, 3).
        device: that it runs on.
        network: the module after which the merge begins; None if the entry has no PyTorch module.
        boundaries: the module that begins each stage, in order.
        timed_stages: times the stages of an entry without modules.
        random_weights: its results say nothing about accuracy.
        parameters: the number of learned values, if that can be counted.
        precision: that it runs in.
        uses_cuda_graph: tells, after a run, whether the entry replays a CUDA graph.
    """

    run: Callable[[np.ndarray], EntryOutput]
    device: torch.device
    network: nn.Module | None = None
    boundaries: Mapping[str, nn.Module] = field(default_factory=dict)
    timed_stages: Callable[[np.ndarray], StageSeconds] | None = None
    random_weights: bool = False
    parameters: int | None = None
    precision: str = "fp32"
    uses_cuda_graph: Callable[[], bool] = lambda: False

    def stage_seconds(self, pixels: np.ndarray) -> StageSeconds:
        """Run once, waiting for the device at every boundary.

        Returns:
            Seconds per stage, for some of `STAGES`. A stage ends where the next begins, so they add up to the run.
        """
        if self.network is None:
            return {} if self.timed_stages is None else self.timed_stages(pixels)
        starts: list[tuple[str, float]] = []

        def mark(stage: str) -> None:
            synchronize(self.device)
            if all(stage != name for name, _ in starts):
                starts.append((stage, time.perf_counter()))

        with ExitStack() as hooks:
            for stage, module in self.boundaries.items():
                handle = module.register_forward_pre_hook(lambda *_, stage=stage: mark(stage))
                hooks.callback(handle.remove)
            hooks.callback(self.network.register_forward_hook(lambda *_: mark("merge")).remove)
            mark("prepare")
            self.run(pixels)
            mark("end")
        return _durations(starts)


def _durations(starts: Sequence[tuple[str, float]]) -> StageSeconds:
    return {name: after - before for (name, before), (_, after) in itertools.pairwise(starts)}


class NetworkWrapper(nn.Module):
    """Wraps a network, so that hooks on the wrapper stay outside of what `torch.compile` sees."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        """Take the network, compiled or not."""
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Call the network."""
        return self.inner(*inputs, **named)


def synchronize(device: torch.device) -> None:
    """Wait until a CUDA device has finished its work; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def autocast(settings: TimingSettings) -> torch.autocast:
    """Return the context in which a network runs at the session's precision."""
    device_type = torch.device(settings.device).type
    half = torch.float16 if settings.precision == "fp16" else torch.bfloat16
    return torch.autocast(device_type, half, enabled=settings.precision != "fp32")
