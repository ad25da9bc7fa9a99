"""Model folders: a network with its weights, categories and thresholds, read and written.

A model folder holds `model.safetensors`, the weights; `config.json`, the network, its categories and thresholds;
`preprocessor_config.json`, how an image is prepared, written for other programs and not read here; and `metrics.json`,
if there are figures.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError, DatasetError
from yoso.files import PathLike, read_json, write_json, written_whole
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.preprocess import SIZE_DIVISOR
from yoso.settings import InferenceConfig, config_from_json
from yoso.weights.layout import CONFIG, METRICS, PREPROCESSOR, WEIGHTS
from yoso.weights.tensors import load_exactly, read_safetensors

_BILINEAR = 2


@dataclass(frozen=True)
class Model:
    """A network and all that is needed to make segments of its logits.

    Attributes:
        network: with its weights, in evaluation mode.
        categories: what its classes are.
        inference: thresholds and the size that images are resized to.
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
        half: store floating-point weights as float16, half the size.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    tensors = {}
    for key, value in model.network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            tensors[key] = value.detach().to("cpu", torch.float16 if half else value.dtype).contiguous()
    with written_whole(folder / WEIGHTS) as temporary:
        # Not `save_file`: that makes a file that only its owner may read.
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
    """Return what is done to a photograph before the network, as Hugging Face transformers names it.

    Pixel values stay 0 to 255, as in the configuration; zeros are laid at the right and at the bottom, after
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
    try:
        config = read_json(folder / CONFIG)
        categories = Categories.from_json(config["categories"], str(folder / CONFIG))
        network = YOSO(config_from_json(ModelConfig, config["model"]), len(categories))
        inference = config_from_json(InferenceConfig, config["inference"])
    except DatasetError as error:
        raise CheckpointError(str(error)) from error
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG}: is not the configuration of a model ({error!r})") from error
    load_exactly(network, read_safetensors(folder / WEIGHTS), folder / WEIGHTS)
    return Model(network.to(device).eval(), categories, inference, config.get("about", {}))
