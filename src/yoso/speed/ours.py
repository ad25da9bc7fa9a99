"""Contestants of ours: the published code's way, our network as it is trained, and its deployment forms."""

import dataclasses
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn

from yoso.errors import CheckpointError, ConfigError, did_you_mean
from yoso.export.formats import ExportTarget, export
from yoso.files import file_sha256
from yoso.inference.loading import load
from yoso.inference.predictor import Predictor
from yoso.inference.runtimes import RUNTIMES as FILE_RUNTIMES
from yoso.inference.runtimes import refuse_foreign, runtime_of
from yoso.model.yoso import YOSO, padded_size
from yoso.postprocess import Sizes, panoptic_arrays
from yoso.speed.entry import STAGES, Contestant, Entry, Prediction, Settings, Stages, autocast
from yoso.speed.images import photograph
from yoso.speed.kept_queries import let_survive
from yoso.speed.official import official_network, official_panoptic
from yoso.speed.onnx_profile import stage_shares
from yoso.weights.find import find_model
from yoso.weights.layout import WEIGHTS, bundled_models
from yoso.weights.load import load_model
from yoso.weights.model_folder import Model, save_model
from yoso.weights.official_recipes import convertible, read_recipe


@dataclasses.dataclass(frozen=True)
class Deployed:
    """A deployment form.

    Attributes:
        runtime: as `yoso.load` names it.
        format: as `yoso export` names it; None is no file.
        precision: of the file.
    """

    runtime: str
    format: str | None = None
    precision: Literal["fp32", "int8"] = "fp32"


DEPLOYED = {
    "torch": Deployed("torch"),
    **{runtime.name: Deployed(runtime.name, runtime.format) for runtime in FILE_RUNTIMES.values()},
    "onnxruntime-int8": Deployed("onnxruntime", "onnx", "int8"),
}
"""PyTorch, every runtime of `yoso.inference.runtimes`, and 8 bits."""

RUNTIMES = ("official", "eager", *DEPLOYED)

Merge = Callable[..., tuple[np.ndarray, list[Any]]]
"""Takes what `panoptic_arrays` takes; gives the id map, in host memory, and the segments."""


def check_model(name: str) -> None:
    """Check a model's name without loading it.

    Raises:
        ConfigError: neither a bundled model, nor a recipe that can be built, nor a folder.
        CheckpointError: a folder that is not a model folder, or an exported file that is not there or not for here.
    """
    known = {*bundled_models(), *convertible()}
    refuse_foreign(Path(name))
    if runtime_of(name):
        if not Path(name).is_file():
            raise CheckpointError(f"{name}: no such file")
        return
    if name not in known and not Path(name).is_dir():
        raise ConfigError(f"no model, recipe or model folder {name!r}.{did_you_mean(name, known)}")
    if name not in convertible():
        find_model(name)


def asked_precision(entry: Entry) -> str:
    """Return the precision that an entry is to run in: a file's own, else the session's."""
    form = DEPLOYED.get(entry.runtime)
    if form is not None and form.format is not None:
        return form.precision
    return "fp32" if runtime_of(entry.model) else entry.settings.precision


def recipe_model(name: str, seed: int = 0) -> Model:
    """Build a recipe's network with random weights, the same for a seed.

    Its overlap threshold is 0: masks of random weights overlap as no trained ones do, and all would be dropped. It
    resizes nothing: a session's photographs have their size already.
    """
    recipe = read_recipe(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = YOSO(recipe.model, len(recipe.categories)).eval()
    inference = dataclasses.replace(recipe.inference, overlap_threshold=0.0, input_size=None)
    return Model(network, recipe.categories, inference)


def build(entry: Entry, scratch: Path) -> Contestant:
    """Build one of our contestants.

    Args:
        entry: what to build.
        scratch: a folder for model folders of random weights, which lives as long as the contestant.

    Raises:
        YosoError: the model is damaged, or does not run on the device.
    """
    settings = entry.settings
    random_weights = entry.model in convertible()
    source = _random_folder(entry, scratch) if random_weights else entry.model
    if runtime_of(entry.model) or entry.runtime in DEPLOYED:
        return _deployed(entry, Path(source), random_weights, scratch)
    model = load_model(source, settings.device)
    if entry.runtime == "official":
        model = dataclasses.replace(model, network=official_network(model.network))
    return _eager(model, settings, _official_merge if entry.runtime == "official" else _our_merge, random_weights)


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


def _our_merge(*arguments: Any) -> tuple[np.ndarray, list[Any]]:
    result = panoptic_arrays(*arguments)
    return result.segmentation, result.segments


def _official_merge(*arguments: Any) -> tuple[np.ndarray, list[Any]]:
    segmentation, segments = official_panoptic(*arguments)
    return segmentation.cpu().numpy(), segments


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
            inference.thresholds,
        )
        return Prediction(segmentation, len(segments))

    return Contestant(
        run,
        torch.device(settings.device),
        network,
        _boundaries(network),
        None,
        random_weights,
        _count(network),
        settings.precision,
    )


def _deployed(entry: Entry, source: Path, random_weights: bool, scratch: Path) -> Contestant:
    # ONNX Runtime and OpenVINO read it when they load a network.
    os.environ["OMP_NUM_THREADS"] = str(entry.settings.threads)
    if runtime_of(source):
        return _of_file(entry, source, random_weights)
    form = DEPLOYED[entry.runtime]
    if form.format is not None:
        return _of_file(entry, _exported(entry, source, form, scratch), random_weights)
    return _in_torch(entry, source, random_weights)


def _of_file(entry: Entry, file: Path, random_weights: bool) -> Contestant:
    """Return an exported file as a contestant, in the precision that it was written in."""
    settings = entry.settings
    predictor = load(file, settings.device)
    engine: Any = predictor.engine
    shares = stage_shares(file, photograph(entry.size, settings.image)) if file.suffix == ".onnx" else {}
    return Contestant(
        partial(_predicted, predictor),
        torch.device(settings.device),
        own_stages=lambda pixels: _stages_of(predictor, pixels, shares),
        random_weights=random_weights,
        precision=engine.precision,
    )


def _in_torch(entry: Entry, folder: Path, random_weights: bool) -> Contestant:
    """Return what `yoso.load` gives a user of PyTorch.

    In half precision on a GPU that is a CUDA graph. Nothing of Python runs when one is replayed, so that no hook sees
    where its stages begin: it is one stage, `network`. A CPU has no half precision of its own, and runs by autocast.
    """
    settings = entry.settings
    on_gpu = torch.device(settings.device).type == "cuda"
    predictor = load(folder, settings.device, "torch", settings.precision if on_gpu else "fp32")
    engine: Any = predictor.engine
    network: nn.Module = engine.network
    half = settings.precision != "fp32"

    def run(pixels: np.ndarray) -> Prediction:
        with nullcontext() if on_gpu else autocast(settings):
            return _predicted(predictor, pixels)

    looked_into = not (on_gpu and half)
    return Contestant(
        run,
        torch.device(settings.device),
        network if looked_into else None,
        _boundaries(network) if looked_into else {},
        lambda pixels: _stages_of(predictor, pixels, {}),
        random_weights,
        _count(network),
        settings.precision,
        lambda: engine.graphed,
    )


def _predicted(predictor: Predictor, pixels: np.ndarray) -> Prediction:
    result = predictor(pixels, input_size="native")
    return Prediction(result["segmentation"], len(result["segments_info"]))


def _exported(entry: Entry, source: Path, form: Deployed, scratch: Path) -> Path:
    """Return an exported file of a model: its own, if it has one of these weights, or one made in `scratch`.

    8 bits are calibrated on the photograph of the session alone: enough for the speed, not for the segments.
    """
    folder = find_model(source)
    runtime = FILE_RUNTIMES[form.runtime]
    own = folder / runtime.file_name
    if own.is_file() and form.precision == "fp32":
        return own
    path = scratch / f"{folder.name}-{form.precision}{runtime.suffix}"
    if not path.is_file():
        assert form.format is not None
        sha256 = file_sha256(folder / WEIGHTS)
        photographs = [photograph(entry.size, entry.settings.image)]
        target = ExportTarget(form.format, path, precision=form.precision, source_sha256=sha256)
        export(load_model(folder), target, photographs)
    return path


def _boundaries(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that begin our stages; a network that lacks one of them begins `network` as a whole."""
    named = dict(network.named_children())
    inner = {stage: named[stage] for stage in ("backbone", "aggregator", "decoder") if stage in named}
    return inner if len(inner) == 3 else {"network": network}


def _stages_of(predictor: Predictor, pixels: np.ndarray, shares: Stages) -> Stages:
    """Return the stages that a predictor tells of itself; those inside a graph by their shares of its profile."""
    timings = predictor.timed(pixels, input_size="native")[1]
    stages = dict.fromkeys(("prepare", "network", "merge"), 0.0)
    stages["prepare"] = timings.read_seconds + timings.resize_seconds
    stages["merge"] = timings.merge_seconds
    for stage, share in (shares or {"network": 1.0}).items():
        stages[stage] = stages.get(stage, 0.0) + share * timings.network_seconds
    return {stage: stages[stage] for stage in STAGES if stages.get(stage)}


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
