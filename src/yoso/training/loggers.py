"""Where figures and pictures of a run go besides its own files: TensorBoard, Weights & Biases, MLflow."""

import hashlib
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from yoso.files import written_whole
from yoso.installation import missing_package


def tensorboard(output: Path) -> Logger:
    """Return the logger that writes `<output>/tensorboard`."""
    return TensorBoardLogger(output, name=None, version="tensorboard")


def wandb(output: Path) -> Logger:
    """Return a Weights & Biases run that a resumed training goes on with. WANDB_MODE=offline keeps it local.

    Raises:
        ConfigError: the package is missing.
    """
    require("wandb")
    name = hashlib.sha1(str(output.resolve()).encode()).hexdigest()[:12]
    return WandbLogger(project="yoso", name=output.name, id=name, resume="allow", save_dir=output)


def mlflow(output: Path) -> Logger:
    """Return an MLflow run, on the server that MLFLOW_TRACKING_URI names, else in `<output>/mlflow`.

    Raises:
        ConfigError: the package is missing.
    """
    require("mlflow")
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        # The client alone, without a data base, writes to a folder only if it is told twice.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = f"file:{(output / 'mlflow').resolve()}"
    return MLFlowLogger("yoso", run_name=output.name, tracking_uri=uri)


LOGGERS: dict[str, Callable[[Path], Logger]] = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}


def require(package: str) -> None:
    """Check that an optional package is there.

    Raises:
        ConfigError: it is not; says how to install it.
    """
    if find_spec(package) is None:
        raise missing_package(package, f"run.loggers={package}")


def build_loggers(names: Sequence[str], output: Path) -> list[Logger]:
    """Return the loggers of these names, each once.

    Raises:
        ConfigError: the package of one is missing.
    """
    return [LOGGERS[name](output) for name in dict.fromkeys(names)]


def log_picture(loggers: Sequence[Logger], folder: Path, picture: np.ndarray, step: int) -> None:
    """Write `<folder>/samples/<step>.jpg`, and show it to the loggers.

    Args:
        loggers: of the run.
        folder: of the run.
        picture: (H, W, 3) uint8 RGB.
        step: iteration that it belongs to.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_whole(folder / "samples" / f"{step:08d}.jpg") as temporary:
        Image.fromarray(picture).save(temporary, format="JPEG", quality=90)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image("val/samples", picture, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image("val/samples", [picture], caption=[f"iteration {step}"])
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, picture, f"samples/{step:08d}.png")
