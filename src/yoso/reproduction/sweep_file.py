"""sweeps.yaml: the rows of tables 5 to 10 as settings of the network, and the trainings behind their PQ."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from yoso.files import read_yaml
from yoso.model.config import ModelConfig
from yoso.reproduction.plan import Scale


@dataclass(frozen=True)
class Variant:
    """A row of tables 5 to 10.

    Attributes:
        row: its name in the paper.
        network: fields of `ModelConfig` that differ from the default.
    """

    row: str
    network: dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """The trainings of one scale, the same for every row.

    Attributes:
        recipe: of `yoso train`.
        data: names of data sets.
        seeds: one training each.
        settings: of the recipe, by dotted key.
    """

    recipe: str
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: dict[str, Any]

    @property
    def iterations(self) -> int:
        """Optimizer steps of a training."""
        return self.settings["run.iterations"]


@cache
def _content() -> dict[str, Any]:
    return read_yaml(Path(str(package_files("yoso"))) / "reproduction" / "sweeps.yaml")


def table_variants(table: str) -> list[Variant]:
    """Return the rows of a table, "table5" to "table10", in the paper's order."""
    default = ModelConfig()
    return [
        Variant(row, {name: value for name, value in network.items() if value != getattr(default, name)})
        for row, network in _content()["rows"][table].items()
    ]


def swept_tables() -> list[str]:
    """Return the tables whose PQ needs trainings."""
    return list(_content()["rows"])


def budget_of(scale: Scale) -> Budget:
    """Return the trainings of a scale."""
    content = _content()["scales"][scale]
    return Budget(content["recipe"], tuple(content["data"]), tuple(content["seeds"]), content["settings"])
