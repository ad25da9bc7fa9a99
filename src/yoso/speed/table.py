"""A result as rows of text: for the terminal and, the same, as Markdown for the documentation."""

from collections.abc import Sequence
from typing import NamedTuple

from yoso.speed.entry import STAGES
from yoso.speed.results import EXECUTED, Measurement, Mode, Result, Rooflines
from yoso.speed.specs import BASELINE

MISSING = "-"
DIRTY = "-dirty"
MARK = "*"
MAX_RELATIVE_IQR = 0.1
"""A row whose interquartile range is above this share of its median gets `MARK`."""


class Table(NamedTuple):
    """Rows of text under a title.

    Attributes:
        title: one line.
        header: names of the columns.
        rows: a cell per column each.
        optional: columns that a narrow terminal may leave out, the least important first.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    optional: tuple[str, ...] = ()

    def without(self, column: str) -> "Table":
        """Return the table without a column."""
        place = self.header.index(column)
        header, *rows = (cells[:place] + cells[place + 1 :] for cells in (self.header, *self.rows))
        return self._replace(header=header, rows=rows)


def tables(result: Result) -> list[Table]:
    """Return, per size, a table of latencies, one of stages, and one of rooflines if they were measured."""
    shown = result.rooflines if result.rooflines and result.rooflines.counted_network == EXECUTED else None
    made = []
    for size in dict.fromkeys(entry.size for entry in result.entries):
        group = [entry for entry in result.entries if entry.size == size]
        title = f"{size[0]}x{size[1]}"
        made += [_latencies(title, result, group), _stages(title, group)]
        made += [] if shown is None else [_rooflines(title, shown, size)]
    return [table for table in made if table.rows]


def _latencies(title: str, result: Result, group: Sequence[Measurement]) -> Table:
    factors = {ratio.name: ratio.times_faster for ratio in result.ratios if ratio.size == group[0].size}
    header = ["entry", "mode", "median", "IQR", "p95", "min"]
    header += ["speed-up"] if factors else []
    header += ["MB"] if any(entry.peak_memory_bytes is not None for entry in group) else []
    header += ["J"] if any(entry.energy_joules is not None for entry in group) else []
    rows = []
    for entry in group:
        cells = _latency_cells(entry) | {"speed-up": speed_up({**factors, result.reference: 1.0}.get(entry.name))}
        rows.append([cells.get(column, MISSING) for column in header])
    return Table(f"{title}: latency in ms", header, rows, ("min", "p95", "J", "MB", "mode"))


def _latency_cells(entry: Measurement) -> dict[str, str]:
    if entry.end_to_end is None:
        return {"entry": entry.name, "mode": "failed"}
    latency = entry.end_to_end
    cells = {
        "entry": entry.name,
        "mode": mode_words(entry.mode),
        "median": milliseconds(latency.median),
        "IQR": f"{100 * latency.relative_iqr:.0f}%{MARK if is_unsteady(entry) else ''}",
        "p95": milliseconds(latency.p95),
        "min": milliseconds(latency.min),
    }
    if entry.peak_memory_bytes is not None:
        cells["MB"] = f"{entry.peak_memory_bytes / 1e6:.0f}"
    if entry.energy_joules is not None:
        cells["J"] = f"{entry.energy_joules:.3g}"
    return cells


def is_unsteady(entry: Measurement) -> bool:
    """Return whether the middle half of an entry's runs spreads by more than `MAX_RELATIVE_IQR`."""
    return entry.end_to_end is not None and entry.end_to_end.relative_iqr > MAX_RELATIVE_IQR


def _stages(title: str, group: Sequence[Measurement]) -> Table:
    columns = [stage for stage in STAGES if any(stage in entry.stages for entry in group)]
    rows = [
        [entry.name, *(milliseconds(entry.stages[stage]) if stage in entry.stages else MISSING for stage in columns)]
        for entry in group
        if entry.stages
    ]
    return Table(f"{title}: stages in ms", ["entry", *columns], rows, ("prepare", "merge"))


def _rooflines(title: str, rooflines: Rooflines, size: tuple[int, int]) -> Table:
    peaks = (
        f"{rooflines.flops_per_second / 1e9:.0f} GFLOP/s in a matrix product, "
        f"{rooflines.bytes_per_second / 1e9:.1f} GB/s in a copy"
    )
    rows = [
        [
            row.name,
            row.stage,
            f"{row.flops / 1e9:.2f}",
            f"{row.bytes / 1e6:.1f}",
            milliseconds(row.roofline_seconds),
            milliseconds(row.seconds),
            f"{row.times_roofline:.1f}",
        ]
        for row in rooflines.stages
        if row.size == size
    ]
    header = ["entry", "stage", "GFLOP", "MB", "roofline", "measured", "ratio"]
    return Table(f"{title}: rooflines in ms ({peaks})", header, rows, ("MB", "GFLOP"))


def notes(result: Result) -> list[str]:
    """Return what the tables need to be read, one sentence or two per line; the last line says where they come from."""
    lines = [f"{entry.name} failed: {entry.error}" for entry in result.entries if entry.error]
    if result.ratios:
        lines.append(f"speed-up: relative to {result.reference}, by medians.")
    if any(is_unsteady(entry) for entry in result.entries):
        limit = f"{100 * MAX_RELATIVE_IQR:.0f}%"
        lines.append(f"{MARK} IQR above {limit} of the median: approximate.")
    if any(entry.mode.random_weights for entry in result.entries):
        lines.append("Random weights say nothing about accuracy.")
    if result.rooflines is not None and result.rooflines.counted_network != EXECUTED:
        lines.append("Rooflines are not shown: this file counts the trained network for every entry.")
    return [*lines, f"{provenance_line(result)}."]


def speed_up(times_faster: float | None) -> str:
    """Return the speed of an entry relative to the reference.

    Args:
        times_faster: of the reference, see `Ratio`; None if one of the two failed.
    """
    return MISSING if times_faster is None else f"{1 / times_faster:.2f}x"


def factor_words(times_faster: float) -> str:
    """Return `2.50 times faster`, or `1.25 times slower` for 0.8."""
    if times_faster >= 1:
        return f"{times_faster:.2f} times faster"
    return f"{1 / times_faster:.2f} times slower"


def mode_words(mode: Mode) -> str:
    """Return how an entry ran, in a few words."""
    words = [mode.precision]
    if mode.runtime == BASELINE:
        words.append("compiled" if mode.compiled else "eager")
    if mode.cuda_graph:
        words.append("CUDA graph")
    if mode.random_weights:
        words.append("random weights")
    return ", ".join(words)


def milliseconds(seconds: float) -> str:
    """Return about three digits: 1234, 123, 12.3, 1.23, 0.12."""
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def provenance_line(result: Result) -> str:
    """Return one line: machine, threads, versions, protocol, date, commit."""
    machine, protocol = result.machine, result.protocol
    threads = f"{result.threads} thread{'' if result.threads == 1 else 's'}"
    where = machine.get("gpu") or f"{machine.get('cpu', 'unknown processor')}, {threads}"
    packages = ("torch", "transformers", "onnxruntime", "openvino")
    versions = ", ".join(f"{name} {result.versions[name]}" for name in packages if name in result.versions)
    runs = f"{protocol.repeats} runs each, in turns, after a warm-up of {protocol.warmup}"
    return f"{where}; {versions}; {runs}; {result.date[:10]}, {_commit_words(result.commit)}"


def _commit_words(commit: str | None) -> str:
    """Return the commit, shortened; `-dirty`, which says that the sources had local changes, stays."""
    if commit is None:
        return "no commit"
    sha, mark, _ = commit.partition(DIRTY)
    return f"commit {sha[:10]}{mark}"


def markdown(result: Result) -> str:
    """Return a result as Markdown: the tables, then the notes."""
    parts = [markdown_table(table) for table in tables(result)]
    return "\n\n".join((*parts, *(line.replace(MARK, f"\\{MARK}", 1) for line in notes(result))))


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, its title above it in bold."""
    alignment = ["---:" if _is_numeric(table, column) else "---" for column in range(len(table.header))]
    lines = [_line(table.header), "|" + "|".join(alignment) + "|", *(_line(row) for row in table.rows)]
    return "\n".join((f"**{table.title}**", "", *lines))


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace(MARK, f"\\{MARK}") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _is_numeric(table: Table, column: int) -> bool:
    return all(row[column][:1].isdigit() or row[column] == MISSING for row in table.rows)
