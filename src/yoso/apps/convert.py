"""`yoso convert`: an official checkpoint becomes a model folder."""

from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from yoso.apps.arguments import Parser
from yoso.apps.console import make_folder, show
from yoso.categories import Categories
from yoso.data.class_tables import benchmark_categories, class_tables
from yoso.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from yoso.model.config import ModelConfig
    from yoso.structures import InferenceConfig


class Recipe(NamedTuple):
    """What a recipe says about the network itself.

    Attributes:
        model: the network's configuration.
        inference: thresholds and test size.
        categories: in the class-index order of the official checkpoints.
        about: data and citation.
    """

    model: "ModelConfig"
    inference: "InferenceConfig"
    categories: Categories
    about: dict[str, Any]


def convertible() -> list[str]:
    """Return the names of the recipes that there are official checkpoints of."""
    named = {path.stem for path in _folder().glob("*_r50.yaml")}
    return sorted(name for name in named if name.removesuffix("_r50") in class_tables())


def read_recipe(name: str) -> Recipe:
    """Read a recipe that there is an official checkpoint of.

    Raises:
        ConfigError: there is no such recipe.
    """
    from yoso.model.checkpoint import config_from_json
    from yoso.model.config import ModelConfig
    from yoso.structures import InferenceConfig

    if name not in convertible():
        raise ConfigError(f"no official checkpoint belongs to recipe {name!r}.{did_you_mean(name, convertible())}")
    content = yaml.safe_load((_folder() / f"{name}.yaml").read_text())
    return Recipe(
        config_from_json(ModelConfig, content.get("model", {})),
        config_from_json(InferenceConfig, content.get("inference", {})),
        benchmark_categories(name.removesuffix("_r50")),
        content.get("about", {}),
    )


def _folder() -> Path:
    return Path(str(package_files("yoso"))) / "recipes"


def main(arguments: list[str]) -> int:
    """Run `yoso convert OFFICIAL.pth FOLDER --recipe NAME`.

    Args:
        arguments: what stands after `yoso convert`.

    Returns:
        The exit status.

    Raises:
        YosoError: an unknown recipe; a checkpoint that is damaged, holds more than tensors, or does not fit (all
            missing and unexpected keys are named); a folder that cannot be written.
    """
    parser = Parser(
        "convert", "Turn an official YOSO checkpoint into a model folder that `yoso predict --model` takes."
    )
    parser.add_argument("checkpoint", metavar="OFFICIAL.pth", help="only tensors are read from it, never code")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder to write")
    parser.add_argument("--recipe", required=True, help=" | ".join(convertible()))
    args = parser.parse(arguments)
    recipe = read_recipe(args.recipe)

    from yoso.model.checkpoint import Model, save_model
    from yoso.model.official import load_official, read_official
    from yoso.model.yoso import YOSO

    tensors = read_official(args.checkpoint)
    folder = make_folder(args.folder)
    network = YOSO(recipe.model, len(recipe.categories)).eval()
    load_official(network, tensors, args.checkpoint)
    about = {**recipe.about, "recipe": args.recipe, "converted_from": Path(args.checkpoint).name}
    save_model(folder, Model(network, recipe.categories, recipe.inference, about))
    show(f"model folder: {folder}\nto use it:    yoso predict PHOTO --model {folder}")
    return 0
