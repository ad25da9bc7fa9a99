"""Carries out a conversion plan: panoptic PNGs, one JSON per split, and the YAML that names them.

An interrupted run continues where it stopped, and a repeated run does nothing. A journal per split makes both possible:
one line per image, written once its files are whole, says what they were made of.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from yoso.data.coco_panoptic import Annotations, read_annotations
from yoso.data.formats.plan import ConversionPlan
from yoso.data.formats.split_writer import SplitOutcome, SplitWriter
from yoso.data.spec import Split
from yoso.data.statistics import class_indices
from yoso.errors import DatasetError, OutputError
from yoso.files import read_json, read_text, write_json, write_text
from yoso.values import fault_in

STAMP = "prepared.json"
SIGNATURE = "# Written by `yoso data`"


class OutputLayout(NamedTuple):
    """Where a converted data set goes.

    Attributes:
        yaml: its description.
        folder: everything else; it holds no files of anybody else.
    """

    yaml: Path
    folder: Path


class ClassCounts(NamedTuple):
    """How often a class occurs in a split.

    Attributes:
        name: of the category.
        is_thing: thing or stuff.
        segments: without crowds.
        crowds: segments marked iscrowd.
        images: images it occurs in.
    """

    name: str
    is_thing: bool
    segments: int
    crowds: int
    images: int


@dataclass(frozen=True)
class ConvertedSplit:
    """What became of a split.

    Attributes:
        name: "train" or "val".
        split: where it lies.
        images: number of images.
        made: images that this run worked on; the others were finished before.
        expected: official number of images; None if there is none.
        classes: in class-index order.
        outcome: what became of the source's annotations and images.
    """

    name: str
    split: Split
    images: int
    made: int
    expected: int | None
    classes: list[ClassCounts]
    outcome: SplitOutcome


def check_output(layout: OutputLayout) -> None:
    """Make sure that no file of anybody else would be overwritten.

    Raises:
        OutputError: the YAML or the folder exists and was not written by this command.
    """
    folder, description = layout.folder, layout.yaml
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; choose another --output")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / STAMP).is_file():
        raise OutputError(f"{folder}: holds files that `yoso data` did not write; choose another --output")
    if description.exists() and not _is_ours(description):
        raise OutputError(f"{description}: was not written by `yoso data`; move it away or choose another --output")


def _is_ours(description: Path) -> bool:
    try:
        return read_text(description).startswith(SIGNATURE)
    except DatasetError:
        return False


def write_dataset(
    plan: ConversionPlan,
    layout: OutputLayout,
    threads: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[ConvertedSplit]:
    """Carry out a plan.

    Args:
        plan: what to do.
        layout: where to write; see `check_output`.
        threads: that read and write; 0 for one per processor.
        on_progress: called with (split, finished images, all images).

    Raises:
        YosoError: a file cannot be read or written or is not what it should be, or too much of the source cannot be
            used. Images finished before stay, and the next run continues after them; JSON and YAML are not written.
    """
    check_output(layout)
    stamp = {"name": plan.name, "title": plan.title, "splits": _earlier_splits(plan, layout.folder / STAMP)}
    write_json(layout.folder / STAMP, stamp)
    converted = []
    for part in plan.splits:
        writer = SplitWriter(part, layout.folder)
        writer.run(threads or os.cpu_count() or 1, on_progress)
        annotations = read_annotations(writer.split.annotations)
        converted.append(
            ConvertedSplit(
                name=part.name,
                split=writer.split,
                images=len(annotations),
                made=writer.made,
                expected=plan.expected.get(part.name),
                classes=count_classes(annotations),
                outcome=writer.outcome,
            )
        )
        stamp["splits"][part.name] = {key: str(path.resolve()) for key, path in vars(writer.split).items()}
    write_json(layout.folder / STAMP, stamp)
    write_description(plan, layout, stamp["splits"])
    return converted


def _earlier_splits(plan: ConversionPlan, path: Path) -> dict[str, dict[str, str]]:
    """Return the splits that an earlier run wrote and that stay.

    Raises:
        DatasetError: the file that lists them is damaged.
    """
    if not plan.keeps_splits or not path.is_file():
        return {}
    content = read_json(path)
    split = {"images": str, "masks": str, "annotations": str}
    if fault := fault_in(content, {"splits?": {"train?": split, "val?": split}}, str(path)):
        raise DatasetError(f"{fault}; delete {path.parent} and run the command again")
    return content.get("splits", {})


def count_classes(annotations: Annotations) -> list[ClassCounts]:
    """Count segments, crowds and images per class."""
    categories = annotations.categories
    indices = class_indices(annotations)
    crowds = np.bincount(indices[annotations.segments[:, 2] == 1], minlength=len(categories))
    segments = np.bincount(indices, minlength=len(categories)) - crowds
    image = np.repeat(np.arange(len(annotations)), np.diff(annotations.firsts))
    pairs = np.unique(image * len(categories) + indices) % len(categories)
    images = np.bincount(pairs, minlength=len(categories))
    counts = zip(segments.tolist(), crowds.tolist(), images.tolist(), strict=True)
    return [ClassCounts(c.name, c.is_thing, *numbers) for c, numbers in zip(categories, counts, strict=True)]


def write_description(plan: ConversionPlan, layout: OutputLayout, splits: dict[str, dict[str, str]]) -> None:
    """Write the data set's YAML; paths below its folder are relative, so that the two can move together."""
    home = layout.yaml.parent.resolve()

    def shown(path: str) -> str:
        return Path(path).relative_to(home).as_posix() if Path(path).is_relative_to(home) else path

    content: dict[str, Any] = {"name": plan.title}
    content |= {key: text for key in ("license", "attribution") if (text := getattr(plan, key))}
    for name in ("train", "val"):
        if name in splits:
            content[name] = {key: shown(path) for key, path in splits[name].items()}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    write_text(layout.yaml, f"{SIGNATURE}; the command replaces this file when it runs again.\n{text}")
