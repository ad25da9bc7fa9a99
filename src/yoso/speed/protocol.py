"""Taking turns and summing up: the part of the protocol that any two functions can be timed with."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from yoso.errors import ImageError, YosoError
from yoso.inference.memory import is_out_of_memory
from yoso.speed.entry import synchronise

T = TypeVar("T")

OUT_OF_MEMORY = "not enough memory"


@dataclass(frozen=True)
class Spread:
    """Seconds of many runs, summed up.

    Attributes:
        median: half of the runs took longer.
        p95: one in twenty took longer.
        iqr: the interquartile range, within which the middle half lies.
        min: the shortest.
    """

    median: float
    p95: float
    iqr: float
    min: float

    @classmethod
    def of(cls, samples: list[float]) -> "Spread":
        """Sum up samples; quantiles between two of them are interpolated."""
        low, middle, high, late = (float(value) for value in np.percentile(samples, (25, 50, 75, 95)))
        return cls(middle, late, high - low, min(samples))


class ContestantError(YosoError):
    """A contestant could not go on; the others can."""


@contextmanager
def contestant_errors() -> Iterator[None]:
    """Turn the ways in which memory is short, and other errors of one contestant, into `ContestantError`."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ContestantError(OUT_OF_MEMORY) from error
    except ImageError as error:
        raise ContestantError(OUT_OF_MEMORY if OUT_OF_MEMORY in str(error) else str(error)) from error
    except YosoError as error:
        raise ContestantError(str(error)) from error
    except (RuntimeError, NotImplementedError) as error:
        text = " ".join(str(error).split())
        short = is_out_of_memory(error)
        raise ContestantError(OUT_OF_MEMORY if short else text[:200] or type(error).__name__) from error


def interleaved(
    runs: Mapping[str, Callable[[], Any]],
    repeats: int,
    warmup: int,
    take: Callable[[Callable[[], Any]], T],
    report: Callable[[], None] = lambda: None,
) -> tuple[dict[str, list[T]], dict[str, str]]:
    """Let contestants take turns, after a warm-up of each.

    Args:
        runs: what to run, by name.
        repeats: turns that count.
        warmup: runs of each before the first turn.
        take: makes a sample of a run: seconds, or seconds per stage.
        report: called after every run.

    Returns:
        The samples by name, and what stopped those that had to stop, which then have no samples.
    """
    samples: dict[str, list[T]] = {name: [] for name in runs}
    errors: dict[str, str] = {}
    order = [name for name in runs for _ in range(warmup)] + [name for _ in range(repeats) for name in runs]
    for turn, name in enumerate(order):
        if name not in errors:
            try:
                with contestant_errors():
                    sample = take(runs[name])
            except ContestantError as error:
                errors[name] = str(error)
                samples[name].clear()
            else:
                if turn >= warmup * len(runs):
                    samples[name].append(sample)
        report()
    return samples, errors


def seconds(device: torch.device) -> Callable[[Callable[[], Any]], float]:
    """Return a function that times one run, with all of its work on the device and nothing of earlier work."""

    def take(run: Callable[[], Any]) -> float:
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        return time.perf_counter() - start

    return take
