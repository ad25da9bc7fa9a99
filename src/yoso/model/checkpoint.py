"""Model folders, and how a model is found: by folder, by name, or on a hub.

A model folder holds `model.safetensors`, the weights; `config.json`, the network, its categories and thresholds;
`preprocessor_config.json`, what is done to a photograph first, which is there for other programs and is not read here;
and `metrics.json`, if there are figures.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError, DatasetError, did_you_mean
from yoso.files import PathLike, read_json, write_json, written_whole
from yoso.model.config import ModelConfig
from yoso.model.folder import CONFIG, METRICS, WEIGHTS, bundled_models
from yoso.model.official import load_exactly
from yoso.model.yoso import YOSO
from yoso.preprocess import SIZE_DIVISOR
from yoso.settings import InferenceConfig

T = TypeVar("T")

PREPROCESSOR = "preprocessor_config.json"
HUB = "hf:"
"""Prefix of a repository's name on the Hugging Face hub, where a model is asked for."""

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


def find_model(name_or_folder: PathLike, offline: bool = False) -> Path:
    """Return the folder of a model given by name or as a folder.

    A published model is fetched when it is asked for the first time. A model folder of the same name in the current
    folder goes before it.

    Args:
        name_or_folder: a bundled or published model's name, `hf:OWNER/NAME` on the Hugging Face hub, or a folder.
        offline: fetch nothing; `YOSO_OFFLINE` says the same.

    Raises:
        CheckpointError: there is no such model, or the folder is not a model folder; or see `published_folder`.
        OutputError: the cache of fetched models cannot be written.
    """
    # Here, because fetching ends in `save_model`.
    from yoso.model.published import PUBLISHED, published_folder

    name, folder = str(name_or_folder), Path(name_or_folder)
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    if name in PUBLISHED and not (folder / CONFIG).is_file():
        return published_folder(name, offline)
    if name.startswith(HUB):
        from yoso.model.hub import hub_folder

        folder = hub_folder(name.removeprefix(HUB), offline)
    if not folder.exists():
        raise CheckpointError(f"no model or folder {name!r}.{did_you_mean(name, {*bundled, *PUBLISHED})}")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder}: is not a model folder, it has no {name}; `yoso train` and `yoso convert` make them"
            )
    return folder


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


def save_inference(folder: PathLike, inference: InferenceConfig) -> Path:
    """Put other thresholds and another input size into a model folder, and change nothing else of it.

    Raises:
        CheckpointError: the folder's configuration is not one.
        OutputError: it cannot be written.
    """
    path = Path(folder) / CONFIG
    try:
        config = {**read_json(path), "inference": dataclasses.asdict(inference)}
    except (DatasetError, TypeError) as error:
        raise CheckpointError(f"{path}: is not the configuration of a model ({error})") from error
    write_json(path, config, indent=1)
    return path


def load_model(name_or_folder: PathLike, device: str | torch.device = "cpu") -> Model:
    """Read a model.

    Args:
        name_or_folder: see `find_model`.
        device: where the network goes.

    Raises:
        CheckpointError: see `find_model`; damaged files; weights that do not fit the configuration or are not finite.
    """
    folder = find_model(name_or_folder)
    try:
        config = read_json(folder / CONFIG)
        categories = Categories.from_json(config["categories"], str(folder / CONFIG))
        network = YOSO(config_from_json(ModelConfig, config["model"]), len(categories))
        inference = config_from_json(InferenceConfig, config["inference"])
    except (DatasetError, ConfigError) as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG}: is not the configuration of a model ({error!r})") from error
    load_exactly(network, read_safetensors(folder / WEIGHTS), folder / WEIGHTS)
    return Model(network.to(device).eval(), categories, inference, config.get("about", {}))


def read_safetensors(path: PathLike) -> dict[str, torch.Tensor]:
    """Read a safetensors file; half-precision weights come back as float32.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: is damaged or not a safetensors file ({error})") from error
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def load_backbone(network: YOSO, path: PathLike) -> None:
    """Load a backbone's weights (timm's names, safetensors); tensors of layers that YOSO leaves out are passed over.

    Raises:
        CheckpointError: the file is damaged, or lacks tensors of the backbone.
    """
    given = read_safetensors(path)
    net = network.backbone.net
    expected = {key for key in net.state_dict() if not key.endswith("num_batches_tracked")}
    load_exactly(net, {key: value for key, value in given.items() if key in expected}, path)


def config_from_json(kind: type[T], values: dict[str, Any]) -> T:
    """Make a configuration dataclass from JSON values; lists become tuples.

    Raises:
        ConfigError: a key that the dataclass does not have.
    """
    known = {field.name for field in dataclasses.fields(cast(Any, kind))}
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {key!r}.{did_you_mean(key, known)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
