"""Model folders: `model.safetensors`, `config.json` and `metrics.json`, and the models that come with the package."""

import dataclasses
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError, DatasetError, did_you_mean
from yoso.files import PathLike, read_json, write_json, written_whole
from yoso.model.config import ModelConfig
from yoso.model.official import load_exactly
from yoso.model.yoso import YOSO
from yoso.structures import InferenceConfig

T = TypeVar("T")

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
METRICS = "metrics.json"


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


def bundled_models() -> dict[str, Path]:
    """Return the folders of the models that come with the package, by name."""
    root = Path(str(package_files("yoso"))) / "assets"
    return {folder.name: folder for folder in sorted(root.glob("*")) if (folder / CONFIG).is_file()}


def find_model(name_or_folder: PathLike) -> Path:
    """Return the folder of a model given by name or as a folder.

    Raises:
        CheckpointError: there is no such model, or the folder is not a model folder.
    """
    bundled = bundled_models()
    if str(name_or_folder) in bundled:
        return bundled[str(name_or_folder)]
    folder = Path(name_or_folder)
    if not folder.exists():
        raise CheckpointError(
            f"no model or folder {str(name_or_folder)!r}.{did_you_mean(str(name_or_folder), bundled)}"
        )
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
    if metrics is not None:
        write_json(folder / METRICS, metrics, indent=1)
    return folder


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
    """Read a model folder or a bundled model.

    Raises:
        CheckpointError: no such model; damaged files; weights that do not fit the configuration or are not finite.
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
