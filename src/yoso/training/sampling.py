"""Which image comes when, and with which random numbers: a pure function of the seed and the position in the run.

A run that is stopped and resumed therefore sees exactly what an uninterrupted run sees, with any number of workers.
"""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


def seed_for(seed: int, *position: int) -> int:
    """Return a well-mixed 63-bit seed from a run's seed and a position in the run (SplitMix64's finaliser)."""
    state = seed
    for value in position:
        state = (state + (value + 1) * 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state % 2**63


class EndlessSampler(Sampler[tuple[int, int]]):
    """Yields (index, seed) without end: every epoch is a new permutation, dealt out to the processes in turn.

    It has no length on purpose: a run is counted in iterations.
    """

    def __init__(self, length: int, seed: int, start: int = 0, rank: int = 0, world_size: int = 1) -> None:
        """Start at a position.

        Args:
            length: images in the data set.
            seed: of the run.
            start: samples that this process has already seen.
            rank: of this process.
            world_size: number of processes.
        """
        self.length, self.seed, self.start, self.rank, self.world_size = length, seed, start, rank, world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position = self.start * self.world_size + self.rank
        epoch, order = -1, torch.empty(0)
        while True:
            if position // self.length != epoch:
                epoch = position // self.length
                generator = torch.Generator().manual_seed(seed_for(self.seed, epoch))
                order = torch.randperm(self.length, generator=generator)
            yield int(order[position % self.length]), seed_for(self.seed, epoch, position)
            position += self.world_size
