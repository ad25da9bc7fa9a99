"""The wheel, installed without extras into an empty environment, does what README's first page says."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAX_INSTALLED_BYTES = 250e6
MAX_WHEEL_BYTES = 40e6


def run(*words, check=True, **options):
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment, **options)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def uv(*words, **options):
    return run(sys.executable, "-m", "uv", *words, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the source archive, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    tools = folder / "tools"
    uv("venv", "--python", sys.executable, tools)
    # Besides what builds, all that the wheel will need: if these can be installed, a later failure is the wheel's.
    needed = ["-c", ROOT / "constraints.txt", "-r", ROOT / "pyproject.toml", "hatchling"]
    done = uv("pip", "install", "--python", tools / "bin" / "python", *needed, check=False)
    if done.returncode:
        pytest.skip(f"packages cannot be installed here: {' '.join(done.stderr.split())[:300]}")
    uv("build", "--no-build-isolation", "--python", tools / "bin" / "python", "--out-dir", folder / "dist", ROOT)
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The programs of an environment that holds the wheel and what it requires, compiled as pip does."""
    folder = tmp_path_factory.mktemp("light")
    programs = folder / "bin"
    uv("venv", "--python", sys.executable, folder, "--allow-existing")
    constraints = ROOT / "constraints.txt"
    uv("pip", "install", "--compile-bytecode", "--python", programs / "python", "-c", constraints, wheel)
    return programs


@pytest.fixture(scope="module")
def work(readme_folder, tmp_path_factory):
    """A copy of the folder that README's commands run in."""
    return shutil.copytree(readme_folder, tmp_path_factory.mktemp("light") / "work")


def block(language):
    """README's first block of code in a language."""
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)[1]


def command(start):
    """README's first line that begins with these words, without its comment."""
    line = next(line for line in README.splitlines() if line.startswith(f"    {start}"))
    return line.split("#")[0].split()


def test_two_builds_of_a_wheel_are_equal_to_the_byte(built, wheel, tmp_path):
    """From the source archive, unpacked elsewhere, with other times and permissions, on another day."""
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o755 if path.is_dir() else 0o600)
    python = built.parent / "tools" / "bin" / "python"
    uv("build", "--wheel", "--no-build-isolation", "--python", python, "--out-dir", tmp_path / "again", folder)
    (again,) = (tmp_path / "again").glob("*.whl")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_is_small_and_typed(wheel):
    assert wheel.name.startswith("yoso_panoptic-")
    assert wheel.stat().st_size <= MAX_WHEEL_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    assert {"yoso/py.typed", "yoso/recipes/coco_r50.yaml", "yoso/assets/facades-mnv2/model.onnx"} <= names
    assert {name.split("/")[0] for name in names} == {"yoso", wheel.name.split("-py3")[0] + ".dist-info"}
    assert "License-Expression: MIT" in metadata


def test_the_source_archive_holds_the_whole_project(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "LICENSE", "README.md", "CITATION.cff", "constraints.txt", ".ci/run"} <= names
    assert {"examples/building.jpg", "examples/ATTRIBUTION.md", "docs/training.md", "tests/conftest.py"} <= names
    for folder in ("benchmarks", "docs", "examples", "src", "tests"):
        here = {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert here <= names


def test_the_installed_packages_are_few_and_agree(installed):
    uv("pip", "check", "--python", installed / "python")
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", installed / "python").stdout)
    names = {package["name"] for package in listed}
    assert {"yoso-panoptic", "numpy", "onnxruntime"} <= names
    assert not {"torch", "scipy", "lightning", "timm", "huggingface-hub"} & names


def test_the_installed_size(installed):
    size = sum(path.lstat().st_size for path in installed.parent.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < MAX_INSTALLED_BYTES, f"{size / 1e6:.0f} MB"


@pytest.mark.parametrize("start", ["yoso predict", "yoso pq", "yoso data check"])
def test_commands_of_readme(installed, work, start):
    program, *words = command(start)
    done = run(installed / program, *words, cwd=work)
    assert done.stdout
    assert done.stderr == ""


def test_models_are_listed(installed, work):
    listed = json.loads(run(installed / "yoso", "models", "--json", cwd=work).stdout)
    assert {"facades-mnv2", "coco-r50"} <= {model["name"] for model in listed}


def test_predictions_are_written(installed, work):
    program, *words = command("yoso predict")
    found = json.loads(run(installed / program, *words, "--json", cwd=work).stdout)
    assert found["runtime"] == "onnxruntime"
    assert all(len(image["segments_info"]) > 5 for image in found["images"])
    assert (work / "out" / "street.overlay.png").is_file()


def test_python_of_readme(installed, work):
    script = block("python") + 'print(len(result["segments_info"]), picture.shape)\n'
    assert 'yoso.load("facades-mnv2")' in script
    found = run(installed / "python", "-c", script, cwd=work).stdout.split(maxsplit=1)
    assert int(found[0]) > 5
    assert found[1].strip() == "(427, 640, 3)"


def test_training_says_what_to_install(installed, work):
    done = run(installed / "yoso", "train", "--recipe", "small", "mine.yaml", check=False, cwd=work)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'error: yoso train needs PyTorch; run: pip install "yoso-panoptic[train]"\n'
