"""Trials happen in a process of their own and never stop the session."""

import dataclasses
import json
import subprocess

import pytest
import torch
from tiny_peers import TINY

from yoso.speed import baselines, memory, trial
from yoso.speed.entry import Entry, Settings
from yoso.speed.trial import Trial, answer, entry_from_json, try_out


def test_an_entry_travels_as_json(entry):
    sent = entry("eager", (70, 90), survivors=3)
    assert entry_from_json(json.loads(json.dumps(dataclasses.asdict(sent)))) == sent


def test_memory_is_measured_in_another_process(entry):
    found = try_out(entry(), 0.0)
    assert (found.compiled, found.error) == (False, None)
    if memory.resident_bytes() is not None:
        assert 10**6 < found.peak_memory_bytes < 2 * 10**9


def test_a_model_that_is_gone_is_reported(entry, tmp_path):
    assert "no model or folder" in answer(entry(model=str(tmp_path / "gone"))).error


@pytest.fixture
def children(monkeypatch):
    """Let children answer what a test says, and keep what they were asked."""
    asked = []

    def install(*answers):
        remaining = list(answers)

        def run(command, *, input, timeout, **_):
            asked.append((json.loads(input), timeout))
            reply = remaining.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return subprocess.CompletedProcess(command, *reply)

        monkeypatch.setattr(trial.subprocess, "run", run)
        return asked

    return install


PEER = Entry("eomt-s", "eomt-s", "peer", (64, 64), Settings())


def said(**found):
    return (0, json.dumps(dataclasses.asdict(Trial(**found))), "")


def test_a_peer_is_compiled_only_if_that_is_faster(children):
    asked = children(said(peak_memory_bytes=5), said(compiled=True))
    assert try_out(PEER, 60.0) == Trial(5, True)
    assert [question["compiled"] for question, _ in asked] == [False, True]
    assert [timeout for _, timeout in asked] == [None, 60]
    children(said(peak_memory_bytes=5), said(compiled=False))
    assert try_out(PEER, 60.0) == Trial(5, False)


@pytest.mark.parametrize("reply", [subprocess.TimeoutExpired("x", 60), said(error="no compiler"), (-9, "", "")])
def test_a_peer_that_cannot_be_compiled_in_time_runs_eagerly(children, reply):
    children(said(peak_memory_bytes=5), reply)
    assert try_out(PEER, 60.0) == Trial(5, False)


def test_compiling_is_tried_where_memory_is_not_measured(children):
    asked = children(said(compiled=True))
    assert try_out(PEER, 60.0, memory=False) == Trial(None, True)
    assert [question["compiled"] for question, _ in asked] == [True]


def test_what_is_not_asked_starts_no_process(children):
    asked = children()
    assert try_out(PEER, 0.0, memory=False) == Trial()
    assert try_out(dataclasses.replace(PEER, runtime="torch"), 60.0, memory=False) == Trial()
    assert asked == []


def test_compiling_is_not_tried_without_time_for_it(children):
    asked = children(said(peak_memory_bytes=5))
    assert try_out(PEER, 0.0) == Trial(5, False)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [((-9, "", ""), "not enough memory"), ((1, "", "Traceback\n boom"), "Traceback boom"), ((0, "", ""), "")],
)
def test_a_child_that_dies(children, reply, error):
    children(reply)
    assert try_out(PEER, 0.0).error == error


def test_comparing_forms(monkeypatch):
    monkeypatch.setattr(baselines, "PEERS", TINY)
    monkeypatch.setattr(trial, "PEERS", TINY)
    monkeypatch.setattr(trial, "TRIAL_REPEATS", 1)
    monkeypatch.setattr(torch, "compile", lambda network: network)
    found = answer(dataclasses.replace(PEER, compiled=True))
    assert found.error is None
    assert isinstance(found.compiled, bool)

    def refuse(network):
        def forward(**_):
            raise RuntimeError("no C++ compiler")

        return forward

    monkeypatch.setattr(torch, "compile", refuse)
    assert answer(dataclasses.replace(PEER, compiled=True)).error == "no C++ compiler"
