"""A session's result as data: written as JSON, read back with every key and type checked."""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from yoso.errors import ConfigError
from yoso.files import PathLike, read_json, write_json
from yoso.speed.protocol import Spread

FORMAT = 1


@dataclass(frozen=True)
class Protocol:
    """How was measured.

    Attributes:
        repeats: turns of each contestant.
        warmup: runs before them.
        stage_repeats: runs with a stop at every stage.
        survivors: queries kept by networks with random weights.
        image: "made" or "file".
    """

    repeats: int
    warmup: int
    stage_repeats: int
    survivors: int
    image: str


@dataclass(frozen=True)
class Mode:
    """How a contestant ran.

    Attributes:
        runtime: one of ours, or "peer".
        precision: that it ran in, whatever the session asked for: "fp32", "fp16", "bf16" or "int8".
        compiled: through `torch.compile`.
        random_weights: the weights say nothing.
        graphed: True if it was replayed as a CUDA graph.
    """

    runtime: str
    precision: str
    compiled: bool
    random_weights: bool
    graphed: bool | None = None


@dataclass(frozen=True)
class Measurement:
    """One contestant at one size. What could not be measured is None, and absent from the JSON.

    Attributes:
        name: of the contestant.
        size: (height, width) of the photograph in pixels.
        mode: how it ran.
        end_to_end: seconds from the decoded photograph to segments on the host.
        stages: median seconds per stage.
        samples: all end-to-end seconds, in order.
        segments: how many segments came out.
        peak_memory_bytes: weights and working memory.
        energy_joules: per photograph.
        parameters: of the network.
        error: what stopped it; then there are no times.
    """

    name: str
    size: tuple[int, int]
    mode: Mode
    end_to_end: Spread | None = None
    stages: dict[str, float] = field(default_factory=dict)
    samples: list[float] = field(default_factory=list)
    segments: int | None = None
    peak_memory_bytes: int | None = None
    energy_joules: float | None = None
    parameters: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Ratio:
    """The baseline is this many times faster than a contestant, medians compared; below 1 it is slower."""

    name: str
    size: tuple[int, int]
    times_faster: float


@dataclass(frozen=True)
class Floor:
    """How far one stage is from what the machine could do at best.

    Attributes:
        name: of the contestant.
        size: (height, width).
        stage: its name.
        flops: floating-point operations, a multiply-add counted as two.
        bytes: weights, inputs and outputs of the stage, each moved once.
        floor_seconds: the longer of the two at the measured peaks.
        seconds: measured.
        times_floor: measured over floor.
    """

    name: str
    size: tuple[int, int]
    stage: str
    flops: int
    bytes: int
    floor_seconds: float
    seconds: float
    times_floor: float


@dataclass(frozen=True)
class Floors:
    """The machine's peaks and the distance from them.

    Attributes:
        flops_per_second: of a large matrix product, a multiply-add counted as two.
        bytes_per_second: of a large copy, read and written bytes both counted.
        stages: of our eager networks.
    """

    flops_per_second: float
    bytes_per_second: float
    stages: list[Floor]


@dataclass(frozen=True)
class Result:
    """A session."""

    format: int
    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    threads: int
    protocol: Protocol
    contestants: list[Measurement]
    baseline: str
    ratios: list[Ratio]
    commit: str | None = None
    floors: Floors | None = None


def ratios(contestants: list[Measurement], baseline: str) -> list[Ratio]:
    """Return how many times faster the baseline is than every other contestant of the same size."""
    medians = {one.size: one.end_to_end.median for one in contestants if one.name == baseline and one.end_to_end}
    return [
        Ratio(one.name, one.size, one.end_to_end.median / medians[one.size])
        for one in contestants
        if one.end_to_end and one.name != baseline and one.size in medians
    ]


def write_result(path: PathLike, result: Result) -> None:
    """Write a result as JSON, whole or not at all."""
    write_json(path, as_json(result), indent=1)


def as_json(value: Any) -> Any:
    """Return plain JSON values; fields that are None are left out."""
    if dataclasses.is_dataclass(value):
        pairs = ((one.name, getattr(value, one.name)) for one in dataclasses.fields(value))
        return {name: as_json(inner) for name, inner in pairs if inner is not None}
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_result(path: PathLike) -> Result:
    """Read what `write_result` wrote.

    Raises:
        DatasetError: the file is missing or is not JSON.
        ConfigError: it is not a benchmark's result: a key that is missing, unknown, or of another type.
    """
    result: Result = parsed(Result, read_json(path), str(path))
    if result.format != FORMAT:
        raise ConfigError(f"{path}: is of format {result.format}; this version reads {FORMAT}; measure again")
    return result


def parsed(kind: Any, value: Any, where: str) -> Any:
    """Return JSON values as the type that they should be of.

    Raises:
        ConfigError: they are not; names the place.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _parsed_dataclass(kind, value, where)
    if origin is types.UnionType:
        return parsed(inner[0], value, where)
    if origin is dict and isinstance(value, dict):
        return {key: parsed(inner[1], one, f"{where}: {key}") for key, one in value.items()}
    if origin in (list, tuple) and isinstance(value, list) and (origin is list or len(value) == len(inner)):
        return origin(parsed(inner[0], one, f"{where}[{index}]") for index, one in enumerate(value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ConfigError(f"{where}: is not what a benchmark writes; give a file that `yoso benchmark --json` made")


def _parsed_dataclass(kind: Any, value: Any, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {one.name: one for one in dataclasses.fields(kind)}
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: is not the result of a benchmark; give a file that `yoso benchmark --json` made")
    needed = {
        name
        for name, one in fields.items()
        if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    }
    wrong = sorted(needed - value.keys()) + sorted(value.keys() - fields.keys())
    if wrong:
        problem = "missing" if wrong[0] in needed else "unknown"
        raise ConfigError(f"{where}: key {wrong[0]!r} is {problem}; give a file that `yoso benchmark --json` made")
    return kind(**{name: parsed(hints[name], one, f"{where}: {name}") for name, one in value.items()})
