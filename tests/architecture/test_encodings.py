"""Text has the same encoding on every machine: whoever opens it names the encoding, or lets `yoso.files` do so."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("src", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))


def without_encoding(text):
    """Yield the line of every call that reads or writes text in the encoding of the locale."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        if opens_text(node):
            yield node.lineno


def opens_text(call):
    """Say whether a call opens a text file or stream; the `open` of `Image` and `os` takes no mode and does not."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    is_method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if is_method else getattr(call.func, "id", "")
    if name == "open":
        after = call.args[0 if is_method else 1 :]
        mode = ast.unparse(after[0]) if after else ast.unparse(given["mode"]) if "mode" in given else "'r'"
        return re.fullmatch("'[rwaxt+]+'", mode) is not None
    return (is_method and name in {"read_text", "write_text"}) or (name in {"run", "Popen"} and "text" in given)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_has_its_encoding_named(path):
    assert list(without_encoding(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("line", "is_wrong"),
    [
        ("path.read_text()", True),
        ("(folder / 'x').read_text().splitlines()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("read_text(path)", False),
        ("temporary.write_text(text)", True),
        ("write_text(path, text)", False),
        ("path.open()", True),
        ("path.open('a')", True),
        ("path.open('ab', buffering=0)", False),
        ("path.open('ab' if more else 'wb')", False),
        ("path.open('w', encoding='utf-8')", False),
        ("open(path)", True),
        ("open(path, 'w')", True),
        ("open(path, 'rb')", False),
        ("open(path, encoding=found)", False),
        ("Image.open(path)", False),
        ("os.open(os.devnull, os.O_WRONLY)", False),
        ("archive.open(member)", False),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command, encoding='utf-8')", False),
    ],
)
def test_the_rule_itself(line, is_wrong):
    assert bool(list(without_encoding(line))) == is_wrong
