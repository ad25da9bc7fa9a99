"""What is timed: something that turns a photograph into segments, and where its stages begin."""

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
"""In this order. A form that cannot be looked into has `network` in place of the three stages."""

Stages = dict[str, float]


class Prediction(NamedTuple):
    """What every contestant hands over.

    Attributes:
        segmentation: integers (H, W) in host memory, a segment id per pixel.
        num_segments: how many segments there are.
    """

    segmentation: np.ndarray
    num_segments: int


@dataclass(frozen=True)
class Settings:
    """What holds for all contestants of a session.

    Attributes:
        device: "cpu", "cuda" or "cuda:1".
        precision: "fp32", "fp16" or "bf16", of everything that is not an exported file, which has its own.
        threads: of torch on the CPU.
        survivors: queries that networks with random weights keep.
        image: a file to segment instead of the made photograph.
    """

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    survivors: int = 12
    image: str | None = None


@dataclass(frozen=True)
class Entry:
    """One line of a table before it is built; plain values, so that another process can build it too.

    Attributes:
        name: what the tables call it.
        model: a bundled name, a folder, a recipe; or the peer's name.
        runtime: how it runs: one of ours, or "peer".
        size: (height, width) of the photograph.
        settings: of the session.
        compiled: run it through `torch.compile`.
    """

    name: str
    model: str
    runtime: str
    size: Size
    settings: Settings = field(default_factory=Settings)
    compiled: bool = False


@dataclass(frozen=True)
class Contestant:
    """An entry, built.

    Attributes:
        run: segments a photograph, a uint8 RGB array (H, W, 3).
        device: that it runs on.
        network: the module whose end is the beginning of the merge; None if there is none to look into.
        boundaries: which module begins which stage, in order.
        own_stages: measures the stages of a form that has no modules.
        random_weights: says nothing about accuracy.
        parameters: how many numbers were learned, if that can be counted.
        precision: that it runs in.
        graphed: tells, once it has run, whether it replays a CUDA graph.
    """

    run: Callable[[np.ndarray], Prediction]
    device: torch.device
    network: nn.Module | None = None
    boundaries: Mapping[str, nn.Module] = field(default_factory=dict)
    own_stages: Callable[[np.ndarray], Stages] | None = None
    random_weights: bool = False
    parameters: int | None = None
    precision: str = "fp32"
    graphed: Callable[[], bool] = lambda: False

    def stages(self, pixels: np.ndarray) -> Stages:
        """Run once, waiting for the device at every boundary.

        Returns:
            Seconds per stage, some of `STAGES`; each lasts until the next begins, so that they add up to the run.
        """
        if self.network is None:
            return {} if self.own_stages is None else self.own_stages(pixels)
        began: list[tuple[str, float]] = []

        def mark(stage: str) -> None:
            synchronise(self.device)
            if all(stage != name for name, _ in began):
                began.append((stage, time.perf_counter()))

        with ExitStack() as hooks:
            for stage, module in self.boundaries.items():
                handle = module.register_forward_pre_hook(lambda *_, stage=stage: mark(stage))
                hooks.callback(handle.remove)
            hooks.callback(self.network.register_forward_hook(lambda *_: mark("merge")).remove)
            mark("prepare")
            self.run(pixels)
            mark("end")
        return _durations(began)


def _durations(began: Sequence[tuple[str, float]]) -> Stages:
    return {name: after - before for (name, before), (_, after) in itertools.pairwise(began)}


class Whole(nn.Module):
    """A network behind a door of its own, so that hooks on it stay outside of what `torch.compile` sees."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        """Take the network, compiled or not."""
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Pass everything on."""
        return self.inner(*inputs, **named)


def synchronise(device: torch.device) -> None:
    """Wait until a CUDA device has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def autocast(settings: Settings) -> torch.autocast:
    """Return the context in which a network runs at the precision of a session."""
    kind = torch.device(settings.device).type
    half = torch.float16 if settings.precision == "fp16" else torch.bfloat16
    return torch.autocast(kind, half, enabled=settings.precision != "fp32")
