"""What is installed: the version of this package, and which extra brings which optional package."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from yoso.errors import MissingPackageError

DISTRIBUTION = "yoso-panoptic"
"""Name to install; the package to import and the command are both `yoso`."""

EXTRAS = {
    "huggingface_hub": "torch",
    "jaxtyping": "torch",
    "safetensors": "torch",
    "timm": "torch",
    "torch": "torch",
    "torchvision": "torch",
    "jsonargparse": "train",
    "lightning": "train",
    "scipy": "train",
    "tensorboard": "train",
    "faster_coco_eval": "eval",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "pynvml": "benchmark",
    "transformers": "benchmark",
    "fastapi": "serve",
    "h11": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "websockets": "serve",
    "mlflow": "mlflow",
    "ray": "batch",
    "wandb": "wandb",
    "av": "video",
    "cv2": "video",
}
"""The extra of each optional package, by the name under which it is imported."""

WITH_TORCH = {"torch", "train", "eval", "export", "tensorrt", "benchmark"}
"""Extras that bring PyTorch too."""


def installed_version() -> str:
    """Return the version of this package; "unknown" if its sources are used without installing them."""
    return versions(["yoso"]).get("yoso", "unknown")


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of some packages by name, of those that are installed; this one is "yoso"."""
    found = {}
    for name in names:
        try:
            found[name] = version(DISTRIBUTION if name == "yoso" else name)
        except PackageNotFoundError:
            continue
    return found


def install_command(extra: str) -> str:
    """Return the command that installs an extra; the package alone if it is empty."""
    return f'pip install "{DISTRIBUTION}[{extra}]"' if extra else f"pip install {DISTRIBUTION}"


def missing_package(package: str, needed_for: str = "", extra: str | None = None) -> MissingPackageError:
    """Return the error for a package that is not installed. Where PyTorch is missing too, it names that.

    Args:
        package: as it is imported.
        needed_for: what cannot be done without it: a command, an option, a feature.
        extra: to install; by default, the one in `EXTRAS`, or none for a package that is always installed.
    """
    extra = EXTRAS.get(package, "") if extra is None else extra
    if extra in WITH_TORCH and find_spec("torch") is None:
        package = "torch"
    name = "PyTorch" if package == "torch" else package.replace("_", "-")
    what = f"{needed_for} needs {name}" if needed_for else f"{name} is not installed"
    return MissingPackageError(f"{what}; run: {install_command(extra)}", name=package)


@contextmanager
def optional_packages(needed_for: str = "", extra: str | None = None) -> Generator[None, None, None]:
    """Explain what to install if an optional package cannot be imported in the block.

    Args:
        needed_for: see `missing_package`.
        extra: that has all that the block needs; by default, the one of the package that is missing.

    Raises:
        MissingPackageError: a package is not installed, or cannot be loaded.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        explained = isinstance(error, MissingPackageError) and not (extra and package == "torch")
        if explained or package not in {*EXTRAS, "onnxruntime"}:
            raise
        if find_spec(package) is None:
            raise missing_package(package, needed_for, extra) from error
        command = install_command(EXTRAS.get(package, "") if extra is None else extra)
        raise MissingPackageError(
            f"{package} is installed but cannot be loaded ({error}); run: {command} --force-reinstall", name=package
        ) from error
