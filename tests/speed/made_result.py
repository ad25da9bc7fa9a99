"""A result as a session writes it, made by hand."""

import dataclasses

from yoso.speed.protocol import LatencySummary
from yoso.speed.results import (
    EXECUTED,
    FORMAT,
    Measurement,
    Mode,
    Result,
    Rooflines,
    StageRoofline,
    TimingProtocol,
    ratios,
)

SIZE = (512, 800)


def measurement(name, seconds, **more):
    runtime = "baseline" if name.startswith("mask") else "torch"
    mode = Mode(runtime, "fp32", runtime == "baseline", runtime == "baseline")
    samples = [seconds, 1.5 * seconds, 0.75 * seconds]
    stages = {"prepare": 0.1 * seconds, "network": 0.7 * seconds, "merge": 0.2 * seconds}
    return Measurement(name, SIZE, mode, LatencySummary.of(samples), stages, samples, 12, **more)


def made_result(**changes) -> Result:
    """Return a result of two entries that ran and one that failed."""
    failed = Measurement("eomt-l", SIZE, Mode("baseline", "fp32", False, False), error="not enough memory")
    entries = [measurement("ours & <co> torch", 0.1, peak_memory_bytes=3 * 10**8), measurement("maskformer", 0.25)]
    row = StageRoofline("ours & <co> torch", SIZE, "decoder", 10**9, 10**6, 0.01, 0.03, 3.0)
    result = Result(
        FORMAT,
        "2026-01-02T03:04:05+00:00",
        {"device": "cpu", "cpu": "a processor, 2 cores", "system": "Linux"},
        {"python": "3.11", "torch": "2.15.0"},
        2,
        TimingProtocol(3, 1, 3, 12, "synthetic"),
        [*entries, failed],
        "ours & <co> torch",
        ratios(entries, "ours & <co> torch"),
        "0123456789abcdef",
        Rooflines(EXECUTED, 1e11, 2e10, [row]),
    )
    return dataclasses.replace(result, **changes)
