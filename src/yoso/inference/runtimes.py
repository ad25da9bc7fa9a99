"""The table of runtimes: what runs an exported file. Loads no runtime; to add one, add a row to `RUNTIMES`.

PyTorch, which runs model folders, is no row: it is what is left if no exported file can be used.
"""

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from yoso.errors import CheckpointError, ConfigError, did_you_mean

if TYPE_CHECKING:
    from yoso.inference.exported import ExportedEngine

TORCH = "torch"
"""Name of PyTorch as a runtime."""


@dataclass(frozen=True)
class Runtime:
    """A runtime for exported files.

    Attributes:
        name: for `yoso.load(runtime=...)` and `--runtime`.
        suffix: of its files.
        format: for `yoso export --format`, which writes its files.
        package: that it needs, as it is imported; `yoso.installation` knows the extra that installs it.
        engine: `module:class` of its engine; see `yoso.inference.exported.ExportedEngine`.
    """

    name: str
    suffix: str
    format: str
    package: str
    engine: str

    @property
    def file_name(self) -> str:
        """Name of its file in a model folder: where `yoso export` writes it and `yoso.load` looks for it."""
        return f"model{self.suffix}"

    def is_installed(self) -> bool:
        """Return whether its package is installed."""
        return find_spec(self.package) is not None

    def open(self, path: str | os.PathLike[str], device: str = "auto") -> "ExportedEngine":
        """Open an exported file.

        Raises:
            CheckpointError: the file is missing or damaged, or `yoso export` did not write it.
            ConfigError: the package is not installed, cannot use the device, or has too little memory.
        """
        module, _, name = self.engine.partition(":")
        return getattr(import_module(module), name)(path, device)


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("onnxruntime", ".onnx", "onnx", "onnxruntime", "yoso.inference.onnx_engine:OnnxEngine"),
        Runtime("openvino", ".xml", "openvino", "openvino", "yoso.inference.openvino_engine:OpenVinoEngine"),
    )
}
"""By name, the fastest on a CPU first, as measured at 512x800 and 640x640 (docs/speed.md)."""

FOREIGN = {
    ".pt2": "is a torch.export archive for programs without this package; it loads with "
    "torch.export.load({path!r}).module()",
    ".engine": "is a TensorRT engine, which TensorRT runs, for example with trtexec --loadEngine={path}",
}
"""Files that `yoso export` writes and this package does not run, by suffix. Loading an archive unpickles it, and a
pickle can run any code."""


def runtime_names() -> tuple[str, ...]:
    """Return the names of all runtimes, PyTorch first."""
    return (TORCH, *RUNTIMES)


def runtime_of(path: str | os.PathLike[str]) -> Runtime | None:
    """Return the runtime for a file by its suffix; None if it is no exported file."""
    return next((runtime for runtime in RUNTIMES.values() if runtime.suffix == Path(path).suffix), None)


def check_runtime(name: str) -> None:
    """Check the name of a runtime.

    Raises:
        ConfigError: there is no such runtime.
    """
    if name not in {"auto", *runtime_names()}:
        raise ConfigError(f"unknown runtime {name!r}.{did_you_mean(name, ['auto', *runtime_names()])}")


def refuse_foreign(path: str | os.PathLike[str]) -> None:
    """Refuse an exported file that only other programs run.

    Raises:
        CheckpointError: it is one; the error says what runs it.
    """
    path = Path(path)
    if path.suffix not in FOREIGN or path.is_dir():
        return
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    usable = " or ".join(runtime.suffix for runtime in RUNTIMES.values())
    raise CheckpointError(
        f"{path}: {FOREIGN[path.suffix].format(path=str(path))}; give the model's folder instead, or a file exported "
        f"as {usable}"
    )
