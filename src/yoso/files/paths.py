"""Paths: which file a name stands for, and why it cannot be opened or written."""

import errno
import hashlib
import os
import re
from pathlib import Path

from yoso.errors import DatasetError, OutputError

PathLike = str | os.PathLike[str]

CANNOT_OPEN = (FileNotFoundError, IsADirectoryError, PermissionError)
"""The errors that `cannot_open` explains."""

_ADVICE = {
    errno.ENOSPC: "the disk is full; make room or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; make room or write elsewhere",
    errno.EACCES: "permission denied; write to a folder of your own",
    errno.EPERM: "permission denied; write to a folder of your own",
    errno.EROFS: "the disk is read-only; write elsewhere",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another name",
    errno.EEXIST: "a part of its path is a file, not a folder; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}

_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|^[/\\]|^[A-Za-z]:")
"""Control characters, halves of characters that UTF-8 cannot write, a root, a drive."""

_UNSAFE_PART = re.compile(r"[. ]+|(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*([.:].*)?", re.IGNORECASE)
"""Parts that climb, or that Windows takes for a device whatever their ending."""


def cannot_open(path: PathLike, error: OSError, kind: str) -> str:
    """Return the message that says why a file cannot be opened, and what to do.

    Args:
        path: of the file.
        error: one of `CANNOT_OPEN`.
        kind: what the file should be, with its article.
    """
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; check the name"
    if isinstance(error, IsADirectoryError):
        return f"{path}: is a folder, not {kind}; give the files in it"
    return f"{path}: permission denied; make the file readable"


def cannot_write(path: PathLike, error: OSError) -> OutputError:
    """Return the error that says why `path` cannot be written, and what to do."""
    reason = _ADVICE.get(error.errno or 0) or error.strerror or error
    return OutputError(f"{path}: cannot be written ({reason})")


def file_sha256(path: PathLike) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_child(folder: PathLike, name: str, source: object) -> Path:
    """Return the path of a file to write below a folder, for a name that somebody else chose.

    Slashes and backslashes separate the parts of the name on every system.

    Args:
        folder: that the file must lie in.
        name: relative path, from an archive or a JSON file.
        source: where the name comes from, for messages.

    Raises:
        DatasetError: the name is empty, absolute, climbs out of the folder, holds a control character, begins with a
            drive letter, is that of a device of Windows, or leads out of the folder through a symbolic link.
    """
    parts = [part for part in re.split(r"[/\\]", name) if part not in {"", "."}]
    path = Path(folder, *parts)
    if _UNSAFE_NAME.search(name) or not parts or any(_UNSAFE_PART.fullmatch(part) for part in parts):
        raise DatasetError(f"{source}: the file name {name!r} is not safe to write; rename it to a plain relative path")
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise DatasetError(f"{source}: the file name {name!r} leads out of {folder} through a symbolic link; remove it")
    return path
