"""`yoso models`: what comes with the package."""

from pathlib import Path
from typing import Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show, show_json
from yoso.errors import CheckpointError, DatasetError


def main(arguments: list[str]) -> int:
    """Run `yoso models [--json]`.

    Args:
        arguments: what stands after `yoso models`.

    Returns:
        The exit status.

    Raises:
        CheckpointError: a bundled model is damaged.
    """
    parser = Parser("models", "List the models that come with the package.")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    args = parser.parse(arguments)
    from yoso.model.folder import bundled_models

    models = [describe(name, folder) for name, folder in bundled_models().items()]
    if args.json:
        show_json(models)
    elif models:
        _show_table(models)
    else:
        show("no model comes with this copy of the package; `yoso train` and `yoso convert` make them")
    return 0


def describe(name: str, folder: Path) -> dict[str, Any]:
    """Return the facts about a model folder: name, classes, size and figures, as far as its files tell.

    Raises:
        CheckpointError: its configuration cannot be read.
    """
    from yoso.categories import Categories
    from yoso.files import read_json
    from yoso.model.folder import CONFIG, METRICS, WEIGHTS

    try:
        config = read_json(folder / CONFIG)
        categories = Categories.from_json(config["categories"], str(folder / CONFIG))
        metrics = read_json(folder / METRICS) if (folder / METRICS).is_file() else {}
        weights = (folder / WEIGHTS).stat().st_size
        backbone = config["model"].get("backbone")
    except (DatasetError, OSError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: is damaged ({error}); install the package again") from error
    return {
        "name": name,
        "folder": str(folder),
        "backbone": backbone,
        "things": [category.name for category in categories if category.is_thing],
        "stuff": [category.name for category in categories if not category.is_thing],
        "megabytes": round(weights / 1e6, 1),
        "val": {group: metrics.get("val", {}).get(group) for group in ("all", "things", "stuff")},
        "about": config.get("about", {}),
    }


def _show_table(models: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for column in ("name", "classes", "backbone", "MB", "PQ on val (things, stuff)", "about"):
        table.add_column(column, overflow="fold")
    for model in models:
        table.add_row(
            Text(model["name"]),
            Text(f"things: {', '.join(model['things']) or '-'}\nstuff: {', '.join(model['stuff']) or '-'}"),
            Text(str(model["backbone"])),
            f"{model['megabytes']:.1f}",
            "{} ({}, {})".format(*(_percent(model["val"][group]) for group in ("all", "things", "stuff"))),
            Text("\n".join(f"{key}: {value}" for key, value in model["about"].items())),
        )
    show(table)


def _percent(figures: dict[str, Any] | None) -> str:
    value = (figures or {}).get("pq")
    return "-" if value is None else f"{100 * value:.1f}"
