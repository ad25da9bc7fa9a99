"""The recipes that come with the package; found without loading what trains."""

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
