"""Data sets of one's own: every format that is read, and the plan to convert one."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from yoso.categories import Categories
from yoso.data.formats.cityscapes_style import read_cityscapes_style
from yoso.data.formats.coco_instances import read_coco_instances
from yoso.data.formats.labelme import read_labelme
from yoso.data.formats.plan import ConversionPlan, ConversionRequest, SplitPlan
from yoso.data.formats.yolo import read_yolo
from yoso.errors import ConfigError, DatasetError

FORMATS: dict[str, Callable[[ConversionRequest], tuple[list[SplitPlan], list[str]]]] = {
    "yolo": read_yolo,
    "coco": read_coco_instances,
    "cityscapes": read_cityscapes_style,
    "labelme": read_labelme,
}
"""The reader of each format: returns the splits, and notes for people."""


def plan_conversion(kind: str, request: ConversionRequest) -> ConversionPlan:
    """Read a data set of another format; images stay where they are.

    Args:
        kind: a key of `FORMATS`.
        request: what to convert.

    Raises:
        ConfigError: the source does not exist, or an option does not fit it.
        DatasetError: a file is missing, is not what the format asks for, or contradicts itself.
    """
    if not request.source.exists():
        raise ConfigError(f"{request.source}: no such file or folder; give the data set to convert")
    request = replace(request, source=Path(os.path.normpath(request.source)))
    splits, notes = FORMATS[kind](request)
    if not splits:
        raise DatasetError(
            f"{request.source}: has neither train nor val; see `yoso data convert --help` for the layouts"
        )
    table = _common_classes(splits, request.source)
    names = Counter(table.names)
    notes += [f"{number} classes are called {name!r}" for name, number in names.items() if number > 1]
    splits = [replace(split, categories=table) for split in splits]
    return ConversionPlan(kind, request.source.resolve().name, splits, notes=notes)


def _common_classes(splits: list[SplitPlan], source: Path) -> Categories:
    """Return the classes of all splits: those of the first, then those that only others have.

    Raises:
        DatasetError: an id or a name means different classes in two splits.
    """
    table = list(splits[0].categories)
    for split in splits[1:]:
        known = {(category.id, category.name, category.is_thing) for category in table}
        ids, names = {category.id for category in table}, {category.name for category in table}
        for category in split.categories:
            if (category.id, category.name, category.is_thing) in known:
                continue
            if category.id in ids or category.name in names:
                kind = "thing" if category.is_thing else "stuff"
                raise DatasetError(
                    f"{source}: category {category.id} of {split.name} is {category.name!r}, {kind}, which contradicts "
                    f"{splits[0].name}; give both the same ids, names and kinds"
                )
            table.append(category)
    return Categories(table)
