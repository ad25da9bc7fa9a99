"""Where figures and images of a run go besides its own files: TensorBoard, Weights & Biases, MLflow."""

import hashlib
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from yoso.errors import ConfigError
from yoso.files import written_whole
from yoso.installation import missing_package


def tensorboard(output: Path, offline: bool) -> Logger:
    """Return the logger that writes `<output>/tensorboard`."""
    return TensorBoardLogger(output, name=None, version="tensorboard")


def wandb(output: Path, offline: bool) -> Logger:
    """Return a Weights & Biases run, which a resumed training continues.

    Args:
        output: the run's folder.
        offline: keep the run local, as `WANDB_MODE=offline` does.

    Raises:
        ConfigError: the package is missing, or the run cannot be started.
    """
    require("wandb")
    name = hashlib.sha1(str(output.resolve()).encode()).hexdigest()[:12]
    logger = WandbLogger(project="yoso", name=output.name, id=name, resume="allow", save_dir=output, offline=offline)
    return started(logger, "log in by `wandb login`, or set WANDB_MODE=offline")


def mlflow(output: Path, offline: bool) -> Logger:
    """Return an MLflow run on the server that MLFLOW_TRACKING_URI names, or else in `<output>/mlflow`.

    Args:
        output: the run's folder.
        offline: refuse a server.

    Raises:
        ConfigError: the package is missing, the server must not be used, or the run cannot be started.
    """
    require("mlflow")
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri and offline and "://" in uri and not uri.startswith(("file:", "sqlite:")):
        raise ConfigError(
            f"run.loggers: MLFLOW_TRACKING_URI is {uri}, and offline no server is used; unset it to log to "
            f"{output / 'mlflow'}"
        )
    if not uri:
        # Without a database, the client writes to a folder only if this is set too.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = f"file:{(output / 'mlflow').resolve()}"
    return started(MLFlowLogger("yoso", run_name=output.name, tracking_uri=uri), "check MLFLOW_TRACKING_URI")


LOGGERS: dict[str, Callable[[Path, bool], Logger]] = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}


def require(package: str) -> None:
    """Check that an optional package is installed.

    Raises:
        ConfigError: it is not; says how to install it.
    """
    if find_spec(package) is None:
        raise missing_package(package, f"run.loggers={package}")


def started(logger: Any, advice: str) -> Logger:
    """Start the run of a logger now, rather than in the middle of the training.

    Args:
        logger: of Lightning, with an `experiment`.
        advice: what to do if it fails.

    Raises:
        ConfigError: the run cannot be started.
    """
    try:
        _ = logger.experiment
    except Exception as error:  # the packages raise errors of many classes
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(f"run.loggers: {type(logger).__name__} cannot start ({reason}); {advice}") from error
    return logger


def build_loggers(names: Sequence[str], output: Path, offline: bool = False) -> list[Logger]:
    """Return the loggers of these names, each once.

    Args:
        names: of `LOGGERS`.
        output: the run's folder.
        offline: reach no server.

    Raises:
        ConfigError: the package of a logger is missing, or its run cannot be started.
    """
    return [LOGGERS[name](output, offline) for name in dict.fromkeys(names)]


def log_picture(loggers: Sequence[Logger], folder: Path, picture: np.ndarray, step: int) -> None:
    """Write `<folder>/samples/<step>.jpg`, and send the image to the loggers.

    Args:
        loggers: of the run.
        folder: of the run.
        picture: (H, W, 3) uint8 RGB.
        step: iteration of the evaluation.

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
