"""Converting an official checkpoint, whose network a recipe describes, into a model folder."""

from pathlib import Path
from typing import Any

from yoso.files import PathLike
from yoso.model.yoso import YOSO
from yoso.weights.model_folder import Model, save_model
from yoso.weights.official import load_official, read_official
from yoso.weights.official_recipes import read_recipe


def convert(checkpoint: PathLike, folder: PathLike, recipe_name: str, about: dict[str, Any] | None = None) -> Path:
    """Write a model folder with the weights of an official checkpoint.

    Args:
        checkpoint: only tensors are read from it, never code.
        folder: the model folder to write.
        recipe_name: of the recipe that describes the network.
        about: further facts for people.

    Returns:
        The model folder.

    Raises:
        ConfigError: there is no such recipe.
        CheckpointError: the checkpoint is damaged, holds more than tensors, or does not fit; the error names all
            missing and unexpected keys.
        OutputError: the folder cannot be written.
    """
    recipe = read_recipe(recipe_name)
    tensors = read_official(checkpoint)
    network = YOSO(recipe.model, len(recipe.categories)).eval()
    load_official(network, tensors, checkpoint)
    about = {**recipe.about, "recipe": recipe_name, "converted_from": Path(checkpoint).name, **(about or {})}
    return save_model(folder, Model(network, recipe.categories, recipe.inference, about))
