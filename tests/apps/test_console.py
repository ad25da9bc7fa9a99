"""What is printed is safe for a terminal, whatever names hold and whatever the encoding of the output."""

import io
import json
import sys
import warnings

import pytest
from rich.table import Table
from rich.text import Text

from yoso.apps import cli
from yoso.apps.cli import main
from yoso.apps.console import printable, replacing_what_cannot_be_encoded, show, show_error, show_json, with_progress
from yoso.errors import OutputError

TRICKS = "\x1b]0;title\x07 \x1b[31mred\x1b[0m \x9b2J \u202egpj.exe\u2066 \x7f\x08"
HARMLESS = "naïve 日本 🏠 a\tb\nc\u200dd"


def test_control_characters_are_replaced_and_nothing_else():
    assert printable(HARMLESS) == HARMLESS
    cleaned = printable(TRICKS)
    assert len(cleaned) == len(TRICKS)
    assert all(character.isprintable() for character in cleaned)
    assert "red" in cleaned


def table_of(name):
    table = Table(title=name)
    table.add_column(name)
    table.add_row(Text(name))
    table.add_row(name)
    return table


def test_tables_text_errors_and_warnings_hold_no_control_character(capsys):
    show(table_of(TRICKS), TRICKS, Text(TRICKS))
    show_error(OutputError(f"{TRICKS}: cannot be written"))
    with cli._own_warnings_only():
        warnings.warn_explicit(TRICKS, UserWarning, "folders.py", 1, module="yoso.evaluation.folders")
    captured = capsys.readouterr()
    assert captured.out.count("red") >= 5
    assert captured.err.count("red") == 2 - bool(sys.warnoptions)
    for line in (captured.out + captured.err).split("\n"):
        assert line.isprintable(), repr(line)


def test_square_brackets_are_not_markup(capsys):
    show("[red]x[/red]", table_of("[red]x"))
    assert capsys.readouterr().out.count("[red]x") == 4 + 1


class Narrow:
    """Standard output and standard error of an encoding without umlauts, as LANG=C and PYTHONIOENCODING=ascii give."""

    def __init__(self, monkeypatch):
        self.bytes = io.BytesIO()
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(self.bytes, encoding="ascii", write_through=True))

    @property
    def text(self):
        return self.bytes.getvalue().decode("ascii")


def test_characters_that_cannot_be_encoded_are_replaced(monkeypatch):
    narrow = Narrow(monkeypatch)
    with replacing_what_cannot_be_encoded():
        show(table_of("fenêtre"), "fenêtre")
        show_json({"name": "fenêtre"})
        show_error("fenêtre")
        print("caf\udce9.jpg")  # a file name that is not UTF-8
        assert list(with_progress(["ü"], 1, "fenêtre")) == ["ü"]
    assert narrow.text.count("fen?tre") == 6
    assert json.loads(narrow.text[narrow.text.index("{") : narrow.text.index("}") + 1]) == {"name": "fenêtre"}
    assert "caf?.jpg" in narrow.text
    with pytest.raises(UnicodeEncodeError):
        print("fenêtre")


def test_every_command_prints_through_it(monkeypatch):
    narrow = Narrow(monkeypatch)
    assert main(["prädict"]) == 2
    assert narrow.text.startswith("error: unknown command 'pr?dict'. Did you mean 'predict'?")


def test_a_full_disk_behind_standard_output_is_one_line(monkeypatch, capsys):
    try:
        full = open("/dev/full", "w")  # noqa: SIM115
    except OSError:
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(sys, "stdout", full)
    assert main(["--help"]) == 2
    assert capsys.readouterr().err == "error: the disk: the disk is full; make room or write elsewhere\n"
    with pytest.raises(OSError, match="No space"):
        full.close()
