"""`yoso models`: the models that come with the package, and those that can be fetched."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show, show_json
from yoso.errors import CheckpointError, ConfigError, DatasetError

if TYPE_CHECKING:
    from yoso.categories import Categories

MAX_NAMES = 12
"""The classes of a model are named up to this number, and counted beyond it."""

SHOWN_ELSEWHERE = ("license", "citation", "source")
"""Facts that have their own place or are in the JSON document alone."""


def main(arguments: list[str]) -> int:
    """Run `yoso models [--json]`.

    Args:
        arguments: what stands after `yoso models`.

    Returns:
        The exit status.

    Raises:
        CheckpointError: a bundled model is damaged.
    """
    parser = Parser("models", "List the models that come with the package, and published ones that are fetched on use.")
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
        with suppress(ConfigError):  # without a home folder there is no cache
            show(f"cache: {cache_folder()}")
    return 0


def describe(name: str, folder: Path) -> dict[str, Any]:
    """Return the facts about a model folder: name, classes, size and scores, as far as its files say.

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
        raise CheckpointError(f"{folder}: is damaged ({error}); reinstall the package") from error
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
    """Return the facts about a published model. `val` is empty, because the paper's scores were not measured here."""
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

    table = Table(box=SIMPLE_HEAD, caption="* as published in the paper, not measured here", caption_justify="left")
    for column in ("name", "PQ (things, stuff)", "input size", "MB", "where"):
        table.add_column(column, no_wrap=True, justify="right" if column == "MB" else "left")
    details = Table.grid(padding=(0, 2))
    details.add_column(no_wrap=True)
    details.add_column(overflow="fold")
    for model in models:
        scores = _scores(model)
        where = (
            "in the package" if model["kind"] == "bundled" else "in the cache" if model["cached"] else "fetched on use"
        )
        table.add_row(
            Text(model["name"]),
            "\n".join(score for score, _ in scores),
            "\n".join(size for _, size in scores),
            f"{model['megabytes']:.1f}",
            where,
        )
        details.add_row(Text(model["name"]), Text(_details(model)))
    show(table, "", details, "")


def _details(model: dict[str, Any]) -> str:
    """Return backbone, classes, license and other facts, one per line."""
    about = [f"{key}: {value}" for key, value in model["about"].items() if key not in SHOWN_ELSEWHERE]
    lines = [f"backbone {model['backbone']}, license {model['license'] or '-'}", *_listed(model), *about]
    return "\n".join(lines)


def _listed(model: dict[str, Any]) -> list[str]:
    if len(model["things"]) + len(model["stuff"]) > MAX_NAMES:
        return [f"{len(model['things'])} things, {len(model['stuff'])} stuff"]
    return [f"{kind}: {', '.join(model[kind]) or '-'}" for kind in ("things", "stuff")]


def _scores(model: dict[str, Any]) -> list[tuple[str, str]]:
    """Return panoptic quality and input size, as measured or as published."""
    if not model["published"]:
        return [("{} ({}, {})".format(*(_percent(model["val"][group]) for group in ("all", "things", "stuff"))), "")]
    return [
        (
            f"{100 * score['pq']:.1f} ({100 * score['pq_things']:.1f}, {100 * score['pq_stuff']:.1f})*",
            f"{score['input_size'][0]}x{score['input_size'][1]}",
        )
        for score in model["published"]
    ]


def _percent(scores: dict[str, Any] | None) -> str:
    value = (scores or {}).get("pq")
    return "-" if value is None else f"{100 * value:.1f}"
