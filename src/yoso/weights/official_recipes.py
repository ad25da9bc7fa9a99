"""The recipes of the official checkpoints, which describe their networks. Loads no torch."""

from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, NamedTuple

from yoso.categories import Categories
from yoso.class_tables import benchmark_categories, class_tables
from yoso.errors import ConfigError, did_you_mean, known_name
from yoso.files import read_yaml
from yoso.model.config import ModelConfig
from yoso.settings import InferenceConfig, config_from_json


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
    """Return the names of the recipes that have an official checkpoint."""
    named = {path.stem for path in recipes_folder().glob("*_r50.yaml")}
    return sorted(name for name in named if name.removesuffix("_r50") in class_tables())


def read_recipe(name: str) -> Recipe:
    """Read a recipe that has an official checkpoint.

    Args:
        name: with hyphens or underscores.

    Raises:
        ConfigError: there is no such recipe.
    """
    recipe = known_name(name, convertible())
    if recipe is None:
        raise ConfigError(f"recipe {name!r} has no official checkpoint.{did_you_mean(name, convertible())}")
    content = read_yaml(recipes_folder() / f"{recipe}.yaml")
    return Recipe(
        config_from_json(ModelConfig, content.get("model", {})),
        config_from_json(InferenceConfig, content.get("inference", {})),
        benchmark_categories(recipe.removesuffix("_r50")),
        content.get("about", {}),
    )


def recipes_folder() -> Path:
    """Return the folder of the recipes that come with the package."""
    return Path(str(package_files("yoso"))) / "recipes"
