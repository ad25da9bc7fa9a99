"""Fine-tuning: a run takes over the weights of a model, with its own classes or with others."""

import json
from dataclasses import asdict

from yoso.categories import Categories
from yoso.errors import ConfigError
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.weights.find import find_model
from yoso.weights.model_folder import read_model

MAX_NAMES = 8

MIN_SHARE = 0.9
"""Of the tensors outside the class head; if fewer fit, the networks are different."""


def start_from(network: YOSO, start: str, categories: Categories, offline: bool = False) -> str:
    """Take over the weights of a model.

    The class head, the last layer of every stage's class branch, keeps its fresh weights if the model has other
    classes, even as many: class 3 of the model is not class 3 of the data set. Every other tensor is taken over if
    name and shape agree.

    Args:
        network: receives the weights; freshly initialised.
        start: the model; see `find_model`.
        categories: of the data set.
        offline: download nothing.

    Returns:
        One line for people: what was taken over, what is new, and why.

    Raises:
        CheckpointError: see `find_model` and `read_model`.
        ConfigError: too little can be taken over because the networks differ; names the settings that differ.
    """
    source = read_model(find_model(start, offline))
    same = classes(source.categories) == classes(categories)
    head = class_head(network)
    fresh = take_over(network, source.network, set() if same else head)
    total = len(network.state_dict())
    line = f"start: {total - len(fresh)} of {total} tensors are those of {start}"
    if not same:
        line += (
            f"; its {len(source.categories)} classes ({listed(source.categories)}) are not the {len(categories)} of "
            f"the data set ({listed(categories)}), so the class head is new"
        )
    others = sorted(set(fresh) - head)
    differing = _differing(network.config, source.network.config)
    outside = total - len(head)
    if len(others) > (1 - MIN_SHARE) * outside:
        raise ConfigError(
            f"start: the network of {start} differs from this run's, only {outside - len(others)} of {outside} tensors "
            f"fit: {differing}; leave `model` out of the recipe to use the network of {start}, or set these values"
        )
    line += f"; {differing}" if differing else ""
    if others:
        line += f"; new because they do not fit: {', '.join(others[:3])}"
        line += f" and {len(others) - 3} more" if len(others) > 3 else ""
    return line


def classes(categories: Categories) -> list[tuple[str, bool]]:
    """Return name and kind by class index; ids and colors may differ between files of the same classes."""
    return [(category.name, category.is_thing) for category in categories]


def class_head(network: YOSO) -> set[str]:
    """Return the names of the tensors whose rows are classes."""
    last = 3 * network.config.branch_depth  # each hidden layer consists of three modules
    return {
        f"decoder.stages.{index}.class_branch.{last}.{kind}"
        for index in range(network.config.num_stages)
        for kind in ("weight", "bias")
    }


def take_over(network: YOSO, source: YOSO, without: set[str] | None = None) -> list[str]:
    """Copy every tensor whose name and shape agree; return the names of the others.

    Args:
        network: receives the tensors.
        source: where they come from.
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
    """Return which settings differ, with both values as YAML; empty if none does."""
    ours, theirs = asdict(here), asdict(there)
    return ", ".join(
        f"model.{name} is {json.dumps(value)} instead of {json.dumps(theirs[name])}"
        for name, value in ours.items()
        if value != theirs[name]
    )


def listed(categories: Categories) -> str:
    """Return the names of the first classes, for messages."""
    names = ", ".join(categories.names[:MAX_NAMES])
    return names + (", ..." if len(categories) > MAX_NAMES else "")
