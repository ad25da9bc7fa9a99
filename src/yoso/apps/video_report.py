"""What `yoso predict` and `yoso track` print in the end of a video."""

from typing import TYPE_CHECKING, Any

from yoso.apps.console import show, show_error
from yoso.apps.signals import exit_status

if TYPE_CHECKING:
    from yoso.apps.video_run import VideoOutcome

MAX_ROWS = 40
"""Identities in the table; `--json` lists all."""


def summary(outcome: "VideoOutcome") -> dict[str, Any]:
    """Return the last line that `--json` prints."""
    counts = outcome.counts
    found: dict[str, Any] = {
        "source": outcome.source,
        "runtime": outcome.runtime,
        "frames": outcome.num_frames,
        "corrupt": counts.corrupt,
        "dropped": counts.dropped,
        "losses": counts.losses,
        "seconds": round(outcome.seconds, 3),
        "milliseconds": {name: round(value, 3) for name, value in outcome.stages.items()},
        "outputs": [str(path) for path in outcome.outputs],
        "identities": [vars(identity) for identity in outcome.identities],
        "places": outcome.places,
    }
    if outcome.latencies:
        found["latency_milliseconds"] = latency(outcome)
    return {"summary": found | ({"error": str(outcome.error)} if outcome.error else {})}


def latency(outcome: "VideoOutcome") -> dict[str, float]:
    """Return median and 95th percentile of the time from a frame's arrival to its result in milliseconds."""
    import numpy as np

    return {f"p{q}": round(1000 * float(np.percentile(outcome.latencies, q)), 1) for q in (50, 95)}


def show_summary(outcome: "VideoOutcome") -> None:
    """Print the tables."""
    if not outcome.num_frames:
        return
    _show_stages(outcome)
    _show_identities(outcome)
    lines = []
    for name, ways in outcome.places.items():
        for way, labels in ways.items():
            text = ", ".join(f"{number} {label}" for label, number in labels.items()) or "none"
            lines.append(f"{name} ({way}): {text}")
    lines += [f"output:  {path}" for path in outcome.outputs]
    lines.append(f"runtime: {outcome.runtime}")
    show("\n".join(lines))


def _show_stages(outcome: "VideoOutcome") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    counts, fps = outcome.counts, outcome.num_frames / max(outcome.seconds, 1e-9)
    caption = f"{outcome.num_frames} frames in {outcome.seconds:.1f} s: {fps:.1f} per second"
    for number, what in ((counts.corrupt, "damaged"), (counts.dropped, "dropped"), (counts.losses, "reconnections")):
        caption += f"; {number} {what}" if number else ""
    if outcome.latencies:
        found = latency(outcome)
        caption += f"; latency {found['p50']:.0f} ms, p95 {found['p95']:.0f} ms"
    table = Table(box=SIMPLE_HEAD)
    table.add_column("stage")
    table.add_column("ms per frame", justify="right")
    for name, value in outcome.stages.items():
        table.add_row(name, f"{value:.1f}")
    show(table, f"{caption}\n")


def _show_identities(outcome: "VideoOutcome") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    if not outcome.identities:
        return
    rows = sorted(outcome.identities, key=lambda identity: -identity.num_frames)
    more = len(rows) - MAX_ROWS
    table = Table(box=SIMPLE_HEAD, caption=f"and {more} more" if more > 0 else None)
    table.add_column("identity", justify="right")
    table.add_column("class")
    for name in ("first s", "last s", "frames"):
        table.add_column(name, justify="right")
    for row in rows[:MAX_ROWS]:
        seconds = (f"{row.first_seconds:.2f}", f"{row.last_seconds:.2f}")
        table.add_row(str(row.track_id), Text(row.label), *seconds, str(row.num_frames))
    show(table, "")


def conclude(outcome: "VideoOutcome", as_json: bool) -> int:
    """Print the summary and how the run ended, and return the exit status."""
    import json

    if as_json:
        print(json.dumps(summary(outcome)), flush=True)
    else:
        show_summary(outcome)
    if outcome.error is not None:
        show_error(outcome.error)
        return 2
    if outcome.stop is not None:
        show_error(f"stopped after {outcome.num_frames} frames; the outputs hold what was done until then")
        return exit_status(outcome.stop)
    return 0
