"""YOSO's entries: the official implementation, the network as it is trained, and the deployment forms."""

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
from yoso.preprocess import Size
from yoso.speed.entry import STAGES, Entry, EntryOutput, EntrySpec, StageSeconds, TimingSettings, autocast
from yoso.speed.images import input_image
from yoso.speed.kept_queries import keep_queries
from yoso.speed.official import official_network, official_panoptic
from yoso.speed.onnx_profile import stage_shares
from yoso.weights.find import find_model
from yoso.weights.layout import WEIGHTS, bundled_models
from yoso.weights.load import load_model
from yoso.weights.model_folder import Model, save_model
from yoso.weights.official_recipes import Recipe, convertible, read_recipe


@dataclasses.dataclass(frozen=True)
class DeploymentForm:
    """One way to run a model for users.

    Attributes:
        runtime: as `yoso.load` names it.
        format: as `yoso export` names it; None if there is no file.
        precision: of the file.
    """

    runtime: str
    format: str | None = None
    precision: Literal["fp32", "int8"] = "fp32"


DEPLOYMENT_FORMS = {
    "torch": DeploymentForm("torch"),
    **{runtime.name: DeploymentForm(runtime.name, runtime.format) for runtime in FILE_RUNTIMES.values()},
    "onnxruntime-int8": DeploymentForm("onnxruntime", "onnx", "int8"),
}
"""PyTorch, every runtime of `yoso.inference.runtimes`, and 8 bits."""

RUNTIMES = ("official", "eager", *DEPLOYMENT_FORMS)

Merge = Callable[..., tuple[np.ndarray, list[Any]]]
"""Takes the arguments of `panoptic_arrays`; returns the id map, in host memory, and the segments."""


def check_model(name: str) -> None:
    """Check a model's name without loading it.

    Raises:
        ConfigError: neither a bundled model, nor a recipe that can be built, nor a folder.
        CheckpointError: not a model folder, or an exported file that is missing or that this package does not run.
    """
    known = {*bundled_models(), *convertible()}
    refuse_foreign(Path(name))
    if runtime_of(name):
        if not Path(name).is_file():
            raise CheckpointError(f"{name}: no such file; check the name")
        return
    if name not in known and not Path(name).is_dir():
        raise ConfigError(f"no model, recipe or model folder {name!r}.{did_you_mean(name, known)}")
    if name not in convertible():
        find_model(name)


def requested_precision(spec: EntrySpec) -> str:
    """Return the precision that an entry should run in: a file's own, or else the session's."""
    form = DEPLOYMENT_FORMS.get(spec.runtime)
    if form is not None and form.format is not None:
        return form.precision
    return "fp32" if runtime_of(spec.model) else spec.settings.precision


def recipe_model(name: str, seed: int = 0) -> Model:
    """Build a recipe's network with random weights, the same for a seed.

    Its overlap threshold is 0, because masks of random weights overlap more than those of a trained network, and all
    segments would be dropped. It does not resize, because the images of a session already have their size.
    """
    return random_model(read_recipe(name), seed)


def random_model(recipe: Recipe, seed: int = 0) -> Model:
    """Build the network that a recipe describes with random weights; see `recipe_model`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = YOSO(recipe.model, len(recipe.categories)).eval()
    inference = dataclasses.replace(recipe.inference, overlap_threshold=0.0, input_size=None)
    return Model(network, recipe.categories, inference)


def build(spec: EntrySpec, scratch: Path) -> Entry:
    """Build an entry of YOSO.

    Args:
        spec: what to build.
        scratch: a folder for model folders of random weights; it must exist as long as the entry is used.

    Raises:
        YosoError: the model is damaged, or does not run on the device.
    """
    settings = spec.settings
    random_weights = spec.model in convertible()
    source = _random_folder(spec, scratch) if random_weights else spec.model
    if runtime_of(spec.model) or spec.runtime in DEPLOYMENT_FORMS:
        return _deployed(spec, Path(source), random_weights, scratch)
    model = load_model(source, settings.device)
    if spec.runtime == "official":
        model = dataclasses.replace(model, network=official_network(model.network))
    return _eager(model, settings, _official_merge if spec.runtime == "official" else _yoso_merge, random_weights)


def _random_folder(spec: EntrySpec, scratch: Path) -> Path:
    """Write a recipe's network with random weights as a model folder, once per size."""
    folder = scratch / f"{spec.model}-{spec.size[0]}x{spec.size[1]}"
    return folder if folder.is_dir() else write_random_model(folder, recipe_model(spec.model), spec.size, spec.settings)


def write_random_model(folder: Path, model: Model, size: Size, settings: TimingSettings) -> Path:
    """Write a model folder of random weights that keep a fixed number of queries on the image of a session."""
    network = model.network.to(settings.device)
    tensor = _tensor(input_image(size, settings.image), settings.device)
    last: Any = network.decoder.stages[-1]
    layer = cast(nn.Linear, last.class_branch[-1])
    keep_queries(layer, lambda: network([tensor]), settings.kept_queries, last.temperature)
    return save_model(folder, model)


def _tensor(pixels: np.ndarray, device: str | torch.device) -> torch.Tensor:
    return torch.from_numpy(pixels).to(device).permute(2, 0, 1)


def _yoso_merge(*arguments: Any) -> tuple[np.ndarray, list[Any]]:
    result = panoptic_arrays(*arguments)
    return result.segmentation, result.segments


def _official_merge(*arguments: Any) -> tuple[np.ndarray, list[Any]]:
    segmentation, segments = official_panoptic(*arguments)
    return segmentation.cpu().numpy(), segments


def _eager(model: Model, settings: TimingSettings, merge: Merge, random_weights: bool) -> Entry:
    network, inference = model.network, model.inference
    things = [category.is_thing for category in model.categories]

    @torch.inference_mode()
    def run(pixels: np.ndarray) -> EntryOutput:
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
        return EntryOutput(segmentation, len(segments))

    return Entry(
        run,
        torch.device(settings.device),
        network,
        _boundaries(network),
        random_weights=random_weights,
        parameters=_count_parameters(network),
        precision=settings.precision,
    )


def _deployed(spec: EntrySpec, source: Path, random_weights: bool, scratch: Path) -> Entry:
    # ONNX Runtime and OpenVINO read this variable when they load a network.
    os.environ["OMP_NUM_THREADS"] = str(spec.settings.threads)
    if runtime_of(source):
        return _of_file(spec, source, random_weights)
    form = DEPLOYMENT_FORMS[spec.runtime]
    if form.format is not None:
        return _of_file(spec, _exported(spec, source, form, scratch), random_weights)
    return _in_torch(spec, source, random_weights)


def _of_file(spec: EntrySpec, file: Path, random_weights: bool) -> Entry:
    """Return the entry of an exported file, in the precision that the file has."""
    settings = spec.settings
    predictor = load(file, settings.device)
    engine: Any = predictor.engine
    shares = stage_shares(file, input_image(spec.size, settings.image)) if file.suffix == ".onnx" else {}
    return Entry(
        partial(_predict, predictor),
        torch.device(settings.device),
        timed_stages=lambda pixels: _predictor_stages(predictor, pixels, shares),
        random_weights=random_weights,
        precision=engine.precision,
    )


def _in_torch(spec: EntrySpec, folder: Path, random_weights: bool) -> Entry:
    """Return the entry of what `yoso.load` gives a user of PyTorch.

    In half precision on a GPU that is a CUDA graph. Replaying a graph runs no Python code, so hooks cannot see where
    its stages begin; the network is one stage. A CPU has no half precision of its own and runs by autocast.
    """
    settings = spec.settings
    on_gpu = torch.device(settings.device).type == "cuda"
    predictor = load(folder, settings.device, "torch", settings.precision if on_gpu else "fp32")
    engine: Any = predictor.engine
    network: nn.Module = engine.network
    half = settings.precision != "fp32"

    def run(pixels: np.ndarray) -> EntryOutput:
        with nullcontext() if on_gpu else autocast(settings):
            return _predict(predictor, pixels)

    divisible = not (on_gpu and half)
    return Entry(
        run,
        torch.device(settings.device),
        network if divisible else None,
        _boundaries(network) if divisible else {},
        lambda pixels: _predictor_stages(predictor, pixels, {}),
        random_weights,
        _count_parameters(network),
        settings.precision,
        lambda: engine.graphed,
    )


def _predict(predictor: Predictor, pixels: np.ndarray) -> EntryOutput:
    result = predictor(pixels, input_size="native")
    return EntryOutput(result["segmentation"], len(result["segments_info"]))


def _exported(spec: EntrySpec, source: Path, form: DeploymentForm, scratch: Path) -> Path:
    """Return an exported file of a model: the one in its folder, or else one written to `scratch`.

    8-bit files are calibrated on the image of the session alone: enough for the speed, not for the segments.
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
        images = [input_image(spec.size, spec.settings.image)]
        target = ExportTarget(form.format, path, precision=form.precision, source_sha256=sha256)
        export(load_model(folder), target, images)
    return path


def _boundaries(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that begin the stages; a network that lacks one of them is one stage, `network`."""
    named = dict(network.named_children())
    inner = {stage: named[stage] for stage in ("backbone", "aggregator", "decoder") if stage in named}
    return inner if len(inner) == 3 else {"network": network}


def _predictor_stages(predictor: Predictor, pixels: np.ndarray, shares: StageSeconds) -> StageSeconds:
    """Return the stages that a predictor times itself; those inside a graph by their shares of its profile."""
    timings = predictor.timed(pixels, input_size="native")[1]
    stages = dict.fromkeys(("prepare", "network", "merge"), 0.0)
    stages["prepare"] = timings.read_seconds + timings.resize_seconds
    stages["merge"] = timings.merge_seconds
    for stage, share in (shares or {"network": 1.0}).items():
        stages[stage] = stages.get(stage, 0.0) + share * timings.network_seconds
    return {stage: stages[stage] for stage in STAGES if stages.get(stage)}


def _count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
