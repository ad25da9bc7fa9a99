"""Starts the trainings of a sweep: in this process, in several, through torchrun, or through Ray.

A training is finished when its model has scores. Finished trainings are not repeated, and one that was killed continues
from its newest checkpoint, whichever launcher started it.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from yoso.errors import YosoError
from yoso.installation import optional_packages
from yoso.weights.layout import METRICS


@dataclass(frozen=True)
class SweepTraining:
    """A training of a sweep.

    Attributes:
        folder: its run folder.
        words: arguments of `yoso train`, without `--output` and `--resume`.
    """

    folder: Path
    words: tuple[str, ...]

    @property
    def metrics(self) -> Path:
        """The scores of its model."""
        return self.folder / "model" / METRICS

    @property
    def is_finished(self) -> bool:
        """Whether its model has scores."""
        return self.metrics.is_file()

    @property
    def arguments(self) -> list[str]:
        """Arguments of `yoso train` that start or continue it."""
        resume = ["--resume"] if any((self.folder / "checkpoints").glob("*.ckpt")) else []
        return [*self.words, f"--output={self.folder}", *resume]


def run_training(arguments: list[str]) -> None:
    """Run `yoso train` in this process."""
    with optional_packages("the trainings of `yoso reproduce`", "train"):
        from yoso.training.cli import main
    main(arguments)


def train_one(training: SweepTraining) -> None:
    """Train in this process, unless the training is finished; what it prints goes to standard error."""
    if not training.is_finished:
        with redirect_stdout(sys.stderr):
            run_training(training.arguments)


def _local(trainings: Sequence[SweepTraining], jobs: int) -> None:
    if jobs == 1:
        for training in trainings:
            train_one(training)
            if not training.is_finished:  # SIGTERM stopped it
                return
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        list(pool.map(train_one, trainings))


def _torchrun(trainings: Sequence[SweepTraining], jobs: int) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={jobs}"]
    for training in trainings:
        command = [*launcher, "-m", "yoso", "train", *training.arguments, f"--run.devices={jobs}"]
        status = subprocess.run(command, stdout=sys.stderr, check=False).returncode
        if status:
            raise YosoError(f"{training.folder}: torchrun ended with exit status {status}; its output says why")


def _ray(trainings: Sequence[SweepTraining], jobs: int) -> None:
    with optional_packages("--launcher ray", "batch"):
        import ray  # pyrefly: ignore[missing-import]
    if "RAY_ADDRESS" in os.environ:
        ray.init()
    else:
        ray.init(num_cpus=jobs)
    try:
        task = ray.remote(num_cpus=1)(train_one)
        ray.get([task.remote(training) for training in trainings])
    finally:
        ray.shutdown()


LAUNCHERS: dict[str, Callable[[Sequence[SweepTraining], int], None]] = {
    "local": _local,
    "torchrun": _torchrun,
    "ray": _ray,
}


def run_trainings(trainings: Sequence[SweepTraining], launcher: str, jobs: int) -> None:
    """Run those of some trainings that are not finished.

    Args:
        trainings: all of a sweep.
        launcher: one of `LAUNCHERS`.
        jobs: trainings at a time; for torchrun, processes per training.

    Raises:
        YosoError: a training fails, or the sweep was stopped.
    """
    waiting = [training for training in trainings if not training.is_finished]
    if waiting:
        LAUNCHERS[launcher](waiting, jobs)
    unfinished = sum(not training.is_finished for training in trainings)
    if unfinished:
        raise YosoError(
            f"stopped after {len(trainings) - unfinished} of {len(trainings)} trainings; run the same command to resume"
        )
