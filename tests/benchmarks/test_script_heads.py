"""Every script begins with its purpose, its command and its output."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = {f"python benchmarks/{path.name}": path for path in sorted((ROOT / "benchmarks").glob("*.py"))}


@pytest.mark.parametrize("command", SCRIPTS)
def test_the_head_of_a_script(command):
    head = ast.get_docstring(ast.parse(SCRIPTS[command].read_text(encoding="utf-8")))
    purpose, usage, *_ = head.split("\n\n")
    assert purpose.endswith(".")
    assert usage.startswith(f"    {command} ")
    output = next(line for line in head.splitlines() if line.startswith("Output: "))
    for word in output.replace(",", " ").replace(";", " ").split():
        if word.startswith(("benchmarks/", "src/")):
            assert (ROOT / word).exists()


def test_there_are_scripts():
    assert len(SCRIPTS) >= 8
