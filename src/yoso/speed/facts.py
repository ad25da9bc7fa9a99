"""What is known about a model or recipe without running it: size, work and memory, classes, thresholds, provenance."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from yoso.categories import Categories
from yoso.errors import CheckpointError
from yoso.files import file_sha256
from yoso.inference.runtimes import RUNTIMES, refuse_foreign, runtime_of
from yoso.model.config import ModelConfig
from yoso.model.fuse import fuse
from yoso.model.yoso import YOSO
from yoso.preprocess import Size
from yoso.settings import InferenceConfig
from yoso.speed.live_memory import activation_bytes
from yoso.speed.work import COUNTED_STAGES, count_work
from yoso.weights.config_file import read_config
from yoso.weights.find import find_model, model_name
from yoso.weights.layout import CONFIG, WEIGHTS, bundled_models
from yoso.weights.published import PUBLISHED

Facts = dict[str, Any]


@dataclass(frozen=True)
class NetworkSource:
    """A model or recipe, as far as its files say.

    Attributes:
        kind: "bundled", "published", "folder", "file" or "recipe".
        categories: None for a recipe whose classes come from the data set.
        inference: thresholds and input size.
        about: free facts: license, data, training.
        config: of the network; None for an exported file without its model folder.
        more: further facts about the kind: file, runtime, precision and so on.
    """

    kind: str
    categories: Categories | None
    inference: InferenceConfig
    about: dict[str, Any]
    config: ModelConfig | None
    more: Facts = field(default_factory=dict)


def model_source(name: str, offline: bool = False) -> NetworkSource:
    """Read what the files of a model say; a published model is fetched on first use.

    Args:
        name: of a model, a model folder, or an exported file.
        offline: fetch nothing.

    Raises:
        CheckpointError: there is no such model, or its files are damaged.
    """
    path = Path(name)
    refuse_foreign(path)
    if runtime_of(path) and not path.is_dir():
        return _file_source(path)
    folder = find_model(name, offline)
    config = read_config(folder)
    own = model_name(name)
    kind = "bundled" if own in bundled_models() else "published" if own in PUBLISHED else "folder"
    more = {
        "folder": str(folder),
        "file_bytes": (folder / WEIGHTS).stat().st_size,
        "sha256": file_sha256(folder / WEIGHTS),
        "exported": [runtime.file_name for runtime in RUNTIMES.values() if (folder / runtime.file_name).is_file()],
    }
    return NetworkSource(kind, config.categories, config.inference, config.about, config.model, more)


def _file_source(path: Path) -> NetworkSource:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; check the name")
    runtime = runtime_of(path)
    assert runtime is not None
    engine = runtime.open(path)
    more = {
        "file": str(path),
        "file_bytes": path.stat().st_size,
        "runtime": engine.runtime,
        "precision": engine.precision,
        "fixed_size": engine.size,
        "source_sha256": engine.source_sha256 or None,
    }
    return NetworkSource("file", engine.categories, engine.inference, engine.about, _config_beside(path, engine), more)


def _config_beside(path: Path, engine: Any) -> ModelConfig | None:
    """Return the network's configuration from the model folder that an exported file lies in, if it was made of it."""
    weights = path.parent / WEIGHTS
    if not weights.is_file() or not (path.parent / CONFIG).is_file() or file_sha256(weights) != engine.source_sha256:
        return None
    return read_config(path.parent).model


def describe_source(name: str, source: NetworkSource, size: Size) -> Facts:
    """Return all facts as JSON values.

    Args:
        name: as the user typed it.
        source: what the files say.
        size: (height, width) of the image in pixels, for operations and memory.
    """
    categories = source.categories
    facts: Facts = {
        "name": name,
        "kind": source.kind,
        **source.more,
        "license": source.about.get("license"),
        "classes": None if categories is None else _classes(categories),
        "inference": dataclasses.asdict(source.inference),
        "about": source.about,
    }
    if source.config is None:
        return facts | {"network": None}
    num_classes = 1 if categories is None else len(categories)
    return facts | {"network": network_facts(source.config, num_classes, size)}


def _classes(categories: Categories) -> dict[str, list[str]]:
    return {
        "things": [category.name for category in categories if category.is_thing],
        "stuff": [category.name for category in categories if not category.is_thing],
    }


def network_facts(config: ModelConfig, num_classes: int, size: Size) -> Facts:
    """Return parameters, operations and memory of a network, counted from shapes alone.

    Args:
        config: of the network.
        num_classes: K.
        size: (height, width) of the image in pixels.

    Returns:
        `parameters`, all and per stage; `flops` per stage as it is trained and in the deployment form, a multiply-add
        counted as two; `weight_bytes` and `activation_bytes` in float32, the latter the peak of one image in the
        deployment form.
    """
    with torch.device("meta"):
        network = YOSO(config, num_classes).eval().requires_grad_(False)
        deployed = fuse(network)
    parameters = {
        stage: sum(parameter.numel() for parameter in network.get_submodule(stage).parameters())
        for stage in COUNTED_STAGES
    }
    buffers = sum(buffer.numel() for buffer in network.buffers())
    return {
        "backbone": config.backbone,
        "config": dataclasses.asdict(config),
        "parameters": {**parameters, "all": sum(parameters.values())},
        "size": list(size),
        "flops": {
            form: {stage: work.flops for stage, work in count_work(config, num_classes, size, is_deployed).items()}
            for form, is_deployed in (("trained", False), ("deployed", True))
        },
        "weight_bytes": 4 * (sum(parameters.values()) + buffers),
        "activation_bytes": activation_bytes(deployed, size),
    }
