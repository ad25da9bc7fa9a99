"""Checkpoints: written whole, kept in small number, and saved before a run that is asked to stop ends."""

import os
import pickle
import re
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.trainer.states import TrainerFn

from yoso.errors import CheckpointError
from yoso.files import PathLike, written_whole
from yoso.training.processes import any_process


class Preempted(Exception):  # noqa: N818
    """SIGTERM stopped the run, which has saved a checkpoint and can be resumed. Not an error."""


def saved_checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of a folder, oldest first."""
    # A killed process may leave an incomplete one, whose name begins with a dot.
    return sorted(path for path in folder.glob("*.ckpt") if re.fullmatch(r"\d+", path.stem))


def newest_checkpoint(folder: Path) -> Path:
    """Return the newest checkpoint of a run folder.

    Raises:
        CheckpointError: there is none.
    """
    found = saved_checkpoints(folder / "checkpoints")
    if not found:
        raise CheckpointError(f"{folder}: holds no checkpoint to resume from; start without --resume")
    return found[-1]


def read_checkpoint(path: PathLike, map_location: Any = None, mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are loaded, never code.

    Args:
        path: of the file.
        map_location: where the tensors go; the CPU by default.
        mmap: read tensors only when they are used.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True, mmap=mmap)
    except (RuntimeError, EOFError, OSError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"{path}: is damaged ({reason}); remove it to resume from the checkpoint before it"
        ) from error


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint under a temporary name in its folder and renames it.

    Lightning's own class writes to the system's temporary folder. From another file system, the move is a copy, which
    can be interrupted.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any = None) -> None:
        """Write a checkpoint whole or not at all, and flush it to the disk.

        Raises:
            OutputError: it cannot be written.
        """
        with written_whole(path) as temporary, temporary.open("wb") as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())

    def load_checkpoint(self, path: PathLike, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """Read a checkpoint; see `read_checkpoint`."""
        return read_checkpoint(path, map_location)


class Checkpoints(Checkpoint):
    """Saves every so many iterations, before each evaluation and at the end, and keeps the newest checkpoints.

    On SIGTERM it saves after the current step and stops. Lightning calls callbacks of this kind last, after the moving
    average is updated.
    """

    def __init__(self, folder: Path, every: int, keep: int) -> None:
        """Save into a folder.

        Args:
            folder: of the checkpoints.
            every: iterations between two.
            keep: how many to keep.
        """
        self.folder, self.every, self.keep = folder, every, keep
        self.saved = self.last_step = -1
        self.asked = False
        self.trainer: Trainer | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember that this step is saved."""
        self.saved = self.last_step = int(checkpoint["global_step"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove incomplete checkpoints of a killed process, and listen for SIGTERM."""
        if trainer.is_global_zero:
            for path in self.folder.glob(".*.ckpt"):
                path.unlink(missing_ok=True)
        self.trainer = trainer
        if threading.current_thread() is threading.main_thread():
            # Replaces Lightning's handler, which makes the processes communicate at whatever point they have reached.
            signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        launcher = self.trainer.strategy.launcher if self.trainer is not None else None
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGTERM)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time to.

        Raises:
            Preempted: SIGTERM was received, and the step is saved.
        """
        step = trainer.global_step
        if step == self.last_step:
            return
        self.last_step = step
        stop = any_process(self.asked, pl_module.device)
        if stop or step % self.every == 0 or step == trainer.max_steps:
            self.save(trainer)
        if stop:
            self._stop(step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the step, so that no training is lost if the evaluation is interrupted."""
        if trainer.state.fn == TrainerFn.FITTING:
            self.save(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Stop if SIGTERM was received."""
        if self.asked:
            self._stop(trainer.global_step)

    def _stop(self, step: int) -> NoReturn:
        raise Preempted(f"stopped by SIGTERM after iteration {step}; continue with --resume")

    def save(self, trainer: Trainer) -> None:
        """Save the step unless it is saved, and remove the oldest checkpoints; all processes must call it."""
        step = trainer.global_step
        if step == self.saved:
            return
        self.saved = step
        trainer.save_checkpoint(self.folder / f"{step:08d}.ckpt")
        if trainer.is_global_zero:
            for path in saved_checkpoints(self.folder)[: -self.keep]:
                path.unlink(missing_ok=True)


@contextmanager
def sigterm_stops() -> Generator[None, None, None]:
    """Let SIGTERM raise `Preempted` at once, before and after the training, when nothing is lost by it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Preempted("stopped by SIGTERM; run the same command again, with --resume if there is a checkpoint")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
