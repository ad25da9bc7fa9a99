"""A result as rows of text: for the terminal and, the same, as Markdown for the documentation."""

from collections.abc import Sequence
from typing import NamedTuple

from yoso.speed.entry import STAGES
from yoso.speed.results import Measurement, Mode, Result

DASH = "-"
DIRTY = "-dirty"


class Table(NamedTuple):
    """Rows of text under a title.

    Attributes:
        title: one line.
        header: names of the columns.
        rows: as many words each.
    """

    title: str
    header: list[str]
    rows: list[list[str]]


def tables(result: Result) -> list[Table]:
    """Return a table of times per size, and one of floors if they were measured."""
    sizes = dict.fromkeys(one.size for one in result.contestants)
    made = [_times(result, size) for size in sizes]
    if result.floors is not None:
        made.append(_floors(result))
    return made


def _times(result: Result, size: tuple[int, int]) -> Table:
    group = [one for one in result.contestants if one.size == size]
    stages = [stage for stage in STAGES if any(stage in one.stages for one in group)]
    factors = {one.name: one.times_faster for one in result.ratios if one.size == size}
    optional = {
        "MB": any(one.peak_memory_bytes is not None for one in group),
        "J": any(one.energy_joules is not None for one in group),
    }
    columns = [name for name, there in optional.items() if there]
    header = ["contestant", "mode", "median", "p95", "IQR", "min", *stages, *columns, f"{result.baseline} is"]
    return Table(
        f"{size[0]}x{size[1]}, milliseconds",
        header,
        [_row(one, stages, columns, _factor(one, result.baseline, factors)) for one in group],
    )


def _row(one: Measurement, stages: Sequence[str], columns: Sequence[str], factor: str) -> list[str]:
    if one.end_to_end is None:
        empty = [DASH] * (4 + len(stages) + len(columns))
        return [one.name, one.error or "failed", *empty, DASH]
    spread = one.end_to_end
    extra = {
        "MB": DASH if one.peak_memory_bytes is None else f"{one.peak_memory_bytes / 1e6:.0f}",
        "J": DASH if one.energy_joules is None else f"{one.energy_joules:.3g}",
    }
    return [
        one.name,
        mode_words(one.mode),
        *(milliseconds(value) for value in (spread.median, spread.p95, spread.iqr, spread.min)),
        *(milliseconds(one.stages[stage]) if stage in one.stages else DASH for stage in stages),
        *(extra[column] for column in columns),
        factor,
    ]


def _factor(one: Measurement, baseline: str, factors: dict[str, float]) -> str:
    if one.name == baseline:
        return "the baseline"
    return factor_words(factors[one.name]) if one.name in factors else DASH


def factor_words(times_faster: float) -> str:
    """Return `2.50 times faster`, or `1.25 times slower` for 0.8."""
    if times_faster >= 1:
        return f"{times_faster:.2f} times faster"
    return f"{1 / times_faster:.2f} times slower"


def mode_words(mode: Mode) -> str:
    """Return how a contestant ran, in a few words."""
    words = [mode.precision]
    if mode.runtime == "peer":
        words.append("compiled" if mode.compiled else "eager")
    if mode.graphed:
        words.append("CUDA graph")
    if mode.random_weights:
        words.append("random weights")
    return ", ".join(words)


def milliseconds(seconds: float) -> str:
    """Return three digits or so: 1234, 123, 12.3, 1.23, 0.12."""
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _floors(result: Result) -> Table:
    floors = result.floors
    if floors is None:
        raise ValueError("the result has no floors")
    title = (
        f"floors: {floors.flops_per_second / 1e9:.0f} GFLOP/s of a matrix product, "
        f"{floors.bytes_per_second / 1e9:.1f} GB/s of a copy"
    )
    header = ["contestant", "size", "stage", "GFLOP", "MB", "floor, ms", "measured, ms", "times the floor"]
    rows = [
        [
            one.name,
            f"{one.size[0]}x{one.size[1]}",
            one.stage,
            f"{one.flops / 1e9:.2f}",
            f"{one.bytes / 1e6:.1f}",
            milliseconds(one.floor_seconds),
            milliseconds(one.seconds),
            f"{one.times_floor:.1f}",
        ]
        for one in floors.stages
    ]
    return Table(title, header, rows)


def circumstances(result: Result) -> str:
    """Return one line: machine, threads, versions, protocol, date, commit."""
    machine, plan = result.machine, result.protocol
    where = machine.get("gpu") or f"{machine.get('cpu', 'unknown processor')}, {result.threads} threads"
    packages = ("torch", "transformers", "onnxruntime", "openvino")
    versions = ", ".join(f"{name} {result.versions[name]}" for name in packages if name in result.versions)
    taken = f"{plan.repeats} runs of each in turns after {plan.warmup} of warm-up"
    return f"{where}; {versions}; {taken}; {result.date[:10]}, {_source(result.commit)}"


def _source(commit: str | None) -> str:
    """Return the commit, shortened; `-dirty`, which says that its sources had been changed, stays."""
    if commit is None:
        return "no commit"
    sha, mark, _ = commit.partition(DIRTY)
    return f"commit {sha[:10]}{mark}"


def markdown(result: Result) -> str:
    """Return a result as Markdown: the tables, then where they come from."""
    parts = []
    for table in tables(result):
        right = ["---:" if _is_figures(table, column) else "---" for column in range(len(table.header))]
        lines = [_line(table.header), "|" + "|".join(right) + "|", *(_line(row) for row in table.rows)]
        parts.append("\n".join((f"**{table.title}**", "", *lines)))
    return "\n\n".join((*parts, f"{circumstances(result)}."))


def _line(words: Sequence[str]) -> str:
    cells = (word.replace("|", "\\|") for word in words)
    return f"| {' | '.join(cells)} |"


def _is_figures(table: Table, column: int) -> bool:
    return all(row[column][:1].isdigit() or row[column] == DASH for row in table.rows)
