"""The short form of the fuzzers and kills; `make fuzz` runs the long one, whose figures stand in docs/security.md."""

import json
from pathlib import Path
from random import Random

import pytest

from file_server import FileServer
from hardening.fuzz import fuzz, tables
from hardening.kills import download_victim, kill, quick_victims
from hardening.targets import TARGETS

SHORT_INPUTS, SHORT_SECONDS = 4, 1.0
"""Inputs per share of a target, and the time after which no more are tried."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_hostile_inputs_end_in_one_line(target, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSO_CACHE", str(tmp_path))
    monkeypatch.setenv("YOSO_OFFLINE", "1")
    tally = fuzz(target, range(SHORT_INPUTS * target.share), SHORT_SECONDS)
    assert tally.faults == []
    assert tally.inputs > 0


def test_kills_at_random_moments_lose_nothing(tmp_path: Path):
    random = Random(0)
    with FileServer({"weights": bytes(range(256)) * 20_000}) as server:
        victims = [*quick_victims(tmp_path), download_victim(server.address)]
        for victim in victims:
            (tmp_path / victim.name).mkdir()
            assert kill(victim, tmp_path / victim.name, random, 1) == []


def test_the_security_page_shows_the_figures_of_the_long_form():
    root = Path(__file__).parents[2]
    content = json.loads((root / "benchmarks" / "results" / "hardening.json").read_text(encoding="utf-8"))
    page = (root / "docs" / "security.md").read_text(encoding="utf-8")
    assert tables(content) in page
    assert content["date"][:10] in page
    assert content["inputs"] >= 10_000
    assert not any(content["faults"].values())
    assert not any(row["faults"] for row in content["kills"].values())
