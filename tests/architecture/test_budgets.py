"""Code that is read in one sitting: functions of 50 lines, files of 400, six parameters. Complexity is ruff's."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "yoso").rglob("*.py"))
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 50
MOST_PARAMETERS = 6
PUBLIC_CALLS = {("predictor.py", "__call__"): 7}
"""Calls whose options users give one by one, by name: a class of options would be harder to use than one more."""
MOST_LINES_OF_THE_NETWORK = 600
NETWORK = ("config", "backbone", "deformable", "aggregator", "attention", "decoder", "yoso")


def identifier(path):
    return str(path.relative_to(ROOT / "src"))


def functions(path):
    tree = ast.parse(path.read_text(), str(path))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def code_lines(path):
    """Count the lines that are neither blank, nor comment, nor docstring."""
    text = path.read_text()
    lines = {number for number, line in enumerate(text.splitlines(), 1) if line.strip() and line.strip()[0] != "#"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_file(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_FILE
    for function in functions(path):
        lines = function.end_lineno - function.lineno + 1
        assert lines <= MOST_LINES_OF_A_FUNCTION, f"{function.name} has {lines} lines"
        own = function.args
        count = sum(argument.arg not in {"self", "cls"} for argument in own.posonlyargs + own.args + own.kwonlyargs)
        limit = PUBLIC_CALLS.get((path.name, function.name), MOST_PARAMETERS)
        assert count <= limit, f"{function.name} has {count} parameters"


def test_the_whole_network_reads_in_one_sitting():
    files = [ROOT / "src" / "yoso" / "model" / f"{name}.py" for name in NETWORK]
    assert sum(code_lines(path) for path in files) <= MOST_LINES_OF_THE_NETWORK
