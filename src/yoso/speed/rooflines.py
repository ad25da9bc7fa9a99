"""What a stage could take at best on this machine: its arithmetic at the peak of a matrix product, or its traffic.

Arithmetic is counted on shapes alone, without weights. Traffic is what cannot be avoided: the weights, inputs and
outputs of a stage, each moved once. What lies inside a stage may stay in a cache; so this is a floor, not an estimate.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from yoso.inference.runtimes import runtime_of
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.preprocess import Size
from yoso.speed.entry import Entry, Settings, synchronise
from yoso.speed.ours import recipe_model
from yoso.speed.results import Floor, Floors, Measurement
from yoso.weights.load import load_model
from yoso.weights.official_recipes import convertible

COUNTED_STAGES = ("backbone", "aggregator", "decoder")
WHOLE = "network"
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}
PROBES = 5


@dataclass(frozen=True)
class Work:
    """What one stage has to do.

    Attributes:
        flops: floating-point operations, a multiply-add counted as two; of matrix products and convolutions.
        elements: numbers that come in, go out, or are weights.
    """

    flops: int
    elements: int


def count_work(config: ModelConfig, num_classes: int, size: Size) -> dict[str, Work]:
    """Count the work of the three stages of a network, and of `network`, all in one, for one photograph.

    Nothing is computed. As one stage a network need not write what passes between its parts.

    Args:
        config: of the network.
        num_classes: K.
        size: (height, width) of the photograph in pixels.
    """
    with torch.device("meta"):
        network = YOSO(config, num_classes).eval().requires_grad_(False)
        image = torch.empty(1, 3, *size)
    elements: dict[str, int] = {}

    def note(stage: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            weights = sum(parameter.numel() for parameter in module.parameters())
            elements[stage] = weights + _numel(inputs) + _numel(output)

        return hook

    for stage in COUNTED_STAGES:
        network.get_submodule(stage).register_forward_hook(note(stage))
    network.register_forward_hook(note(WHOLE))
    deform: Any = torch.ops.torchvision.deform_conv2d
    counter = FlopCounterMode(display=False, depth=2, custom_mapping={deform: deform_conv_flops})
    with torch.no_grad(), counter:
        network(image)
    counts = counter.get_flop_counts()
    flops = {stage: sum(counts[f"YOSO.{stage}"].values()) for stage in COUNTED_STAGES}
    flops[WHOLE] = sum(flops.values())
    return {stage: Work(flops[stage], elements[stage]) for stage in (*COUNTED_STAGES, WHOLE)}


def deform_conv_flops(
    x_shape: Sequence[int], weight_shape: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
) -> int:
    """Return the operations of a deformable convolution's matrix product; sampling is not counted.

    Args:
        x_shape: (B, C, H, W).
        weight_shape: (D, C / groups, kernel height, kernel width).
        out_shape: (B, D, H', W').
    """
    batch, channels, height, width = out_shape
    inner, kernel_height, kernel_width = tuple(weight_shape)[1:]
    return 2 * batch * channels * height * width * inner * kernel_height * kernel_width


def _numel(values: Any) -> int:
    if isinstance(values, Tensor):
        return values.numel()
    return sum(_numel(value) for value in values) if isinstance(values, list | tuple) else 0


def matrix_peak(device: torch.device, dtype: torch.dtype = torch.float32, side: int | None = None) -> float:
    """Measure the floating-point operations per second of a square matrix product, the best of some."""
    side = side or MATRIX_SIDE.get(device.type, MATRIX_SIDE["cpu"])
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _best_seconds(lambda: a @ b, device)


def copy_peak(device: torch.device, size: int | None = None) -> float:
    """Measure the bytes per second that a copy reads and writes, together, the best of some."""
    size = size or COPY_BYTES.get(device.type, COPY_BYTES["cpu"])
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _best_seconds(lambda: target.copy_(source), device)


def _best_seconds(run: Callable[[], object], device: torch.device) -> float:
    best = float("inf")
    for _ in range(PROBES + 1):
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return best


def measure_floors(entries: Sequence[Entry], measured: Sequence[Measurement], settings: Settings) -> Floors:
    """Measure the machine's peaks and compare the stages of our networks with them.

    A contestant in another precision than the session's has other peaks, and is left out.
    """
    device = torch.device(settings.device)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[settings.precision]
    flops, traffic = matrix_peak(device, dtype), copy_peak(device)
    width = torch.empty(0, dtype=dtype).element_size()
    stages = []
    for entry, one in zip(entries, measured, strict=True):
        counted = [stage for stage in (*COUNTED_STAGES, WHOLE) if stage in one.stages]
        foreign = one.mode.runtime == "peer" or runtime_of(entry.model)
        if not counted or foreign or one.mode.precision != settings.precision:
            continue
        model = recipe_model(entry.model) if entry.model in convertible() else load_model(entry.model)
        works = count_work(model.network.config, len(model.categories), entry.size)
        for stage, work in ((stage, works[stage]) for stage in counted):
            floor = max(work.flops / flops, width * work.elements / traffic)
            spent = one.stages[stage]
            stages.append(
                Floor(one.name, one.size, stage, work.flops, width * work.elements, floor, spent, spent / floor)
            )
    return Floors(flops, traffic, stages)
