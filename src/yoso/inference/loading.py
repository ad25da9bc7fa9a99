"""Finding a model and choosing what runs it. Loads torch only if torch runs the model."""

import ctypes
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from yoso.errors import CheckpointError, ConfigError
from yoso.files import PathLike, file_sha256
from yoso.inference.exported import ExportedEngine
from yoso.inference.predictor import Predictor
from yoso.inference.runtimes import RUNTIMES, TORCH, Runtime, check_runtime, refuse_foreign, runtime_of
from yoso.installation import optional_packages
from yoso.settings import InferenceConfig
from yoso.weights.config_file import read_config
from yoso.weights.find import find_model, local_folder
from yoso.weights.layout import WEIGHTS, is_bundled, refuse_empty

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "bf16")
"""In which PyTorch runs a network. Not fp16: the decoder sums features over all pixels of a mask, and sums above 65504
do not fit into it."""


def load(
    name_or_folder: PathLike, device: "str | torch.device" = "auto", runtime: str = "auto", precision: str = "fp32"
) -> Predictor:
    """Load a model by name, a model folder, or an exported file.

    Args:
        name_or_folder: a name that `yoso models` lists, `hf:OWNER/NAME` on the Hugging Face hub, a model folder (`yoso
            train` and `yoso convert` write them), or a file that `yoso export` wrote for ONNX Runtime (.onnx) or
            OpenVINO (.xml). Published models are fetched on first use.
        device: "auto" is CUDA if there is a CUDA device, otherwise the CPU; or a device that torch knows, such as
            "cuda:1".
        runtime: "auto" takes, on a CPU, the fastest installed runtime for which the folder holds an exported file, and
            "torch" otherwise; "torch", "onnxruntime" or "openvino" takes that one or fails.
        precision: of PyTorch: "fp32", or "bf16" on a GPU, which runs the network as a CUDA graph. An exported file runs
            in the precision that it was exported in; with one, leave this at its default.

    Raises:
        CheckpointError: there is no such model, it cannot be fetched, its files are damaged, or other programs run it.
        ConfigError: there is no such runtime, precision or device, it has too little memory, the folder holds no
            exported file for the runtime, or a package is not installed.
        OutputError: the cache of fetched models cannot be written.
    """
    refuse_empty(str(name_or_folder))
    path = Path(name_or_folder)
    refuse_foreign(path)
    check_runtime(runtime)
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r}: give {' or '.join(PRECISIONS)}")
    if (own := runtime_of(path)) and not path.is_dir():
        if runtime not in {"auto", own.name}:
            raise ConfigError(
                f"{path}: is for {own.name}, not for {runtime}; leave the runtime out, or give the folder"
            )
        _refuse_precision(precision, str(path))
        engine = own.open(path, str(device))
        return _predictor(engine, engine.inference)
    if runtime == "auto":
        found = _fastest(name_or_folder, str(device)) if precision == "fp32" and _without_gpu(str(device)) else None
        return found or _in_torch(name_or_folder, device, precision)
    if runtime == TORCH:
        return _in_torch(name_or_folder, device, precision)
    _refuse_precision(precision, f"runtime {runtime}")
    return _from_folder(name_or_folder, RUNTIMES[runtime], str(device))


def _refuse_precision(precision: str, what: str) -> None:
    if precision != "fp32":
        raise ConfigError(
            f"{what}: an exported file runs in the precision that it was exported in; leave precision {precision} "
            "out, or load the model folder with runtime torch"
        )


def _predictor(engine: ExportedEngine, inference: InferenceConfig) -> Predictor:
    return Predictor(engine, engine.categories, inference, engine.about)


def _in_torch(name_or_folder: PathLike, device: "str | torch.device", precision: str) -> Predictor:
    from yoso.inference.memory import loading_errors

    with optional_packages(f"model {name_or_folder}"):
        from yoso.inference.torch_engine import TorchEngine, resolve_device
        from yoso.weights.load import load_model

    resolved = resolve_device(device)
    with loading_errors(name_or_folder, resolved):
        model = load_model(name_or_folder, resolved)
        engine = TorchEngine(model, resolved, precision)
    return Predictor(engine, model.categories, model.inference, model.about)


def _fastest(name_or_folder: PathLike, device: str) -> Predictor | None:
    """Return the model in the first installed runtime for which its folder holds a file of its present weights.

    None if there is none, or if the model must be fetched first: what is fetched holds no exported file.
    """
    folder = local_folder(name_or_folder)
    if not (folder / WEIGHTS).is_file():
        return None
    for runtime in RUNTIMES.values():
        if (folder / runtime.file_name).is_file() and runtime.is_installed():
            engine = runtime.open(folder / runtime.file_name, device)
            if engine.source_sha256 == file_sha256(folder / WEIGHTS):
                return _predictor(engine, _own_settings(folder))
            warnings.warn(f"{_stale(engine)}; until then PyTorch runs the model", stacklevel=3)
    return None


def _from_folder(name_or_folder: PathLike, runtime: Runtime, device: str) -> Predictor:
    """Return the model in one runtime.

    Raises:
        ConfigError: its folder holds no file for the runtime.
        CheckpointError: the file was exported from other weights.
    """
    folder = find_model(name_or_folder)
    file = folder / runtime.file_name
    if not file.is_file():
        place = f" --output {file.name}, and load that file" if is_bundled(folder) else ""
        raise ConfigError(
            f"{folder}: holds no {file.name}; make it: yoso export --model {name_or_folder} --format {runtime.format}"
            f"{place}"
        )
    engine = runtime.open(file, device)
    if engine.source_sha256 != file_sha256(folder / WEIGHTS):
        raise CheckpointError(_stale(engine))
    return _predictor(engine, _own_settings(folder))


def _own_settings(folder: Path) -> InferenceConfig:
    """Return the folder's own thresholds and size, which may have been tuned since the export."""
    return read_config(folder).inference


def _stale(engine: ExportedEngine) -> str:
    return f"{engine.path}: was made from other weights than the {WEIGHTS} beside it; export it again"


def _without_gpu(device: str) -> bool:
    """Return whether "auto" takes a runtime for the CPU: PyTorch is not installed, or the device is the CPU.

    "auto" is the CPU if no CUDA driver finds a device. PyTorch is not loaded to find out.
    """
    if device != "auto":
        return device == "cpu"
    if find_spec("torch") is None:
        return True
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    count = ctypes.c_int(0)
    return driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0
