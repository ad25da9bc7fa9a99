"""The recipes that come with the package, and which one a command line asks for. Loads no torch."""

import warnings
from importlib.resources import files as package_files
from pathlib import Path

from yoso.errors import ConfigError, did_you_mean, known_name


def recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(Path(str(package_files("yoso") / "recipes")).glob("*.yaml"))}


def find_recipe(name_or_file: str) -> Path:
    """Return the YAML file of a recipe.

    Args:
        name_or_file: the name of a recipe, with hyphens or underscores, or a YAML file.

    Raises:
        ConfigError: there is no such recipe.
    """
    known = recipes()
    name = known_name(name_or_file, known)
    if name is not None:
        return known[name]
    if not Path(name_or_file).is_file():
        raise ConfigError(f"no recipe or file {name_or_file!r}.{did_you_mean(name_or_file, known)}")
    return Path(name_or_file)


def summary(recipe: Path) -> str:
    """Return the first line of a recipe, a comment that says what it is for."""
    with recipe.open(encoding="utf-8") as stream:
        return stream.readline().lstrip("#").strip()


def recipe_of(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Take the recipe out of a command line.

    Args:
        arguments: `RECIPE [options]`; or, deprecated, `--recipe RECIPE [DATASET] [options]`.

    Returns:
        The recipe's name or file, None if there is none; and the other arguments.

    Raises:
        ConfigError: `--recipe` has no value.
    """
    rest = list(arguments)
    if rest and not rest[0].startswith("-"):
        return rest[0], rest[1:]
    for place, word in enumerate(rest):
        name, equals, value = word.partition("=")
        if name != "--recipe":
            continue
        after = rest[place + 1 :]
        if not equals:
            if not after:
                raise ConfigError("--recipe needs a value")
            value, after = after[0], after[1:]
        data = "DATASET"
        if after and not after[0].startswith("-"):
            data = after[0]
            after[0] = f"--data={data}"
        warnings.warn(f"--recipe is deprecated; use: yoso train {value} --data {data}", stacklevel=1)
        return value, rest[:place] + after
    return None, rest
