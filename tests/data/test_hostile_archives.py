"""Archives and JSON files whose names lead elsewhere: nothing is written outside the output, and an error says so."""

import json
import os
import stat
import tracemalloc
import zipfile

import pytest

from yoso.apps.cli import main
from yoso.data.formats import archive as archive_room

PHOTO = "000000001139.jpg"


@pytest.fixture
def root(plant, tmp_path):
    """A miniature download of COCO; the images of val are in a zip, everything else is unpacked."""
    plant("coco", tmp_path / "root")
    return tmp_path / "root"


def pack(root, name, is_link=False):
    """Move the images of val into a zip, the first under another name, which the JSON gives it too."""
    path = root / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    with zipfile.ZipFile(root / "val2017.zip", "w") as archive:
        for file in sorted((root / "val2017").iterdir()):
            info = zipfile.ZipInfo(f"val2017/{name if file.name == PHOTO else file.name}")
            if is_link and file.name == PHOTO:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, file.read_bytes())
            file.unlink()
    (root / "val2017").rmdir()


def prepare(root, capsys):
    before = {path for path in root.parent.rglob("*") if root.parent / "out" not in path.parents}
    arguments = ["--root", str(root), "--output", str(root.parent / "out"), "--split", "val", "--threads", "1"]
    status = main(["data", "prepare", "coco", *arguments])
    after = {path for path in root.parent.rglob("*") if root.parent / "out" not in path.parents}
    assert after - before <= {root.parent / "out"}
    return status, capsys.readouterr().err


def test_the_name_that_the_other_tests_change(root, capsys):
    pack(root, PHOTO)
    assert prepare(root, capsys)[0] == 0
    assert (root.parent / "out/coco_prepared/images/val" / PHOTO).is_file()


@pytest.mark.parametrize("name", ["C:evil.jpg", "nul.jpg", "sub/CON.jpg", "tab\t.jpg"])
def test_a_name_that_is_not_safe_to_write_is_refused(name, root, capsys):
    pack(root, name)
    status, err = prepare(root, capsys)
    assert status == 2
    assert f"val2017.zip/val2017/{name.split(chr(9))[0]}" in err
    assert "is not safe to write" in err
    assert not list((root.parent / "out").rglob("*.jpg"))


@pytest.mark.parametrize("name", ["../../../evil.jpg", "..\\..\\..\\evil.jpg", "/evil.jpg", "a/../../../../evil.jpg"])
def test_a_name_that_climbs_is_no_file_of_the_archive(name, root, capsys):
    pack(root, name)
    status, err = prepare(root, capsys)
    assert status == 2
    assert "panoptic_val2017.json: 1 of 2 entries have no image" in err
    assert not list(root.parent.rglob("evil*"))


def test_a_symbolic_link_in_an_archive_is_refused(root, capsys):
    pack(root, PHOTO, is_link=True)
    status, err = prepare(root, capsys)
    assert status == 2
    assert f"val2017.zip/val2017/{PHOTO}: is a symbolic link" in err


def test_a_link_in_the_output_is_not_followed(root, capsys):
    pack(root, f"sub/{PHOTO}")
    status, _ = prepare(root, capsys)
    assert status == 0
    images = root.parent / "out/coco_prepared/images/val"
    (images / "sub" / PHOTO).unlink()
    (images / "sub").rmdir()
    (images / "sub").symlink_to(root)
    status, err = prepare(root, capsys)
    assert status == 2
    assert "through a symbolic link" in err


@pytest.mark.parametrize("separator", ["\\", "/./", "//"])
def test_separators_of_other_tools(separator, root, capsys):
    pack(root, PHOTO)
    with zipfile.ZipFile(root / "val2017.zip") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(root / "val2017.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("/", separator), content)
    assert prepare(root, capsys)[0] == 0


def edit(root, change):
    path = root / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def same(key, field):
    def change(content):
        content[key][1][field] = content[key][0][field]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (same("images", "file_name"), f"two entries have the image {PHOTO}"),
        (same("annotations", "file_name"), "two entries have the panoptic PNG 000000001139.png"),
        (same("images", "id"), "two images have the id"),
        (lambda content: content["images"][0].update(width=640), f"640x48, {{root}}/val2017/{PHOTO}: 64x48; the sizes"),
    ],
)
def test_a_ready_json_that_contradicts_itself(change, words, root, capsys):
    edit(root, change)
    status, err = prepare(root, capsys)
    assert status == 2
    assert "panoptic_val2017.json: " in err
    assert words.format(root=root) in err


def repack(root, member, content, method=zipfile.ZIP_DEFLATED):
    """Put another content under a name of the zip."""
    with zipfile.ZipFile(root / "val2017.zip") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(root / "val2017.zip", "w", method) as archive:
        for name, old in members.items():
            archive.writestr(name, content if name == member else old)


def test_an_archive_that_unpacks_to_a_multiple_of_its_size_is_not_unpacked(root, capsys):
    pack(root, PHOTO)
    repack(root, f"val2017/{PHOTO}", bytes(2**25))
    tracemalloc.start()
    status, err = prepare(root, capsys)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert status == 2
    assert "val2017.zip unpacks to" in err
    assert "times its size, as no data set does" in err
    assert peak < 2**24


def test_a_member_of_gigabytes_is_not_read_into_memory(root, capsys, monkeypatch):
    pack(root, PHOTO)
    monkeypatch.setattr(archive_room, "MAX_MEMBER_BYTES", 100)
    status, err = prepare(root, capsys)
    assert status == 2
    assert f"{PHOTO}: has 0 MB, too much for an image" in err


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_that_ask_for_much_memory_are_refused(method, root, capsys):
    pack(root, PHOTO)
    repack(root, "", b"", method)
    status, err = prepare(root, capsys)
    assert status == 2
    assert f"is packed with method {method}; pack it with deflate" in err


def test_a_pipe_among_the_archives_is_left_alone(root, capsys):
    os.mkfifo(root / "photos.zip")
    assert prepare(root, capsys)[0] == 0
