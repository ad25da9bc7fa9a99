"""The guard of the fuzzers sees every kind of fault: a fuzzer that finds nothing may just be blind."""

import os
import time
from pathlib import Path

import pytest

from hardening import guard
from hardening.guard import fault_of, run_command
from yoso.errors import ConfigError


def raising(error):
    def call():
        raise error

    return call


def test_an_error_for_the_user_is_no_fault(tmp_path):
    assert fault_of(raising(ConfigError("one line")), tmp_path) is None
    assert fault_of(lambda: None, tmp_path) is None


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError(), MemoryError(), UnicodeEncodeError("a", "b", 0, 1, "")]
)
def test_any_other_error_is_a_traceback(error, tmp_path):
    assert fault_of(raising(error), tmp_path).kind == "traceback"


def test_two_lines_are_a_fault(tmp_path):
    assert fault_of(raising(ConfigError("one\ntwo")), tmp_path).kind == "lines"


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: (folder / "a").write_text("a"),
        lambda folder: (folder / "b").mkdir(),
        lambda folder: os.close(os.open(folder / "c", os.O_CREAT | os.O_WRONLY)),
        lambda folder: (folder / "in" / "link").symlink_to("/etc") or (folder / "in" / "link" / ".." / "x").mkdir(),
        lambda folder: os.replace(folder / "in" / "a", folder / "d"),
    ],
)
def test_a_file_written_elsewhere_is_seen(write, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").touch()

    def call():
        try:
            write(tmp_path)
        except OSError:
            pass

    assert fault_of(call, tmp_path / "in").kind == "outside"


def test_files_written_where_they_may_be_are_no_fault(tmp_path):
    assert fault_of(lambda: Path(tmp_path, "a").write_text("a") and None, tmp_path) is None


def test_a_hang_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_SECONDS", 0.01)
    assert fault_of(lambda: time.sleep(0.05), tmp_path).kind == "hang"


def test_memory_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_GIGABYTES", -1.0)
    assert fault_of(lambda: None, tmp_path).kind == "memory"


def test_internal_errors_of_commands_are_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("yoso.apps.models.main", raising(ZeroDivisionError()))
    assert fault_of(lambda: run_command("models"), tmp_path).kind == "traceback"


def test_lines_of_commands_without_a_kind_are_seen(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("yoso.apps.models.main", lambda _: os.sys.stderr.write("Traceback\n") and 2)
    assert fault_of(lambda: run_command("models"), tmp_path).kind == "lines"
