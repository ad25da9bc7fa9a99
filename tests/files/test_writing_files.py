import errno
import os
import sys
from pathlib import Path

import pytest

from yoso.errors import OutputError
from yoso.files import read_json, write_json, written_whole


class TestWrittenWhole:
    def leftovers(self, folder):
        return sorted(path.name for path in folder.iterdir())

    def test_writes_and_makes_folders(self, tmp_path):
        path = tmp_path / "a" / "b.json"
        write_json(path, {"x": 1})
        assert read_json(path) == {"x": 1}
        assert self.leftovers(path.parent) == ["b.json"]

    def test_obeys_the_umask(self, tmp_path):
        before = os.umask(0o027)
        try:
            write_json(tmp_path / "a.json", 1)
        finally:
            os.umask(before)
        assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
    def test_a_full_disk_leaves_the_old_file(self, tmp_path, code):
        path = tmp_path / "a.json"
        path.write_text("old")

        def write():
            with written_whole(path) as temporary:
                temporary.write_text("half of the n")
                raise OSError(code, os.strerror(code))

        with pytest.raises(OutputError, match=r"a\.json: cannot be written \("):
            write()
        assert path.read_text() == "old"
        assert self.leftovers(tmp_path) == ["a.json"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_really_full_device(self, tmp_path):
        def write():
            with written_whole(tmp_path / "a.png") as temporary:
                temporary.unlink()
                temporary.symlink_to("/dev/full")
                temporary.write_bytes(bytes(100_000))

        with pytest.raises(OutputError, match="disk is full"):
            write()
        assert self.leftovers(tmp_path) == []

    def test_an_error_of_the_block_passes_and_leaves_nothing(self, tmp_path):
        with pytest.raises(KeyError), written_whole(tmp_path / "a.json"):
            raise KeyError("x")
        assert self.leftovers(tmp_path) == []

    def test_a_folder_in_the_way(self, tmp_path):
        with pytest.raises(OutputError, match="is a folder; give the name"):
            write_json(tmp_path, 1)
        with pytest.raises(OutputError, match="is a folder"):
            write_json("", 1)

    @pytest.mark.skipif(sys.platform == "win32", reason="devices are files on POSIX only")
    def test_a_device_is_not_replaced(self):
        with pytest.raises(OutputError, match="/dev/null: is not a regular file"):
            write_json("/dev/null", 1)
        assert Path("/dev/null").is_char_device()

    def test_a_file_where_a_folder_should_be(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="is a file, not a folder"):
            write_json(tmp_path / "file" / "a.json", 1)

    def test_an_unwritable_folder(self, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(OutputError, match="permission denied; write to a folder of your own"):
            write_json(tmp_path / "a.json", 1)

    def test_a_name_that_is_too_long(self, tmp_path):
        with pytest.raises(OutputError, match="name is too long"):
            write_json(tmp_path / ("a" * 300), 1)
        write_json(tmp_path / ("a" * 250), 1)
        assert len(self.leftovers(tmp_path)) == 1
