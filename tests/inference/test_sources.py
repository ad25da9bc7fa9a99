import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoso.inference.sources import expand_sources, output_stem


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "deep/c.webp", "deep/more/d.tiff", "odd.dat", "[1].jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos" / "folder.jpg").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*sources, stdin=b""):
    result = expand_sources(sources, io.BytesIO(stdin))
    return [path.as_posix() for path in result.paths], [str(error) for error in result.errors]


def test_a_folder_gives_its_images_sorted_and_no_deeper(photos):
    assert names("photos") == (["photos/[1].jpg", "photos/a.PNG", "photos/b.jpg"], [])


def test_a_named_file_is_taken_whatever_its_ending(photos):
    assert names("photos/notes.txt", Path("photos/b.jpg")) == (["photos/notes.txt", "photos/b.jpg"], [])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/?.*", ["photos/a.PNG", "photos/b.jpg"]),
        ("photos/*", ["photos/[1].jpg", "photos/a.PNG", "photos/b.jpg"]),
        ("photos/*.dat", ["photos/odd.dat"]),
        ("photos/deep/**/*", ["photos/deep/c.webp", "photos/deep/more/d.tiff"]),
        ("photos/[1].jpg", ["photos/[1].jpg"]),
        ("photos/*.jpg", ["photos/[1].jpg", "photos/b.jpg"]),
    ],
)
def test_patterns(photos, pattern, expected):
    assert names(pattern) == (expected, [])


def test_a_list_on_standard_input(photos):
    listed = b"photos/b.jpg\r\n\n  \nphotos/deep\nnowhere.jpg\n"
    paths, errors = names("photos/a.PNG", "-", stdin=listed)
    assert paths == ["photos/a.PNG", "photos/b.jpg", "photos/deep/c.webp"]
    assert errors == ["nowhere.jpg: no such file or folder; check the name"]


def test_standard_input_is_the_default(photos, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"photos/b.jpg\n")))
    assert expand_sources(["-"]).paths == [Path("photos/b.jpg")]


@pytest.mark.parametrize("closed", [False, True])
def test_nothing_on_standard_input(monkeypatch, closed):
    monkeypatch.setattr(sys, "stdin", None if closed else io.TextIOWrapper(io.BytesIO()))
    result = expand_sources(["-"])
    assert result.paths == []
    assert "standard input lists no file" in str(result.errors[0])


def test_a_file_meant_twice_is_done_once(photos):
    absolute = str(photos / "photos" / "b.jpg")
    assert names("photos/b.jpg", "photos", absolute, "photos/../photos/b.jpg")[0] == [
        "photos/b.jpg",
        "photos/[1].jpg",
        "photos/a.PNG",
    ]


def test_bad_sources_do_not_stop_the_others(photos):
    os.symlink("gone.jpg", "link.jpg")
    paths, errors = names("missing.jpg", "empty", "none*.png", "link.jpg", "photos/b.jpg/x", "a\0b", "photos/b.jpg")
    assert paths == ["photos/b.jpg"]
    wanted = (
        "no such file",
        "holds no image",
        "matches no image",
        "a link to a file",
        "cannot be read",
        "cannot be read",
    )
    assert len(errors) == len(wanted)
    for error, part, name in zip(
        errors, wanted, ("missing.jpg", "empty", "none*.png", "link.jpg", "photos/b.jpg/x", "a\0b"), strict=True
    ):
        assert error.startswith(f"{name}: ")
        assert part in error


def test_outputs_of_an_earlier_run_are_no_images(photos):
    for name in ("a.overlay.png", "b.Overlay.PNG", "c.overlay.jpg", "out/panoptic/a.png", "out/panoptic/more/b.png"):
        path = photos / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def found(*sources):
        result = expand_sources(sources, ignored=Path("photos/out/panoptic"))
        return [path.as_posix() for path in result.paths], [str(error) for error in result.errors]

    assert found("photos")[0] == ["photos/[1].jpg", "photos/a.PNG", "photos/b.jpg"]
    assert found("photos/**/*.png") == (
        [],
        ["photos/**/*.png: holds only outputs of an earlier run; give the images themselves"],
    )
    assert found("photos/out/*")[1] == ["photos/out/*: matches no image; check the pattern"]
    assert found("photos/out/panoptic")[1][0].startswith("photos/out/panoptic: holds only outputs")
    named = ["photos/a.overlay.png", "photos/out/panoptic/a.png"]
    assert found(*named) == (named, [])
    assert names("photos/out/panoptic")[0] == ["photos/out/panoptic/a.png"]


def test_an_empty_name_is_not_the_current_folder(photos):
    os.chdir("photos")
    assert names("", "b.jpg") == (["b.jpg"], ["the name of an image is empty; give a file, a folder or a pattern"])


def test_a_folder_that_cannot_be_listed(photos, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert names("photos") == ([], ["photos: cannot be listed (Permission denied); make the folder readable"])


def test_bytes_that_are_not_utf8_survive(tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    Path(os.fsdecode(name)).touch()
    assert [os.fsencode(p) for p in expand_sources(["-"], io.BytesIO(name + b"\n")).paths] == [name]


def test_stems_are_kept_where_they_are_free():
    paths = [Path("x/cat.jpg"), Path("y/cat.png"), Path("dog.jpg"), Path("Cat.jpg"), Path("z/cat-2.jpg")]
    assert output_stem(paths) == ["cat", "cat-3", "dog", "Cat-4", "cat-2"]
    assert output_stem([]) == []
    assert output_stem(paths, ["CAT", "dog", "cat-3"]) == ["cat-4", "cat-5", "dog-2", "Cat-6", "cat-2"]


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a-2-2", "a-3", "b"]), max_size=12))
def test_stems_are_always_different(stems):
    paths = [Path(str(index)) / f"{stem}.jpg" for index, stem in enumerate(stems)]
    result = output_stem(paths)
    assert len({stem.casefold() for stem in result}) == len(paths)
    for stem in set(stems):
        if sum(other.casefold() == stem.casefold() for other in stems) == 1:
            assert result[stems.index(stem)] == stem
