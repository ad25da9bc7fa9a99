from pathlib import Path, PurePosixPath

import pytest

from yoso.apps.cli import main
from yoso.errors import ConfigError
from yoso.files import expanded, image_files, is_hidden, is_image_file
from yoso.weights.published import cache_folder

TREE = [
    "b.JPG",
    "a.png",
    "c.TiFf",
    "notes.txt",
    ".hidden.png",
    "._a.png",
    "deep/d.webp",
    ".cache/e.png",
    "__MACOSX/f.png",
]


@pytest.fixture
def folder(tmp_path):
    """A folder that itself lies in a hidden one, which says nothing about its files."""
    root = tmp_path / ".data" / "images"
    for name in TREE:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "folder.png").mkdir()
    return root


@pytest.mark.parametrize(
    ("recursive", "names"), [(False, ["a.png", "b.JPG", "c.TiFf"]), (True, ["a.png", "b.JPG", "c.TiFf", "deep/d.webp"])]
)
def test_image_files_are_visible_and_of_a_suffix_in_any_case(folder, recursive, names):
    found = image_files(folder, recursive=recursive)
    assert [path.relative_to(folder).as_posix() for path in found] == names
    assert all(is_image_file(path) for path in found)


def test_hidden_names():
    hidden = [".DS_Store", "a/.b/c.png", "__MACOSX/a.png", PurePosixPath("x/._y.jpg")]
    visible = ["a.png", "a/b.c/d.png", "MACOSX/a.png", PurePosixPath("x/y.jpg")]
    assert all(is_hidden(name) for name in hidden)
    assert not any(is_hidden(name) for name in visible)


def test_no_home_folder_is_an_error_of_one_line(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("no entry")))
    monkeypatch.delenv("YOSO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(ConfigError, match="the home folder is not known; set HOME"):
        expanded("~/data")
    assert expanded("data") == Path("data")
    assert main(["models"]) == 0
    with pytest.raises(ConfigError, match="set YOSO_CACHE"):
        cache_folder()
