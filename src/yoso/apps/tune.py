"""`yoso eval --tune`: search the two thresholds with the highest PQ of a model on a split."""

import argparse
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.console import show, show_json, watch
from yoso.apps.scoring import TUNING, check_classes, conditions, thresholds_of
from yoso.errors import ConfigError, DatasetError, OutputError

if TYPE_CHECKING:
    from yoso.data.dataset import PanopticDataset
    from yoso.inference.predictor import Predictor
    from yoso.scoring.tuning import Grid, ThresholdSearch
    from yoso.settings import InferenceConfig, Thresholds

STEPS = tuple(number / 10 for number in range(10))
"""Values to try of each threshold, beside the model's own."""


def tune(args: argparse.Namespace, dataset: "PanopticDataset", output: Path) -> None:
    """Search, print PQ over the grid, and write `tuning.json`; with `--write`, also the model's `config.json`.

    Args:
        args: of `yoso eval`.
        dataset: the split.
        output: the folder to write to.

    Raises:
        YosoError: as `yoso eval`; a model folder that cannot be written; a split without a PQ.
    """
    from yoso.apps.arguments import open_model
    from yoso.files import write_json
    from yoso.scoring.loop import score_split
    from yoso.scoring.predicting import with_logits
    from yoso.scoring.tuning import ThresholdSearch
    from yoso.weights.config_file import save_inference

    folder = writable_model(args.model, args.offline) if args.write else None
    predictor = open_model(args, logits=True)
    check_classes(predictor.categories, dataset.categories, args.model, args.data)
    search = ThresholdSearch(grid_of(args, predictor), predictor.categories, dataset.categories)
    predict = with_logits(predictor, args.input_size)
    num_images = len(score_split(dataset, predict, [search], limit=args.limit, watch=watch("searching")))
    best = search.best(thresholds_of(args, predictor))
    if best is None:
        raise DatasetError(
            f"--tune: the {num_images} images of {args.data} {args.split} have no segment to find, so there is no PQ; "
            "use another split"
        )
    inference = replace(
        predictor.inference,
        object_mask_threshold=best.object_mask,
        overlap_threshold=best.overlap,
        input_size=predictor.inference.input_size if args.input_size is None else _stored(args.input_size),
    )
    content = conditions(args, predictor, num_images) | _findings(search, best, inference)
    write_json(output / TUNING, content, indent=1)
    written = [output / TUNING]
    if folder is not None:
        written.append(save_inference(folder, inference))
    if args.json:
        show_json(content)
    else:
        _show(search, best, written)


def writable_model(model: str, offline: bool) -> Path:
    """Return the folder of a model whose configuration may be changed.

    Args:
        model: a name or a folder.
        offline: fetch nothing.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: it comes with the package.
        OutputError: its folder cannot be written.
    """
    from yoso.weights.find import find_model
    from yoso.weights.layout import CONFIG, is_bundled

    folder = find_model(model, offline)
    if is_bundled(folder):
        raise ConfigError(
            f"--write: {model} comes with the package and is not changed; give a copy of its folder {folder}, or give "
            "the thresholds to each command"
        )
    if not os.access(folder, os.W_OK) or not os.access(folder / CONFIG, os.W_OK):
        raise OutputError(
            f"{folder / CONFIG}: cannot be written (permission denied); give a copy of the folder, or leave --write out"
        )
    return folder


def grid_of(args: argparse.Namespace, predictor: "Predictor") -> "Grid":
    """Return the pairs to try: steps of 0.1 and the model's own; a threshold that is given stays fixed."""
    from yoso.scoring.tuning import Grid

    axes = []
    thresholds = thresholds_of(args, predictor)
    for given, current in (
        (args.object_mask_threshold, thresholds.object_mask),
        (args.overlap_threshold, thresholds.overlap),
    ):
        axes.append(tuple(sorted({*STEPS, current})) if given is None else (current,))
    return Grid(*axes)


def _stored(input_size: Any) -> "tuple[int, int] | None":
    """Return `--input-size` as a model folder stores it."""
    return None if input_size == "native" else input_size


def _findings(search: "ThresholdSearch", best: "Thresholds", inference: "InferenceConfig") -> dict[str, Any]:
    import numpy as np

    table = search.table()
    return {
        "object_mask_thresholds": list(search.grid.object_mask_thresholds),
        "overlap_thresholds": list(search.grid.overlap_thresholds),
        "pq": [[None if np.isnan(value) else value for value in row] for row in table.tolist()],
        "best": {
            "object_mask_threshold": best.object_mask,
            "overlap_threshold": best.overlap,
            "pq": float(np.nanmax(table)),
        },
        "inference": asdict(inference),
    }


def _show(search: "ThresholdSearch", best: "Thresholds", written: list[Path]) -> None:
    import numpy as np

    from yoso.apps.tables import tuning_table

    table = search.table()
    show(
        tuning_table(
            search.grid.object_mask_thresholds, search.grid.overlap_thresholds, table, (best.object_mask, best.overlap)
        ),
        f'best: PQ {100 * np.nanmax(table):.1f} with "object_mask_threshold": {best.object_mask:g}, '
        f'"overlap_threshold": {best.overlap:g} (below "inference" in the model\'s config.json)'
        f"\nwritten: {', '.join(str(path) for path in written)}",
    )
