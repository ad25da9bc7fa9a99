"""Loading a model by name or folder into torch."""

import torch

from yoso.files import PathLike
from yoso.weights.find import find_model
from yoso.weights.model_folder import Model, read_model


def load_model(name_or_folder: PathLike, device: str | torch.device = "cpu") -> Model:
    """Find and read a model.

    Args:
        name_or_folder: see `find_model`.
        device: where the network goes.

    Raises:
        CheckpointError: see `find_model` and `read_model`.
    """
    return read_model(find_model(name_or_folder), device)
