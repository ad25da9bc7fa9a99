import pytest
import torch

from yoso.errors import ConfigError, ImageError
from yoso.speed.protocol import EntryError, LatencySummary, entry_errors, interleaved, timer


def test_functions_take_turns_after_their_warm_up():
    order = []
    runs = {name: lambda name=name: order.append(name) for name in "abc"}
    samples, errors = interleaved(runs, 2, 1, lambda run: run() or len(order))
    assert "".join(order) == "abc" + "abc" + "abc"
    assert samples == {"a": [4, 7], "b": [5, 8], "c": [6, 9]}
    assert errors == {}


def test_one_that_fails_does_not_stop_the_others():
    calls = []

    def fails():
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError

    steps = []
    samples, errors = interleaved(
        {"bad": fails, "good": lambda: None}, 4, 1, lambda run: run() or 1, lambda: steps.append(1)
    )
    assert errors == {"bad": "not enough memory"}
    assert samples == {"bad": [], "good": [1, 1, 1, 1]}
    assert (len(calls), len(steps)) == (3, 10)


def test_a_run_is_timed():
    seconds_of = timer(torch.device("cpu"))
    assert seconds_of(lambda: sum(range(100_000))) > seconds_of(lambda: None) >= 0


def test_a_summary_of_latencies():
    summary = LatencySummary.of([float(value) for value in range(1, 102)])
    assert (summary.median, summary.p95, summary.iqr, summary.min) == (51.0, 96.0, 50.0, 1.0)
    assert summary.relative_iqr == pytest.approx(50 / 51)
    assert LatencySummary.of([0.5]) == LatencySummary(0.5, 0.5, 0.0, 0.5)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (ImageError("not enough memory for an image of 9 x 9 pixels; give less"), "not enough memory"),
        (ConfigError("values are not finite"), "values are not finite"),
        (NotImplementedError(), "NotImplementedError"),
        (RuntimeError("no kernel\n for Half"), "no kernel for Half"),
    ],
)
def test_the_error_of_an_entry_is_one_line(error, message):
    with pytest.raises(EntryError) as caught, entry_errors():
        raise error
    assert str(caught.value) == message


def test_a_programming_error_is_not_hidden():
    with pytest.raises(KeyError), entry_errors():
        {}["a"]
