"""What messages and pages tell people to install is what pyproject.toml offers, and what the code imports."""

import re
import tomllib
from pathlib import Path

import pytest

from yoso.apps.cli import COMMANDS
from yoso.installation import DISTRIBUTION, EXTRAS, WITH_TORCH, install_command

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OFFERED = PROJECT["optional-dependencies"]
TEXTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")]
TEXTS += sorted(path for room in ("src", "docs", "examples") for path in (ROOT / room).rglob("*.[pm][yd]"))
NAMED = re.compile(r"(?:yoso-panoptic|\.)\[([a-z][\w,-]*)\]")
"""`yoso-panoptic[export]`, or `.[export]` of a checkout."""

OTHERS_PACKAGE = re.compile(r"pip install [^`\n]*\byoso(?!-panoptic)\b|\byoso\[")
"""`yoso` in a registry is somebody else's."""

IMPORTED_AS = {"nvidia-ml-py": "pynvml", "mlflow-skinny": "mlflow", "opencv-python-headless": "cv2"}
"""Packages that are imported under another name."""

GROUPS = {"all", "dev", "onnx", "docs"}
"""Extras that only gather others, or hold tools for development."""

TO_COME = {"batch"}
"""Extras whose packages no room imports yet."""


def names(text):
    return [name for group in NAMED.findall(text) for name in group.split(",")]


def packages(lines):
    """The packages of some requirements, and the extras of ours among them."""
    found = [re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", line) for line in lines]
    ours = {extra for match in found if match[1] == DISTRIBUTION for extra in match[2].split(",")}
    return {match[1] for match in found if match[1] != DISTRIBUTION}, ours


def all_packages(extra):
    own, extras = packages(OFFERED[extra])
    return own.union(*(all_packages(other) for other in extras))


def module(package):
    return IMPORTED_AS.get(package, package.replace("-", "_"))


def test_every_extra_that_is_named_exists():
    named = [(name, path.relative_to(ROOT)) for path in TEXTS for name in names(path.read_text())]
    assert {"export", "openvino", "tensorrt", "benchmark", "eval", "wandb"} <= {name for name, _ in named}
    assert not [f"{path}: {name}" for name, path in named if name not in OFFERED]


def test_nothing_sends_people_to_another_package():
    assert OTHERS_PACKAGE.search('run: pip install "yoso[onnx]"')
    assert OTHERS_PACKAGE.search("pip install --upgrade yoso")
    assert not OTHERS_PACKAGE.search('pip install "yoso-panoptic[train]"')
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]}" for path in TEXTS for hit in OTHERS_PACKAGE.finditer(path.read_text())
    ]
    assert not found


def test_one_place_says_what_to_install():
    """Messages come from `yoso.installation`, which names an extra rather than a package."""
    places = [path.name for path in (ROOT / "src").rglob("*.py") if "pip install" in path.read_text()]
    assert places == ["installation.py"]
    assert install_command("train") == 'pip install "yoso-panoptic[train]"'


def test_the_promised_extras():
    assert OFFERED.keys() == {
        *("torch", "train", "eval", "export", "openvino", "tensorrt", "benchmark", "wandb", "mlflow"),
        *("video", "serve", "batch", "all", "dev", "docs", "onnx"),
    }
    assert packages(OFFERED["onnx"]) == (set(), {"export"})
    assert packages(OFFERED["all"]) == (set(), OFFERED.keys() - {*GROUPS, "torch", "tensorrt"})


@pytest.mark.parametrize("extra", sorted(OFFERED.keys() - GROUPS - TO_COME))
def test_an_extra_brings_what_the_code_imports_and_nothing_else(extra):
    own, _ = packages(OFFERED[extra])
    own -= {"scipy"} if extra == "video" else set()  # it is named in `train`, and tracking names the extra itself
    assert {module(package) for package in own} == {name for name, needs in EXTRAS.items() if needs == extra}


def test_what_is_always_installed_is_in_no_extra():
    base, _ = packages(PROJECT["dependencies"])
    assert base == {"filelock", "numpy", "onnxruntime", "pillow", "pyyaml", "rich"}
    assert not base & set().union(*(all_packages(extra) for extra in OFFERED))


def test_extras_that_bring_pytorch():
    assert {extra for extra in EXTRAS.values() if "torch" in all_packages(extra)} == WITH_TORCH


def test_every_command_that_needs_an_extra_names_one():
    assert {name for name, command in COMMANDS.items() if command.extra is None} == {
        *("predict", "track", "pq", "data", "models"),
    }
    assert {command.extra for command in COMMANDS.values()} - {None} <= {*WITH_TORCH, "serve"}


def test_every_format_has_its_extra():
    """The last column of the table of formats."""
    table = (ROOT / "docs" / "export.md").read_text().partition("| `--format` |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    columns = [row.strip("| ").split("|")[-1] for row in rows]
    assert [names(column) for column in columns] == [
        ["export"],
        ["export"],
        ["export", "openvino"],
        ["torch"],
        ["tensorrt"],
        ["export"],
    ]


def test_versions_are_pinned_for_all_but_tensorrt():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    wanted = packages(PROJECT["dependencies"])[0].union(*(all_packages(extra) for extra in OFFERED))
    assert wanted - pinned.keys() == {"tensorrt"}
    assert list(pinned) == sorted(pinned)


def test_the_citation_names_the_version():
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
