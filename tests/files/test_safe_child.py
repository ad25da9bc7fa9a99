"""Names from archives and JSON files never lead out of the folder that is written."""

from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yoso.errors import DatasetError
from yoso.files import safe_child

PARTS = st.one_of(
    st.sampled_from(["..", ".", "", "...", "a", "b.jpg", "NUL", "con.txt", "C:", "~", "\0", "\ud800", " ", ".. "]),
    st.text(max_size=8),
)
NAMES = st.one_of(
    st.text(max_size=30),
    st.lists(st.tuples(PARTS, st.sampled_from("/\\")), max_size=6).map(
        lambda parts: "".join(part + separator for part, separator in parts)
    ),
)


@settings(max_examples=500, deadline=None)
@given(NAMES)
@example("a/../../b")
@example("a\\..\\..\\b")
@example("/etc/passwd")
@example("\\\\server\\share")
def test_a_name_stays_below_its_folder_or_is_refused(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "folder"
    try:
        path = safe_child(folder, name, "a.zip")
    except DatasetError:
        return
    assert path != folder
    assert path.resolve().is_relative_to(folder.resolve())
    for parts in (path.relative_to(folder).parts, PureWindowsPath(path.relative_to(folder)).parts):
        assert ".." not in parts
    str(path).encode()
    assert not PureWindowsPath(path.relative_to(folder)).is_reserved()


ORDINARY = ["a.jpg", "a/b.jpg", "./a//b.jpg", "a\\b.jpg", "Grün 1.jpg", "..a", "a..jpg", "console.png", "10:30.jpg"]


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_are_taken(name, tmp_path):
    expected = [part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
    assert safe_child(tmp_path, name, "a.json") == Path(tmp_path, *expected)


UNSAFE = ["", ".", "./", "..", "../a", "a/../b", "a\\..\\b", "..\\a", "/a", "\\a", "C:a", "c:\\a", "a\0b", "a\nb"]
UNSAFE += [
    "NUL",
    "con.png",
    "sub/aux.jpg",
    "COM1",
    "lpt9.txt",
    "prn ",
    "nul:x",
    "a/...",
    ". .",
    "\ud800.jpg",
    "CONOUT$",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_names_that_are_refused(name, tmp_path):
    with pytest.raises(DatasetError, match=r"^a\.zip: the file name .* is not safe to write; rename it"):
        safe_child(tmp_path, name, "a.zip")


def test_a_symbolic_link_that_leads_out_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path)
    (tmp_path / "out/inner").symlink_to(tmp_path / "out")
    with pytest.raises(DatasetError, match="through a symbolic link"):
        safe_child(tmp_path / "out", "link/a.jpg", "a.zip")
    assert safe_child(tmp_path / "out", "inner/a.jpg", "a.zip").name == "a.jpg"


def test_the_folder_itself_may_be_a_symbolic_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert safe_child(tmp_path / "out", "a.jpg", "a.zip") == tmp_path / "out/a.jpg"
