"""The roofline of a stage: its arithmetic at the speed of a large matrix product, or its traffic at that of a copy.

Both are counted on the network that the entry runs: the deployment form (`yoso.model.fuse`) or the trained one.
Counting needs shapes alone, no weights. Traffic is the minimum: the weights, inputs and outputs of a stage, each moved
once, because what lies inside a stage may stay in a cache.

A roofline is an estimate of the minimum time. PyTorch's matrix product sets the peak, and another runtime's kernels, or
a quieter moment of the machine, may be a little faster.
"""

import time
from collections.abc import Callable, Sequence

import torch

from yoso.inference.runtimes import runtime_of
from yoso.speed.entry import EntrySpec, TimingSettings, synchronize
from yoso.speed.results import EXECUTED, Measurement, Rooflines, StageRoofline
from yoso.speed.specs import BASELINE
from yoso.speed.work import COUNTED_STAGES, WHOLE, StageWork, count_work
from yoso.speed.yoso_entries import DEPLOYMENT_FORMS
from yoso.weights.load import load_model
from yoso.weights.official_recipes import convertible, read_recipe

MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}
PROBES = 5


def matrix_peak(device: torch.device, dtype: torch.dtype = torch.float32, side: int | None = None) -> float:
    """Measure the floating-point operations per second of a square matrix product; the best of a few runs."""
    side = side or MATRIX_SIDE.get(device.type, MATRIX_SIDE["cpu"])
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _best_seconds(lambda: a @ b, device)


def copy_peak(device: torch.device, size: int | None = None) -> float:
    """Measure the bytes per second that a copy reads and writes, together; the best of a few runs."""
    size = size or COPY_BYTES.get(device.type, COPY_BYTES["cpu"])
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _best_seconds(lambda: target.copy_(source), device)


def _best_seconds(run: Callable[[], object], device: torch.device) -> float:
    best = float("inf")
    for _ in range(PROBES + 1):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def measure_rooflines(
    specs: Sequence[EntrySpec], measured: Sequence[Measurement], settings: TimingSettings
) -> Rooflines:
    """Measure the machine's peaks and compare the stages of YOSO's entries with them.

    The peaks hold for the session's precision, so entries in another precision are left out. So are baselines and
    exported files given by name, whose networks are not known.
    """
    device = torch.device(settings.device)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[settings.precision]
    flops_peak, bytes_peak = matrix_peak(device, dtype), copy_peak(device)
    width = torch.empty(0, dtype=dtype).element_size()
    rows = []
    for spec, entry in zip(specs, measured, strict=True):
        stages = [stage for stage in (*COUNTED_STAGES, WHOLE) if stage in entry.stages]
        unknown = entry.mode.runtime == BASELINE or runtime_of(spec.model)
        if not stages or unknown or entry.mode.precision != settings.precision:
            continue
        works = entry_work(spec)
        for stage in stages:
            flops, moved = works[stage].flops, width * works[stage].elements
            roofline, seconds = max(flops / flops_peak, moved / bytes_peak), entry.stages[stage]
            rows.append(
                StageRoofline(entry.name, entry.size, stage, flops, moved, roofline, seconds, seconds / roofline)
            )
    return Rooflines(EXECUTED, flops_peak, bytes_peak, rows)


def entry_work(spec: EntrySpec) -> dict[str, StageWork]:
    """Count the work of the network that an entry runs."""
    if spec.model in convertible():
        recipe = read_recipe(spec.model)
        config, num_classes = recipe.model, len(recipe.categories)
    else:
        model = load_model(spec.model)
        config, num_classes = model.network.config, len(model.categories)
    return count_work(config, num_classes, spec.size, deployed=spec.runtime in DEPLOYMENT_FORMS)
