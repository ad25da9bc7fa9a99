"""What a user asks `yoso reproduce` for, and what the parts of the tables and figures are."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from yoso.errors import ConfigError

Scale = Literal["paper", "small"]
SCALES: tuple[Scale, ...] = ("paper", "small")

OUTPUT, RUNS = Path("benchmarks/paper"), Path("runs/reproduce")


@dataclass(frozen=True)
class ReproductionPlan:
    """The options of one call.

    Attributes:
        scale: of trainings: "paper" is the paper's recipe on COCO; "small" the recipe `small` on small data sets.
        data: data set to score on or train with; None is the default of a part.
        model: weights to score; None is the official checkpoint of the benchmark.
        device: "cpu", "cuda" or "cuda:1"; None is a GPU if there is one.
        repeats: timed runs of each entry; None is the default of a part.
        settings: settings of the recipe for all trainings, such as "run.iterations=100".
        launcher: how trainings start: "local", "torchrun" or "ray".
        jobs: trainings at a time; for torchrun, processes per training.
        output: folder of the result files.
        runs: folder of the trainings and of unfinished scores.
        results: folder of the results of `benchmarks/`, which some items collect.
    """

    scale: Scale = "small"
    data: str | None = None
    model: str | None = None
    device: str | None = None
    repeats: int | None = None
    settings: tuple[str, ...] = ()
    launcher: str = "local"
    jobs: int = 1
    output: Path = OUTPUT
    runs: Path = RUNS
    results: Path = Path("benchmarks/results")

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            ConfigError: a count is too small, or a setting is not KEY=VALUE.
        """
        for name in ("repeats", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name} {value}: must be at least 1")
        for setting in self.settings:
            if not setting.partition("=")[1]:
                raise ConfigError(f"--set {setting}: give KEY=VALUE, such as run.iterations=100")

    def command(self, item: str) -> str:
        """Return the command that measures an item with the options that change its result."""
        words = ["yoso", "reproduce", item]
        words += ["--scale", self.scale] if self.scale != "small" else []
        for name in ("data", "model", "device", "repeats"):
            value = getattr(self, name)
            words += [] if value is None else [f"--{name}", public(value)]
        words += [word for setting in self.settings for word in ("--set", public_setting(setting))]
        return shlex.join(words)


def public(value: Any) -> str:
    """Return a value for a result file: the path of a file or folder without its folders."""
    path = Path(str(value))
    return path.name if path.exists() and path.name else str(value)


def public_setting(setting: str) -> str:
    """Return KEY=VALUE for a result file."""
    key, _, value = setting.partition("=")
    return f"{key}={public(value)}"


def nothing(plan: ReproductionPlan) -> list[str]:
    """Return no need: a part that every machine can measure."""
    return []


@dataclass(frozen=True)
class ItemPart:
    """A part of a table or figure that is measured, saved and resumed by itself.

    Attributes:
        name: in the result file.
        shows: what it measures, a few words.
        measure: measures it; returns the content of the result.
        needs: what a machine must have, for people; empty if it needs nothing.
        missing: returns what this machine lacks.
        remedy: options to add to the command so that the part runs, once what is missing is there.
        conditions: returns what the result depends on.
        scale: runs only with this scale; None for both.
        time: order of magnitude, for people.
    """

    name: str
    shows: str
    measure: Callable[[ReproductionPlan], dict[str, Any]]
    needs: str = ""
    missing: Callable[[ReproductionPlan], Sequence[str]] = nothing
    remedy: str = ""
    conditions: Callable[[ReproductionPlan], dict[str, Any]] = field(default=lambda plan: {})
    scale: Scale | None = None
    time: str = "minutes"


@dataclass(frozen=True)
class PaperItem:
    """A table or figure of the paper, or what this project adds to it.

    Attributes:
        id: on the command line.
        title: one line.
        parts: what is measured.
        drawing: where the code has what the figure draws, for a figure without measurements.
    """

    id: str
    title: str
    parts: tuple[ItemPart, ...] = ()
    drawing: str = ""

    def part(self, name: str) -> ItemPart:
        """Return a part by its name."""
        return next(part for part in self.parts if part.name == name)
