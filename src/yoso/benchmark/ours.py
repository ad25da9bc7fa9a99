"""Contestants of ours: the published code's way, our network as it is trained, and its deployment forms."""

import dataclasses
from collections.abc import Callable
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import yaml
from torch import nn

from yoso.benchmark.contestant import Contestant, Entry, Prediction, Settings, Stages, autocast
from yoso.benchmark.official import official_network, official_panoptic
from yoso.benchmark.photograph import photograph
from yoso.benchmark.survivors import let_survive
from yoso.categories import Categories
from yoso.errors import ConfigError, did_you_mean
from yoso.files import read_json
from yoso.inference.predictor import Predictor, load
from yoso.model.checkpoint import Model, bundled_models, config_from_json, find_model, load_model, save_model
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO, padded_size
from yoso.postprocess import Sizes, panoptic
from yoso.structures import InferenceConfig

DEPLOYED: dict[str, dict[str, Any]] = {"torch": {}}
"""Arguments of `yoso.load` by runtime: a new deployment form is a line here."""

RUNTIMES = ("official", "eager", *DEPLOYED)

Merge = Callable[..., tuple[torch.Tensor, list[Any]]]


def recipes() -> list[str]:
    """Return the recipes whose classes are known, so that their network can be built without data."""
    named = {path.stem.removesuffix("_r50") for path in _recipe_folder().glob("*_r50.yaml")}
    return sorted(f"{name}_r50" for name in named if _categories_file(name).is_file())


def _recipe_folder() -> Path:
    return Path(str(package_files("yoso"))) / "recipes"


def _categories_file(data: str) -> Path:
    return _recipe_folder() / "categories" / f"{data}.json"


def check_model(name: str) -> None:
    """Check a model's name without loading it.

    Raises:
        ConfigError: neither a bundled model, nor a recipe that can be built, nor a folder.
        CheckpointError: a folder that is not a model folder.
    """
    known = {*bundled_models(), *recipes()}
    if name not in known and not Path(name).is_dir():
        raise ConfigError(f"no model, recipe or model folder {name!r}.{did_you_mean(name, known)}")
    if name not in recipes():
        find_model(name)


def recipe_model(name: str, seed: int = 0) -> Model:
    """Build a recipe's network with random weights, the same for a seed.

    Its overlap threshold is 0: masks of random weights overlap as no trained ones do, and all would be dropped.
    """
    content = yaml.safe_load((_recipe_folder() / f"{name}.yaml").read_text())
    path = _categories_file(name.removesuffix("_r50"))
    categories = Categories.from_json(read_json(path)["categories"], str(path))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = YOSO(config_from_json(ModelConfig, content.get("model", {})), len(categories)).eval()
    inference = config_from_json(InferenceConfig, content.get("inference", {}))
    return Model(network, categories, dataclasses.replace(inference, overlap_threshold=0.0))


def build(entry: Entry, scratch: Path) -> Contestant:
    """Build one of our contestants.

    Args:
        entry: what to build.
        scratch: a folder for model folders of random weights, which lives as long as the contestant.

    Raises:
        YosoError: the model is damaged, or does not run on the device.
    """
    settings = entry.settings
    random_weights = entry.model in recipes()
    source = _random_folder(entry, scratch) if random_weights else entry.model
    if entry.runtime in DEPLOYED:
        return _deployed(entry, str(source), random_weights)
    model = load_model(source, settings.device)
    if entry.runtime == "official":
        model = dataclasses.replace(model, network=official_network(model.network))
    return _eager(model, settings, official_panoptic if entry.runtime == "official" else _our_merge, random_weights)


def _random_folder(entry: Entry, scratch: Path) -> Path:
    """Write a recipe's network with random weights as a model folder, once per size."""
    folder = scratch / f"{entry.model}-{entry.size[0]}x{entry.size[1]}"
    if not folder.is_dir():
        model = recipe_model(entry.model)
        network = model.network.to(entry.settings.device)
        tensor = _tensor(photograph(entry.size, entry.settings.image), entry.settings.device)
        last: Any = network.decoder.stages[-1]
        layer = cast(nn.Linear, last.class_branch[-1])
        let_survive(layer, lambda: network([tensor]), entry.settings.survivors, last.temperature)
        save_model(folder, model)
    return folder


def _tensor(pixels: np.ndarray, device: str | torch.device) -> torch.Tensor:
    return torch.from_numpy(pixels).to(device).permute(2, 0, 1)


def _our_merge(*arguments: Any) -> tuple[torch.Tensor, list[Any]]:
    result = panoptic(*arguments)
    return result.segmentation, result.segments


def _eager(model: Model, settings: Settings, merge: Merge, random_weights: bool) -> Contestant:
    network, inference = model.network, model.inference
    things = [category.is_thing for category in model.categories]

    @torch.inference_mode()
    def run(pixels: np.ndarray) -> Prediction:
        size = (pixels.shape[0], pixels.shape[1])
        with autocast(settings):
            outputs = network([_tensor(pixels, settings.device)])
        segmentation, segments = merge(
            outputs.class_logits[0],
            outputs.mask_logits[0],
            Sizes(padded_size([size]), size, size),
            things,
            inference.object_mask_threshold,
            inference.overlap_threshold,
        )
        return Prediction(segmentation.cpu().numpy(), len(segments))

    return Contestant(
        run, torch.device(settings.device), network, _boundaries(network), None, random_weights, _count(network)
    )


def _deployed(entry: Entry, source: str, random_weights: bool) -> Contestant:
    settings = entry.settings
    predictor = load(source, settings.device, **DEPLOYED[entry.runtime])

    def run(pixels: np.ndarray) -> Prediction:
        with autocast(settings):
            result = predictor(pixels, input_size="native")
        return Prediction(result["segmentation"], len(result["segments_info"]))

    # A runtime without torch modules has no network to look into.
    inner = getattr(predictor, "network", None)
    network = inner if isinstance(inner, nn.Module) else None
    stages = None if network is not None else lambda pixels: _stages_of(predictor, pixels)
    return Contestant(
        run, torch.device(settings.device), network, _boundaries(network), stages, random_weights, _count(network)
    )


def _boundaries(network: nn.Module | None) -> dict[str, nn.Module]:
    """Return the modules that begin our stages; a network that lacks one of them begins `network` as a whole."""
    if network is None:
        return {}
    named = dict(network.named_children())
    inner = {stage: named[stage] for stage in ("backbone", "aggregator", "decoder") if stage in named}
    return inner if len(inner) == 3 else {"network": network}


def _stages_of(predictor: Predictor, pixels: np.ndarray) -> Stages:
    """Return the stages that a predictor tells of itself."""
    timings = predictor.timed(pixels, input_size="native")[1]
    return {
        "prepare": timings.read_seconds + timings.resize_seconds,
        "network": timings.network_seconds,
        "merge": timings.merge_seconds,
    }


def _count(network: nn.Module | None) -> int | None:
    return None if network is None else sum(parameter.numel() for parameter in network.parameters())
