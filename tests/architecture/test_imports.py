"""Imports run one way, and only over what is declared: read from the source, so that imports in functions count too."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "yoso"

FLOORS = [
    {"errors", "categories", "class_tables", "structures", "settings", "values", "files", "preprocess", "drawing"},
    {"model", "loss", "postprocess", "data", "evaluation", "tracking"},
    {"weights"},
    {"inference"},
    {"scoring"},
    {"training", "video", "serve", "batch"},
    {"export"},
    {"speed"},
    {"reproduction"},
    {"apps"},
    {"__main__", "__init__"},
]
"""Rooms, bottom floor first. A room imports from lower floors, never from its own or a higher one."""

UNKNOWN_TO = {
    "model": {"scipy", "torchmetrics", "lightning"},
    "loss": {"torchmetrics", "lightning"},
    "postprocess": {"torchmetrics", "lightning"},
    "data": {"torchmetrics", "lightning"},
    "evaluation": {"lightning"},
    "inference": {"torchmetrics", "lightning"},
}
"""Libraries that a room must do without."""


def floor_of(room):
    return next(index for index, floor in enumerate(FLOORS) if room in floor)


def allowed(importer, imported):
    """Say whether a room may import another; what a room imports of itself is its own affair."""
    if importer == imported or floor_of(imported) < floor_of(importer):
        return True
    if (importer, imported) == ("evaluation", "postprocess"):
        return True
    return importer in FLOORS[0] and imported in FLOORS[0]


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path, top_level_only=False):
    """Yield the dotted name of every module that a file imports, `from package import module` in full."""
    tree = ast.parse(path.read_text(), str(path))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted({room_of(path) for path in SOURCES})


def files_of(room):
    return [path for path in SOURCES if room_of(path) == room]


def rooms_imported_by(path):
    """Return the rooms of ours that a file imports; the package's own face counts as `__init__`."""
    modules = [name for name in imported_modules(path) if name.split(".")[0] == "yoso"]
    rooms = set()
    for name in modules:
        part = name.split(".")[1]
        rooms.add(part if (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file() else "__init__")
    return rooms


def test_every_room_has_a_floor():
    assert set(ROOMS) <= set().union(*FLOORS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    wrong = [
        f"{path.relative_to(ROOT)} imports yoso.{other}"
        for path in files_of(room)
        for other in sorted(rooms_imported_by(path))
        if not allowed(room, other)
    ]
    assert not wrong


@pytest.mark.parametrize("room", UNKNOWN_TO)
def test_libraries_that_a_room_does_without(room):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files_of(room)
        for name in imported_modules(path)
        if name.split(".")[0] in UNKNOWN_TO[room]
    ]
    assert not wrong


def test_the_rule_itself():
    assert allowed("model", "errors")
    assert allowed("files", "errors")
    assert allowed("training", "model")
    assert allowed("apps", "inference")
    assert allowed("evaluation", "postprocess")
    assert not allowed("postprocess", "evaluation")
    assert not allowed("model", "loss")
    assert not allowed("errors", "model")
    assert not allowed("training", "inference")
    assert not allowed("inference", "training")
    assert not allowed("inference", "apps")
    assert not allowed("apps", "__init__")


def test_what_a_module_loads_at_once_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w.-]+", line)[0].lower() for line in project["dependencies"]}
    homes = packages_distributions()
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        for name in imported_modules(path, top_level_only=True)
        if (top := name.split(".")[0]) != "yoso" and top not in sys.stdlib_module_names
        if not declared & {home.lower().replace("_", "-") for home in homes.get(top, [])}
    ]
    assert not wrong
