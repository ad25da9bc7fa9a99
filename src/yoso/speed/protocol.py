"""Taking turns and summarizing: the part of the protocol that works for any functions."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from yoso.errors import ImageError, YosoError
from yoso.inference.memory import is_out_of_memory
from yoso.speed.entry import synchronize

T = TypeVar("T")

OUT_OF_MEMORY = "not enough memory"


@dataclass(frozen=True)
class LatencySummary:
    """The distribution of many runs, in seconds.

    Attributes:
        median: of all runs; the figure to quote.
        p95: the 95th percentile.
        iqr: the interquartile range: how far the middle half of the runs spreads.
        min: of the fastest run.
    """

    median: float
    p95: float
    iqr: float
    min: float

    @classmethod
    def of(cls, samples: list[float]) -> "LatencySummary":
        """Summarize samples; quantiles are interpolated between two of them."""
        low, middle, high, late = (float(value) for value in np.percentile(samples, (25, 50, 75, 95)))
        return cls(middle, late, high - low, min(samples))

    @property
    def relative_iqr(self) -> float:
        """The interquartile range as a share of the median."""
        return self.iqr / self.median


class EntryError(YosoError):
    """One entry failed; the others can go on."""


@contextmanager
def entry_errors() -> Iterator[None]:
    """Turn every way to run out of memory, and other errors of one entry, into `EntryError`."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise EntryError(OUT_OF_MEMORY) from error
    except ImageError as error:
        raise EntryError(OUT_OF_MEMORY if OUT_OF_MEMORY in str(error) else str(error)) from error
    except YosoError as error:
        raise EntryError(str(error)) from error
    except (RuntimeError, NotImplementedError) as error:
        text = " ".join(str(error).split())
        short = is_out_of_memory(error)
        raise EntryError(OUT_OF_MEMORY if short else text[:200] or type(error).__name__) from error


def interleaved(
    runs: Mapping[str, Callable[[], Any]],
    repeats: int,
    warmup: int,
    sample: Callable[[Callable[[], Any]], T],
    report: Callable[[], None] = lambda: None,
) -> tuple[dict[str, list[T]], dict[str, str]]:
    """Sample several functions in turns, after a warm-up of each.

    Args:
        runs: what to run, by name.
        repeats: number of turns.
        warmup: runs of each before the first turn.
        sample: calls a function and returns its sample, as `timer` does.
        report: called after every run.

    Returns:
        The samples by name, and the errors by name. A function that failed has no samples.
    """
    samples: dict[str, list[T]] = {name: [] for name in runs}
    errors: dict[str, str] = {}
    order = [name for name in runs for _ in range(warmup)] + [name for _ in range(repeats) for name in runs]
    for turn, name in enumerate(order):
        if name not in errors:
            try:
                with entry_errors():
                    value = sample(runs[name])
            except EntryError as error:
                errors[name] = str(error)
                samples[name].clear()
            else:
                if turn >= warmup * len(runs):
                    samples[name].append(value)
        report()
    return samples, errors


def timer(device: torch.device) -> Callable[[Callable[[], Any]], float]:
    """Return a function that times one run in seconds: all of its work on the device, and none of earlier work."""

    def seconds_of(run: Callable[[], Any]) -> float:
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        return time.perf_counter() - start

    return seconds_of
