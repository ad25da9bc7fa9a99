"""`yoso models`: what comes with the package, and what can be fetched."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show, show_json
from yoso.errors import CheckpointError, DatasetError

if TYPE_CHECKING:
    from yoso.categories import Categories

MOST_NAMES = 12
"""A model with more classes than this has them counted, not named."""

UNTOLD = ("license", "citation", "source")
"""Facts that the table shows elsewhere or leaves to the JSON document."""


def main(arguments: list[str]) -> int:
    """Run `yoso models [--json]`.

    Args:
        arguments: what stands after `yoso models`.

    Returns:
        The exit status.

    Raises:
        CheckpointError: a bundled model is damaged.
    """
    parser = Parser("models", "List the models that come with the package, and the published ones that can be fetched.")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    args = parser.parse(arguments)
    from yoso.weights.layout import bundled_models
    from yoso.weights.published import PUBLISHED, cache_folder

    models = [describe(name, folder) for name, folder in bundled_models().items()]
    models += [describe_published(name) for name in PUBLISHED]
    if args.json:
        show_json(models)
    else:
        _show_table(models)
        show(f"cache: {cache_folder()}")
    return 0


def describe(name: str, folder: Path) -> dict[str, Any]:
    """Return the facts about a model folder: name, classes, size and figures, as far as its files tell.

    Raises:
        CheckpointError: its configuration cannot be read.
    """
    from yoso.categories import Categories
    from yoso.files import read_json
    from yoso.weights.layout import CONFIG, METRICS, WEIGHTS

    try:
        config = read_json(folder / CONFIG)
        categories = Categories.from_json(config["categories"], str(folder / CONFIG))
        metrics = read_json(folder / METRICS) if (folder / METRICS).is_file() else {}
        scores = metrics.get("val", metrics)  # nested by `yoso train`, not by `yoso eval`
        weights = (folder / WEIGHTS).stat().st_size
        backbone = config["model"].get("backbone")
    except (DatasetError, OSError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: is damaged ({error}); install the package again") from error
    about = config.get("about", {})
    return {
        "name": name,
        "kind": "bundled",
        "cached": True,
        "folder": str(folder),
        "backbone": backbone,
        **_classes(categories),
        "megabytes": round(weights / 1e6, 1),
        "license": about.get("license"),
        "val": {group: scores.get(group) for group in ("all", "things", "stuff")},
        "published": [],
        "about": about,
    }


def describe_published(name: str) -> dict[str, Any]:
    """Return the facts about a published model; its figures are the paper's, so `val`, which is measured, is empty."""
    from yoso.weights.official_recipes import read_recipe
    from yoso.weights.published import LICENSE, PUBLISHED, RELEASE, cache_folder, is_cached

    published = PUBLISHED[name]
    recipe = read_recipe(published.recipe)
    cached = is_cached(name)
    return {
        "name": name,
        "kind": "published",
        "cached": cached,
        "folder": str(cache_folder() / name) if cached else None,
        "backbone": recipe.model.backbone,
        **_classes(recipe.categories),
        "megabytes": published.megabytes,
        "license": LICENSE,
        "val": dict.fromkeys(("all", "things", "stuff")),
        "published": [
            {**score._asdict(), "input_size": list(score.input_size), "where": f"table {published.table} of the paper"}
            for score in published.scores
        ],
        "about": {**recipe.about, "source": f"{RELEASE}/{published.file}"},
    }


def _classes(categories: "Categories") -> dict[str, list[str]]:
    return {
        "things": [category.name for category in categories if category.is_thing],
        "stuff": [category.name for category in categories if not category.is_thing],
    }


def _show_table(models: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, caption="* the paper's figures, not measured here", caption_justify="left")
    table.add_column("name", no_wrap=True)
    for column in ("classes", "backbone", "MB", "PQ on val (things, stuff)", "license", "here", "about"):
        table.add_column(column, overflow="fold")
    for model in models:
        table.add_row(
            Text(model["name"]),
            Text(_listed(model, "things") + "\n" + _listed(model, "stuff")),
            Text(str(model["backbone"])),
            f"{model['megabytes']:.1f}",
            _figures(model),
            Text(model["license"] or "-"),
            "in the package" if model["kind"] == "bundled" else "in the cache" if model["cached"] else "fetched on use",
            Text("\n".join(f"{key}: {value}" for key, value in model["about"].items() if key not in UNTOLD)),
        )
    show(table)


def _listed(model: dict[str, Any], kind: str) -> str:
    if len(model["things"]) + len(model["stuff"]) > MOST_NAMES:
        return f"{len(model[kind])} {kind}"
    return f"{kind}: {', '.join(model[kind]) or '-'}"


def _figures(model: dict[str, Any]) -> str:
    if not model["published"]:
        return "{} ({}, {})".format(*(_percent(model["val"][group]) for group in ("all", "things", "stuff")))
    return "\n".join(
        f"{100 * score['pq']:.1f} ({100 * score['pq_things']:.1f}, {100 * score['pq_stuff']:.1f})* at "
        f"{score['input_size'][0]}/{score['input_size'][1]}"
        for score in model["published"]
    )


def _percent(figures: dict[str, Any] | None) -> str:
    value = (figures or {}).get("pq")
    return "-" if value is None else f"{100 * value:.1f}"
