"""A result says what produced it, without the name of the machine or a path."""

import json
import platform
import subprocess
from pathlib import Path

import pytest
import torch

from yoso import provenance

CPU = torch.device("cpu")


def test_the_machine_has_no_name():
    known = provenance.provenance(CPU)
    assert set(known) - {"commit"} == {"machine", "threads", "versions", "date"}
    assert set(known["machine"]) == {"device", "cpu", "system"}
    assert {"python", "yoso", "torch"} <= known["versions"].keys()
    words = json.dumps(known)
    assert len(platform.node()) < 4 or platform.node() not in words
    assert str(Path.home()) not in words or str(Path.home()) == "/"


@pytest.mark.parametrize(
    "error",
    [subprocess.CalledProcessError(128, "git"), subprocess.TimeoutExpired("git", 5), FileNotFoundError("git")],
    ids=["no checkout", "a slow disk", "no git"],
)
def test_sources_outside_a_checkout_have_no_commit(monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(provenance.subprocess, "run", fails)
    assert provenance.git_commit() is None
    assert "commit" not in provenance.provenance(CPU)


def test_a_file_that_git_does_not_track_has_no_commit(monkeypatch, tmp_path):
    """An installed copy may lie inside another repository, whose commit says nothing about it."""
    (tmp_path / "provenance.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    assert provenance.git_commit() is None


def test_a_processor_without_proc_is_named_by_python(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(provenance.platform, "processor", lambda: "a processor")
    assert provenance.hardware(CPU)["cpu"].startswith("a processor, ")


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    assert set(provenance.package_versions()) == {"python", "torch"}
