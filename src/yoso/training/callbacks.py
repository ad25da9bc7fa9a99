"""What happens around the steps: averaging the weights, keeping the best model, and reporting progress."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar, WeightAveraging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from yoso.categories import Categories
from yoso.drawing.pictures import Segmentation, comparison, comparison_sheet
from yoso.errors import CheckpointError, DatasetError
from yoso.evaluation.report import as_json
from yoso.files import read_text, write_text
from yoso.training.config import TrainingConfig
from yoso.training.loaders import Loaders
from yoso.training.loggers import log_picture
from yoso.training.module import TrainingModule
from yoso.weights.model_folder import Model, save_model


def moving_average(decay: float) -> Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]:
    """Return the function d * mean + (1 - d) * current with d = min(decay, (1 + n) / (10 + n)) after n steps.

    The smaller d of the first steps lets the average forget the initial weights.
    """

    def average(mean: torch.Tensor, current: torch.Tensor, count: Any) -> torch.Tensor:
        rate = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        return torch.lerp(mean, current, rate) if mean.is_floating_point() else current.clone()

    return average


class MovingAverage(WeightAveraging):
    """Exponential moving average of the weights, which is evaluated and saved instead of them."""

    def __init__(self, decay: float) -> None:
        """Average with this decay, and with a smaller one in the first steps."""
        super().__init__(avg_fn=moving_average(decay))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the averaged weights in place, also if no step was left to train."""
        if self._average_model is not None:
            self._copy_average_to_current(pl_module)
            self._average_model = None


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, with what goes into its model folder.

    Attributes:
        path: the run's folder.
        config: the recipe.
        categories: of the data set.
        provenance: versions, commit and machine, for `metrics.json`.
    """

    path: Path
    config: TrainingConfig
    categories: Categories
    provenance: dict[str, Any]

    def evaluations(self) -> list[dict[str, Any]]:
        """Return the recorded evaluations, oldest first.

        Raises:
            CheckpointError: the file that records them is damaged.
        """
        path = self.path / "validation.jsonl"
        if not path.is_file():
            return []
        try:
            found = [json.loads(line) for line in read_text(path).splitlines()]
            return sorted(found, key=lambda each: (each["iteration"], pq_of(each)))
        except (DatasetError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: is damaged ({error!r}); remove it to evaluate again") from error

    def record(self, evaluations: list[dict[str, Any]]) -> None:
        """Write all evaluations, whole or not at all, so that a killed process leaves no incomplete line."""
        write_text(self.path / "validation.jsonl", "".join(json.dumps(each) + "\n" for each in evaluations))

    def save(self, module: TrainingModule, metrics: dict[str, Any]) -> None:
        """Write the model folder."""
        model = Model(module.network, self.categories, self.config.inference, dict(self.config.about))
        save_model(self.path / "model", model, {**metrics, **self.provenance})


class BestModel(Callback):
    """Logs PQ after each evaluation, saves the model if it is the best so far, and stops the run when patience ends.

    Earlier evaluations are read from `validation.jsonl`. An evaluation that is due but not recorded, because the run
    was stopped during it, is made first.

    Must come before `MovingAverage` in the list of callbacks: it saves while the averaged weights are in place.

    Attributes:
        final: the evaluation in progress is that of the best model on all of `val`, after the training.
    """

    def __init__(self, folder: RunFolder) -> None:
        """Keep the run's folder."""
        self.folder = folder
        self.evaluations: list[dict[str, Any]] = []
        self.final = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the evaluations up to this step, and evaluate this step if it is due and not recorded."""
        self.read_evaluations(trainer)
        every, step = self.folder.config.run.validate_every, trainer.global_step
        if every and step and step % every == 0 and not self.evaluated(step):
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.restarting = False
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
        self.stop_without_progress(trainer)

    def read_evaluations(self, trainer: Trainer) -> None:
        """Read the evaluations up to this step; all processes use what the first one finds."""
        found = [each for each in self.folder.evaluations() if each["iteration"] <= trainer.global_step]
        self.evaluations = trainer.strategy.broadcast(found if trainer.global_step else [])

    def evaluated(self, step: int) -> bool:
        """Return whether a step was evaluated."""
        return any(each["iteration"] == step for each in self.evaluations)

    def stop_without_progress(self, trainer: Trainer) -> None:
        """End the training if none of the last `patience` evaluations is better than the best before them."""
        patience, scores = self.folder.config.run.patience, [pq_of(each) for each in self.evaluations]
        if patience and scores and len(scores) - 1 - int(np.argmax(scores)) >= patience:
            trainer.should_stop = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute PQ, log it, and save the model if it is the best."""
        if trainer.sanity_checking or not isinstance(pl_module, TrainingModule):
            return
        result, num_images = pl_module.quality()
        scores = as_json(result, self.folder.categories)
        for group in ("all", "things", "stuff"):
            if scores[group]["pq"] is not None:
                pl_module.log(f"val/pq_{group}", float(scores[group]["pq"]), rank_zero_only=True)
        metrics = {"iteration": trainer.global_step, "val": scores, "val_images": num_images}
        if self.final:
            if trainer.is_global_zero:
                best = max(self.evaluations, key=pq_of)
                self.folder.save(pl_module, {**metrics, "iteration": best["iteration"]})
            return
        best = max(map(pq_of, self.evaluations), default=-1.0)
        evaluation = {"iteration": trainer.global_step, "images": num_images, **scores}
        self.evaluations.append(evaluation)
        if trainer.is_global_zero:
            # The model first: if the process dies in between, the evaluation is repeated.
            if pq_of(evaluation) > best:
                self.folder.save(pl_module, metrics)
            self.draw(trainer, pl_module)
            self.folder.record(self.evaluations)
        pl_module.segmented.clear()
        self.stop_without_progress(trainer)

    def draw(self, trainer: Trainer, module: TrainingModule) -> None:
        """Draw the first images of the evaluation, for the folder and the loggers."""
        if not module.segmented:
            return
        categories, tiles = self.folder.categories, []
        for example, prediction in module.segmented:
            truth = Segmentation(example.id_map, example.segments, categories)
            guess = Segmentation(prediction.id_map, prediction.segments, categories)
            tiles += comparison((example.image, example.record.file_name), truth, guess)
        log_picture(trainer.loggers, self.folder.path, comparison_sheet(tiles), trainer.global_step)


def pq_of(evaluation: dict[str, Any]) -> float:
    """Return the panoptic quality over all classes of an evaluation, 0 if there was nothing to find."""
    return float(evaluation["all"]["pq"] or 0.0)


class ProgressLog(ProgressBar):
    """Shows a progress bar with losses, learning rate, speed, waiting time and time left, and writes them to a log."""

    def __init__(self, log: Path, every: int, images_per_step: int) -> None:
        """Report every so many iterations.

        Args:
            log: the text file.
            every: iterations between lines.
            images_per_step: over all processes.
        """
        super().__init__()
        self.log_path, self.every, self.images_per_step = log, every, images_per_step
        self.console = Console()
        self.progress: Progress | None = None
        self.mark = (0.0, 0, 0.0)
        self.last_step = -1

    def disable(self) -> None:
        """Print nothing, in all processes but the first."""
        self.console = Console(quiet=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self.mark = self.now(trainer)
        self.last_step = trainer.global_step
        if not trainer.is_global_zero:
            return
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, TextColumn("{task.fields[words]}"), console=self.console)
        self.progress.add_task("", total=trainer.max_steps, completed=trainer.global_step, words="")
        if self.console.is_terminal:
            self.progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, and write a line every so many iterations."""
        if self.progress is None or trainer.global_step == self.last_step:
            return
        self.last_step = trainer.global_step
        task = self.progress.task_ids[0]
        if trainer.global_step % self.every == 0:
            words = self.words(trainer, pl_module)
            self.progress.update(task, words=words)
            line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} iteration {trainer.global_step}/{trainer.max_steps} {words}"
            self.write_line(line)
        self.progress.update(task, completed=trainer.global_step)

    def now(self, trainer: Trainer) -> tuple[float, int, float]:
        """Return the time in seconds, the step, and how many seconds the training has waited for data so far."""
        loaders: Any = getattr(trainer, "datamodule", None)
        waited = loaders.batches.waited_seconds if isinstance(loaders, Loaders) and loaders.batches else 0.0
        return time.perf_counter(), trainer.global_step, waited

    def words(self, trainer: Trainer, module: LightningModule) -> str:
        """Return losses, learning rate, and speed and waiting time since the last call, as text."""
        (then, step, waited), self.mark = self.mark, self.now(trainer)
        seconds = max(self.mark[0] - then, 1e-9)
        speed = (trainer.global_step - step) / seconds
        waiting = min(1.0, (self.mark[2] - waited) / seconds)
        left = (trainer.max_steps - trainer.global_step) / max(speed, 1e-9)
        rate = trainer.optimizers[0].param_groups[-1]["lr"]
        figures = {"lr": rate, "speed/images_per_second": speed * self.images_per_step, "speed/waiting_share": waiting}
        module.log_dict(figures, rank_zero_only=True)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        terms = " ".join(
            f"{name.removeprefix('train/')} {value:.3f}"
            for name, value in sorted(metrics.items())
            if name.startswith("train/") and name != "train/loss"
        )
        return (
            f"loss {metrics.get('train/loss', float('nan')):.3f} ({terms}) lr {rate:.2e} "
            f"{speed * self.images_per_step:.2f} images/s, {100 * waiting:.0f}% waiting for data, "
            f"{left / 60:.1f} min left"
        )

    def write_line(self, line: str) -> None:
        """Write a line to the log, and print it if there is no bar."""
        with self.log_path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
        if not self.console.is_terminal:
            self.console.print(line, soft_wrap=True, highlight=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the result of the evaluation."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if self.progress is None or trainer.sanity_checking or not metrics:
            return
        figures = ", ".join(f"{name.removeprefix('val/')} {100 * value:.2f}" for name, value in sorted(metrics.items()))
        self.write_line(f"{time.strftime('%Y-%m-%d %H:%M:%S')} iteration {trainer.global_step} evaluation: {figures}")
        self.mark = self.now(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        if self.progress is not None:
            self.progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        if self.progress is not None:
            self.progress.stop()
