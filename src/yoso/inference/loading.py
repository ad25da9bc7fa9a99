"""Finding a model and choosing what runs it. Nothing here loads torch unless torch is what runs it."""

import ctypes
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.errors import CheckpointError, ConfigError, did_you_mean
from yoso.files import PathLike, read_json
from yoso.inference.predictor import Predictor
from yoso.installation import optional_packages
from yoso.settings import InferenceConfig, config_from_json
from yoso.weights.layout import CONFIG, EXPORTED, WEIGHTS, bundled_models, refuse_empty

if TYPE_CHECKING:
    import torch


RUNTIMES = {".onnx": "onnxruntime", ".xml": "openvino"}
"""Which runtime an exported file is for."""

FOREIGN = {
    ".pt2": "is a torch.export archive, for programs without this package: torch.export.load({path!r}).module()",
    ".engine": "is a TensorRT engine, which TensorRT itself runs, as by trtexec --loadEngine={path}",
}
"""What `yoso export` writes and is not run here. To load an archive unpickles it, which could run anything."""

FASTEST_FIRST = ("onnxruntime", "openvino")
"""On a CPU, as measured at 512x800 and 640x640 (docs/speed.md); torch comes last."""


def load(
    name_or_folder: PathLike, device: "str | torch.device" = "auto", runtime: str = "auto", precision: str = "fp32"
) -> Predictor:
    """Load a model by name, a model folder, or an exported file.

    Args:
        name_or_folder: see `yoso models` for the names; published models are fetched when they are first asked for, and
            `hf:OWNER/NAME` is taken from the Hugging Face hub. `yoso train` and `yoso convert` make folders, `yoso
            export` makes files for ONNX Runtime (.onnx) and OpenVINO (.xml).
        device: "auto" is CUDA where there is a CUDA device, else the CPU; or a name that torch knows, as "cuda:1".
        runtime: "auto" takes, on a CPU, the fastest one that is installed and for which the folder holds an exported
            file; "torch", "onnxruntime" or "openvino" ask for one.
        precision: "fp32", or "bf16" on a GPU, which runs the network as a CUDA graph.

    Raises:
        CheckpointError: there is no such model, it cannot be fetched, its files are damaged, or they are not for here.
        ConfigError: there is no such device, it has not enough memory, or a package that is needed is not installed.
        OutputError: the cache of fetched models cannot be written.
    """
    refuse_empty(str(name_or_folder))
    path = Path(name_or_folder)
    refuse_foreign(path)
    if path.suffix in RUNTIMES:
        if runtime not in {"auto", RUNTIMES[path.suffix]}:
            raise ConfigError(f"{path}: is for {RUNTIMES[path.suffix]}, not for {runtime}")
        return _exported(path, RUNTIMES[path.suffix], str(device))
    if runtime not in {"auto", "torch", *FASTEST_FIRST}:
        raise ConfigError(f"unknown runtime {runtime!r}.{did_you_mean(runtime, ['auto', 'torch', *FASTEST_FIRST])}")
    wanted = FASTEST_FIRST if runtime == "auto" else (runtime,)
    if runtime != "torch" and precision == "fp32" and (runtime != "auto" or _without_gpu(str(device))):
        found = _from_folder(name_or_folder, wanted, str(device), must=runtime != "auto")
        if found is not None:
            return found
    return _in_torch(name_or_folder, device, precision)


def refuse_foreign(path: Path) -> None:
    """Refuse an exported file of a kind that other programs run, and say which do.

    Raises:
        CheckpointError: it is one.
    """
    if path.suffix not in FOREIGN or path.is_dir():
        return
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    what = FOREIGN[path.suffix].format(path=str(path))
    raise CheckpointError(f"{path}: {what}; here give the model's folder, or what it is exported to as .onnx or .xml")


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


def _from_folder(name_or_folder: PathLike, runtimes: tuple[str, ...], device: str, must: bool) -> Predictor | None:
    """Return the first of some runtimes for which a folder holds an exported file of its present weights."""
    from yoso.files import file_sha256

    folder = _local_folder(name_or_folder)
    for runtime in runtimes:
        file = folder / EXPORTED[runtime]
        if not file.is_file():
            if must and folder.is_dir():
                raise ConfigError(
                    f"{folder}: holds no {file.name}; make it: yoso export --model {name_or_folder} --format "
                    f"{'onnx' if runtime == 'onnxruntime' else runtime}"
                )
            continue
        if not must and find_spec(runtime) is None:
            continue
        predictor = _exported(file, runtime, device)
        engine: Any = predictor.engine
        if engine.source_sha256 == file_sha256(folder / WEIGHTS):
            # The folder's own thresholds and size, which may have been tuned since.
            own = config_from_json(InferenceConfig, read_json(folder / CONFIG)["inference"])
            return Predictor(engine, engine.categories, own, engine.about)
        stale = f"{file}: was made from other weights than {WEIGHTS} beside it; export again"
        if must:
            raise CheckpointError(stale)
        warnings.warn(f"{stale}, until then torch is used", stacklevel=2)
    return None


def _local_folder(name_or_folder: PathLike) -> Path:
    """Return where a model's folder is, if it is here; see `find_model`, which may fetch."""
    folder = Path(name_or_folder)
    if (folder / CONFIG).is_file():
        return folder
    from yoso.weights.find import model_name
    from yoso.weights.published import PUBLISHED, cache_folder

    name = model_name(name_or_folder)
    return cache_folder() / name if name in PUBLISHED else bundled_models().get(name, folder)


def _exported(path: Path, runtime: str, device: str) -> Predictor:
    engine: Any
    if runtime == "openvino":
        from yoso.inference.openvino_engine import OpenVinoEngine

        engine = OpenVinoEngine(path, device)
    else:
        from yoso.inference.onnx_engine import OnnxEngine

        engine = OnnxEngine(path, device)
    return Predictor(engine, engine.categories, engine.inference, engine.about)


def _without_gpu(device: str) -> bool:
    """Tell whether "auto" takes a runtime for the CPU: if PyTorch is not installed, or the device is the CPU.

    "auto" is the CPU where no CUDA driver finds a device. PyTorch is not loaded to find out.
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
