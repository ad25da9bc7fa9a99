"""Fine-tuning: a finished model's network and weights become the start of a run, on its own classes or on others."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError, DatasetError
from yoso.files import read_json, read_yaml
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.settings import InferenceConfig, config_from_json
from yoso.weights.find import find_model
from yoso.weights.layout import CONFIG
from yoso.weights.load import load_model

MOST_NAMES = 8

LEAST_SHARE = 0.9
"""Of the tensors outside the class head; if fewer can be taken over, the network is another one."""

UNSEEN = ("backbone_options", "pixel_mean", "pixel_std", "num_heads", "temperature")
"""Settings that no tensor's shape shows, though the weights were learnt with them."""


class Settings(NamedTuple):
    """What a run begins from, apart from weights.

    Attributes:
        model: the network.
        inference: thresholds and test size.
    """

    model: ModelConfig
    inference: InferenceConfig


def settings_of(start: str, offline: bool = False) -> Settings:
    """Return the settings of a model.

    Raises:
        CheckpointError: see `find_model`; or its configuration is damaged.
    """
    path = find_model(start, offline) / CONFIG
    try:
        return _settings(read_json(path))
    except (DatasetError, ConfigError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: is not the configuration of a model ({error!r})") from error


def settings_of_run(recipe: Path) -> Settings:
    """Return the settings that a run recorded.

    Args:
        recipe: its `recipe.yaml`.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return _settings(read_yaml(recipe))
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ConfigError(f"{recipe}: cannot be read ({error!r}); it says how the run to resume was begun") from error


def _settings(content: Mapping[str, Any]) -> Settings:
    return Settings(
        config_from_json(ModelConfig, content["model"]), config_from_json(InferenceConfig, content["inference"])
    )


def defaults_of(settings: Settings, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run that says nothing else takes from its start, by dotted key.

    That is the network and the thresholds. If the run says what its network is, only those settings of its start's
    are taken that the same backbone's weights need and no tensor shows.

    Args:
        settings: of the start.
        said: the settings under `model` that recipe and command line give.
    """
    model, inference = vars(settings.model), vars(settings.inference)
    names = tuple(model)
    if said:
        names = UNSEEN if said.get("backbone", ModelConfig.backbone) == settings.model.backbone else ()
    values = {f"model.{name}": model[name] for name in names}
    return values if said else values | {f"inference.{name}": value for name, value in inference.items()}


def start_from(network: YOSO, start: str, categories: Categories) -> str:
    """Take over a model's weights.

    The class head, the last layer of every stage's class branch, keeps its fresh weights if the model has other
    classes, be they as many: class 3 there is not class 3 here. All else is taken over where name and shape agree.

    Args:
        network: the receiver, freshly initialised.
        start: the model; see `find_model`.
        categories: of the data set.

    Returns:
        One line for people: what was taken over, and what is fresh and why.

    Raises:
        CheckpointError: see `load_model`.
        ConfigError: little can be taken over, because the networks differ; says in which settings.
    """
    source = load_model(start)
    same = classes(source.categories) == classes(categories)
    head = class_head(network)
    fresh = take_over(network, source.network, set() if same else head)
    total = len(network.state_dict())
    line = f"start: {total - len(fresh)} of {total} tensors are those of {start}"
    if not same:
        line += (
            f"; its {len(source.categories)} classes ({_listed(source.categories)}) are not the {len(categories)} of "
            f"the data ({_listed(categories)}), so the class head is new"
        )
    others = sorted(set(fresh) - head)
    differing = _differing(network.config, source.network.config)
    outside = total - len(head)
    if len(others) > (1 - LEAST_SHARE) * outside:
        raise ConfigError(
            f"start: {start} has another network than this run, only {outside - len(others)} of {outside} tensors fit: "
            f"{differing}; in a recipe without `model` the network is that of the start; else set these as there"
        )
    line += f"; {differing}" if differing else ""
    if others:
        line += f"; new because they do not fit: {', '.join(others[:3])}"
        line += f" and {len(others) - 3} more" if len(others) > 3 else ""
    return line


def classes(categories: Categories) -> list[tuple[str, bool]]:
    """Return what the class indices mean; ids and colours may differ between files of the same classes."""
    return [(category.name, category.is_thing) for category in categories]


def class_head(network: YOSO) -> set[str]:
    """Return the names of the tensors whose rows are classes."""
    last = 3 * network.config.branch_depth  # each hidden layer is three modules
    return {
        f"decoder.stages.{index}.class_branch.{last}.{kind}"
        for index in range(network.config.num_stages)
        for kind in ("weight", "bias")
    }


def take_over(network: YOSO, source: YOSO, without: set[str] | None = None) -> list[str]:
    """Copy every tensor of `source` whose name and shape agree; return the names of those left fresh.

    Args:
        network: the receiver.
        source: the giver.
        without: names that are not copied.
    """
    state = network.state_dict()
    fitting = {
        key: value
        for key, value in source.state_dict().items()
        if key in state and state[key].shape == value.shape and key not in (without or set())
    }
    network.load_state_dict(fitting, strict=False)
    return sorted(state.keys() - fitting.keys())


def _differing(here: ModelConfig, there: ModelConfig) -> str:
    """Say which settings differ, with both values as YAML; nothing if none does."""
    ours, theirs = asdict(here), asdict(there)
    return ", ".join(
        f"model.{name} is {json.dumps(value)}, there {json.dumps(theirs[name])}"
        for name, value in ours.items()
        if value != theirs[name]
    )


def _listed(categories: Categories) -> str:
    names = ", ".join(categories.names[:MOST_NAMES])
    return names + (", ..." if len(categories) > MOST_NAMES else "")
