"""Changing the settings of a model folder, without its weights. Loads no torch."""

import dataclasses
from pathlib import Path

from yoso.errors import CheckpointError, DatasetError
from yoso.files import PathLike, read_json, write_json
from yoso.settings import InferenceConfig
from yoso.weights.layout import CONFIG


def save_inference(folder: PathLike, inference: InferenceConfig) -> Path:
    """Put other thresholds and another input size into a model folder, and change nothing else of it.

    Raises:
        CheckpointError: the folder's configuration is not one.
        OutputError: it cannot be written.
    """
    path = Path(folder) / CONFIG
    try:
        config = {**read_json(path), "inference": dataclasses.asdict(inference)}
    except (DatasetError, TypeError) as error:
        raise CheckpointError(f"{path}: is not the configuration of a model ({error})") from error
    write_json(path, config, indent=1)
    return path
