"""The `config.json` of a model folder: read with its values checked, and changed. Loads no torch."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError, DatasetError
from yoso.files import PathLike, read_json, write_json
from yoso.model.config import ModelConfig
from yoso.settings import InferenceConfig, config_from_json
from yoso.values import fault_in
from yoso.weights.layout import CONFIG

SHAPE = {
    "model": object,
    "inference": object,
    "categories": object,
    "about?": lambda value: value is None or isinstance(value, dict),
}
"""Of `config.json`; the values are checked where they are used."""


class FolderConfig(NamedTuple):
    """What `config.json` holds.

    Attributes:
        model: what the network is made of.
        inference: thresholds and input size.
        categories: what the classes are.
        about: free facts for people: licence, attribution, data.
    """

    model: ModelConfig
    inference: InferenceConfig
    categories: Categories
    about: dict[str, Any]


def read_config(folder: PathLike) -> FolderConfig:
    """Read the `config.json` of a model folder.

    Raises:
        CheckpointError: it is missing or damaged, or a key or value in it is wrong; names the file and the key.
    """
    path = Path(folder) / CONFIG
    content = _content(path)
    if fault := fault_in(content, SHAPE, "it"):
        raise CheckpointError(f"{path}: is not the configuration of a model ({fault})")
    try:
        return FolderConfig(
            config_from_json(ModelConfig, content["model"]),
            config_from_json(InferenceConfig, content["inference"]),
            Categories.from_json(content["categories"], "categories"),
            dict(content.get("about") or {}),
        )
    except (DatasetError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: is not the configuration of a model ({repr(error)[:300]})") from error


def save_inference(folder: PathLike, inference: InferenceConfig) -> Path:
    """Put other thresholds and another input size into a model folder, and change nothing else in it.

    Returns:
        The file that was changed.

    Raises:
        CheckpointError: the folder's configuration is damaged.
        OutputError: it cannot be written.
    """
    path = Path(folder) / CONFIG
    write_json(path, {**_content(path), "inference": dataclasses.asdict(inference)}, indent=1)
    return path


def _content(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except DatasetError as error:
        raise CheckpointError(f"{path}: is not the configuration of a model ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: is not the configuration of a model (it is no JSON object)")
    return content
