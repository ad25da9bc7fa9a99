"""What happens around the steps: averaging, keeping the best, and telling the person who waits."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar, WeightAveraging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from yoso.categories import Categories
from yoso.evaluation.report import as_json
from yoso.model.checkpoint import Model, save_model
from yoso.training.config import TrainingConfig
from yoso.training.module import TrainingModule


class MovingAverage(WeightAveraging):
    """Exponential moving average of the weights; young averages forget faster, so the start does not linger."""

    def __init__(self, decay: float) -> None:
        """Average with this decay once enough steps are behind."""

        def average(mean: torch.Tensor, current: torch.Tensor, count: Any) -> torch.Tensor:
            rate = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
            return torch.lerp(mean, current, rate) if mean.is_floating_point() else current.clone()

        super().__init__(avg_fn=average)


class Keeper(Callback):
    """After each evaluation logs PQ, and writes the model folder if it is the best so far; keeps the last checkpoint.

    Must stand before `MovingAverage` in the list of callbacks: it saves the model while the averaged weights are in
    place, and the checkpoint while they are not.
    """

    def __init__(self, folder: Path, config: TrainingConfig, categories: Categories, facts: dict[str, Any]) -> None:
        """Keep what a model folder needs.

        Args:
            folder: the model folder.
            config: the recipe.
            categories: of the data set.
            facts: versions, commit and the like, for `metrics.json`.
        """
        self.folder, self.config, self.categories, self.facts = folder, config, categories, facts
        self.best = -1.0

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute PQ, log it, and save if it is the best."""
        if trainer.sanity_checking or not isinstance(pl_module, TrainingModule):
            return
        result = pl_module.quality.compute()
        pl_module.quality.reset()
        scores = as_json(result, self.categories)
        for group in ("all", "things", "stuff"):
            if scores[group]["pq"] is not None:
                pl_module.log(f"val/pq_{group}", float(scores[group]["pq"]), sync_dist=False)
        pq = float(scores["all"]["pq"] or 0.0)
        if trainer.is_global_zero:
            with (self.folder.parent / "validation.jsonl").open("a") as stream:
                stream.write(json.dumps({"iteration": trainer.global_step, **scores}) + "\n")
            if pq > self.best:
                self.save(pl_module, {"iteration": trainer.global_step, "val": scores})
        self.best = max(self.best, pq)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a checkpoint of the last step, if none was due there."""
        path = self.folder.parent / "checkpoints" / f"{trainer.global_step:08d}.ckpt"
        if not path.exists():
            trainer.save_checkpoint(path)

    def save(self, pl_module: TrainingModule, metrics: dict[str, Any]) -> None:
        """Write the model folder."""
        model = Model(pl_module.network, self.categories, self.config.inference, dict(self.config.about))
        save_model(self.folder, model, {**metrics, **self.facts})

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.best = float(state_dict["best"])


class Narrator(ProgressBar):
    """A progress bar with the loss terms, learning rate, images per second and time left; and a line in the log."""

    def __init__(self, log: Path, every: int, images_per_step: int) -> None:
        """Speak every so many iterations.

        Args:
            log: the text file.
            every: iterations between lines.
            images_per_step: over all processes.
        """
        super().__init__()
        self.log_path, self.every, self.images_per_step = log, every, images_per_step
        self.console = Console()
        self.progress: Progress | None = None
        self.mark = (0.0, 0)
        self.last_step = -1

    def disable(self) -> None:
        """Say nothing on the screen (other processes than the first)."""
        self.console = Console(quiet=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self.mark = (time.perf_counter(), trainer.global_step)
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
        """Move the bar; every so many iterations say how it goes."""
        if self.progress is None or trainer.global_step == self.last_step:
            return
        self.last_step = trainer.global_step
        task = self.progress.task_ids[0]
        if trainer.global_step % self.every == 0:
            words = self.words(trainer)
            self.progress.update(task, words=words)
            line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} iteration {trainer.global_step}/{trainer.max_steps} {words}"
            self.tell(line)
        self.progress.update(task, completed=trainer.global_step)

    def words(self, trainer: Trainer) -> str:
        """Return the loss, its terms, the learning rate and the speed since the last call."""
        now, (then, step) = time.perf_counter(), self.mark
        self.mark = (now, trainer.global_step)
        speed = (trainer.global_step - step) / max(now - then, 1e-9)
        left = (trainer.max_steps - trainer.global_step) / max(speed, 1e-9)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        terms = " ".join(
            f"{name.removeprefix('train/')} {value:.3f}"
            for name, value in sorted(metrics.items())
            if name.startswith("train/stage")
        )
        rate = trainer.optimizers[0].param_groups[-1]["lr"]
        return (
            f"loss {metrics.get('train/loss', float('nan')):.3f} ({terms}) lr {rate:.2e} "
            f"{speed * self.images_per_step:.2f} images/s, {left / 60:.1f} min left"
        )

    def tell(self, line: str) -> None:
        """Write a line to the log, and to the screen where no bar moves."""
        with self.log_path.open("a") as stream:
            stream.write(line + "\n")
        if not self.console.is_terminal:
            self.console.print(line, soft_wrap=True, highlight=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the evaluation gave."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if self.progress is None or trainer.sanity_checking or not metrics:
            return
        figures = ", ".join(f"{name.removeprefix('val/')} {100 * value:.2f}" for name, value in sorted(metrics.items()))
        self.tell(f"{time.strftime('%Y-%m-%d %H:%M:%S')} iteration {trainer.global_step} evaluation: {figures}")
        self.mark = (time.perf_counter(), trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        if self.progress is not None:
            self.progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        if self.progress is not None:
            self.progress.stop()


def checkpoints(folder: Path, every: int) -> ModelCheckpoint:
    """Return the callback that keeps the two newest checkpoints, one every so many iterations and one at the end."""
    return ModelCheckpoint(
        dirpath=folder,
        filename="{step:08d}",
        monitor="step",
        mode="max",
        save_top_k=2,
        every_n_train_steps=every,
        save_on_train_epoch_end=False,
        save_last=False,
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )
