"""Disks that are full or read-only, and what they may leave behind."""

import errno
import json
import os
from pathlib import Path

from PIL import Image

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))


def broken(method, error, when):
    """Return a stand-in for a method of Path or Image that fails for some files.

    Args:
        method: the true one.
        error: what is raised in its place.
        when: told (path, the other arguments), says whether it fails; the path of an image is its first argument.
    """

    def stand_in(self, *args, **kwargs):
        path = self if isinstance(self, Path) else Path(args[0])
        if when(path, args):
            raise error
        return method(self, *args, **kwargs)

    return stand_in


def fills_up(monkeypatch, when):
    """Let files for which `when(path)` holds be opened, but hold nothing: every byte written there is one too many."""
    true_open = Path.open

    def stand_in(self, mode="r", *args, **kwargs):
        where = Path("/dev/full") if set(mode) & set("wa") and when(self) else self
        return true_open(where, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", stand_in)


def assert_nothing_half_written(output):
    """Every picture and JSON whole; besides them journals only, and no temporary file."""
    for path in output.rglob("*") if output.is_dir() else []:
        if path.suffix in {".png", ".jpg"}:
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.is_file():
            assert path.suffix == ".journal", path
        assert not path.name.startswith(".") or path.suffix == ".journal", path
