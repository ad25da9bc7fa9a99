"""Fine-tuning: the settings that a run takes from the model it starts from. Loads no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from yoso.errors import CheckpointError, ConfigError, DatasetError
from yoso.files import read_json, read_yaml
from yoso.model.config import ModelConfig
from yoso.settings import InferenceConfig, config_from_json
from yoso.weights.find import find_model
from yoso.weights.layout import CONFIG

UNSEEN = ("backbone_options", "pixel_mean", "pixel_std", "num_heads", "temperature")
"""Settings that the weights were trained with but that no tensor's shape shows."""


class StoredConfig(NamedTuple):
    """The settings that a model folder, or the recipe of a run, stores.

    Attributes:
        model: the network.
        inference: thresholds and test size.
    """

    model: ModelConfig
    inference: InferenceConfig


def config_of_model(name_or_folder: str, offline: bool = False) -> StoredConfig:
    """Return the settings of a model.

    Raises:
        CheckpointError: see `find_model`; or its configuration is damaged.
    """
    path = find_model(name_or_folder, offline) / CONFIG
    try:
        return _stored(read_json(path))
    except (DatasetError, ConfigError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: is not the configuration of a model ({error!r})") from error


def config_of_run(recipe: Path) -> StoredConfig:
    """Return the settings that a run recorded.

    Args:
        recipe: the run's `recipe.yaml`.

    Raises:
        ConfigError: it cannot be read.
    """
    content = read_recorded(recipe)
    try:
        return _stored(content)
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise unreadable(recipe, error) from error


def read_recorded(recipe: Path) -> Mapping[str, Any]:
    """Return the content of a run's `recipe.yaml`.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        content = read_yaml(recipe)
    except ConfigError as error:
        raise unreadable(recipe, error) from error
    if not isinstance(content, Mapping):
        raise unreadable(recipe, TypeError("no mapping"))
    return content


def unreadable(recipe: Path, error: Exception) -> ConfigError:
    """Return the error for a `recipe.yaml` that cannot be read."""
    return ConfigError(f"{recipe}: cannot be read ({error!r}); it records the settings of the run to resume")


def _stored(content: Mapping[str, Any]) -> StoredConfig:
    return StoredConfig(
        config_from_json(ModelConfig, content["model"]), config_from_json(InferenceConfig, content["inference"])
    )


def defaults_of(stored: StoredConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a run that starts from a model, by dotted key.

    They are the model's network, thresholds and test size. If the run describes its network, only the settings in
    `UNSEEN` are taken, and only if the backbone is the same.

    Args:
        stored: settings of the model.
        given: the settings under `model` that recipe and command line give.
    """
    model, inference = vars(stored.model), vars(stored.inference)
    names = tuple(model)
    if given:
        names = UNSEEN if given.get("backbone", ModelConfig.backbone) == stored.model.backbone else ()
    values = {f"model.{name}": model[name] for name in names}
    return values if given else values | {f"inference.{name}": value for name, value in inference.items()}
