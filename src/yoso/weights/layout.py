"""What a model folder holds, and where the folders of the bundled models are. Loads no torch."""

from importlib.resources import files as package_files
from pathlib import Path

from yoso.errors import CheckpointError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
METRICS = "metrics.json"
PREPROCESSOR = "preprocessor_config.json"


def bundled_models() -> dict[str, Path]:
    """Return the folders of the models that come with the package, by name."""
    root = Path(str(package_files("yoso"))) / "assets"
    return {folder.name: folder for folder in sorted(root.glob("*")) if (folder / CONFIG).is_file()}


def bundled_backbone(name: str) -> Path:
    """Return the file with the ImageNet weights of a backbone that comes with the package.

    Raises:
        CheckpointError: the package has none for this backbone; names those that it has.
    """
    files = {
        file.stem: file for file in (Path(str(package_files("yoso"))) / "assets" / "backbones").glob("*.safetensors")
    }
    if name not in files:
        raise CheckpointError(
            f"no weights of backbone {name} come with the package, only of {', '.join(sorted(files))}; give "
            "--backbone_weights imagenet (downloads), a file, or none"
        )
    return files[name]


def refuse_empty(name: str) -> None:
    """Refuse the name "", which as a path would be the current folder.

    Raises:
        CheckpointError: the name is empty.
    """
    if not name:
        raise CheckpointError("the name of the model is empty; `yoso models` lists names, or give a model folder")


def is_bundled(folder: Path) -> bool:
    """Return whether a folder is that of a bundled model, by whatever path; nothing is written there."""
    return folder.resolve() in {bundled.resolve() for bundled in bundled_models().values()}
