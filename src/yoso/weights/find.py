"""Finding the folder of a model: by path, by name, or on the Hugging Face hub. Loads no torch."""

from pathlib import Path

from yoso.errors import CheckpointError, did_you_mean, known_name
from yoso.files import PathLike
from yoso.weights.hub_folder import hub_folder
from yoso.weights.layout import CONFIG, WEIGHTS, bundled_models, refuse_empty
from yoso.weights.published import PUBLISHED, cache_folder, published_folder

HUB = "hf:"
"""Prefix of the name of a repository on the Hugging Face hub, wherever a model is expected."""


def model_name(name_or_folder: PathLike) -> str:
    """Return the name of a bundled or published model as the package spells it, otherwise the argument as text.

    `coco_r50` and `coco-r50` are the same model, unless the name is that of a model folder.
    """
    name = str(name_or_folder)
    if (Path(name) / CONFIG).is_file():
        return name
    return known_name(name, (*bundled_models(), *PUBLISHED)) or name


def find_model(name_or_folder: PathLike, offline: bool = False) -> Path:
    """Return the folder of a model given by name or as a folder.

    A published model is fetched on first use. A model folder of the same name in the current folder takes precedence.

    Args:
        name_or_folder: the name of a bundled or published model, with hyphens or underscores; `hf:OWNER/NAME` on the
            Hugging Face hub; or a folder.
        offline: fetch nothing; `YOSO_OFFLINE` has the same effect.

    Raises:
        CheckpointError: there is no such model, or the folder is not a model folder; see also `published_folder`.
        OutputError: the cache of fetched models cannot be written.
    """
    refuse_empty(str(name_or_folder))
    name, folder = model_name(name_or_folder), Path(name_or_folder)
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    if name in PUBLISHED and not (folder / CONFIG).is_file():
        return published_folder(name, offline)
    if name.startswith(HUB):
        folder = hub_folder(name.removeprefix(HUB), offline)
    if not folder.exists():
        raise CheckpointError(f"no model or folder {name!r}.{did_you_mean(name, {*bundled, *PUBLISHED})}")
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise CheckpointError(
                f"{folder}: is not a model folder, because it has no {file}; `yoso train` and `yoso convert` write them"
            )
    return folder


def local_folder(name_or_folder: PathLike) -> Path:
    """Return where the folder of a model is on this machine, without fetching it; the path may not exist."""
    folder = Path(name_or_folder)
    if (folder / CONFIG).is_file():
        return folder
    name = model_name(name_or_folder)
    return cache_folder() / name if name in PUBLISHED else bundled_models().get(name, folder)
