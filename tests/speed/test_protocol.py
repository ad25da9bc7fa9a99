import pytest
import torch

from yoso.errors import ConfigError, ImageError
from yoso.speed.protocol import ContestantError, Spread, contestant_errors, interleaved, seconds


def test_contestants_take_turns_after_their_warm_up():
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
    take = seconds(torch.device("cpu"))
    assert take(lambda: sum(range(100_000))) > take(lambda: None) >= 0


def test_spread():
    spread = Spread.of([float(value) for value in range(1, 102)])
    assert (spread.median, spread.p95, spread.iqr, spread.min) == (51.0, 96.0, 50.0, 1.0)
    assert Spread.of([0.5]) == Spread(0.5, 0.5, 0.0, 0.5)


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
def test_what_stops_a_contestant_is_one_line(error, message):
    with pytest.raises(ContestantError) as caught, contestant_errors():
        raise error
    assert str(caught.value) == message


def test_an_error_of_ours_is_not_hidden():
    with pytest.raises(KeyError), contestant_errors():
        {}["a"]
