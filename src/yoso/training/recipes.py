"""The recipes that come with the package, and which one a command line asks for; nothing that trains is loaded."""

from importlib.resources import files as package_files
from pathlib import Path

from yoso.errors import ConfigError, did_you_mean


def recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(Path(str(package_files("yoso") / "recipes")).glob("*.yaml"))}


def find_recipe(name_or_file: str) -> Path:
    """Return the YAML file of a recipe given by name or as a file.

    Raises:
        ConfigError: there is no such recipe.
    """
    if name_or_file in recipes():
        return recipes()[name_or_file]
    if not Path(name_or_file).is_file():
        raise ConfigError(f"no recipe or file {name_or_file!r}.{did_you_mean(name_or_file, recipes())}")
    return Path(name_or_file)


def recipe_of(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Take the recipe out of a command line.

    Args:
        arguments: `RECIPE ...`, or `--recipe RECIPE ...` where a word that stands alone is the data set.

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
        if after and not after[0].startswith("-"):
            after[0] = f"--data={after[0]}"
        return value, rest[:place] + after
    return None, rest
