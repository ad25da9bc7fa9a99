"""An official checkpoint becomes a model folder, with what a recipe says about its network."""

from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, NamedTuple

from yoso.categories import Categories
from yoso.class_tables import benchmark_categories, class_tables
from yoso.errors import ConfigError, did_you_mean
from yoso.files import PathLike, read_yaml
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.settings import InferenceConfig, config_from_json
from yoso.weights.model_folder import Model, save_model
from yoso.weights.official import load_official, read_official


class Recipe(NamedTuple):
    """What a recipe says about the network itself.

    Attributes:
        model: the network's configuration.
        inference: thresholds and test size.
        categories: in the class-index order of the official checkpoints.
        about: data and citation.
    """

    model: ModelConfig
    inference: InferenceConfig
    categories: Categories
    about: dict[str, Any]


def convertible() -> list[str]:
    """Return the names of the recipes that there are official checkpoints of."""
    named = {path.stem for path in recipes_folder().glob("*_r50.yaml")}
    return sorted(name for name in named if name.removesuffix("_r50") in class_tables())


def read_recipe(name: str) -> Recipe:
    """Read a recipe that there is an official checkpoint of.

    Raises:
        ConfigError: there is no such recipe.
    """
    if name not in convertible():
        raise ConfigError(f"no official checkpoint belongs to recipe {name!r}.{did_you_mean(name, convertible())}")
    content = read_yaml(recipes_folder() / f"{name}.yaml")
    return Recipe(
        config_from_json(ModelConfig, content.get("model", {})),
        config_from_json(InferenceConfig, content.get("inference", {})),
        benchmark_categories(name.removesuffix("_r50")),
        content.get("about", {}),
    )


def recipes_folder() -> Path:
    """Return the folder of the recipes that come with the package."""
    return Path(str(package_files("yoso"))) / "recipes"


def convert(checkpoint: PathLike, folder: PathLike, recipe_name: str, about: dict[str, Any] | None = None) -> Path:
    """Write a model folder with the weights of an official checkpoint.

    Args:
        checkpoint: only tensors are read from it, never code.
        folder: the model folder to write.
        recipe_name: says what the network is.
        about: further facts for people.

    Returns:
        The model folder.

    Raises:
        ConfigError: there is no such recipe.
        CheckpointError: the checkpoint is damaged, holds more than tensors, or does not fit (all missing and unexpected
            keys are named).
        OutputError: the folder cannot be written.
    """
    recipe = read_recipe(recipe_name)
    tensors = read_official(checkpoint)
    network = YOSO(recipe.model, len(recipe.categories)).eval()
    load_official(network, tensors, checkpoint)
    facts = {**recipe.about, "recipe": recipe_name, "converted_from": Path(checkpoint).name, **(about or {})}
    return save_model(folder, Model(network, recipe.categories, recipe.inference, facts))
