"""A folder of predictions: `panoptic.json` and the PNGs in `panoptic/`, written by one process at a time.

The JSON carries a mark, so that a command tells its own earlier output, which it may replace, from a ground truth or
anything else, which it must not.
"""

import json
import os
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.data.coco_panoptic import ImageRecord, PanopticWriter
from yoso.errors import ConfigError, DatasetError, OutputError
from yoso.files import locked_folder, read_json
from yoso.installation import installed_version
from yoso.values import fault_in, image_id

PANOPTIC_JSON, MASKS = "panoptic.json", "panoptic"

MARK = "yoso"
"""Key below `info` of the JSON; its value is the settings that the predictions were made with."""

SAVE_SECONDS = 60.0
"""How often the JSON is written during a run, so that a killed process loses little."""

_LOCK = ".yoso.lock"

_SHAPE = {
    "info": {MARK: dict},
    "images": [{"id": lambda value: image_id(value) is not None, "file_name": str}],
    "annotations": [{"file_name": str, "segments_info": list}],
}
"""Of our own JSON; a file of any other shape is not ours."""


def earlier_predictions(folder: Path) -> dict[str, Any] | None:
    """Return the content of a folder's `panoptic.json`, without images whose PNG is gone.

    Returns:
        As COCO panoptic, image and annotation one by one; None if the file is not marked as predictions.
    """
    try:
        content = read_json(folder / PANOPTIC_JSON)
    except DatasetError:
        return None
    if fault_in(content, _SHAPE) or len(content["images"]) != len(content["annotations"]):
        return None
    pairs = zip(content["images"], content["annotations"], strict=True)
    there = [pair for pair in pairs if (folder / MASKS / pair[1]["file_name"]).is_file()]
    return {**content, "images": [image for image, _ in there], "annotations": [entry for _, entry in there]}


def check_output(folder: Path, names: Iterable[str], inputs: Iterable[Path], is_own: bool) -> None:
    """Make sure that a command replaces nothing but its own earlier output.

    Args:
        folder: of the output.
        names: what the command writes below it, files and folders.
        inputs: what the command reads.
        is_own: the folder holds the command's own earlier output.

    Raises:
        OutputError: one of the names is an input, or exists although the folder is not the command's own.
    """
    sources = {os.path.realpath(path) for path in inputs}
    parents: dict[Path, str] = {}
    for name in names:
        path = folder / name
        if path.parent not in parents:
            parents[path.parent] = os.path.realpath(path.parent)
        if os.path.join(parents[path.parent], path.name) in sources:
            raise OutputError(f"{path}: is an input (an image or the ground truth); choose another --output")
        if not is_own and path.exists() and not _is_empty_folder(path):
            raise OutputError(
                f"{path}: exists and was not written by `yoso predict` or `yoso eval` (is it a ground truth?); choose "
                "another --output"
            )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


@contextmanager
def reserved(folder: Path) -> Generator[None, None, None]:
    """Keep other processes from writing predictions to a folder; folders that are new and stay empty are removed.

    Raises:
        OutputError: it cannot be created or written, or another process writes to it.
    """
    message = f"{folder}: another process writes there; wait for it, or choose another --output"
    with locked_folder(folder, _LOCK, lambda: OutputError(message)):
        yield


class PredictionWriter(PanopticWriter):
    """Writes predictions: marks the folder before its first file changes, and saves the JSON now and then.

    Attributes:
        started: the folder is marked.
    """

    def __init__(self, folder: Path, categories: Categories, settings: Mapping[str, Any]) -> None:
        """Write nothing yet.

        Args:
            folder: that `panoptic.json` and `panoptic/` go to.
            categories: the model's.
            settings: what the predictions are made with, as JSON can hold it.
        """
        info = {
            "description": f"Predictions made with YOSO {installed_version()}",
            MARK: json.loads(json.dumps(settings)),
        }
        super().__init__(folder / PANOPTIC_JSON, folder / MASKS, categories, info)
        self.started = False
        self._saved = 0.0

    def resume(self, earlier: Mapping[str, Any], ignored: frozenset[str] = frozenset()) -> None:
        """Keep the predictions of an earlier run.

        Args:
            earlier: see `earlier_predictions`.
            ignored: settings that may differ.

        Raises:
            ConfigError: the earlier run had other settings.
        """
        before, now = earlier["info"][MARK], self.info[MARK]
        for key in sorted(before.keys() | now.keys()):
            if key not in ignored and before.get(key) != now.get(key):
                raise ConfigError(
                    f"--resume: {self.annotations} was made with {key} = {before.get(key)}, now it is {now.get(key)}; "
                    "use the same model and settings, or leave --resume out to start again"
                )
        for image, entry in zip(earlier["images"], earlier["annotations"], strict=True):
            self._keep(image, entry)

    def start(self) -> None:
        """Mark the folder: from now on its JSON lists what this run has written, and nothing else."""
        if not self.started:
            self.close()
            self.started = True

    def add(
        self,
        record: ImageRecord,
        id_map: np.ndarray,
        segments: Iterable[Mapping[str, Any]],
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one PNG; see `PanopticWriter`."""
        self.start()
        super().add(record, id_map, segments, facts)
        if time.monotonic() > self._saved + SAVE_SECONDS:
            self.close()

    def close(self) -> Path:
        """Write the JSON and return its path; can be called again and again.

        Raises:
            OutputError: it cannot be written.
        """
        path = super().close()
        self._saved = time.monotonic()
        return path
