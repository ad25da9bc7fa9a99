"""Imports run one way, and only over what is declared: read from the source, so that imports in functions count too."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from yoso.apps.cli import COMMANDS
from yoso.apps.data import SUBCOMMANDS
from yoso.inference.runtimes import RUNTIMES
from yoso.installation import EXTRAS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "yoso"

FLOORS = [
    {
        "errors",
        "categories",
        "class_tables",
        "structures",
        "settings",
        "values",
        "files",
        "preprocess",
        "installation",
        "provenance",
    },
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


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {"pillow": "PIL", "pyyaml": "yaml"}


def required(lines):
    """The names to import of some requirements, those of our own extras among them included."""
    found = set()
    for line in lines:
        name, _, extras = re.match(r"([\w.-]+)(\[([\w,-]+)\])?", line).groups()
        if name == PROJECT["name"]:
            found |= set().union(*(required(PROJECT["optional-dependencies"][extra]) for extra in extras.split(",")))
        else:
            found.add(IMPORTED_AS.get(name, name.replace("-", "_")))
    return found


ALWAYS_INSTALLED = required(PROJECT["dependencies"])

EXTRA_OF = {
    "structures": "torch",
    "model": "torch",
    "loss": "train",
    "postprocess": "torch",
    "data": "torch",
    "evaluation": "eval",
    "weights": "torch",
    "inference": "torch",
    "scoring": "eval",
    "training": "train",
    "serve": "serve",
    "export": "export",
    "speed": "benchmark",
    "reproduction": "benchmark",
}
"""What a room's modules may load at once besides what is always installed; a room that is not here: nothing more."""


def foreign(names):
    """The top-level names among dotted ones that are neither Python's own nor ours."""
    return {top for name in names if (top := name.split(".")[0]) != "yoso" and top not in sys.stdlib_module_names}


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_module_loads_at_once_is_a_declared_dependency(room):
    extra = EXTRA_OF.get(room)
    declared = ALWAYS_INSTALLED | (required(PROJECT["optional-dependencies"][extra]) if extra else set())
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files_of(room)
        for name in foreign(imported_modules(path, top_level_only=True)) - declared
    ]
    assert not wrong


def test_what_a_function_loads_is_a_declared_dependency():
    """Whose lack `yoso.installation` can explain, if it is not always installed."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        for name in foreign(imported_modules(path)) - ALWAYS_INSTALLED - EXTRAS.keys()
    ]
    assert not wrong


def part_of_the_page(mark):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.split(f"<!-- {mark} -->")[1].split("<!-- end -->")[0]


def test_the_page_shows_the_floors():
    lines = [line.replace("<-", "").split() for line in part_of_the_page("floors").splitlines() if line.strip()]
    assert [set(line) for line in lines] == FLOORS[:-1]


def test_the_page_lists_every_room():
    listed = {
        name for row in part_of_the_page("rooms").splitlines() for name in re.findall(r"`(\w+)/?`", row.split(" | ")[0])
    }
    planned = {"tracking", "video", "batch"}
    assert set(ROOMS) - {"__main__", "__init__"} <= listed
    assert set().union(*FLOORS[:-1]) - planned <= listed | set(ROOMS)


class Import(NamedTuple):
    """One imported name of a file; `explained` where the statement stands in a block of `optional_packages`."""

    name: str
    explained: bool


def imports_at_run_time(node, explained=False) -> Iterator[Import]:
    """Every import of a syntax tree, in functions too, but for those that only type checkers see."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, explained) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (Import(f"{node.module}.{alias.name}", explained) for alias in node.names)
    if isinstance(node, ast.With):
        explained |= any(ast.unparse(item.context_expr).startswith("optional_packages(") for item in node.items)
    for child in ast.iter_child_nodes(node):
        yield from imports_at_run_time(child, explained)


def file_of(name):
    """The file that an imported name of ours is in."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    for place in (path, path.parent):
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    raise AssertionError(f"no module has {name}")


def reached(entries):
    """The files that are loaded sooner or later without an extra, each with its imports."""
    found, waiting = {}, [file_of(name) for name in entries]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = list(imports_at_run_time(ast.parse(path.read_text(), str(path))))
            ours = (one.name for one in found[path] if one.name.startswith("yoso.") and not one.explained)
            waiting += [file_of(name) for name in ours]
    return found


LIGHT = [
    "yoso.apps.cli",
    *(command.module for command in COMMANDS.values() if command.extra is None),
    *(command.module for command in SUBCOMMANDS.values()),
    "yoso.inference.loading.load",
    "yoso.drawing.rendering.render",
    "yoso.settings.InferenceConfig",
    "yoso.model.config.ModelConfig",
    *(runtime.engine.partition(":")[0] for runtime in RUNTIMES.values()),  # loaded by name
]
"""What works without any extra: four commands, the engines, and what `import yoso` offers besides the network."""


def test_what_works_without_an_extra_loads_only_what_is_always_installed():
    """Anything else is loaded in a block of `optional_packages`, which says what to install."""
    files = reached(LIGHT)
    assert {PACKAGE / "inference" / "onnx_engine.py", PACKAGE / "evaluation" / "folders.py"} <= files.keys()
    wrong = [
        f"{path.relative_to(ROOT)} imports {one.name}"
        for path, imports in files.items()
        for one in imports
        if not one.explained and foreign([one.name]) - ALWAYS_INSTALLED
    ]
    assert not wrong


def test_where_the_light_part_ends():
    doors = {
        (str(path.relative_to(PACKAGE)), ".".join(one.name.split(".")[:3]))
        for path, imports in reached(LIGHT).items()
        for one in imports
        if one.explained and one.name.startswith("yoso.")
    }
    assert doors == {
        ("inference/loading.py", "yoso.inference.torch_engine"),
        ("video/stages.py", "yoso.tracking.settings"),
        ("video/stages.py", "yoso.tracking.smoothing"),
        ("video/stages.py", "yoso.tracking.tracker"),
        ("inference/loading.py", "yoso.weights.load"),
        ("weights/published.py", "yoso.weights.conversion"),
    }
