"""Model folders: a network with its weights, categories and thresholds, read and written.

A model folder holds `model.safetensors`, the weights; `config.json`, the network, its categories and thresholds;
`preprocessor_config.json`, how to prepare an image, for other programs only; and `metrics.json`, if the model was
scored.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError
from yoso.files import PathLike, write_json, written_whole
from yoso.model.yoso import YOSO
from yoso.preprocess import SIZE_DIVISOR
from yoso.settings import InferenceConfig
from yoso.weights.config_file import read_config
from yoso.weights.layout import CONFIG, METRICS, PREPROCESSOR, WEIGHTS
from yoso.weights.tensors import check_fit, load_exactly, read_safetensors

_BILINEAR = 2


@dataclass(frozen=True)
class Model:
    """A network, and all that turns its logits into segments.

    Attributes:
        network: with its weights, in evaluation mode.
        categories: what its classes are.
        inference: thresholds and input size.
        about: free facts for people: licence, attribution, data.
    """

    network: YOSO
    categories: Categories
    inference: InferenceConfig
    about: dict[str, Any] = dataclasses.field(default_factory=dict)


def save_model(folder: PathLike, model: Model, metrics: dict[str, Any] | None = None, half: bool = False) -> Path:
    """Write a model folder, each file whole or not at all.

    Args:
        folder: made if it does not exist.
        model: what to save.
        metrics: content of `metrics.json`, if any.
        half: store floating-point weights as float16, at half the size.

    Returns:
        The folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    tensors = {}
    for key, value in model.network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            tensors[key] = value.detach().to("cpu", torch.float16 if half else value.dtype).contiguous()
    with written_whole(folder / WEIGHTS) as temporary:
        # Not `save_file`, whose files only their owner may read.
        temporary.write_bytes(save(tensors, metadata={"format": "pt"}))
    config = {
        "format": 1,
        "model": dataclasses.asdict(model.network.config),
        "inference": dataclasses.asdict(model.inference),
        "categories": model.categories.to_json(),
        "about": model.about,
    }
    write_json(folder / CONFIG, config, indent=1)
    write_json(folder / PREPROCESSOR, preprocessor(model), indent=1)
    if metrics is not None:
        write_json(folder / METRICS, metrics, indent=1)
    return folder


def preprocessor(model: Model) -> dict[str, Any]:
    """Return how an image is prepared for the network, in the terms of Hugging Face transformers.

    Pixel values stay 0 to 255, as in the configuration. Zeros are added at the right and at the bottom, after
    normalisation, up to a multiple of `size_divisor`.
    """
    size = model.inference.input_size
    return {
        "do_resize": size is not None,
        "size": {"shortest_edge": size[0], "longest_edge": size[1]} if size else None,
        "resample": _BILINEAR,
        "do_convert_rgb": True,
        "do_rescale": False,
        "do_normalize": True,
        "image_mean": list(model.network.config.pixel_mean),
        "image_std": list(model.network.config.pixel_std),
        "do_pad": True,
        "size_divisor": SIZE_DIVISOR,
    }


def read_model(folder: PathLike, device: str | torch.device = "cpu") -> Model:
    """Read a model folder.

    Args:
        folder: as `find_model` returns it.
        device: where the network goes.

    Raises:
        CheckpointError: damaged files; weights that do not fit the configuration or are not finite.
    """
    folder = Path(folder)
    config = read_config(folder)
    tensors = read_safetensors(folder / WEIGHTS)
    try:
        # First without values, which take no memory: the configuration may be that of a network of any size.
        with torch.device("meta"):
            check_fit(YOSO(config.model, len(config.categories)), tensors, folder / WEIGHTS)
        network = YOSO(config.model, len(config.categories))
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder / CONFIG}: no network can be built from it ({reason})") from error
    load_exactly(network, tensors, folder / WEIGHTS)
    return Model(network.to(device).eval(), config.categories, config.inference, config.about)
