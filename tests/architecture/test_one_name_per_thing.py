"""One name for one thing: a class of one room has no namesake in another, so a reader never has to ask which one."""

import ast
from collections import Counter
from pathlib import Path

SOURCES = sorted((Path(__file__).parents[2] / "src" / "yoso").rglob("*.py"))


def class_names(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return [node.name.lstrip("_") for node in tree.body if isinstance(node, ast.ClassDef)]


def test_no_two_classes_have_the_same_name():
    count = Counter(name for path in SOURCES for name in class_names(path))
    assert len(count) > 100
    assert [name for name, times in count.items() if times > 1] == []
