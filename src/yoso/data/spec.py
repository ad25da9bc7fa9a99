"""Finds a data set: a small YAML file, or a folder with a fixed layout."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoso.errors import ConfigError, did_you_mean
from yoso.files import expanded, is_hidden, read_yaml

SPLIT_KEYS = {"images", "masks", "annotations"}
KEYS = {"name", "license", "attribution", "root", "train", "val"}
YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Split:
    """Where the files of one split are.

    Attributes:
        images: folder of the images.
        masks: folder of the panoptic PNGs.
        annotations: the COCO panoptic JSON.
    """

    images: Path
    masks: Path
    annotations: Path


@dataclass(frozen=True)
class DatasetSpec:
    """A data set: its splits, its license and its attribution.

    Attributes:
        name: for people.
        splits: "train" and "val", or one of them.
        license: of the data.
        attribution: whom to name as its author.
    """

    name: str
    splits: dict[str, Split]
    license: str = ""
    attribution: str = ""

    def split(self, name: str) -> Split:
        """Return a split.

        Raises:
            ConfigError: the data set has no such split.
        """
        if name not in self.splits:
            raise ConfigError(f"data set {self.name!r} has no split {name!r}.{did_you_mean(name, self.splits)}")
        return self.splits[name]


def load_spec(name_or_path: str | os.PathLike[str]) -> DatasetSpec:
    """Find a data set and read its description.

    Args:
        name_or_path: a YAML file; a folder with `train/`, `val/`, `annotations/panoptic_<split>.json` and
            `annotations/panoptic_<split>/`; or a name: `NAME.yaml` or the folder `NAME` in `$YOSO_DATA` or
            `./datasets`. Paths in a YAML file are relative to its `root`, which is relative to the file's folder.

    Raises:
        ConfigError: there is no such data set, or the YAML file has an unknown key or lacks one that is needed.
    """
    path = expanded(name_or_path)
    if path.suffix.lower() in YAML_SUFFIXES:
        return _from_yaml(path)
    roots = [Path(root) for root in (os.environ.get("YOSO_DATA"), "datasets") if root]
    for candidate in (path, *(root / path for root in roots)):
        for suffix in YAML_SUFFIXES:
            if candidate.name and (description := candidate.with_name(candidate.name + suffix)).is_file():
                return _from_yaml(description)
        if (candidate / "annotations").is_dir():
            return _from_folder(candidate)
    looked = ", ".join(str(root) for root in (Path(), *roots))
    raise ConfigError(
        f"no data set {str(name_or_path)!r} (looked in {looked}); give a YAML file, a folder with annotations/, or set "
        f"YOSO_DATA to the folder of your data sets.{did_you_mean(path.name, _names(roots))}"
    )


def _names(roots: list[Path]) -> set[str]:
    """Return the names of the data sets in some folders."""
    entries = [entry for root in roots if root.is_dir() for entry in root.iterdir()]
    return {
        entry.stem if entry.suffix in YAML_SUFFIXES else entry.name
        for entry in entries
        if not is_hidden(entry.name) and (entry.suffix in YAML_SUFFIXES or (entry / "annotations").is_dir())
    }


def _from_folder(folder: Path) -> DatasetSpec:
    splits = {}
    for name in ("train", "val"):
        annotations = folder / "annotations" / f"panoptic_{name}.json"
        if annotations.is_file():
            splits[name] = Split(folder / name, annotations.with_suffix(""), annotations)
    if not splits:
        raise ConfigError(f"{folder / 'annotations'}: has neither panoptic_train.json nor panoptic_val.json")
    return DatasetSpec(folder.resolve().name, splits)


def _from_yaml(path: Path) -> DatasetSpec:
    if not path.exists():
        raise ConfigError(
            f"{path}: no such file; give the YAML file of a data set, or the folder that holds its annotations/"
        )
    content = _checked(read_yaml(path), KEYS, path, "the data set")
    root = path.parent / expanded(_text(content, "root", path, "."))
    splits = {name: _split(content[name], root, path, name) for name in ("train", "val") if name in content}
    if not splits:
        raise ConfigError(f"{path}: a data set needs 'train' or 'val', each with {sorted(SPLIT_KEYS)}")
    texts = {key: _text(content, key, path, "") for key in ("license", "attribution")}
    return DatasetSpec(_text(content, "name", path, path.stem), splits, **texts)


def _split(content: Any, root: Path, path: Path, name: str) -> Split:
    content = _checked(content, SPLIT_KEYS, path, f"'{name}'")
    if missing := sorted(SPLIT_KEYS - content.keys()):
        raise ConfigError(f"{path}: '{name}' lacks {missing}")
    return Split(**{key: root / expanded(_text(content, key, path, "")) for key in SPLIT_KEYS})


def _text(content: Mapping[str, Any], key: str, path: Path, default: str) -> str:
    value = content.get(key, default)
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{path}: {key!r} is {value!r}; a text is needed")
    return str(value)


def _checked(content: Any, known: set[str], path: Path, what: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: {what} must be a mapping with the keys {sorted(known)}")
    for key in content:
        if key not in known:
            raise ConfigError(f"{path}: unknown key {key!r} in {what}.{did_you_mean(str(key), known)}")
    return content
