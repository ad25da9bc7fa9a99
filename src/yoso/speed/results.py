"""The result of a session: written as JSON, and read back with every key and type checked."""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from yoso.errors import ConfigError
from yoso.files import PathLike, read_json, write_json
from yoso.preprocess import Size
from yoso.speed.protocol import LatencySummary

FORMAT = 2

EXECUTED, TRAINED = "executed", "trained"
"""Which network rooflines are counted on: the one that each entry runs, or, in older files, the trained one for all."""


@dataclass(frozen=True)
class TimingProtocol:
    """How a session measured.

    Attributes:
        repeats: turns of each entry.
        warmup: runs of each before the first turn.
        stage_repeats: runs that wait for the device at every stage.
        kept_queries: how many queries networks with random weights keep.
        image: "synthetic" or "file".
    """

    repeats: int
    warmup: int
    stage_repeats: int
    kept_queries: int
    image: str


@dataclass(frozen=True)
class Mode:
    """How an entry ran.

    Attributes:
        runtime: one of `yoso_entries.RUNTIMES`, or "baseline".
        precision: that it ran in, whatever the session asked for: "fp32", "fp16", "bf16" or "int8".
        compiled: through `torch.compile`.
        random_weights: its segments say nothing about accuracy.
        cuda_graph: True if it replayed a CUDA graph.
    """

    runtime: str
    precision: str
    compiled: bool
    random_weights: bool
    cuda_graph: bool | None = None


@dataclass(frozen=True)
class Measurement:
    """One entry at one size. What could not be measured is None, and absent from the JSON.

    Attributes:
        name: of the entry.
        size: (height, width) of the image in pixels.
        mode: how it ran.
        end_to_end: seconds from the decoded image to segments in host memory.
        stages: median seconds per stage.
        samples: all end-to-end seconds, in order.
        segments: how many segments came out.
        peak_memory_bytes: weights and working memory.
        energy_joules: per image.
        parameters: of the network.
        error: why it failed; then there are no times.
    """

    name: str
    size: Size
    mode: Mode
    end_to_end: LatencySummary | None = None
    stages: dict[str, float] = field(default_factory=dict)
    samples: list[float] = field(default_factory=list)
    segments: int | None = None
    peak_memory_bytes: int | None = None
    energy_joules: float | None = None
    parameters: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Ratio:
    """How many times faster the reference is than an entry, by their medians; below 1 it is slower."""

    name: str
    size: Size
    times_faster: float


@dataclass(frozen=True)
class StageRoofline:
    """A stage compared with its roofline.

    Attributes:
        name: of the entry.
        size: (height, width).
        stage: its name.
        flops: floating-point operations, a multiply-add counted as two.
        bytes: weights, inputs and outputs of the stage, each moved once.
        roofline_seconds: the longer of the two, at the measured peaks.
        seconds: measured.
        times_roofline: `seconds` divided by `roofline_seconds`.
    """

    name: str
    size: Size
    stage: str
    flops: int
    bytes: int
    roofline_seconds: float
    seconds: float
    times_roofline: float


@dataclass(frozen=True)
class Rooflines:
    """The machine's peaks, and the stages compared with them.

    Attributes:
        counted_network: `EXECUTED` or `TRAINED`.
        flops_per_second: of a large matrix product, a multiply-add counted as two.
        bytes_per_second: of a large copy, read and written bytes both counted.
        stages: of YOSO's entries.
    """

    counted_network: str
    flops_per_second: float
    bytes_per_second: float
    stages: list[StageRoofline]


@dataclass(frozen=True)
class Result:
    """A session.

    Attributes:
        format: of the file.
        date: UTC, ISO 8601.
        machine: see `yoso.provenance`.
        versions: see `yoso.provenance`.
        threads: of torch on the CPU.
        protocol: how it was measured.
        entries: what was measured.
        reference: name of the entry that the others are compared with.
        ratios: of the reference to every other entry.
        commit: of the sources.
        rooflines: if they were asked for.
    """

    format: int
    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    threads: int
    protocol: TimingProtocol
    entries: list[Measurement]
    reference: str
    ratios: list[Ratio]
    commit: str | None = None
    rooflines: Rooflines | None = None


def ratios(entries: list[Measurement], reference: str) -> list[Ratio]:
    """Return how many times faster the reference is than every other entry of the same size."""
    medians = {entry.size: entry.end_to_end.median for entry in entries if entry.name == reference and entry.end_to_end}
    return [
        Ratio(entry.name, entry.size, entry.end_to_end.median / medians[entry.size])
        for entry in entries
        if entry.end_to_end and entry.name != reference and entry.size in medians
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
        ConfigError: it is not the result of a benchmark, or has another format.
    """
    content = read_json(path)
    found = content.get("format", FORMAT) if isinstance(content, dict) else FORMAT
    if found != FORMAT:
        raise ConfigError(
            f"{path}: has format {found}, but this version reads format {FORMAT}; measure again with `yoso benchmark "
            "--json`, or use the version of yoso that wrote the file"
        )
    return parsed(Result, content, str(path))


def parsed(kind: Any, value: Any, where: str) -> Any:
    """Return JSON values as a type.

    Raises:
        ConfigError: they do not have this type; names the place.
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
    raise ConfigError(f"{where}: has the wrong type; give a file that `yoso benchmark --json` wrote")


def _parsed_dataclass(kind: Any, value: Any, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {one.name: one for one in dataclasses.fields(kind)}
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: is not the result of a benchmark; give a file that `yoso benchmark --json` wrote")
    needed = {
        name
        for name, one in fields.items()
        if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    }
    wrong = sorted(needed - value.keys()) + sorted(value.keys() - fields.keys())
    if wrong:
        problem = "missing" if wrong[0] in needed else "unknown"
        raise ConfigError(f"{where}: key {wrong[0]!r} is {problem}; give a file that `yoso benchmark --json` wrote")
    return kind(**{name: parsed(hints[name], one, f"{where}: {name}") for name, one in value.items()})
