"""What messages and pages tell people to install is what pyproject.toml offers."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TEXTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile")]
TEXTS += sorted(path for room in ("src", "docs", "examples") for path in (ROOT / room).rglob("*.[pm][yd]"))
NAMED = re.compile(r"(?:yoso|\.)\[([a-z][\w,-]*)\]")
"""`yoso[onnx]`, or `.[onnx]` of a checkout."""

COMMAND = re.compile(r"pip install (?:--?[\w-]+ )*(\S+)")


def names(text):
    return [name for group in NAMED.findall(text) for name in group.split(",")]


def test_every_extra_that_is_named_exists():
    named = [(name, path.relative_to(ROOT)) for path in TEXTS for name in names(path.read_text())]
    assert {"onnx", "openvino", "tensorrt", "benchmark", "eval", "wandb"} <= {name for name, _ in named}
    assert not [f"{path}: {name}" for name, path in named if name not in EXTRAS]


def test_every_message_names_an_extra_rather_than_a_package():
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in (ROOT / "src").rglob("*.py")
        for found in COMMAND.findall(path.read_text())
        if not found.startswith('"yoso[')
    ]
    assert not wrong


def test_every_format_has_its_extra():
    """The last column of the table of formats; what torch alone writes needs none."""
    rows = [line for line in (ROOT / "docs" / "export.md").read_text().splitlines() if line.startswith("| `")][1:]
    columns = [row.strip("| ").split("|")[-1] for row in rows]
    assert [names(column) for column in columns] == [["onnx"], ["onnx"], ["openvino"], [], ["tensorrt"]]


def test_the_packages_that_extras_are_for():
    packages = {"openvino": "openvino", "tensorrt": "tensorrt", "benchmark": "nvidia-ml-py", "onnx": "onnxruntime"}
    for extra, package in packages.items():
        assert any(re.match(rf"{package}\W", line) for line in EXTRAS[extra]), extra
