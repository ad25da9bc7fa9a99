"""Fitting a step into memory: finding the batch that fits, and the error that helps if one does not."""

import copy
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from yoso.errors import ConfigError, OutOfMemoryError
from yoso.inference.memory import is_out_of_memory
from yoso.model.yoso import YOSO
from yoso.structures import Sample
from yoso.training.config import TrainingConfig
from yoso.training.loaders import Loaders
from yoso.training.module import TrainingModule
from yoso.training.optimizer import build_optimizer

USABLE_SHARE = 0.9
"""Of the memory; the rest is for fragmentation and for larger images than those tried."""

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def out_of_memory(samples: Sequence[Sample], config: TrainingConfig, where: str) -> OutOfMemoryError:
    """Return the error that names the batch that did not fit and the options that make it fit.

    Args:
        samples: the batch.
        config: the recipe.
        where: when it happened.
    """
    run = config.run
    largest = max(samples, key=lambda sample: (sample.image[0].numel(), len(sample.labels)), default=None)
    facts = f"out of memory {where}, with a batch of {run.batch_size} (run.batch_size)"
    if largest is not None:
        height, width = largest.image.shape[-2:]
        facts += f", its largest image {largest.name}, {width}x{height} with {len(largest.labels)} segments"
    smaller = "a smaller augmentation.size, fewer loss.num_points, or a smaller model"
    if run.batch_size == 1:
        return OutOfMemoryError(f"{facts}; train with {smaller}")
    half = next(size for size in range(run.batch_size // 2, 0, -1) if run.batch_size % size == 0)
    return OutOfMemoryError(
        f"{facts}; add --batch auto, or --batch {half} --accumulate {run.accumulate * run.batch_size // half}, which "
        f"give the same step in less memory; or train with {smaller}"
    )


def largest_that_fits(sizes: Sequence[int], peak: Callable[[int], int], limit: int) -> int:
    """Return the largest batch that fits, 0 if none does.

    A batch is tried only if it is expected to fit by a linear extrapolation from the two batches before it: on a CPU, a
    batch that does not fit can end the process.

    Args:
        sizes: batch sizes in ascending order.
        peak: returns the peak memory in bytes of a step with so many images, or before any step for 0; may run out of
            memory.
        limit: bytes.
    """
    fitting, tried = 0, [(0, peak(0))]
    for size in sizes:
        if len(tried) > 1:
            (fewer, less), (more, most) = tried[-2:]
            if most + (most - less) / (more - fewer) * (size - more) > limit:
                break
        try:
            tried.append((size, peak(size)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
        if tried[-1][1] > limit:
            break
        fitting = size
    return fitting


def fitted(config: TrainingConfig, network: YOSO, loaders: Loaders) -> TrainingConfig:
    """Return the recipe with each batch split into as few parts as fit into memory; a step sees the same images.

    Args:
        config: the recipe.
        network: freshly initialised; it is not changed.
        loaders: provide the images with the most segments.

    Raises:
        ConfigError: the run has several processes.
        OutOfMemoryError: not even one image fits.
    """
    run = config.run
    if run.processes > 1:
        raise ConfigError("--batch auto works with one process; find the batch with one, then set it by --batch")
    device = training_device(run.accelerator)
    limit = round(run.memory_gigabytes * 1e9) or memory_limit(device)
    sizes = [size for size in range(1, run.batch_size + 1) if run.batch_size % size == 0]
    with torch.random.fork_rng(devices=[]):
        probe = MemoryProbe(network, config, loaders, device)
        batch_size = largest_that_fits(sizes, probe.peak, round(USABLE_SHARE * limit))
    if not batch_size:
        one = replace(config, run=replace(run, batch_size=1))
        raise out_of_memory(probe.samples[:1], one, f"({limit / 1e9:.1f} GB) while looking for a batch that fits")
    parts = run.accumulate * run.batch_size // batch_size
    return replace(config, run=replace(run, batch_size=batch_size, accumulate=parts, auto_batch=False))


def training_device(accelerator: str) -> torch.device:
    """Return the device that Lightning chooses for one process."""
    return torch.device("cuda" if accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available() else "cpu")


def memory_limit(device: torch.device) -> int:
    """Return how many bytes this process may use in total: free memory and its own."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    free = Path("/proc/meminfo")
    if free.is_file():
        lines = dict(line.split(":", 1) for line in free.read_text(encoding="utf-8").splitlines())
        limits.append(int(lines["MemAvailable"].split()[0]) * 1024 + peak_memory())
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        group = Path("/sys/fs/cgroup", name)
        text = group.read_text(encoding="utf-8").strip() if group.is_file() else ""
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)


def peak_memory() -> int:
    """Return the peak main memory of this process in bytes."""
    import resource  # not available on every system

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class MemoryProbe:
    """Takes training steps on a copy of a network and measures their memory."""

    def __init__(self, network: YOSO, config: TrainingConfig, loaders: Loaders, device: torch.device) -> None:
        """Copy the network to the device, with its optimizer and its moving average."""
        self.device, self.precision = device, config.run.precision
        self.samples = loaders.heaviest(config.run.batch_size)
        self.module = TrainingModule(copy.deepcopy(network), config, loaders.categories).to(device)
        self.optimizer = build_optimizer(self.module.network, config.optimizer, self.module.head)
        self.average = copy.deepcopy(self.module.network) if config.run.ema_decay else None

    def peak(self, count: int) -> int:
        """Return the peak memory in bytes of a step with the first `count` samples; of no step if it is 0."""
        if count:
            self.step(self.samples[:count])
        return torch.cuda.max_memory_reserved(self.device) if self.device.type == "cuda" else peak_memory()

    def step(self, samples: Sequence[Sample]) -> None:
        """Take a step as Lightning does."""
        placed = [
            sample._replace(**{name: getattr(sample, name).to(self.device) for name in sample._fields[:3]})
            for sample in samples
        ]
        with torch.autocast(self.device.type, AUTOCAST.get(self.precision), self.precision in AUTOCAST):
            terms = self.module.losses(placed)
        torch.stack(list(terms.values())).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
