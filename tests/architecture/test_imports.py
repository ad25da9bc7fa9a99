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
    {"errors", "categories", "class_tables", "structures", "settings", "files", "preprocess"},
    {"drawing"},
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
    "model": {"scipy"},
    "drawing": {"torch"},
    "evaluation": {"torch"},
    "tracking": {"torch"},
}
"""Libraries that a room must do without."""

CONFINED = {"lightning": {"training"}, "rich": {"apps", "training"}, "torchmetrics": set()}
"""The only rooms that may import a library."""


def floor_of(room):
    return next(index for index, floor in enumerate(FLOORS) if room in floor)


def allowed(importer, imported):
    """Say whether a room may import another; what a room imports of itself is its own affair."""
    if importer == imported or floor_of(imported) < floor_of(importer):
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


@pytest.mark.parametrize("room", ROOMS)
def test_libraries_that_a_room_does_without(room):
    forbidden = UNKNOWN_TO.get(room, set()) | {name for name, rooms in CONFINED.items() if room not in rooms}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files_of(room)
        for name in imported_modules(path)
        if name.split(".")[0] in forbidden
    ]
    assert not wrong


def module_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files_imported_by(path, modules):
    """Return our modules that a file imports, for a type checker alone or inside a function included."""
    found = set()
    for name in imported_modules(path):
        found |= {module for module in (name, name.rpartition(".")[0]) if module in modules}
    return found - {module_of(path)}


def circle_in(graph):
    """Return the names of one circle of a directed graph, or nothing."""
    done, trail = set(), []

    def visit(name):
        if name in trail:
            return trail[trail.index(name) :]
        if name in done:
            return []
        trail.append(name)
        for other in sorted(graph[name]):
            if circle := visit(other):
                return circle
        done.add(trail.pop())
        return []

    return next((circle for name in sorted(graph) if (circle := visit(name))), [])


@pytest.mark.parametrize("room", ROOMS)
def test_no_circle_of_imports_inside_a_room(room):
    modules = {module_of(path) for path in files_of(room)}
    graph = {module_of(path): files_imported_by(path, modules) for path in files_of(room)}
    assert circle_in(graph) == []


def test_a_circle_is_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_the_rule_itself():
    assert allowed("model", "errors")
    assert allowed("files", "errors")
    assert allowed("drawing", "categories")
    assert allowed("training", "model")
    assert allowed("training", "scoring")
    assert allowed("scoring", "inference")
    assert allowed("apps", "inference")
    assert not allowed("categories", "drawing")
    assert not allowed("postprocess", "evaluation")
    assert not allowed("evaluation", "postprocess")
    assert not allowed("model", "loss")
    assert not allowed("model", "weights")
    assert not allowed("errors", "model")
    assert not allowed("training", "video")
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


def part_of_the_page(mark):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.split(f"<!-- {mark} -->")[1].split("<!-- end -->")[0]


def test_the_page_shows_the_floors():
    lines = [line.replace("<-", "").split() for line in part_of_the_page("floors").splitlines() if line.strip()]
    assert [set(line) for line in lines] == FLOORS[:-1]


def test_the_page_lists_every_room():
    listed = {name for row in part_of_the_page("rooms").splitlines() for name in re.findall(r"`(\w+)/?`", row[:120])}
    planned = {"tracking", "video", "serve", "batch"}
    assert set(ROOMS) - {"__main__", "__init__"} <= listed
    assert set().union(*FLOORS[:-1]) - planned <= listed | set(ROOMS)
