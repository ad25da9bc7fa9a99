"""The classes of the four benchmarks, in the class-index order of the official checkpoints."""

import hashlib
import json
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from yoso.categories import Categories
from yoso.errors import ConfigError, DatasetError, did_you_mean
from yoso.files import read_json


def class_tables() -> dict[str, Path]:
    """Return the files of the benchmarks' classes, by name."""
    folder = Path(str(package_files("yoso"))) / "recipes" / "categories"
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def benchmark_categories(name: str) -> Categories:
    """Return the categories of coco, cityscapes, ade20k or mapillary, in official class-index order.

    Raises:
        ConfigError: there is no such benchmark.
        DatasetError: the file was changed after it was installed.
    """
    tables = class_tables()
    if name not in tables:
        raise ConfigError(f"no benchmark {name!r}.{did_you_mean(name, tables)}")
    content = read_json(tables[name])
    if checksum(content["categories"]) != content["sha256"]:
        raise DatasetError(f"{tables[name]}: was changed (its checksum differs); install the package again")
    return Categories.from_json(content["categories"], str(tables[name]))


def checksum(entries: list[dict[str, Any]]) -> str:
    """Return the SHA-256 of a list of categories, whatever its layout in the file."""
    return hashlib.sha256(json.dumps(entries, separators=(",", ":"), sort_keys=True).encode()).hexdigest()
