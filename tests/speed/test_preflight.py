"""A preflight check runs in a process of its own and never stops the session."""

import dataclasses
import json
import subprocess

import pytest
import torch
from tiny_baselines import TINY

from yoso.speed import baselines, memory
from yoso.speed import preflight as module
from yoso.speed.entry import EntrySpec
from yoso.speed.preflight import Preflight, preflight, preflight_here, spec_from_json


def test_a_spec_travels_as_json(make_spec):
    sent = make_spec("eager", (70, 90), kept_queries=3)
    assert spec_from_json(json.loads(json.dumps(dataclasses.asdict(sent)))) == sent


def test_memory_is_measured_in_another_process(make_spec):
    found = preflight(make_spec(), 0.0)
    assert (found.compiled, found.error) == (False, None)
    if memory.resident_bytes() is not None:
        assert 10**6 < found.peak_memory_bytes < 2 * 10**9


def test_a_missing_model_is_reported(make_spec, tmp_path):
    assert "no model or folder" in preflight_here(make_spec(model=str(tmp_path / "gone"))).error


@pytest.fixture
def subprocesses(monkeypatch):
    """Return a function that sets the answers of the next processes and returns the list of their questions."""
    questions = []

    def install(*answers):
        remaining = list(answers)

        def run(command, *, input, timeout, **_):
            questions.append((json.loads(input), timeout))
            answer = remaining.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return subprocess.CompletedProcess(command, *answer)

        monkeypatch.setattr(module.subprocess, "run", run)
        return questions

    return install


SPEC = EntrySpec("eomt-s", "eomt-s", "baseline", (64, 64))


def answered(**found):
    return (0, json.dumps(dataclasses.asdict(Preflight(**found))), "")


def test_a_baseline_is_compiled_only_if_that_is_faster(subprocesses):
    questions = subprocesses(answered(peak_memory_bytes=5), answered(compiled=True))
    assert preflight(SPEC, 60.0) == Preflight(5, True)
    assert [question["compiled"] for question, _ in questions] == [False, True]
    assert [timeout for _, timeout in questions] == [None, 60]
    subprocesses(answered(peak_memory_bytes=5), answered(compiled=False))
    assert preflight(SPEC, 60.0) == Preflight(5, False)


@pytest.mark.parametrize("answer", [subprocess.TimeoutExpired("x", 60), answered(error="no compiler"), (-9, "", "")])
def test_a_baseline_that_cannot_be_compiled_in_time_runs_eagerly(subprocesses, answer):
    subprocesses(answered(peak_memory_bytes=5), answer)
    assert preflight(SPEC, 60.0) == Preflight(5, False)


def test_compiling_is_tried_where_memory_is_not_measured(subprocesses):
    questions = subprocesses(answered(compiled=True))
    assert preflight(SPEC, 60.0, memory=False) == Preflight(None, True)
    assert [question["compiled"] for question, _ in questions] == [True]


def test_without_a_question_no_process_starts(subprocesses):
    questions = subprocesses()
    assert preflight(SPEC, 0.0, memory=False) == Preflight()
    assert preflight(dataclasses.replace(SPEC, runtime="torch"), 60.0, memory=False) == Preflight()
    assert questions == []


def test_compiling_is_not_tried_without_time_for_it(subprocesses):
    questions = subprocesses(answered(peak_memory_bytes=5))
    assert preflight(SPEC, 0.0) == Preflight(5, False)
    assert len(questions) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [((-9, "", ""), "not enough memory"), ((1, "", "Traceback\n boom"), "Traceback boom"), ((0, "", ""), "")],
)
def test_a_process_that_dies_is_reported(subprocesses, answer, error):
    subprocesses(answer)
    assert preflight(SPEC, 0.0).error == error


def test_the_compiled_form_is_compared_with_the_eager_one(monkeypatch):
    monkeypatch.setattr(baselines, "BASELINES", TINY)
    monkeypatch.setattr(module, "BASELINES", TINY)
    monkeypatch.setattr(module, "REPEATS", 1)
    monkeypatch.setattr(torch, "compile", lambda network: network)
    found = preflight_here(dataclasses.replace(SPEC, compiled=True))
    assert found.error is None
    assert isinstance(found.compiled, bool)

    def refuse(network):
        def forward(**_):
            raise RuntimeError("no C++ compiler")

        return forward

    monkeypatch.setattr(torch, "compile", refuse)
    assert preflight_here(dataclasses.replace(SPEC, compiled=True)).error == "no C++ compiler"
